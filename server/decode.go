package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/labstack/echo/v4"

	"latchkey/server/api"
)

// maxBody is the most bytes that are read of a JSON body, and of one line of an
// import.
const maxBody = 16 << 10

// read reads the request's JSON body.
func read(c echo.Context, into any) error { return readUpTo(c, maxBody, into) }

// readUpTo is read with a bound of its own, in bytes.
func readUpTo(c echo.Context, most int64, into any) error {
	r := c.Request()
	if err := mediaType(r.Header, api.JSON); err != nil {
		return err
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, most))
	if err != nil {
		return unread(err)
	}
	return decode(text, into)
}

// mediaType refuses bodies that are not of the wanted type or are compressed.
func mediaType(h http.Header, wanted string) error {
	given, parameters, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset, isText := parameters["charset"]
	switch {
	case err != nil && h.Get("Content-Type") == "":
		return refuse(codeMediaType, "Content-Type is missing; send "+wanted+".")
	case err != nil || given != wanted || len(h.Values("Content-Type")) > 1:
		return refuse(codeMediaType, "Content-Type is another one; send "+wanted+".")
	case isText && !strings.EqualFold(charset, "utf-8"):
		return refuse(codeMediaType, "The charset is another one; send UTF-8.")
	case h.Get("Content-Encoding") != "" && !strings.EqualFold(h.Get("Content-Encoding"), "identity"):
		return refuse(codeMediaType, "The body has a Content-Encoding; send it as it is.")
	}
	return nil
}

// unread says why a body could not be read to its end.
func unread(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(codeTooLarge, fmt.Sprintf("The body is longer than %d bytes.", tooLarge.Limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(codeTimeout, "The body did not arrive in time. Send it again.")
	}
	return refuse(codeMalformed, "The body was cut off. Send it again.")
}

// decode reads one JSON object, strictly: UTF-8, no field twice, none that is not
// known, names in their case, and nothing after it. What is wrong is said with
// its place as an RFC 6901 JSON Pointer.
func decode(text []byte, into any) error {
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return refuse(codeMalformed, "The body is empty; a JSON object is wanted.")
	case text[0] != '{':
		return refuse(codeMalformed, "The body does not begin as a JSON object, with {.")
	}
	err := json.Unmarshal(text, into, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	var wrong *json.SemanticError
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return refuse(codeMalformed, place(syntax.JSONPointer)+": the field is there twice.")
	case errors.As(err, &syntax):
		return refuse(codeMalformed, fmt.Sprintf("Not JSON at byte %d: %s.", syntax.ByteOffset+1, brief(syntax.Err.Error())))
	case errors.Is(err, json.ErrUnknownName) && errors.As(err, &wrong):
		return refuse(codeMalformed, place(wrong.JSONPointer)+": there is no such field.")
	case errors.As(err, &wrong):
		return refuse(codeMalformed, place(wrong.JSONPointer)+": "+kind(wrong.GoType)+" is wanted.")
	}
	return refuse(codeMalformed, "The body is not JSON.")
}

// place is where in the body, as far as it can be said in one line.
func place(p jsontext.Pointer) string { return brief(string(p)) }

// brief cuts text that may come from the caller, and makes one line of what prints
// of it.
func brief(s string) string {
	const limit = 120
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// kind names what a field takes.
func kind(t reflect.Type) string {
	if t == nil {
		return "another type"
	}
	if t == reflect.TypeFor[time.Time]() {
		return "a time such as 2026-05-04T08:12:00Z"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "an array"
	default:
		return "an object"
	}
}
