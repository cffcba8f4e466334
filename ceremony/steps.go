package ceremony

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"latchkey/card"
	"latchkey/config/strictyaml"
	"latchkey/hsm"
)

// note is text that is read aloud and confirmed.
type note struct{ text string }

// UnmarshalYAML implements yaml.Unmarshaler.
func (n *note) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return strictyaml.Misread(node, "text")
	}
	n.text = strings.TrimRight(node.Value, "\n")
	return nil
}

func (*note) Kind() string { return "note" }

func (n *note) Words() []string {
	return append([]string{"Read aloud:"}, strings.Split(n.text, "\n")...)
}

func (n *note) check(c *checker) {
	for _, line := range strings.Split(n.text, "\n") {
		if wrong := card.TextFault(strings.TrimSpace(line), 4*card.MaxText, len(n.text) == 0); wrong != "" {
			c.report(c.place, "%s", wrong)
		}
	}
}

func (*note) do(ctx context.Context, w *walk, _ *StepRecord) error {
	return w.confirm(ctx, "Was it read aloud and understood?")
}

// named is a key in the token.
type named struct {
	Label   string           `yaml:"label"`
	Version strictyaml.Whole `yaml:"version"`
}

func (n named) name() keyName { return keyName{n.Label, n.Version.Or(1)} }

func (n keyName) String() string { return fmt.Sprintf("%s version %d", n.label, n.version) }

func (n named) check(c *checker, place string) {
	c.line(place+".label", n.Label, card.MaxID)
	if v := n.Version.Or(1); v < 1 || v > card.MaxKeyVersion {
		c.report(place+".version", "must be from 1 to %d", card.MaxKeyVersion)
	}
}

// made is a master key that a step makes.
type made struct {
	named `yaml:",inline"`
	Type  card.KeyType `yaml:"type"`
	Use   hsm.Use      `yaml:"use"`
}

func (m made) String() string { return fmt.Sprintf("%s (%s, to %s)", m.name(), m.Type, m.Use) }

func (m made) key() hsm.NewKey {
	return hsm.NewKey{Label: m.Label, Version: m.Version.Or(1), Type: m.Type, Use: m.Use}
}

func (m made) check(c *checker) {
	m.named.check(c, c.place)
	if m.Type.Len() == 0 {
		c.report(c.place+".type", "%q is not one of %s", m.Type, card.Join(card.KeyTypes()))
	}
	if !slices.Contains(hsm.Uses(), m.Use) {
		c.report(c.place+".use", "%q is not one of %s", m.Use, card.Join(hsm.Uses()))
	} else if m.Use == hsm.ForUnwrapping && m.Type.Len() != 0 && !m.Type.AES() {
		c.report(c.place+".use", "%s needs an AES key", m.Use)
	}
	if c.makes[m.name()] {
		c.report(c.place, "%s is made by an earlier step already", m.name())
	}
	c.makes[m.name()] = true
}

// generate makes a master key in the token.
type generate struct {
	made `yaml:",inline"`
}

func (*generate) Kind() string { return "generate" }

func (s *generate) Words() []string {
	return withWeakness([]string{fmt.Sprintf("Generate the master key %s in the token, from the token's own randomness.", s.made)}, s.Use)
}

func withWeakness(words []string, use hsm.Use) []string {
	if weakness := use.Weakness(); weakness != "" {
		words = append(words, "Know that "+weakness+".")
	}
	return words
}

func (s *generate) do(ctx context.Context, w *walk, r *StepRecord) error {
	if err := w.confirm(ctx, "Generate it?"); err != nil {
		return err
	}
	return w.made(ctx, r)(w.hsm.Generate(whole(ctx), s.key()))
}

// generateWithBackup makes a master key and wraps it under another token's
// transport key.
type generateWithBackup struct {
	made        `yaml:",inline"`
	PublicKey   string `yaml:"transport_key"`
	Fingerprint string `yaml:"fingerprint"`
	Backup      string `yaml:"write"`
}

func (*generateWithBackup) Kind() string { return "generate-with-backup" }

func (s *generateWithBackup) Words() []string {
	return withWeakness([]string{
		fmt.Sprintf("Generate the master key %s in the token, and wrap it for another token in the same breath.", s.made),
		"The other token's transport key is in " + s.PublicKey + "; its fingerprint must be",
		grouped(s.Fingerprint),
		"The wrapped key is written to " + s.Backup + ". Only the other token can unwrap it.",
	}, s.Use)
}

func (s *generateWithBackup) check(c *checker) {
	s.made.check(c)
	c.read("transport_key", s.PublicKey)
	s.Fingerprint = c.sha256(c.place+".fingerprint", s.Fingerprint)
	c.write("write", s.Backup)
}

func (s *generateWithBackup) do(ctx context.Context, w *walk, r *StepRecord) error {
	to, err := readTransportKey(w.script.at(s.PublicKey), s.Fingerprint)
	if err != nil {
		return err
	}
	if err := w.confirm(ctx, "Does the fingerprint agree with what the other token's officers say? Generate it?"); err != nil {
		return err
	}
	b, err := w.hsm.GenerateWithBackup(whole(ctx), s.key(), to)
	if err != nil {
		return err
	}
	sum, err := writeNew(w.script.at(s.Backup), b.Wrapped, 0o600)
	if err != nil {
		// A key without the backup that was wanted is half made.
		return w.undo(ctx, err, s.name())
	}
	r.TransportKey, r.Files = b.Under, append(r.Files, FileRecord{s.Backup, sum})
	w.say("The wrapped key is in %s, SHA-256", s.Backup)
	w.say("  %s", grouped(sum))
	return w.made(ctx, r)(b.Key, nil)
}

// importWrapped imports a key that is wrapped with RSA-OAEP under this token's
// transport key.
type importWrapped struct {
	made      `yaml:",inline"`
	Transport string `yaml:"transport_key"`
	wrapped   `yaml:",inline"`
}

// wrapped is the file of a wrapped key, and how it is known for the right one.
type wrapped struct {
	File   string `yaml:"file"`
	SHA256 string `yaml:"sha256"`
	KCV    string `yaml:"kcv"`
	kcv    hsm.KCV
}

func (f *wrapped) check(c *checker, t card.KeyType) {
	c.read("file", f.File)
	if f.SHA256 != "" {
		f.SHA256 = c.sha256(c.place+".sha256", f.SHA256)
	}
	f.kcv = c.kcv("kcv", f.KCV, t)
	if f.kcv != (hsm.KCV{}) && f.kcv.Convention != defaultConvention(t) {
		c.report(c.place+".kcv", "of a key that comes wrapped only %s can be checked before it is kept", defaultConvention(t))
	}
}

func (f *wrapped) words() []string {
	words := []string{"It is wrapped in " + f.File + "; no clear value touches this host."}
	if f.SHA256 != "" {
		words = append(words, "The file's SHA-256 must be", grouped(f.SHA256))
	}
	if f.kcv != (hsm.KCV{}) {
		words = append(words, fmt.Sprintf("Its key check value must be %s, or nothing is kept.", f.kcv))
	}
	return words
}

// open reads the file and holds it against its SHA-256.
func (f *wrapped) open(w *walk, r *StepRecord) ([]byte, error) {
	content, sum, err := readFile(w.script.at(f.File))
	if err != nil {
		return nil, err
	}
	if f.SHA256 != "" && sum != f.SHA256 {
		return nil, refuse("the SHA-256 of %s is %s: it is not the file that the script means", f.File, sum)
	}
	r.Files = append(r.Files, FileRecord{f.File, sum})
	w.say("The file's SHA-256 is")
	w.say("  %s", grouped(sum))
	return content, nil
}

func (*importWrapped) Kind() string { return "import-wrapped" }

func (s *importWrapped) Words() []string {
	return withWeakness(append([]string{fmt.Sprintf("Import the master key %s, which comes under this token's transport key %s.", s.made, s.Transport)}, s.words()...), s.Use)
}

func (s *importWrapped) check(c *checker) {
	s.made.check(c)
	c.line(c.place+".transport_key", s.Transport, card.MaxID)
	s.wrapped.check(c, s.Type)
	if s.SHA256 == "" && s.KCV == "" {
		c.report(c.place, "anybody can wrap a key of their own under a public transport key: give sha256 of the file, or kcv at least")
	}
}

func (s *importWrapped) do(ctx context.Context, w *walk, r *StepRecord) error {
	content, err := s.open(w, r)
	if err != nil {
		return err
	}
	if err := w.confirm(ctx, "Import it?"); err != nil {
		return err
	}
	n := s.key()
	n.KCV = s.kcv
	return w.made(ctx, r)(w.hsm.ImportWrapped(whole(ctx), n, s.Transport, content))
}

// importUnder imports a key that is wrapped under a wrapping key in this token.
type importUnder struct {
	made     `yaml:",inline"`
	Under    named         `yaml:"under"`
	Wrapping card.Wrapping `yaml:"wrapping"`
	wrapped  `yaml:",inline"`
}

func (*importUnder) Kind() string { return "import-under" }

func (s *importUnder) Words() []string {
	return withWeakness(append([]string{
		fmt.Sprintf("Import the master key %s, which comes wrapped by %s under %s in this token.", s.made, s.Wrapping, s.Under.name()),
	}, s.words()...), s.Use)
}

func (s *importUnder) check(c *checker) {
	s.made.check(c)
	s.Under.check(c, c.place+".under")
	if s.Wrapping == "" {
		s.Wrapping = card.KeyWrap
	}
	if s.Wrapping != card.KeyWrap && s.Wrapping != card.KeyWrapPad {
		c.report(c.place+".wrapping", "%q is not %s or %s", s.Wrapping, card.KeyWrap, card.KeyWrapPad)
	}
	s.wrapped.check(c, s.Type)
}

func (s *importUnder) do(ctx context.Context, w *walk, r *StepRecord) error {
	content, err := s.open(w, r)
	if err != nil {
		return err
	}
	if err := w.confirm(ctx, "Import it?"); err != nil {
		return err
	}
	n := s.key()
	n.KCV = s.kcv
	return w.made(ctx, r)(w.hsm.ImportUnder(whole(ctx), n, s.Under.Label, s.Under.Version.Or(1), s.Wrapping, content))
}

// transportKey makes the token's transport key pair, or finds it, and writes its
// public half.
type transportKey struct {
	Label       string `yaml:"label"`
	Fingerprint string `yaml:"fingerprint"`
	Write       string `yaml:"write"`
}

func (*transportKey) Kind() string { return "transport-key" }

func (s *transportKey) Words() []string {
	words := []string{
		fmt.Sprintf("Show the transport key pair %s of this token; make it where it is not there. Its private half never leaves the token.", s.Label),
		"The public half is written to " + s.Write + ".",
	}
	if s.Fingerprint != "" {
		words = append(words, "Its fingerprint must be", grouped(s.Fingerprint))
	}
	return words
}

func (s *transportKey) check(c *checker) {
	c.line(c.place+".label", s.Label, card.MaxID)
	if s.Fingerprint != "" {
		s.Fingerprint = c.sha256(c.place+".fingerprint", s.Fingerprint)
	}
	c.write("write", s.Write)
}

func (s *transportKey) do(ctx context.Context, w *walk, r *StepRecord) error {
	if err := w.confirm(ctx, "Do it?"); err != nil {
		return err
	}
	k, err := w.hsm.MakeTransportKey(whole(ctx), s.Label)
	if err != nil {
		return err
	}
	r.TransportKey = k.Fingerprint
	if s.Fingerprint != "" && s.Fingerprint != k.Fingerprint {
		return refuse("the fingerprint of transport key %s is %s: it is not the key that the script means", s.Label, k.Fingerprint)
	}
	text, err := publicPEM(k.Public)
	if err != nil {
		return err
	}
	sum, err := writeNew(w.script.at(s.Write), text, 0o644)
	if err != nil {
		return err
	}
	r.Files = append(r.Files, FileRecord{s.Write, sum})
	w.say("Fingerprint of %s, to be read to the officers of the other token:", s.Label)
	w.say("  %s", grouped(k.Fingerprint))
	return w.confirm(ctx, "Was it noted?")
}

// destroy removes a master key.
type destroy struct {
	named `yaml:",inline"`
	KCV   string `yaml:"kcv"`
}

func (*destroy) Kind() string { return "destroy" }

func (s *destroy) Words() []string {
	return []string{
		fmt.Sprintf("DESTROY the master key %s, key check value %s, for ever.", s.name(), strings.ToUpper(s.KCV)),
		"Cards whose admin keys come from it can never be unblocked again, unless it is backed up.",
	}
}

func (s *destroy) check(c *checker) {
	s.named.check(c, c.place)
	c.anyKCV("kcv", s.KCV)
	delete(c.makes, s.name())
}

func (s *destroy) do(ctx context.Context, w *walk, r *StepRecord) error {
	k, err := w.find(ctx, s.name())
	if err != nil {
		return err
	}
	if err := hasKCV(k, s.KCV); err != nil {
		return err
	}
	r.Key = k
	if err := w.insist(ctx, fmt.Sprintf("To destroy it, type the key's label, %s", s.Label), s.Label); err != nil {
		return err
	}
	if err := w.hsm.Destroy(whole(ctx), s.Label, s.Version.Or(1)); err != nil {
		return err
	}
	w.say("%s is destroyed.", s.name())
	return nil
}

// checkKey holds a key in the token against what it should be.
type checkKey struct {
	named            `yaml:",inline"`
	KCV              string       `yaml:"kcv"`
	Type             card.KeyType `yaml:"type"`
	Use              hsm.Use      `yaml:"use"`
	Extractable      *bool        `yaml:"extractable"`
	NeverExtractable *bool        `yaml:"never_extractable"`
	Sensitive        *bool        `yaml:"sensitive"`
	AlwaysSensitive  *bool        `yaml:"always_sensitive"`
	Local            *bool        `yaml:"generated_in_token"`
}

func (*checkKey) Kind() string { return "check" }

// attribute is one attribute that is checked.
type attribute struct {
	name string
	want *bool
	has  bool
}

func (s *checkKey) attributes(k hsm.Key) []attribute {
	all := []attribute{
		{"extractable", s.Extractable, k.Extractable},
		{"never_extractable", s.NeverExtractable, k.NeverExtractable},
		{"sensitive", s.Sensitive, k.Sensitive},
		{"always_sensitive", s.AlwaysSensitive, k.AlwaysSensitive},
		{"generated_in_token", s.Local, k.Local},
	}
	return slices.DeleteFunc(all, func(a attribute) bool { return a.want == nil })
}

func (s *checkKey) Words() []string {
	words := []string{fmt.Sprintf("Check that the master key %s in the token has the key check value %s", s.name(), strings.ToUpper(s.KCV))}
	if s.Type != "" {
		words = append(words, "and is of type "+string(s.Type))
	}
	if s.Use != "" {
		words = append(words, "and is to "+string(s.Use))
	}
	for _, a := range s.attributes(hsm.Key{}) {
		words = append(words, fmt.Sprintf("and that the token says %s: %t", a.name, *a.want))
	}
	return words
}

func (s *checkKey) check(c *checker) {
	s.named.check(c, c.place)
	c.anyKCV("kcv", s.KCV)
	if s.Type != "" && s.Type.Len() == 0 {
		c.report(c.place+".type", "%q is not one of %s", s.Type, card.Join(card.KeyTypes()))
	}
	if s.Use != "" && !slices.Contains(hsm.Uses(), s.Use) {
		c.report(c.place+".use", "%q is not one of %s", s.Use, card.Join(hsm.Uses()))
	}
}

func (s *checkKey) do(ctx context.Context, w *walk, r *StepRecord) error {
	k, err := w.find(ctx, s.name())
	if err != nil {
		return err
	}
	r.Key = k
	var wrong []string
	if err := hasKCV(k, s.KCV); err != nil {
		wrong = append(wrong, err.Error())
	}
	if s.Type != "" && k.Type != s.Type {
		wrong = append(wrong, fmt.Sprintf("it is of type %s, not %s", k.Type, s.Type))
	}
	if s.Use != "" && k.Use != s.Use {
		wrong = append(wrong, fmt.Sprintf("it is to %s, not to %s", k.Use, s.Use))
	}
	for _, a := range s.attributes(*k) {
		if a.has != *a.want {
			wrong = append(wrong, fmt.Sprintf("the token says %s: %t", a.name, a.has))
		}
	}
	if k.Fault != "" {
		wrong = append(wrong, k.Fault)
	}
	if len(wrong) != 0 {
		return refuse("%s is not as it should be: %s", s.name(), strings.Join(wrong, "; "))
	}
	w.say("%s is as it should be.", s.name())
	w.showKey(*k)
	return nil
}
