package ceremony_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"latchkey/ceremony"
	"latchkey/config/strictyaml"
	"latchkey/hsm"
)

// The components of the TDES key 0123456789ABCDEF 23456789ABCDEF01
// 456789ABCDEF0123, whose check value is openssl's of a zero block.
const (
	first    = "1111 1111 1111 1111 2222 2222 2222 2222 4444 4444 4444 4444"
	second   = "1032 5476 98BA DCFE 0167 45AB 89EF CD23 0123 CDEF 89AB 4567"
	keyValue = "4EBA73"
)

// components imports that key.
const components = `
  - import-components:
      label: fleet
      type: tdes3
      use: derive
      kcv: 4EBA73
      components: [{officer: Bo Chen}, {officer: Cy Diaz}]
`

// typed are the officers' answers to components.
func typed(more ...answer) []answer {
	return append([]answer{
		{"Name of who is at the keyboard", "Bo Chen"},
		{"Component 1, 48 hex digits (not shown)", first},
		{"on the paper", "yes"},
		{"Name of who is at the keyboard", "Cy Diaz"},
		{"Component 2, 48 hex digits (not shown)", second},
		{"on the paper", "yes"},
	}, more...)
}

func TestComponents(t *testing.T) {
	r := newRoom(t)
	d := at(opening(typed(answer{"Import the key?", "yes"})...)...)
	record, err := r.run(t.Context(), t, components, d)
	if err != nil {
		t.Fatal(err)
	}
	d.used(t)
	step := record.Steps[0]
	if k := step.Key; step.Outcome != ceremony.Done || k == nil || k.KCV[0] != (hsm.KCV{Convention: hsm.DESZero, Value: keyValue}) || k.Extractable || !k.Sensitive || k.Local {
		t.Errorf("the step is recorded as %+v with key %+v", step, k)
	}
	for i, name := range []string{"Bo Chen", "Cy Diaz"} {
		if c := step.Components[i]; c.Officer != name || c.Tries != 1 || c.KCV == nil || c.KCV.Convention != hsm.DESZero {
			t.Errorf("component %d is recorded as %+v", i+1, c)
		}
	}
	for i, o := range record.Officers {
		if o.Present == nil {
			t.Errorf("officer %d is not recorded as there", i)
		}
	}
	if len(record.Approvals) != 2 || record.Approvals[0].Name != "Bo Chen" || record.Outcome != ceremony.Done || record.Token.Serial == "" {
		t.Errorf("the record is %+v", record)
	}
	if got := r.fixture.Objects(t); len(got) != 3 { // the key, and the signing key pair
		t.Errorf("objects in the token: %q", got)
	}
}

// What is typed wrong is asked for again, and that component alone.
func TestComponentRetries(t *testing.T) {
	for name, c := range map[string]struct {
		step     string
		answers  []answer
		tries    [2]int
		recorded string // in an event of the record
	}{
		"each way of mistyping": {components, []answer{
			{"Name of who is at the keyboard", "Cy Diaz"},
			{"Name of who is at the keyboard", "Bo Chen"},
			{"Component 1", "1111 1111"},
			{"Component 1", "0000000000000000 0101010101010101 0000000000000000"},
			{"Component 1", "S" + first[1:]},
			{"Component 1", strings.Repeat("1", 300)},
			{"Component 1", first},
			{"on the paper", "perhaps"},
			{"on the paper", "yes"},
			{"Name of who is at the keyboard", "Cy Diaz"},
			{"Component 2", first},
			{"Component 2", second[:len(second)-1] + "6"}, // another parity bit only
			{"on the paper", "no"},
			{"Component 2", "0x" + strings.NewReplacer(" ", "-", "0", "O", "1", "l").Replace(second)},
			{"on the paper", "yes"},
			{"Import the key?", "yes"},
		}, [2]int{5, 3}, "it is zero, which hides nothing"},
		"script knows better": {strings.Replace(components, "{officer: Bo Chen}", "{officer: Bo Chen, kcv: 7E8CD2}", 1), []answer{
			{"Name of who is at the keyboard", "Bo Chen"},
			{"Component 1", second},
			{"Component 1", first},
			{"Name of who is at the keyboard", "Cy Diaz"},
			{"Component 2", second},
			{"on the paper", "yes"},
			{"Import the key?", "yes"},
		}, [2]int{2, 1}, "the script says 7E8CD2 (des-ecb-zero)"},
		"result is wrong": {components, []answer{
			{"Name of who is at the keyboard", "Bo Chen"},
			{"Component 1", first},
			{"on the paper", "yes"},
			{"Name of who is at the keyboard", "Cy Diaz"},
			{"Component 2", "2" + second[1:]},
			{"on the paper", "yes"},
			{"Which component", "3"},
			{"Which component", "2"},
			{"Name of who is at the keyboard", "Cy Diaz"},
			{"Component 2", second},
			{"on the paper", "yes"},
			{"Import the key?", "yes"},
		}, [2]int{1, 2}, "all components together"},
		"papers know the result": {strings.Replace(components, "kcv: 4EBA73", "", 1), append(typed(
			answer{"the key's value on the papers", "no"},
			answer{"Which component", "1"},
		), []answer{
			{"Name of who is at the keyboard", "Bo Chen"},
			{"Component 1", first},
			{"on the paper", "yes"},
			{"the key's value on the papers", "yes"},
			{"Import the key?", "yes"},
		}...), [2]int{2, 1}, "all components together"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			d := at(opening(c.answers...)...)
			record, err := r.run(t.Context(), t, c.step, d)
			if err != nil {
				t.Fatalf("%v\n%s", err, d.shown.String())
			}
			d.used(t)
			step := record.Steps[0]
			if got := [2]int{step.Components[0].Tries, step.Components[1].Tries}; got != c.tries {
				t.Errorf("tries %v, want %v", got, c.tries)
			}
			if step.Key.KCV[0].Value != keyValue {
				t.Errorf("the key has %v", step.Key.KCV)
			}
			if !slices.ContainsFunc(step.Events, func(e ceremony.Event) bool { return strings.Contains(e.What, c.recorded) }) {
				t.Errorf("no event says %q: %v", c.recorded, step.Events)
			}
		})
	}
}

// AES components are compared by CMAC, which is openssl's here; a weak result is
// refused.
func TestAESComponents(t *testing.T) {
	r := newRoom(t)
	const component = "0123456789ABCDEF0123456789ABCDEF"
	mac := string(openssl(t, make([]byte, 16), "mac", "-macopt", "cipher:AES-128-CBC", "-macopt", "hexkey:"+component, "CMAC"))
	step := strings.NewReplacer("tdes3", "aes128", "kcv: 4EBA73", "",
		"{officer: Bo Chen}", "{officer: Bo Chen, kcv: "+mac[:6]+" (aes-cmac-zero)}").Replace(components)
	d := at(opening(
		answer{"Name of who is at the keyboard", "Bo Chen"},
		answer{"Component 1, 32 hex digits", component},
		answer{"Name of who is at the keyboard", "Cy Diaz"},
		answer{"Component 2, 32 hex digits", "FEDCBA9876543210FEDCBA9876543210"},
		answer{"on the paper", "yes"},
	)...)
	record, err := r.run(t.Context(), t, step, d)
	wantErr(t, err, ceremony.ErrRefused, "one byte over and over")
	if got := record.Steps[0].Components[0].KCV; got == nil || *got != (hsm.KCV{Convention: hsm.AESCMACZero, Value: mac[:6]}) {
		t.Errorf("the first component has the check value %v, openssl says %s", got, mac[:6])
	}
	if left := r.keys(t); len(left) != 0 {
		t.Errorf("left in the token: %q", left)
	}
}

// Every other kind of step, on one token that is its own partner.
func TestEveryStep(t *testing.T) {
	r := newRoom(t)
	prepared, err := r.token.MakeTransportKey(t.Context(), "transport")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(prepared.Public)
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "partner.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	kek := make([]byte, 32)
	if _, err := rand.Read(kek); err != nil {
		t.Fatal(err)
	}
	if _, err := r.token.Import(t.Context(), hsm.NewKey{Label: "kek", Version: 1, Type: "aes256", Use: hsm.ForUnwrapping}, kek); err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 32)
	if _, err := rand.Read(value); err != nil {
		t.Fatal(err)
	}
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, prepared.Public, value, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "foreign.wrapped", wrapped)
	kcv, err := r.token.CheckValue(t.Context(), "aes256", value, hsm.AESCMACZero)
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "under.wrapped", wrapKey(t, kek, value))
	sum := sha256.Sum256(wrapped)

	d := at(opening(
		answer{"read aloud", "yes"},
		answer{"Generate it?", "yes"},
		answer{"Do it?", "yes"},
		answer{"Was it noted?", "yes"},
		answer{"Does the fingerprint agree", "yes"},
		answer{"Import it?", "yes"},
	)...)
	record, err := r.run(t.Context(), t, fmt.Sprintf(`
  - note: |
      Phones are outside.
      The door is locked.
  - generate: {label: fleet, version: 2, type: aes256, use: derive}
  - transport-key: {label: transport, write: own.pem, fingerprint: %[1]s}
  - generate-with-backup: {label: backed, type: aes256, use: mac, transport_key: partner.pem, fingerprint: "%[1]s", write: backed.wrapped}
  - import-wrapped: {label: restored, type: aes256, use: mac, transport_key: transport, file: backed.wrapped, kcv: 000000}
`, prepared.Fingerprint), d)
	d.used(t)
	wantErr(t, err, hsm.ErrKeyUnfit, "its key check value is")
	if record.Steps[4].Outcome != ceremony.Failed || record.Outcome != ceremony.Failed {
		t.Errorf("the outcome is %s, of the step %s", record.Outcome, record.Steps[4].Outcome)
	}
	if got := r.keys(t); !slices.Equal(got, []string{"backed 1", "fleet 2", "kek 1"}) {
		t.Errorf("keys in the token: %q", got)
	}
	backup := record.Steps[3]
	if !strings.Contains(backup.Files[0].Path, "backed.wrapped") || backup.TransportKey != prepared.Fingerprint || backup.Key.KCV[0].Convention != hsm.AESCMACZero {
		t.Errorf("the backup is recorded as %+v", backup)
	}
	own, err := os.ReadFile(r.path("own.pem"))
	if err != nil || !slices.Equal(own, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})) {
		t.Errorf("own.pem is %s, %v", own, err)
	}

	d = at(opening(
		answer{"Import it?", "yes"},
		answer{"Import it?", "yes"},
		answer{"Import it?", "yes"},
		answer{"type the key's label, foreign", "yes"},
		answer{"type the key's label, foreign", "foreign"},
	)...)
	record, err = r.run(t.Context(), t, fmt.Sprintf(`
  - import-wrapped: {label: restored, type: aes256, use: mac, transport_key: transport, file: backed.wrapped, sha256: %[1]s}
  - import-wrapped: {label: foreign, type: aes256, use: derive, transport_key: transport, file: foreign.wrapped, sha256: %[2]x, kcv: %[3]s}
  - import-under: {label: under, type: aes256, use: derive, under: {label: kek}, file: under.wrapped, kcv: "%[3]s (aes-cmac-zero)"}
  - check: {label: fleet, version: 2, kcv: %[4]s, type: aes256, use: derive, extractable: false, never_extractable: true, sensitive: true, always_sensitive: true, generated_in_token: true}
  - check: {label: restored, kcv: %[5]s, never_extractable: false}
  - destroy: {label: foreign, kcv: %[3]s}
`, backup.Files[0].SHA256, sum, kcv.Value, record.Steps[1].Key.KCV[0].Value, backup.Key.KCV[0].Value), d)
	if err != nil {
		t.Fatalf("%v\n%s", err, d.shown.String())
	}
	d.used(t)
	if got := r.keys(t); !slices.Equal(got, []string{"backed 1", "fleet 2", "kek 1", "restored 1", "under 1"}) {
		t.Errorf("keys in the token: %q", got)
	}
	if !strings.Contains(strings.Join(record.Lines(), "\n"), "weakness: the key may both derive and encrypt") {
		t.Error("the record does not tell of the weakness of use mac")
	}
}

// What is not as the script wants it ends the ceremony, leaves nothing in the
// token, and is in the record.
func TestRefusals(t *testing.T) {
	r := newRoom(t)
	if _, err := r.token.Generate(t.Context(), hsm.NewKey{Label: "there", Version: 1, Type: "aes256", Use: hsm.ForDeriving}); err != nil {
		t.Fatal(err)
	}
	r.write(t, "file", []byte("not a wrapped key"))
	wrong := func(n int, prompt string) (list []answer) {
		for range n {
			list = append(list, answer{prompt, "nonsense"})
		}
		return list
	}
	for name, c := range map[string]struct {
		steps   string
		answers []answer
		err     error
		words   string
	}{
		"somebody else there":  {"  - note: x\n", wrong(5, "Anna Berg"), nil, "no fitting answer in 5 tries"},
		"not an officer":       {"  - note: x\n", append(opening()[:3], wrong(5, "Approval 1")...), nil, "no fitting answer"},
		"approves twice":       {"  - note: x\n", append(opening()[:4], answer{"Approval 2", "Bo Chen"}, answer{"Approval 2", "BO CHEN"}, answer{"Approval 2", "stop"}), ceremony.ErrStopped, "by an officer"},
		"stopped at the start": {"  - note: x\n", []answer{{"Anna Berg", "Stop"}}, ceremony.ErrStopped, "by an officer"},
		"not confirmed":        {"  - generate: {label: x, type: aes256, use: derive}\n", opening(wrong(5, "Generate it?")...), nil, "step 1, generate: no fitting answer"},
		"stopped at a step":    {"  - generate: {label: x, type: aes256, use: derive}\n", opening(answer{"Generate it?", "stop"}), ceremony.ErrStopped, "step 1"},
		"name is taken":        {"  - generate: {label: there, type: aes256, use: derive}\n", opening(answer{"Generate it?", "yes"}), hsm.ErrKeyUnfit, "exists already"},
		"key is another":       {"  - check: {label: there, kcv: 000000}\n", opening(), ceremony.ErrRefused, "its key check value is"},
		"key is not there":     {"  - check: {label: gone, kcv: 000000}\n", opening(), ceremony.ErrRefused, "holds 0 keys called gone version 1"},
		"attributes differ":    {"  - check: {label: there, kcv: 000000, type: tdes3, use: mac, extractable: true}\n", opening(), ceremony.ErrRefused, "it is of type aes256, not tdes3; it is to derive, not to mac; the token says extractable: false"},
		"destroy another":      {"  - destroy: {label: there, kcv: 000000}\n", opening(), ceremony.ErrRefused, "its key check value is"},
		"another file":         {"  - import-wrapped: {label: x, type: aes256, use: derive, transport_key: t, file: file, sha256: " + strings.Repeat("00", 32) + "}\n", opening(), ceremony.ErrRefused, "not the file that the script means"},
		"no transport key":     {"  - import-wrapped: {label: x, type: aes256, use: derive, transport_key: t, file: file, kcv: 000000}\n", opening(answer{"Import it?", "yes"}), hsm.ErrKeyUnknown, "no transport key pair"},
		"no wrapping key":      {"  - import-under: {label: x, type: aes256, use: derive, under: {label: there}, file: file, kcv: 000000}\n", opening(answer{"Import it?", "yes"}), hsm.ErrKeyUnfit, "unwrap is needed"},
		"component five times": {components, opening(append([]answer{{"at the keyboard", "Bo Chen"}}, wrong(5, "Component 1")...)...), ceremony.ErrRefused, "not entered right in 5 tries"},
		"equal parts":          {components, opening(answer{"at the keyboard", "Bo Chen"}, answer{"Component 1", first}, answer{"on the paper", "yes"}, answer{"at the keyboard", "Cy Diaz"}, answer{"Component 2", "1032547698BADCFE 23016745AB89EFCD 0123CDEF89AB4567"}, answer{"on the paper", "yes"}), ceremony.ErrRefused, "the components do not make a master key"},
		"stopped at the end":   {components, opening(typed(answer{"Import the key?", "stop"})...), ceremony.ErrStopped, "step 1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := at(c.answers...)
			record, err := r.run(t.Context(), t, c.steps, d)
			if err == nil || c.err != nil && !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("error %v; want %v with %q\n%s", err, c.err, c.words, d.shown.String())
			}
			d.used(t)
			want := ceremony.Failed
			if errors.Is(err, ceremony.ErrStopped) {
				want = ceremony.BrokenOff
			}
			if record.Outcome != want || !strings.Contains(record.Error, c.words) {
				t.Errorf("the record says %s: %s", record.Outcome, record.Error)
			}
			if left := r.keys(t); !slices.Equal(left, []string{"there 1"}) {
				t.Errorf("keys in the token: %q", left)
			}
			if strings.Contains(strings.Join(record.Lines(), "\n"), "nonsense") {
				t.Error("the record says what was typed")
			}
		})
	}
}

// Ctrl-C at any question leaves nothing half made in the token, and a record that
// says so.
func TestInterruptedAnywhere(t *testing.T) {
	r := newRoom(t)
	steps := "  - generate: {label: before, version: %d, type: aes128, use: derive}\n" + components + "  - note: the end\n"
	answers := opening(append([]answer{{"Generate it?", "yes"}}, typed(answer{"Import the key?", "yes"}, answer{"read aloud", "yes"})...)...)
	var before, imported []string
	for n := range answers {
		question := n + 1
		ctx, cancel := context.WithCancel(t.Context())
		d := at(answers...)
		d.at, d.interrupt = question, cancel
		record, err := r.run(ctx, t, fmt.Sprintf(steps, question), d)
		cancel()
		wantErr(t, err, context.Canceled, "")
		if record.Outcome != ceremony.BrokenOff {
			t.Errorf("at question %d: the record says %s", question, record.Outcome)
		}
		// The first step is behind us from question 7 on, the second from the last on.
		if question > 6 {
			before = append(before, fmt.Sprintf("before %d", question))
		}
		done := [3]ceremony.Outcome{ceremony.NotReached, ceremony.NotReached, ceremony.NotReached}
		switch {
		case question == len(answers):
			done, imported = [3]ceremony.Outcome{ceremony.Done, ceremony.Done, ceremony.BrokenOff}, []string{"fleet 1"}
		case question > 6:
			done = [3]ceremony.Outcome{ceremony.Done, ceremony.BrokenOff, ceremony.NotReached}
		case question == 6:
			done[0] = ceremony.BrokenOff
		}
		for i, want := range done {
			if got := record.Steps[i].Outcome; got != want {
				t.Errorf("at question %d: step %d is %s, want %s", question, i+1, got, want)
			}
		}
		if got, want := r.keys(t), append(slices.Clone(before), imported...); len(got) != len(want) {
			t.Errorf("at question %d: keys in the token %q, want %q", question, got, want)
		}
		if got := len(r.fixture.Objects(t)); got != len(before)+len(imported)+2 {
			t.Errorf("at question %d: %d objects in the token", question, got)
		}
	}
}

// A backup that cannot be written takes its key with it.
func TestBackupThatCannotBeWritten(t *testing.T) {
	r := newRoom(t)
	k, err := r.token.MakeTransportKey(t.Context(), "transport")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public)
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "partner.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	// Somebody takes the file's name while the officers read.
	taken := &taker{at(opening(answer{"Does the fingerprint agree", "yes"})...), func() { r.write(t, "backup", []byte("taken")) }}
	steps := fmt.Sprintf("  - generate-with-backup: {label: x, type: aes256, use: derive, transport_key: partner.pem, fingerprint: %s, write: backup}\n", k.Fingerprint)
	_, err = ceremony.Run(t.Context(), r.script(t, steps), ceremony.Options{
		HSM: r.token, Signer: r.signer, Console: taken, Record: r.path("record"), Tool: "test", Now: clock(),
	})
	wantErr(t, err, os.ErrExist, "the key was destroyed again")
	if left := r.keys(t); len(left) != 0 {
		t.Errorf("keys in the token: %q", left)
	}
	if text, err := os.ReadFile(r.path("backup")); err != nil || string(text) != "taken" {
		t.Errorf("what was there is now %q, %v", text, err)
	}
}

// taker does something at the last question.
type taker struct {
	*desk
	do func()
}

func (t *taker) Ask(ctx context.Context, prompt string) (string, error) {
	if strings.Contains(prompt, "fingerprint agree") {
		t.do()
	}
	return t.desk.Ask(ctx, prompt)
}

// Where the token does not sign, the officers are told on the screen, which has all
// that there is of the record, and what is on the disk is no record.
func TestRecordThatIsNotSigned(t *testing.T) {
	r := newRoom(t)
	d := at(opening(answer{"Generate it?", "yes"})...)
	dead := errors.New("the token is gone")
	record, err := ceremony.Run(t.Context(), r.script(t, "  - generate: {label: x, type: aes256, use: derive}\n"), ceremony.Options{
		HSM: r.token, Signer: deadSigner{r.signer, dead}, Console: d, Record: r.path("record"), Tool: "test", Now: clock(),
	})
	wantErr(t, err, dead, "THE RECORD IS NOT SAFE")
	for _, want := range []string{"THE RECORD WAS NOT SIGNED OR NOT WRITTEN", "key check value " + record.Steps[0].Key.KCV[0].String()} {
		if !strings.Contains(d.shown.String(), want) {
			t.Errorf("%q is not on the screen:\n%s", want, d.shown.String())
		}
	}
	file, err := os.ReadFile(r.path("record"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = ceremony.Verify(file, nil)
	wantErr(t, err, ceremony.ErrRecord, "it is not signed")
}

// deadSigner is a signing key in a token that is gone.
type deadSigner struct {
	crypto.Signer
	err error
}

func (d deadSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, d.err }

// Where a ceremony cannot begin, nothing is asked and no record is left.
func TestCannotBegin(t *testing.T) {
	r := newRoom(t)
	r.write(t, "there", []byte("x"))
	another, err := ceremony.Parse(r.path("ceremony.yaml"), []byte(fmt.Sprintf(head, "another-token")+"  - note: x\n"))
	if err != nil {
		t.Fatal(err)
	}
	zero := strings.Repeat("00", 32)
	for name, c := range map[string]struct {
		script *ceremony.Script
		record string
		err    error
		words  string
	}{
		"another token":      {another, "record", ceremony.ErrRefused, "the script is for token"},
		"record is there":    {r.script(t, "  - note: x\n"), "there", os.ErrExist, "make record"},
		"record has no room": {r.script(t, "  - note: x\n"), "no/such/folder", os.ErrNotExist, "make record"},
		"files": {r.script(t, `
  - generate-with-backup: {label: x, type: aes256, use: derive, transport_key: there, fingerprint: `+zero+`, write: there}
  - import-under: {label: y, type: aes256, use: derive, under: {label: k}, file: missing}
  - transport-key: {label: t, write: no/such/folder}
`), "record", nil, "has 4 faults"},
	} {
		t.Run(name, func(t *testing.T) {
			d := at()
			record, err := ceremony.Run(t.Context(), c.script, ceremony.Options{
				HSM: r.token, Signer: r.signer, Console: d, Record: r.path(c.record), Tool: "test", Now: clock(),
			})
			var faults *strictyaml.Faults
			if record != nil || c.err != nil && !errors.Is(err, c.err) || c.err == nil && !errors.As(err, &faults) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("record %v, error %v; want %v with %q", record, err, c.err, c.words)
			}
			if d.asked != 0 {
				t.Error("a question was asked")
			}
			if _, err := os.Stat(r.path("record")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a record is left: %v", err)
			}
		})
	}
}

// wrapKey wraps with openssl by RFC 3394.
func wrapKey(t *testing.T, kek, value []byte) []byte {
	t.Helper()
	return openssl(t, value, "enc", "-id-aes256-wrap", "-K", hex.EncodeToString(kek), "-iv", "A6A6A6A6A6A6A6A6")
}
