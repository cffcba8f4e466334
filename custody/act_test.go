package custody_test

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/card"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/hsm"
)

// A statement's canonical form is what RFC 8785 makes of it: this one was written
// by hand. Every change of it changes the hash.
func TestStatement(t *testing.T) {
	s := custody.Statement{
		Header: dualcontrol.Header{
			ID: "p-1", Proposer: "olga", Approvals: 2,
			CreatedAt: time.Date(2026, 5, 4, 10, 12, 0, 120000000, time.FixedZone("", 2*3600)), ExpiresAt: time.Date(2026, 5, 5, 8, 12, 0, 0, time.UTC),
		},
		Act: custody.ImportUnder, Token: "49f8",
		Parameters: custody.Parameters{
			Key: "fleet", Version: 2, Reason: `<year> "2026" ü`, Type: card.AES256, Use: hsm.ForDeriving, KCV: "1F3A8F",
			Wrapped: []byte{0xFF, 0xFE}, Under: "transfer", UnderVersion: 1, Wrapping: card.KeyWrap,
		},
	}
	const want = `{"act":"import-under","approvals":2,"created_at":"2026-05-04T08:12:00.12Z","expires_at":"2026-05-05T08:12:00Z","id":"p-1",` +
		`"parameters":{"kcv":"1F3A8F","key":"fleet","reason":"<year> \"2026\" ü","type":"aes256","under":"transfer","under_version":1,"use":"derive","version":2,` +
		`"wrapped":"//4=","wrapping":"aes-key-wrap"},"proposer":"olga","token":"49f8"}`
	if got := s.Canonical(); got != want {
		t.Errorf("canonical form\n%s\nwant\n%s", got, want)
	}
	sum := sha256.Sum256([]byte(want))
	if got := s.Hash(); got != hex.EncodeToString(sum[:]) {
		t.Errorf("hash %s", got)
	}
	back, err := custody.ParseStatement(want)
	if err != nil || back.Hash() != s.Hash() {
		t.Errorf("read back: %+v (%v)", back, err)
	}
	for name, text := range map[string]string{
		"another order": strings.Replace(want, `{"act":"import-under","approvals":2,`, `{"approvals":2,"act":"import-under",`, 1),
		"white space":   strings.Replace(want, `,"act"`, `, "act"`, 1) + " ",
		"twice":         strings.Replace(want, `"token":"49f8"`, `"token":"0000","token":"49f8"`, 1),
		"unknown field": strings.Replace(want, `"token"`, `"x":1,"token"`, 1),
		"two":           want + want,
	} {
		if _, err := custody.ParseStatement(text); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}

	hashes := []string{s.Hash()}
	for _, change := range []func(*custody.Statement){
		func(s *custody.Statement) { s.ID = "p-2" },
		func(s *custody.Statement) { s.Act = custody.ImportWrapped },
		func(s *custody.Statement) { s.Token = "49f9" },
		func(s *custody.Statement) { s.Proposer = "otto" },
		func(s *custody.Statement) { s.Person = "olga" },
		func(s *custody.Statement) { s.Approvals = 1 },
		func(s *custody.Statement) { s.ExpiresAt = s.ExpiresAt.Add(time.Microsecond) },
		func(s *custody.Statement) { s.Parameters.Key = "fleet2" },
		func(s *custody.Statement) { s.Parameters.Version = 3 },
		func(s *custody.Statement) { s.Parameters.Type = card.AES128 },
		func(s *custody.Statement) { s.Parameters.Use = hsm.ForMACs },
		func(s *custody.Statement) { s.Parameters.KCV = "" },
		func(s *custody.Statement) { s.Parameters.Wrapped = []byte{0xFF, 0xFF} },
		func(s *custody.Statement) { s.Parameters.Under = "transfer2" },
		func(s *custody.Statement) { s.Parameters.UnderVersion = 2 },
		func(s *custody.Statement) { s.Parameters.Wrapping = card.KeyWrapPad },
		func(s *custody.Statement) { s.Parameters.BackupKey = []byte{1} },
	} {
		changed := s
		change(&changed)
		if slices.Contains(hashes, changed.Hash()) {
			t.Errorf("a change leaves the hash: %+v", changed)
		}
		hashes = append(hashes, changed.Hash())
	}
}

func TestDraftFaults(t *testing.T) {
	made := custody.Parameters{Key: "fleet", Version: 1, Type: card.AES256, Use: hsm.ForDeriving}
	with := func(p custody.Parameters, change func(*custody.Parameters)) custody.Parameters {
		change(&p)
		return p
	}
	for name, test := range map[string]struct {
		act    custody.Act
		params custody.Parameters
		fields []string
	}{
		"generate":           {custody.Generate, made, nil},
		"activate":           {custody.Activate, custody.Parameters{Key: "fleet", Version: 1}, nil},
		"nothing said":       {custody.Generate, custody.Parameters{}, []string{"parameters.key", "parameters.version", "parameters.type", "parameters.use"}},
		"export":             {"export", made, []string{"act"}},
		"version too high":   {custody.Activate, custody.Parameters{Key: "fleet", Version: 10000}, []string{"parameters.version"}},
		"type of an old key": {custody.Activate, made, []string{"parameters.type", "parameters.use"}},
		"no such type":       {custody.Generate, with(made, func(p *custody.Parameters) { p.Type = "aes512" }), []string{"parameters.type"}},
		"no such use":        {custody.Generate, with(made, func(p *custody.Parameters) { p.Use = "none" }), []string{"parameters.use"}},
		"DES key to unwrap":  {custody.Generate, with(made, func(p *custody.Parameters) { p.Type, p.Use = card.TDES3, hsm.ForUnwrapping }), []string{"parameters.use"}},
		"import of nothing":  {custody.ImportWrapped, made, []string{"parameters.wrapped"}},
		"import of too much": {custody.ImportWrapped, with(made, func(p *custody.Parameters) { p.Wrapped = make([]byte, 4096) }), []string{"parameters.wrapped"}},
		"wrapping with no MAC": {custody.ImportUnder, with(made, func(p *custody.Parameters) {
			p.Wrapped, p.Under, p.UnderVersion, p.Wrapping = []byte{1}, "t", 1, card.CBCPad
		}), []string{"parameters.wrapping"}},
		"check value in words": {custody.ImportWrapped, with(made, func(p *custody.Parameters) { p.Wrapped, p.KCV = []byte{1}, "1f3a8f" }), []string{"parameters.kcv"}},
		"check value of none":  {custody.Generate, with(made, func(p *custody.Parameters) { p.KCV = "1F3A8F" }), []string{"parameters.kcv"}},
		"backup to nobody":     {custody.GenerateWithBackup, made, []string{"parameters.backup_key"}},
		"backup to nonsense":   {custody.GenerateWithBackup, with(made, func(p *custody.Parameters) { p.BackupKey = []byte{0x30, 0} }), []string{"parameters.backup_key"}},
		"reason of two lines":  {custody.Activate, custody.Parameters{Key: "fleet", Version: 1, Reason: "a\nb"}, []string{"parameters.reason"}},
	} {
		t.Run(name, func(t *testing.T) {
			var fields []string
			for _, f := range (custody.Draft{Act: test.act, Parameters: test.params}).Faults() {
				fields = append(fields, f.Field)
			}
			if !slices.Equal(fields, test.fields) {
				t.Errorf("faults in %q, want %q", fields, test.fields)
			}
		})
	}
}
