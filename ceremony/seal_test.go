package ceremony_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"latchkey/ceremony"
)

func openssl(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	return program(t, in, "openssl", args...)
}

func program(t *testing.T, in []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(in)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v; where it is missing, run: make deps\n%s%s", name, strings.Join(args, " "), err, out.String(), said.String())
	}
	return out.Bytes()
}

// signed is the file of a record, with text in it that JSON can write in several
// ways.
func signed(t *testing.T) (*room, []byte) {
	t.Helper()
	r := newRoom(t)
	d := at(opening(answer{"read aloud", "yes"})...)
	if _, err := r.run(t.Context(), t, "  - note: '<Grüße> & \"quotes\" \\ / 😀'\n", d); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(r.path("record-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	return r, file
}

// jq and openssl alone come to the same verdict; docs/ceremony.md shows how.
func TestOpenSSLVerifies(t *testing.T) {
	r, file := signed(t)
	record := program(t, file, "jq", "-cSj", ".record")
	r.write(t, "key.pem", program(t, file, "jq", "-rj", ".public_key"))
	signature, err := base64.StdEncoding.DecodeString(string(program(t, file, "jq", "-rj", ".signature")))
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "signature", signature)
	verify := []string{"dgst", "-sha256", "-verify", r.path("key.pem"), "-signature", r.path("signature")}
	if out := openssl(t, record, verify...); string(out) != "Verified OK\n" {
		t.Errorf("openssl says %s", out)
	}
	changed := exec.Command("openssl", verify...)
	changed.Stdin = bytes.NewReader(bytes.Replace(record, []byte("Bo Chen"), []byte("Bo Chan"), 1))
	if out, err := changed.CombinedOutput(); err == nil {
		t.Errorf("of a changed record openssl says %s", out)
	}
	// The key is the one in the token.
	r.write(t, "key.der", openssl(t, nil, "pkey", "-pubin", "-in", r.path("key.pem"), "-outform", "DER"))
	var read struct {
		Record struct {
			SigningKey struct{ Fingerprint string } `json:"signing_key"`
		}
	}
	if err := json.Unmarshal(file, &read); err != nil {
		t.Fatal(err)
	}
	if sum := openssl(t, nil, "dgst", "-sha256", "-r", r.path("key.der")); !strings.HasPrefix(string(sum), read.Record.SigningKey.Fingerprint) {
		t.Errorf("the fingerprint of the key is %s, the record says %s", sum, read.Record.SigningKey.Fingerprint)
	}
}

// A record that somebody else signed cannot do anything to the terminal that it is
// shown at.
func TestRecordOnTerminal(t *testing.T) {
	record := ceremony.Record{Title: "a\x1b[2Jb\u202ec\nd", Error: "\r\x9b"}
	for _, line := range record.Lines() {
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", line)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	r, file := signed(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) []byte {
		changed := bytes.Replace(file, []byte(old), []byte(new), 1)
		if bytes.Equal(changed, file) {
			t.Fatalf("%q is not in the record", old)
		}
		return changed
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(file, &whole); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file  []byte
		key   *ecdsa.PublicKey
		words string
	}{
		"changed":           {replace("Bo Chen", "Bo Chan"), nil, "the signature is wrong"},
		"signature changed": {replace(`"signature":"ME`, `"signature":"MF`), nil, "the signature is wrong"},
		"not signed":        {replace(string(whole["signature"]), `""`), nil, "it is not signed"},
		"another key":       {file, &other.PublicKey, "another public key"},
		"formatted":         {replace(`"title":`, `"title": `), nil, "not in canonical form"},
		"said twice":        {replace(`"title":`, `"title":"x","title":`), nil, "it is not JSON"},
		"something added":   {replace(`{"algorithm"`, `{"aaa":1,"algorithm"`), nil, "not a ceremony record"},
		"algorithm":         {replace("ecdsa-p256-sha256", "ecdsa-p256-sha512"), nil, "is not ecdsa-p256-sha256"},
		"cut":               {file[:len(file)/2], nil, "it is not JSON"},
		"no key":            {replace("BEGIN PUBLIC KEY", "BEGIN NOTHING"), nil, "public key cannot be read"},
		"empty":             {nil, nil, "it is not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			record, err := ceremony.Verify(c.file, c.key)
			if record != nil {
				t.Errorf("it gives a record")
			}
			wantErr(t, err, ceremony.ErrRecord, c.words)
		})
	}
	if _, err := ceremony.Verify(file, nil); err != nil {
		t.Errorf("unchanged: %v", err)
	}
	if _, err := ceremony.Verify(bytes.TrimSuffix(file, []byte("\n")), r.signer.Public().(*ecdsa.PublicKey)); err != nil {
		t.Errorf("without its line end: %v", err)
	}
}
