package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"latchkey/server/api"
)

// The detail says where and what, and shows nothing of the values.
func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		``:                                        "The body is empty; a JSON object is wanted.",
		`"x"`:                                     "The body does not begin as a JSON object, with {.",
		"\ufeff{}":                                "The body does not begin as a JSON object, with {.",
		`{"serial":"a","serial":"b"}`:             "/serial: the field is there twice.",
		`{"holder":{"nme":"secret"}}`:             "/holder/nme: there is no such field.",
		`{"Serial":"secret"}`:                     "/Serial: there is no such field.",
		`{"serial":4711}`:                         "/serial: a string is wanted.",
		`{"serial":["secret"]}`:                   "/serial: a string is wanted.",
		`{"holder":{"groups":"secret"}}`:          "/holder/groups: an array is wanted.",
		`{"holder":{"groups":[4711]}}`:            "/holder/groups/0: a string is wanted.",
		`{"master_key_version":"secret"}`:         "/master_key_version: a whole number is wanted.",
		`{"master_key_version":1.5}`:              "/master_key_version: a whole number is wanted.",
		`{"master_key_version":1e99}`:             "/master_key_version: a whole number is wanted.",
		`{"holder":"secret"}`:                     "/holder: an object is wanted.",
		`{"synced_at":"secret"}`:                  "/synced_at: a time such as 2026-05-04T08:12:00Z is wanted.",
		`{"serial":"secret"`:                      "Not JSON at byte 19: unexpected EOF.",
		`{"serial":"a"} {"serial":"b"}`:           "Not JSON at byte 16:",
		`{'serial':'a'}`:                          "Not JSON at byte 2:",
		"{\"serial\":\"a\xff\"}":                  "Not JSON at byte 13:",
		`{"serial":"\ud800"}`:                     "Not JSON at byte",
		`{"` + strings.Repeat("a", 9000) + `":1}`: "/" + strings.Repeat("a", 119) + "…: there is no such field.",
	} {
		err := decode([]byte(text), &api.Card{})
		var no *refusal
		if !errors.As(err, &no) || no.code != codeMalformed || !strings.HasPrefix(no.detail, want) ||
			strings.Contains(no.detail, "secret") || strings.Contains(no.detail, "4711") {
			t.Errorf("%.60s: %v, want %s", text, no, want)
			if no != nil {
				t.Log(no.detail)
			}
		}
	}
	for _, text := range []string{`{}`, " \r\n{\"serial\" : \"\\u00c4\\ud83d\\ude00\", \"holder\":null}\n"} {
		if err := decode([]byte(text), &api.Card{}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Whatever is sent, decode takes it or says why not in one short line of text; and
// what it takes is what encoding/json takes too, so that two readers of one body
// never see two cards.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"serial":"GIDS-000417","type":"employee","state":"active","cuid":"4c4b","holder":{"id":"u417","name":"Astrid","groups":["a"],"state":"active"}}`))
	f.Add([]byte(`{"serial":"a","serial":"b"}`))
	f.Add([]byte(`{"serial":"\ud800","x":[[[[`))
	f.Add([]byte(`{"synced_at":"2026-05-04T08:12:00Z","master_key_version":1e2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var got api.Card
		err := decode(text, &got)
		if err != nil {
			var no *refusal
			if !errors.As(err, &no) || no.code != codeMalformed {
				t.Fatalf("error %v", err)
			}
			if !utf8.ValidString(no.detail) || len(no.detail) > 300 || strings.ContainsAny(no.detail, "\r\n") {
				t.Fatalf("detail %q", no.detail)
			}
			return
		}
		strict := json.NewDecoder(bytes.NewReader(text))
		strict.DisallowUnknownFields()
		var other api.Card
		if err := strict.Decode(&other); err != nil {
			t.Fatalf("taken, but not by encoding/json: %v", err)
		}
		a, err1 := json.Marshal(got)
		b, err2 := json.Marshal(other)
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Fatalf("%s and %s, errors %v, %v", a, b, err1, err2)
		}
	})
}
