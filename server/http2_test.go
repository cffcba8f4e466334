package server

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Frames of HTTP/2 that a proxy might make something else of are not a request.
func TestHTTP2Smuggling(t *testing.T) {
	w := newWorld(t)
	w.stock()
	good := []string{
		":method", "POST", ":scheme", "https", ":authority", "a", ":path", respondPath,
		"content-type", "application/json", "content-length", strconv.Itoa(len(respondBody)),
	}
	replaced := func(name, value string) []string {
		list := slices.Clone(good)
		list[slices.Index(list, name)+1] = value
		return list
	}
	for name, test := range map[string]struct {
		fields []string
		works  bool
	}{
		"nothing wrong":               {good, true},
		"two paths":                   {append([]string{":path", "/healthz"}, good...), false},
		"two methods":                 {append([]string{":method", "GET"}, good...), false},
		"a path behind":               {append(slices.Clone(good), ":path", "/healthz"), false},
		"a pseudo-header of its own":  {append([]string{":operator", "anna"}, good...), false},
		"a name in upper case":        {append(slices.Clone(good), "X-Operator", "anna"), false},
		"a header of a connection":    {append(slices.Clone(good), "connection", "x"), false},
		"chunks":                      {append(slices.Clone(good), "transfer-encoding", "chunked"), false},
		"a line within a value":       {append(slices.Clone(good), "x-a", "b\r\nlatchkey-operator-token: x"), false},
		"a line within a name":        {append(slices.Clone(good), "x-a: b\r\nlatchkey-operator-token", "x"), false},
		"a request within the method": {replaced(":method", "POST "+respondPath+" HTTP/1.1\r\nx: "), false},
		"a request within the path":   {replaced(":path", "/healthz HTTP/1.1\r\nHost: a\r\n\r\nPOST "+respondPath), false},
		"a length too short":          {replaced("content-length", "4"), false},
		"a length too long":           {replaced("content-length", "400"), false},
		// Frames say where a body ends, and the first length is held against them. A second
		// one is of no use to anybody, so net/http lets it be.
		"a second length":        {append(slices.Clone(good), "content-length", "4"), true},
		"a second length, first": {append([]string{":method", "POST", ":scheme", "https", ":authority", "a", ":path", respondPath, "content-length", "4"}, good[8:]...), false},
		"no path":                {slices.Delete(slices.Clone(good), 6, 8), false},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.done()
			status := w.frames(test.fields, respondBody)
			if works := status == "200"; works != test.works || (w.done() != before) != test.works {
				t.Errorf("status %q, and %d responses were given out", status, w.done()-before)
			}
		})
	}
}

// frames sends one request of these fields and gives the status of its answer, "" for
// a stream or connection that is ended instead.
func (w *world) frames(fields []string, body string) string {
	w.t.Helper()
	config := w.tlsConfig("anna")
	config.NextProtos = []string{"h2"}
	c, err := tls.Dial("tcp", strings.TrimPrefix(w.url, "https://"), config)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			w.t.Fatal(err)
		}
	}
	framer := http2.NewFramer(c, c)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, greeted := io.WriteString(c, http2.ClientPreface)
	if err := errors.Join(
		c.SetDeadline(time.Now().Add(time.Minute)), greeted, framer.WriteSettings(),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}),
		framer.WriteData(1, true, []byte(body)),
	); err != nil {
		return "" // ended before all of it was sent
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return ""
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		}
	}
}
