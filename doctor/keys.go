package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"latchkey/card"
	"latchkey/hsm"
)

// keyName is a master key's name in a finding.
func keyName(label string, version int) string { return fmt.Sprintf("%s version %d", label, version) }

// keys grades every key of the token, then sees whether each profile has the key
// that it needs.
func (e *Exam) keys(ctx context.Context, t *hsm.Token) {
	keys, others, err := t.Examine(ctx)
	if err != nil {
		e.find(MasterKey, "", Fail, err.Error())
		return
	}
	byName := make(map[string][]hsm.Examined)
	for _, k := range keys {
		byName[keyName(k.Label, k.Version)] = append(byName[keyName(k.Label, k.Version)], k)
	}
	var leftOver []string
	for _, k := range keys {
		// Cards may name another version than their profile does.
		users := e.using(func(p card.Profile) bool { return p.MasterKey == k.Label })
		if !k.Ours && k.Use == hsm.ForEncrypting && len(users) == 0 {
			leftOver = append(leftOver, cmp.Or(k.Label, "(no label)"))
			continue
		}
		e.key(k, users, len(byName[keyName(k.Label, k.Version)]) > 1)
	}
	const shown = 5
	if n := len(leftOver); n > 0 {
		e.Add(Finding{Check: MasterKey, Grade: Warning,
			Text: fmt.Sprintf("%d keys look like card keys that were left over: they encrypt, and no profile names them: %s", n, strings.Join(leftOver[:min(n, shown)], ", ")),
			Do:   "Find out what made them. Latchkey leaves none in the token; what no one needs should be destroyed."})
	}
	if others > 0 {
		e.find(MasterKey, "", Note, fmt.Sprintf("%d more secret keys are of types that no scheme uses", others))
	}
	if len(keys) == 0 {
		e.find(MasterKey, "", Note, "the token has no master keys")
	}
	for _, p := range e.profiles {
		e.profile(ctx, t, p, byName[keyName(p.MasterKey, p.MasterKeyVersion)])
	}
}

const (
	nextVersion = "Make the next version with latchkey key generate, and move the cards to it."
	ownUse      = "No profile names it. Where nothing else needs it, destroy it."
	askOrigin   = "Find out how it was made, and who could have a copy."
)

// key grades one key. users are the profiles that name its label.
func (e *Exam) key(k hsm.Examined, users []string, twice bool) {
	name := keyName(k.Label, k.Version)
	kcvs := make([]string, len(k.KCV))
	for i, v := range k.KCV {
		kcvs[i] = v.String()
	}
	first := len(e.Findings)
	defer func() {
		if slices.ContainsFunc(e.Findings[first:], func(f Finding) bool { return f.Grade.weight() > Note.weight() }) {
			e.Findings[first].Grade = Note // what is good about it is not the whole of it
		}
	}()
	e.find(MasterKey, name, Pass, fmt.Sprintf("%s, for use %s, check value %s", k.Type, k.Use, cmp.Or(strings.Join(kcvs, ", "), "unknown")))
	add := func(g Grade, text, do string) {
		f := Finding{Check: MasterKey, Subject: name, Grade: g, Text: text, Do: do}
		if g == Fail {
			f.Profiles = users
		}
		e.Add(f)
	}
	if other := e.differs(k, name); other != "" && len(users) > 0 {
		add(Fail, "it is not the key of that name in the first token, whose check value is "+other+": its responses would cost cards a try",
			"Take the token out of hsm.fallbacks until it has the right key.")
	}
	// What keeps a key from being used is grave where a profile names it.
	stops, next := Warning, nextVersion
	switch {
	case len(users) > 0:
		stops = e.stops()
	case e.configured:
		next = ownUse
	}
	allowed := k.Extractable && slices.Contains(e.allowed, k.Label)
	if k.Extractable && !allowed {
		add(stops, "it is extractable, so it could leave the token, and is not used", next)
	} else if allowed {
		add(Warning, "it is extractable, and used because hsm.allow_extractable names it", next)
	}
	if !k.Sensitive {
		add(stops, "it is not sensitive: its value can be read, and it is not used", next)
	}
	if k.Use == hsm.ForNothing {
		add(stops, "its rights go with no use: it may not derive, encrypt or unwrap, or unwraps and does more", next)
	}
	if twice {
		add(stops, "another key has the same label and version; neither is used", "Destroy or rename the one that is not meant.")
	}
	if k.Public {
		add(stops, "it is not private (CKA_PRIVATE): it can be used without the PIN", next)
	}
	e.past(k, add)
	if why := k.Use.Weakness(); why != "" {
		add(Warning, why, "Schemes kdf3 and sp800-108-counter do with use derive where the token has SP 800-108 itself. Else guard the PIN accordingly.")
	}
	if len(k.Mechanisms) == 0 {
		add(Warning, "it is bound to no mechanisms (CKA_ALLOWED_MECHANISMS)", next)
	}
	if len(k.Surplus) > 0 {
		add(Warning, "its CKA_ALLOWED_MECHANISMS are wider than its use: "+mechanisms(k.Surplus), next)
	}
	if len(k.Rights) > 0 {
		add(Warning, "it may do more than its use: "+strings.Join(k.Rights, ", "), next)
	}
	if !k.Type.AES() {
		add(Warning, "it is a 3DES key, which NIST withdrew on 2024-01-01", "Plan for cards that work with an AES master key.")
	}
	if !k.Ours {
		add(Note, "its CKA_ID is not of Latchkey's form: other software made it, and it counts as version 1", "")
	}
}

// differs compares a key of a fallback with the one of that name in the first
// token, and gives the latter's check value where it is another.
func (e *Exam) differs(k hsm.Examined, name string) string {
	for _, v := range k.KCV {
		of := name + " " + string(v.Convention)
		if !e.fallback {
			e.kcvs[of] = v.Value
		} else if first, ok := e.kcvs[of]; ok && first != v.Value {
			return hsm.KCV{Convention: v.Convention, Value: first}.String()
		}
	}
	return ""
}

// past grades where a key comes from.
func (e *Exam) past(k hsm.Examined, add func(g Grade, text, do string)) {
	switch {
	case !k.Local:
		add(Note, "it was not generated in this token, so others may have a copy", "")
	case !k.NeverExtractable && !k.Extractable:
		add(Warning, "it was extractable once: it was made with a backup, or could have left the token", askOrigin)
	case !k.AlwaysSensitive && k.Sensitive:
		add(Warning, "it was not always sensitive: it could be read once", askOrigin)
	}
}

func mechanisms(numbers []uint) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = fmt.Sprintf("0x%04X", n)
	}
	return strings.Join(texts, ", ")
}

// profile tells whether a profile's cards can be answered: by the key that it
// names, and by the token. keys are those of that name.
func (e *Exam) profile(ctx context.Context, t *hsm.Token, p card.Profile, keys []hsm.Examined) {
	name := keyName(p.MasterKey, p.MasterKeyVersion)
	f := Finding{Check: Profile, Subject: p.ID, Grade: e.stops(), Profiles: []string{p.ID}}
	ways := hsm.Ways(p.Scheme, p.Wrapping)
	i := slices.IndexFunc(ways, func(w hsm.Way) bool { return w.CardKey == p.CardKeyType })
	master := ways[i].Master // config has made sure that the scheme makes such keys
	if len(keys) == 1 {
		master = keys[0].Type
	}
	r := e.try(ctx, t, hsm.WayOf(p, master))
	e.stopped[p.ID] = r.err
	switch {
	case len(keys) == 0:
		f.Text = "master key " + name + " is not in the token"
		f.Do = fmt.Sprintf("Make it: latchkey key generate %s --key-version %d --type %s --use %s; or import the one that the cards were made with: latchkey key import.",
			p.MasterKey, p.MasterKeyVersion, master, r.use)
	case len(keys) > 1:
		f.Text = fmt.Sprintf("%d keys are called %s; which is meant cannot be told", len(keys), name)
		f.Do = "Destroy or rename those that are not meant."
	case !keys[0].Sensitive, keys[0].Use == hsm.ForNothing, keys[0].Extractable && !slices.Contains(e.allowed, keys[0].Label):
		f.Text = "master key " + name + ": " + keys[0].Fault
		f.Do = nextVersion
	case r.err != nil:
		f.Text = "the token does not carry it out: " + r.err.Error()
	default:
		if err := t.Fits(keys[0].Key, p); err != nil {
			f.Text = fmt.Sprintf("%s: %v", name, err)
			f.Do = "Name another key in the profile, or make one that fits: latchkey key generate."
			break
		}
		f = Finding{Check: Profile, Subject: p.ID, Grade: Pass,
			Text: fmt.Sprintf("scheme %s with master key %s, answers of %s: tried and done", p.Scheme, name, p.Algorithm)}
	}
	e.Add(f)
}
