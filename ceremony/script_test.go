package ceremony_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"latchkey/ceremony"
	"latchkey/config/strictyaml"
)

// Each fault of a script is found, and told with its place.
func TestFaults(t *testing.T) {
	valid := fmt.Sprintf(head, "t") + "  - note: x\n"
	steps := func(s string) string { return fmt.Sprintf(head, "t") + s }
	in := func(old, new string) string {
		changed := strings.Replace(valid, old, new, 1)
		if changed == valid {
			t.Fatalf("%q is not in the script", old)
		}
		return changed
	}
	for text, want := range map[string]string{
		"":                                      "there is nothing in it",
		in("title: Test ceremony", "titel: x"):  `line 1: unknown key "titel"`,
		in("title: Test ceremony", "title: ''"): "title: is required",
		in("title: Test ceremony", "title: \"a\\u202eb\""):                   "title: has a control character",
		in("{label: t}", "{}"):                                               "token: name the token",
		in("label: ceremony, ", ""):                                          "signing_key.label: is required",
		in("Bo Chen, role: custodian}", "Anna  BERG, role: x}"):              "officers[1].name: \"Anna  BERG\" is there twice",
		in("{name: Bo Chen, role: custodian}", "{name: Stop, role: x}"):      "is the word that breaks a ceremony off",
		in("role: administrator", "certificate: 12AB, role: x"):              "officers[0].certificate: is not a SHA-256 in hex: 4 hex digits; 64 are needed",
		in("run_by: Anna Berg", "run_by: Dee"):                               `run_by: "Dee" is not one of officers`,
		in("required: 2", "required: 4"):                                     "approval.required: must be from 1 to the number of approval.officers, 3",
		in("required: 2", "required: 0x2"):                                   "must be a whole number",
		in("required: 2", "required: 1"):                                     `run_by, "Anna Berg", could approve alone`,
		in("[Anna Berg, Bo Chen, Cy Diaz]", "[Anna Berg, Bo Chen, bo chen]"): `approval.officers[2]: "bo chen" is there twice`,
		in("[Anna Berg, Bo Chen, Cy Diaz]", "[Bo Chen, Dee]"):                `approval.officers[1]: "Dee" is not one of officers`,
		valid + "---\n":       "more behind the first YAML document",
		steps("  []\n"):       "steps: there must be 1 to 200",
		steps("  - {}\n"):     "step 1: must be exactly one of note, generate, ",
		steps("  - dance: x"): `unknown key "dance"`,
		steps("  - {note: x, generate: {label: x, type: aes256, use: derive}}\n"): "step 1: must be exactly one of",
		steps("  - note: [x]\n"):                                                     "must be text",
		steps("  - note: ''\n"):                                                      "step 1, note: is required",
		steps("  - note: \"a\\tb\"\n"):                                               "step 1, note: has a control character",
		steps("  - generate: {type: aes256, use: derive}\n"):                         "step 1, generate.label: is required",
		steps("  - generate: {label: x, version: 0, type: aes256, use: derive}\n"):   "step 1, generate.version: must be from 1",
		steps("  - generate: {label: x, version: 1.5, type: aes256, use: derive}\n"): "must be a whole number",
		steps("  - generate: {label: x, type: des, use: derive}\n"):                  `step 1, generate.type: "des" is not one of`,
		steps("  - generate: {label: x, type: aes256, use: sign}\n"):                 `step 1, generate.use: "sign" is not one of`,
		steps("  - generate: {label: x, type: tdes3, use: unwrap}\n"):                "unwrap needs an AES key",
		steps("  - generate: {label: x, type: aes256, use: derive, kcv: 000000}\n"):  `unknown key "kcv"`,
		steps("  - generate: {label: x, type: aes256, use: derive}\n  - generate: {label: x, version: 1, type: aes256, use: derive}\n"): "step 2, generate: x version 1 is made by an earlier step already",
		steps("  - generate-with-backup: {label: x, type: aes256, use: derive, fingerprint: 00, write: w}\n"):                           "step 1, generate-with-backup.transport_key: is required",
		steps("  - generate-with-backup: {label: x, type: aes256, use: derive, transport_key: k, write: w}\n"):                          "step 1, generate-with-backup.fingerprint: is not a SHA-256",
		steps("  - transport-key: {label: a, write: w}\n  - transport-key: {label: b, write: ./w}\n"):                                   "step 2, transport-key.write: w is written by an earlier step already",
		steps("  - import-wrapped: {label: x, type: aes256, use: derive, transport_key: t, file: f}\n"):                                 "give sha256 of the file, or kcv at least",
		steps("  - import-wrapped: {label: x, type: aes256, use: derive, transport_key: t, file: f, kcv: 000000 (aes-ecb-zero)}\n"):     "only aes-cmac-zero can be checked before it is kept",
		steps("  - import-wrapped: {label: x, type: tdes3, use: derive, transport_key: t, file: f, kcv: 000000 (aes-ecb-zero)}\n"):      "convention aes-ecb-zero does not go with a key of type tdes3",
		steps("  - import-under: {label: x, type: aes256, use: derive, under: {label: k}, file: f, wrapping: aes-cbc-pad}\n"):           `"aes-cbc-pad" is not aes-key-wrap or aes-key-wrap-pad`,
		steps("  - import-under: {label: x, type: aes256, use: derive, file: f}\n"):                                                     "step 1, import-under.under.label: is required",
		steps("  - destroy: {label: x}\n"):                                                                                                   "step 1, destroy.kcv: is not a key check value",
		steps("  - check: {label: x, kcv: 12345G}\n"):                                                                                        "step 1, check.kcv: is not a key check value such as 08D7B4 or 08D7B4 (aes-ecb-zero): character 6",
		steps("  - check: {label: x, kcv: 123456 (mine)}\n"):                                                                                 "the convention in parentheses is not one of",
		steps("  - check: {label: x, kcv: 123456, sensitive: perhaps}\n"):                                                                    "must be true or false",
		steps("  - import-components: {label: x, type: tdes3, use: derive, components: [{officer: Bo Chen}]}\n"):                             "step 1, import-components.components: there must be 2 to 9",
		steps("  - import-components: {label: x, type: tdes3, use: derive, components: [{officer: Bo Chen}, {officer: bo  chen}]}\n"):        "has a component already: nobody may know two",
		steps("  - import-components: {label: x, type: tdes3, use: derive, components: [{officer: Bo Chen}, {officer: Dee}]}\n"):             `components[1].officer: "Dee" is not one of officers`,
		steps("  - import-components: {label: x, type: tdes3, use: derive, components: [{officer: Bo Chen, kcv: x}, {officer: Cy Diaz}]}\n"): "step 1, import-components.components[0].kcv: is not a key check value",
	} {
		_, err := ceremony.Parse("ceremony.yaml", []byte(text))
		var faults *strictyaml.Faults
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v; want %q", text, err, want)
		}
	}
	_, err := ceremony.Parse("ceremony.yaml", []byte("title: x\nsteps: [{note: y}]\n"))
	var faults *strictyaml.Faults
	if !errors.As(err, &faults) || len(faults.Faults) < 4 {
		t.Errorf("not all faults are listed at once: %v", err)
	}
	if _, err := ceremony.Parse("ceremony.yaml", []byte(valid)); err != nil {
		t.Errorf("without a fault: %v", err)
	}
}

const example = "../docs/ceremony.example.yaml"

// The example is a valid script with every kind of step in it, and the guide shows
// each kind.
func TestExample(t *testing.T) {
	s, err := ceremony.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../docs/ceremony.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, step := range s.Steps {
		seen[step.Kind()] = true
	}
	for _, kind := range ceremony.Kinds() {
		if !seen[kind] {
			t.Errorf("the example has no step of kind %s", kind)
		}
		if !strings.Contains(string(guide), "| `"+kind+"` |") {
			t.Errorf("docs/ceremony.md has no row for %s", kind)
		}
	}
}

// A script that is taken can be put in words and can be read again to the same; a
// script that is not is refused with faults.
func FuzzParse(f *testing.F) {
	// Short seeds: the fuzzer spends its time on making long ones shorter.
	const short = "title: t\ntoken: {label: t}\nsigning_key: {label: s}\nofficers: [{name: A, role: r}, {name: B, role: r}]\n" +
		"run_by: A\napproval: {required: 1, officers: [B]}\nsteps:\n"
	for _, steps := range []string{
		"- note: x\n",
		"- generate: {label: x, type: aes256, use: derive}\n",
		"- import-components: {label: x, type: tdes3, use: derive, kcv: 4EBA73, components: [{officer: A}, {officer: B}]}\n",
		"- import-wrapped: {label: x, type: aes256, use: mac, transport_key: t, file: f, kcv: 000000 (aes-cmac-zero)}\n",
		"- check: {label: x, kcv: 000000, sensitive: true}\n",
	} {
		f.Add([]byte(short + steps))
	}
	f.Add([]byte("steps: [{note: &a x}, {note: *a}, {generate: null}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ceremony.Parse("ceremony.yaml", text)
		if err != nil {
			var faults *strictyaml.Faults
			if s != nil || !errors.As(err, &faults) || len(faults.Faults) == 0 {
				t.Fatalf("script %v, error %v", s, err)
			}
			return
		}
		if len(s.Steps) == 0 || len(s.Officers) < 2 || s.Approval.Required < 1 {
			t.Fatalf("nobody approves, or nothing is done: %+v", s)
		}
		for _, line := range s.Lines() {
			if strings.ContainsAny(line, "\n\r\x1b") {
				t.Fatalf("a line of the script changes the terminal: %q", line)
			}
		}
		again, err := ceremony.Parse("ceremony.yaml", text)
		if err != nil || strings.Join(again.Lines(), "\n") != strings.Join(s.Lines(), "\n") {
			t.Fatalf("read again it is another: %v", err)
		}
	})
}
