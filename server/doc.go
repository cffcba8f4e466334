// Package server is Latchkey's HTTP API. It authenticates callers by their TLS
// client certificate, reads bodies strictly, hands them to package unblock or to
// the directory of cards, and answers in JSON or with RFC 9457 problem documents.
//
// The contract is openapi.yaml, written before the code and served at
// /openapi.yaml; the tests hold every request and response against it. What can
// be called and by whom is one table: see [Server.routes].
//
// What a log line holds is in one place too, trace.go: never a body, a query or a
// header that could carry a secret.
package server
