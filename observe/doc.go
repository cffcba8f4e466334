// Package observe shows what the server does to those who run it: metrics in the
// form of Prometheus, spans in that of OpenTelemetry, and profiles.
//
// The rooms know nothing of it. Each tells what happens to a small interface of
// its own, or says how it stands when asked; cmd gives them a [Metrics], and puts
// what [Tracing] makes between them. Without it nothing is measured and no span
// is made.
//
// No metric has a label, and no span an attribute, that tells of a person or a
// card: the values are routes, codes, functions and names from the configuration,
// and so are few. A span has the ID of the request besides, by which the audit log
// can be searched by whoever may read it.
package observe
