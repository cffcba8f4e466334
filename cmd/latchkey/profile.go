package main

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"latchkey/card"
	"latchkey/card/family"
	"latchkey/config"
	"latchkey/hsm"
	"latchkey/proof"
)

func newProfile(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "profile", Short: "Show and prove card profiles and families", GroupID: groupServer,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddCommand(newProfileList(a), newProfileShow(a), newProfileVerify(a))
	return cmd
}

// profileList is what `profile list` shows.
type profileList struct {
	Families []family.Family `json:"families"`
	Profiles []profileView   `json:"profiles,omitempty"`
}

// profileView is a configured profile as it comes out.
type profileView struct {
	ID                string         `json:"id"`
	Name              string         `json:"name"`
	Family            string         `json:"family,omitempty"`
	ResponseAlgorithm card.Algorithm `json:"response_algorithm"`
	ChallengeLength   int            `json:"challenge_length"`
	CardKeyType       card.KeyType   `json:"card_key_type"`
	Scheme            card.Scheme    `json:"scheme"`
	MasterKey         string         `json:"master_key"`
	MasterKeyVersion  int            `json:"master_key_version"`
	Input             string         `json:"input,omitempty"`
	WrongResponses    string         `json:"wrong_responses_survived"`
	// GivenOut is how many responses a card gets without word that one worked; 0 is
	// no limit.
	GivenOut int      `json:"responses_given_out"`
	Remarks  []string `json:"remarks,omitempty"`
}

func viewOf(p card.Profile) profileView {
	return profileView{
		p.ID, p.Name, p.Family, p.Algorithm, p.ChallengeLen, p.CardKeyType, p.Scheme, p.MasterKey, p.MasterKeyVersion,
		p.Input.String(), p.Retry.String(), p.Retry.MaxUnconfirmed(), p.Remarks(),
	}
}

func newProfileList(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the built-in card families, and with --config the configured profiles",
		Example: `  latchkey profile list
  latchkey profile list --config /etc/latchkey/latchkey.yaml --json`,
		Args: needs(),
		RunE: a.do(func(*cobra.Command, []string) error {
			families, err := family.All()
			if err != nil {
				return err
			}
			list := profileList{Families: families}
			if path != "" {
				c, err := config.Load(path)
				if err != nil {
					return err
				}
				for _, id := range slices.Sorted(maps.Keys(c.Profiles)) {
					list.Profiles = append(list.Profiles, viewOf(c.Profiles[id]))
				}
			}
			return a.print(list, list.write)
		}),
	}
	addConfig(cmd, &path)
	return cmd
}

func (l profileList) write(w io.Writer) {
	_, _ = fmt.Fprintln(w, "FAMILY\tCHALLENGE\tRESPONSE\tADMIN KEY\tSURVIVES\tNAME")
	for _, f := range l.Families {
		if f.Unblock == family.PUKOnly {
			_, _ = fmt.Fprintf(w, "%s\tPUK only\t\t\t\t%s\n", f.ID, f.Name)
			continue
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.ID, orOpen(bytesText(f.ChallengeLength)), orOpen(string(f.Algorithm)),
			orOpen(string(f.CardKeyType)), card.RetryLimit(f.WrongResponses), f.Name)
	}
	if len(l.Profiles) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w, "\nPROFILE\tFAMILY\tSCHEME\tMASTER KEY\tSURVIVES\tNAME")
	for _, p := range l.Profiles {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s version %d\t%s\t%s\n", p.ID, cmp.Or(p.Family, "-"), p.Scheme, p.MasterKey, p.MasterKeyVersion, p.WrongResponses, p.Name)
	}
}

func bytesText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d bytes", n)
}

func orOpen(s string) string { return cmp.Or(s, "open") }

func newProfileShow(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a card family with its sources, or with --config a configured profile",
		Example: `  latchkey profile show idprime-3des
  latchkey profile show employee --config /etc/latchkey/latchkey.yaml`,
		Args: needs("ID"),
		RunE: a.do(func(_ *cobra.Command, args []string) error {
			if path != "" {
				c, err := config.Load(path)
				if err != nil {
					return err
				}
				if p, err := c.Profile(args[0]); err == nil {
					v := viewOf(p)
					return a.print(v, v.write)
				}
			}
			f, err := family.Find(args[0])
			if errors.Is(err, card.ErrNotFound) {
				return &usageError{err}
			}
			if err != nil {
				return err
			}
			return a.print(f, func(w io.Writer) { writeFamily(w, f) })
		}),
	}
	addConfig(cmd, &path)
	return cmd
}

func addConfig(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", os.Getenv("LATCHKEY_CONFIG"), "configuration `file` whose profiles are shown too (LATCHKEY_CONFIG)")
}

func writeFamily(w io.Writer, f family.Family) {
	field(w, "family", "%s: %s", f.ID, f.Name)
	if f.Unblock == family.PUKOnly {
		field(w, "unblocked by", "PUK only: %s", f.Why)
	} else {
		field(w, "unblocked by", "challenge and response")
		field(w, "challenge", "%s", orOpen(bytesText(f.ChallengeLength)))
		field(w, "response", "%s", orOpen(string(f.Algorithm)))
		field(w, "admin key", "%s", orOpen(string(f.CardKeyType)))
		field(w, "survives", "%s", survives(card.RetryLimit(f.WrongResponses)))
	}
	if f.FactoryKey != "" {
		field(w, "factory key", "%s", f.FactoryKey)
	}
	for line := range strings.Lines(f.Notes) {
		field(w, "", "%s", strings.TrimSpace(line))
	}
	for _, s := range f.Sources {
		field(w, "source", "%s", strings.TrimSpace(s.Title+" "+s.URL))
		field(w, "", "%s", s.Says)
	}
}

func (v profileView) write(w io.Writer) {
	field(w, "profile", "%s: %s", v.ID, v.Name)
	field(w, "family", "%s", cmp.Or(v.Family, "none"))
	field(w, "challenge", "%d bytes", v.ChallengeLength)
	field(w, "response", "%s", v.ResponseAlgorithm)
	field(w, "admin key", "%s, by scheme %s", v.CardKeyType, v.Scheme)
	field(w, "master key", "%s version %d", v.MasterKey, v.MasterKeyVersion)
	if v.Input != "" {
		field(w, "input", "%s", v.Input)
	}
	limit := "no limit"
	if v.GivenOut != 0 {
		limit = fmt.Sprintf("%d given out without word that one worked", v.GivenOut)
	}
	field(w, "survives", "%s wrong responses: %s", v.WrongResponses, limit)
	for _, r := range v.Remarks {
		field(w, "remark", "%s", r)
	}
}

// survives is a retry limit in a sentence.
func survives(r card.RetryLimit) string {
	text := r.String() + " wrong responses"
	if n := r.MaxUnconfirmed(); n != 0 {
		text += fmt.Sprintf(": at most %d are given out without word that one worked", n)
	}
	return text
}

// verifyFlags describe a known card with its challenge and response.
type verifyFlags struct {
	tokenFlags
	cardFlags
	serial, challenge, response string
}

// verdict is the result of `profile verify`.
type verdict struct {
	Profile string `json:"profile"`
	proof.Verdict
	Audited bool `json:"audit_entry"` // never
}

func newProfileVerify(a *app) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify PROFILE --serial S --challenge C --response R",
		Short: "Prove a profile with a known card's challenge and response",
		Long: `Prove a profile of the configuration with a card whose challenge and right response
are known: have the token answer the challenge and compare. It prints match, or no
match and with which single change it would match: another mode, another version
of the master key or another key in the token, another key number, the serial
number written in another way, two keys for three.

The right response is never shown. The card is not asked, nothing counts as an
unblock, and NO AUDIT ENTRY IS WRITTEN. The exit code is 1 where it does not match.`,
		Example: `  latchkey profile verify employee --config latchkey.yaml --serial 0042 \
      --challenge "1603 EBDF 1C8A 2E72" --response "49E9 3665 93A9 D071"`,
		Args: needs("PROFILE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			c, err := f.known(args[0])
			if err != nil {
				return err
			}
			var v verdict
			err = f.with(cmd.Context(), func(t *hsm.Token) error {
				keys, err := t.Keys(cmd.Context())
				if err != nil {
					return err
				}
				for _, k := range keys {
					if k.Fault == "" {
						c.Masters = append(c.Masters, proof.Master{Label: k.Label, Version: k.Version})
					}
				}
				v.Profile = args[0]
				v.Verdict, err = proof.Prove(cmd.Context(), t, c)
				return err
			})
			if err != nil {
				return err
			}
			a.note("Nothing was counted, and no audit entry was written.")
			if err := a.print(v, v.write); err != nil {
				return err
			}
			if !v.Match {
				return exitWith(exitFailed)
			}
			return nil
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.serial, "serial", "", "the card's serial `number`")
	flags.StringVar(&f.challenge, "challenge", "", "the `challenge` that the card gave")
	flags.StringVar(&f.response, "response", "", "the `response` that the card took")
	f.cardFlags.add(flags)
	f.tokenFlags.add(flags)
	for _, name := range []string{"serial", "challenge", "response"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return cmd
}

// known is the case that the flags describe.
func (f *verifyFlags) known(id string) (c proof.Case, err error) {
	if c.Profile, err = configuredProfile(f.config, id); err != nil {
		return c, err
	}
	if c.Card, err = f.card(f.serial); err != nil {
		return c, err
	}
	if _, err := c.Profile.AdminKey(c.Card); err != nil {
		return c, &usageError{err}
	}
	if c.Challenge, err = card.ParseChallenge(f.challenge, c.Profile.ChallengeLen); err != nil {
		return c, &usageError{err}
	}
	// Not by ParseChallenge: its faults name the characters, and these are secret.
	c.Response, err = hex.DecodeString(card.DropSeparators(f.response))
	if err != nil || len(c.Response) != len(c.Challenge) {
		return c, misuse("--response is not %d hex digits", 2*len(c.Challenge))
	}
	return c, nil
}

func (v verdict) write(w io.Writer) {
	if v.Match {
		field(w, "match", "the token gives this response with profile %s", v.Profile)
		return
	}
	field(w, "no match", "the token gives another response with profile %s", v.Profile)
	if v.Fault != "" {
		field(w, "fault", "%s", v.Fault)
	}
	for _, m := range v.Matches {
		field(w, "it matches", "%s", m)
	}
	if len(v.Matches) == 0 {
		field(w, "tried", "%d single changes, of which none matches; see whether the master key, the serial and the challenge are the card's", v.Tried)
	}
}
