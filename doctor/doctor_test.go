package doctor_test

import (
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"latchkey/card"
	"latchkey/doctor"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/faultmodule"
	"latchkey/softhsm-test/secondvendor"
	"latchkey/softhsm-test/throwawayca"
	"latchkey/store"
)

// options are those of a machine whose clock is right.
func options() doctor.Options {
	return doctor.Options{Quick: true, Now: time.Now(), Synchronised: func() (yes, known bool) { return true, true }}
}

// server is a configuration file with all that it names.
type server struct{ config, dir string }

const profileFleet = `{id: fleet, card_key_type: aes256, scheme: latchkey-v1, master_key: fleet}`

// newServer writes a configuration for the token, with the given profiles and more
// in its hsm section.
func newServer(t *testing.T, token *softhsmtest.Token, hsmMore string, profiles ...string) *server {
	t.Helper()
	ca, err := throwawayca.New("CA")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{dir: t.TempDir()}
	pair, err := ca.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pair.Write(filepath.Join(s.dir, "server.pem"), filepath.Join(s.dir, "server.key")), ca.Write(filepath.Join(s.dir, "ca.pem"))); err != nil {
		t.Fatal(err)
	}
	s.config = filepath.Join(s.dir, "latchkey.yaml")
	text := fmt.Sprintf(`
tls: {certificate: server.pem, key: server.key, client_ca: ca.pem}
hsm: {module: %s, token: {label: %s}, pin: {file: %s}%s}
clients: [{name: idm, subject: CN=idm, roles: [backend], names_operators: true}]
profiles:
`, token.Module, token.Label, token.PINFile, hsmMore)
	for _, p := range profiles {
		text += "  - " + p + "\n"
	}
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// examine examines the configuration, where there is one, and the token.
func examine(t *testing.T, s *server, token *hsm.Token) *doctor.Exam {
	t.Helper()
	e := doctor.New(options())
	e.Machine()
	if s != nil {
		e.Configuration(t.Context(), s.config)
	}
	turn(t, e, token)
	return e
}

func turn(t *testing.T, e *doctor.Exam, token *hsm.Token) {
	t.Helper()
	e.Turn(hsm.Selector{Label: token.Info().Label})
	if err := e.Token(t.Context(), token); err != nil {
		t.Fatal(err)
	}
}

// want is a finding that there has to be: its text has this in it.
type want struct {
	check    doctor.Check
	subject  string
	grade    doctor.Grade
	text     string
	profiles []string
}

func (w want) in(e *doctor.Exam) bool {
	return slices.ContainsFunc(e.Findings, func(f doctor.Finding) bool {
		return f.Check == w.check && f.Subject == w.subject && f.Grade == w.grade && strings.Contains(f.Text, w.text) &&
			(w.profiles == nil || slices.Equal(f.Profiles, w.profiles))
	})
}

// graver lists the findings of a grade, for the test's report.
func graver(e *doctor.Exam, grades ...doctor.Grade) (texts []string) {
	for _, f := range e.Findings {
		if slices.Contains(grades, f.Grade) {
			texts = append(texts, fmt.Sprintf("%s %s %s: %s", f.Check, f.Grade, f.Subject, f.Text))
		}
	}
	return texts
}

func check(t *testing.T, e *doctor.Exam, wants ...want) {
	t.Helper()
	for _, w := range wants {
		if !w.in(e) {
			t.Errorf("there is no finding like %+v among:\n%s", w, strings.Join(graver(e, w.grade), "\n"))
		}
	}
}

func generate(t *testing.T, token *hsm.Token, label string, kt card.KeyType, use hsm.Use) {
	t.Helper()
	if _, err := token.Generate(t.Context(), hsm.NewKey{Label: label, Version: 1, Type: kt, Use: use}); err != nil {
		t.Fatal(err)
	}
}

// A token and a configuration that are as they should be give no warning, and the
// token is left as it was.
func TestGoodToken(t *testing.T) {
	fixture := softhsmtest.New(t)
	token := fixture.Open(t)
	generate(t, token, "fleet", card.AES256, hsm.ForDeriving)
	s := newServer(t, fixture, "", profileFleet)
	e := examine(t, s, token)
	if bad := graver(e, doctor.Warning, doctor.Fail); bad != nil || e.Grade() != doctor.Note {
		t.Errorf("a good token is %s:\n%s", e.Grade(), strings.Join(bad, "\n"))
	}
	check(t, e,
		want{doctor.Profile, "fleet", doctor.Pass, "master key fleet version 1", nil},
		want{doctor.MasterKey, "fleet version 1", doctor.Pass, "aes256, for use derive", nil},
		want{doctor.Scheme, "wrapped by aes-cbc-pad", doctor.Note, "not supported", nil},
		want{doctor.Store, filepath.Join(s.dir, "latchkey.db"), doctor.Note, "no database yet", nil},
	)
	if tally := e.Results[0].Answers; tally.Failed != 0 || tally.Passed < 30 {
		t.Errorf("known answers: %+v", tally)
	}
	if left := fixture.Objects(t); !slices.Equal(left, []string{"fleet"}) {
		t.Errorf("the token has the objects %q", left)
	}
}

// Each thing that can be wrong with a key is said of it, and stops the profiles
// that need it.
func TestKeys(t *testing.T) {
	fixture := softhsmtest.New(t)
	for label, traits := range map[string][]string{
		"fleet": {"bound"}, "extractable": {"extractable"}, "named": {"extractable"}, "readable": {"insensitive"},
		"both": {"encrypt"}, "twice": nil, "public": {"public"}, "signs": {"sign", "wrap"}, "narrow": {"narrow"},
		"left over": {"card"}, "old": {"tdes3"}, "useless": {"useless"}, "other": {"foreign"},
	} {
		fixture.Plant(t, label, traits...)
	}
	fixture.Plant(t, "twice")
	token := fixture.Open(t)
	value := []byte("key from elsewhere, of 32 bytes.")
	if _, err := token.Import(t.Context(), hsm.NewKey{Label: "imported", Version: 1, Type: card.AES256, Use: hsm.ForDeriving}, value); err != nil {
		t.Fatal(err)
	}
	profile := func(id, master string) string {
		return fmt.Sprintf("{id: %s, card_key_type: aes256, scheme: latchkey-v1, master_key: %s}", id, master)
	}
	s := newServer(t, fixture, ", allow_extractable: [named]",
		profile("p-extractable", "extractable"), profile("p-named", "named"), profile("p-readable", "readable"),
		profile("p-twice", "twice"), profile("p-missing", "missing"), profile("p-narrow", "narrow"), profile("p-old", "old"),
		profile("p-public", "public"), profile("p-imported", "imported"),
		"{id: p-mac, card_key_type: aes256, scheme: an10922-aes256, input: serial, master_key: imported}",
		"{id: p-version, card_key_type: aes256, scheme: latchkey-v1, master_key: imported, master_key_version: 2}")
	e := examine(t, s, token)
	const key, profiles = doctor.MasterKey, doctor.Profile
	check(t, e,
		want{key, "fleet version 1", doctor.Warning, "wider than its use: 0x1081", nil},
		want{key, "fleet version 1", doctor.Note, "not of Latchkey's form", nil},
		want{key, "extractable version 1", doctor.Fail, "it is extractable", []string{"p-extractable"}},
		want{key, "named version 1", doctor.Warning, "hsm.allow_extractable names it", nil},
		want{key, "readable version 1", doctor.Fail, "not sensitive", []string{"p-readable"}},
		want{key, "both version 1", doctor.Warning, "may both derive and encrypt", nil},
		want{key, "twice version 1", doctor.Fail, "same label and version", []string{"p-twice"}},
		want{key, "public version 1", doctor.Fail, "not private", []string{"p-public"}},
		want{key, "signs version 1", doctor.Warning, "more than its use: sign, wrap", nil},
		want{key, "signs version 1", doctor.Warning, "bound to no mechanisms", nil},
		want{key, "old version 1", doctor.Warning, "3DES key", nil},
		want{key, "useless version 1", doctor.Warning, "go with no use", nil},
		want{key, "imported version 1", doctor.Note, "not generated in this token", nil},
		want{key, "", doctor.Warning, "1 keys look like card keys that were left over", nil},
		want{key, "", doctor.Note, "1 more secret keys", nil},
		want{profiles, "p-extractable", doctor.Fail, "it could leave the token", nil},
		want{profiles, "p-named", doctor.Pass, "", nil},
		want{profiles, "p-readable", doctor.Fail, "not sensitive", nil},
		want{profiles, "p-twice", doctor.Fail, "2 keys are called twice version 1", nil},
		want{profiles, "p-missing", doctor.Fail, "missing version 1 is not in the token", nil},
		want{profiles, "p-version", doctor.Fail, "imported version 2 is not in the token", nil},
		want{profiles, "p-narrow", doctor.Fail, "leave out CKM_AES_CBC_ENCRYPT_DATA", nil},
		want{profiles, "p-old", doctor.Fail, "works with a master key of type [aes256]", nil},
		want{profiles, "p-mac", doctor.Fail, "made for use mac", nil},
		want{profiles, "p-imported", doctor.Pass, "", nil},
	)
	if e.Grade() != doctor.Fail {
		t.Errorf("the grade is %s", e.Grade())
	}
}

// A token that lists 3DES and refuses it, as one in FIPS mode does, stops the
// profiles with 3DES and no others.
func TestWithout3DES(t *testing.T) {
	fixture := softhsmtest.New(t)
	fault := faultmodule.Start(t, fixture.Module)
	fixture.Module = fault.Path
	token := fixture.Open(t)
	generate(t, token, "fleet", card.AES256, hsm.ForDeriving)
	generate(t, token, "old", card.TDES2, hsm.ForDeriving)
	for _, m := range []uint{pkcs11.CKM_DES3_ECB, pkcs11.CKM_DES3_CBC, pkcs11.CKM_DES3_ECB_ENCRYPT_DATA} {
		fault.RefuseMechanism(m)
	}
	s := newServer(t, fixture, "", profileFleet,
		"{id: gids, card_key_type: tdes3, scheme: latchkey-v1, master_key: fleet}",
		"{id: jcop, card_key_type: tdes2, scheme: visa2, master_key: old}")
	e := examine(t, s, token)
	check(t, e,
		want{doctor.TripleDES, "", doctor.Fail, "the token refuses it", []string{"gids", "jcop"}},
		want{doctor.Response, "tdes-ecb", doctor.Fail, "not supported: C_EncryptInit", []string{"gids", "jcop"}},
		want{doctor.Response, "aes-ecb", doctor.Pass, "", nil},
		want{doctor.Scheme, "latchkey-v1", doctor.Fail, "card keys of type aes128, aes192, aes256", []string{"gids"}},
		want{doctor.Scheme, "emv", doctor.Note, "not supported", nil},
		want{doctor.Profile, "fleet", doctor.Pass, "", nil},
		want{doctor.Profile, "gids", doctor.Fail, "does not carry it out", nil},
		want{doctor.Profile, "jcop", doctor.Fail, "does not carry it out", nil},
	)
	if tally := e.Results[0].Answers; tally.Failed != 0 {
		t.Errorf("known answers that the token does not do are taken for wrong ones: %+v", tally)
	}
	// With nothing configured nobody knows who needs it.
	check(t, examine(t, nil, token), want{doctor.TripleDES, "", doctor.Warning, "the token refuses it", nil})
	// A token that is without the mechanism says so.
	fault.Clear()
	fault.HideMechanism(pkcs11.CKM_AES_CBC_ENCRYPT_DATA)
	check(t, examine(t, s, token),
		want{doctor.TripleDES, "", doctor.Fail, "not all that these profiles need", []string{"gids"}},
		want{doctor.Scheme, "latchkey-v1", doctor.Fail, "the token does not list CKM_AES_CBC_ENCRYPT_DATA", []string{"fleet", "gids"}})
}

// A fallback that lacks a key is warned of, one with another key of the same name
// must not be used.
func TestFallback(t *testing.T) {
	fixture := softhsmtest.New(t)
	second := *fixture
	second.Label = "second"
	util := exec.Command("softhsm2-util", "--module", fixture.Module, "--init-token", "--free", "--label", second.Label, "--so-pin", "so-pin", "--pin", second.PIN)
	if out, err := util.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tokens := []*hsm.Token{fixture.Open(t), second.Open(t)}
	value := []byte("key from elsewhere, of 32 bytes.")
	for _, token := range tokens {
		if _, err := token.Import(t.Context(), hsm.NewKey{Label: "same", Version: 1, Type: card.AES256, Use: hsm.ForDeriving}, value); err != nil {
			t.Fatal(err)
		}
		generate(t, token, "other", card.AES256, hsm.ForDeriving)
	}
	generate(t, tokens[0], "missing", card.AES256, hsm.ForDeriving)
	more := fmt.Sprintf(", fallbacks: [{module: %s, token: {label: second}, pin: {file: %s}}]", fixture.Module, fixture.PINFile)
	s := newServer(t, fixture, more,
		"{id: p-same, card_key_type: aes256, scheme: latchkey-v1, master_key: same}",
		"{id: p-other, card_key_type: aes256, scheme: latchkey-v1, master_key: other}",
		"{id: p-missing, card_key_type: aes256, scheme: latchkey-v1, master_key: missing}")
	e := examine(t, s, tokens[0])
	if e.Grade() != doctor.Note {
		t.Errorf("the first token is %s: %q", e.Grade(), graver(e, doctor.Warning, doctor.Fail))
	}
	turn(t, e, tokens[1])
	check(t, e,
		want{doctor.MasterKey, "other version 1", doctor.Fail, "not the key of that name in the first token", []string{"p-other"}},
		want{doctor.Profile, "p-missing", doctor.Warning, "missing version 1 is not in the token", nil})
	if bad := graver(e, doctor.Warning, doctor.Fail); len(bad) != 2 {
		t.Errorf("%q", bad)
	}
	if last := e.Findings[len(e.Findings)-1]; last.Token != "second" {
		t.Errorf("the last finding is of token %q", last.Token)
	}
}

// NSS derives without listing it, gives keys out that are not extractable, and
// takes one wrapping for another.
func TestSecondVendor(t *testing.T) {
	fixture := secondvendor.New(t)
	token := fixture.Open(t)
	check(t, examine(t, nil, token),
		want{doctor.Scheme, "latchkey-v1", doctor.Pass, "although the token does not list", nil},
		want{doctor.Refusal, "wrap-out", doctor.Fail, "CKM_AES_KEY_WRAP wraps a key that is not extractable", nil},
		want{doctor.Refusal, "loosen", doctor.Fail, "C_CopyObject", nil},
		want{doctor.Refusal, "allowed-mechanisms", doctor.Warning, "CKM_AES_ECB", nil},
		want{doctor.Refusal, "read-value", doctor.Pass, "", nil},
		want{doctor.Answers, "wrapped aes256 by aes-key-wrap-pad", doctor.Warning, "CKR_WRAPPED_KEY_INVALID", nil},
		want{doctor.Scheme, "wrapped by aes-key-wrap-pad", doctor.Note, "known answer does not come out", nil},
		want{doctor.Scheme, "wrapped by aes-cbc-pad", doctor.Pass, "", nil},
	)
	t.Run("FIPS mode", func(t *testing.T) {
		token := secondvendor.NewFIPS(t).Open(t)
		check(t, examine(t, nil, token), want{doctor.Answers, "", doctor.Warning, "takes no key in clear", nil})
	})
}

// What is wrong around the server, each by itself.
func TestConfiguration(t *testing.T) {
	fixture := softhsmtest.New(t)
	s := newServer(t, fixture, "", profileFleet)
	examined := func(change func(*doctor.Options)) *doctor.Exam {
		o := options()
		change(&o)
		e := doctor.New(o)
		e.Machine()
		e.Configuration(t.Context(), s.config)
		return e
	}
	as := func(*doctor.Options) {}
	path := func(name string) string { return filepath.Join(s.dir, name) }

	if e := examined(as); e.Grade() != doctor.Note {
		t.Errorf("a good configuration is %s: %q", e.Grade(), graver(e, doctor.Warning, doctor.Fail))
	}
	in := func(d time.Duration) func(*doctor.Options) {
		return func(o *doctor.Options) { o.Now = o.Now.Add(d) }
	}
	check(t, examined(in(-72*time.Hour)), want{doctor.TLS, path("server.pem"), doctor.Fail, "is not valid before", nil})
	check(t, examined(in(50*365*24*time.Hour)), want{doctor.TLS, path("ca.pem"), doctor.Fail, "has expired", nil})
	check(t, examined(func(o *doctor.Options) { o.Built = o.Now.Add(time.Hour) }), want{doctor.Clock, "machine", doctor.Fail, "before this program was built", nil})
	check(t, examined(func(o *doctor.Options) { o.Synchronised = func() (yes, known bool) { return false, true } }),
		want{doctor.Clock, "machine", doctor.Warning, "nothing keeps it right", nil})
	check(t, examined(func(o *doctor.Options) { o.Synchronised = func() (yes, known bool) { return false, false } }),
		want{doctor.Clock, "machine", doctor.Note, "cannot be told", nil})

	// The database, in use by a server.
	db, err := store.Open(t.Context(), path("latchkey.db"))
	if err != nil {
		t.Fatal(err)
	}
	check(t, examined(as), want{doctor.Store, path("latchkey.db"), doctor.Pass, "schema ", nil})
	if err := errors.Join(db.Close(), os.Chmod(path("latchkey.db"), 0o644)); err != nil {
		t.Fatal(err)
	}
	check(t, examined(as), want{doctor.Store, path("latchkey.db"), doctor.Warning, "others may read it (mode 0644)", nil})
	if err := os.WriteFile(path("latchkey.db"), []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, examined(as), want{doctor.Store, path("latchkey.db"), doctor.Fail, "not a Latchkey database", nil})

	// A certificate that no client takes.
	ca, err := throwawayca.New("CA")
	if err != nil {
		t.Fatal(err)
	}
	nameless, err := ca.Client(pkix.Name{CommonName: "nameless"})
	if err == nil {
		err = nameless.Write(path("server.pem"), path("server.key"))
	}
	if err != nil {
		t.Fatal(err)
	}
	check(t, examined(as), want{doctor.TLS, path("server.pem"), doctor.Fail, "has no DNS name", nil})

	// Every fault of the file, each by itself.
	if err := errors.Join(os.Chmod(fixture.PINFile, 0o644), os.Remove(path("ca.pem"))); err != nil {
		t.Fatal(err)
	}
	check(t, examined(as),
		want{doctor.Configuration, s.config, doctor.Fail, "hsm.pin.file: " + fixture.PINFile + " may be read by others (mode 0644)", nil},
		want{doctor.Configuration, s.config, doctor.Fail, "tls.client_ca: ", nil})
}

// docs/doctor.md has a section for every check.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range doctor.Checks() {
		if !strings.Contains(string(page), "\n## "+string(c)+"\n") {
			t.Errorf("docs/doctor.md has no section %q", c)
		}
	}
	for _, p := range hsm.Probes() {
		if !strings.Contains(string(page), "| `"+string(p)+"` |") {
			t.Errorf("docs/doctor.md says nothing of the probe %s", p)
		}
	}
}
