package main

import (
	"encoding/hex"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"latchkey/card"
	"latchkey/config"
	"latchkey/hsm"
)

// respondFlags describe a card and how its family works.
type respondFlags struct {
	tokenFlags
	cardFlags
	bench     bool
	profile   string
	challenge string

	scheme, keyType, algorithm string
	master, input              string
	keyNumber                  uint8
	counter                    card.Counter
	wrapping                   string
	challengeLen               int
}

func newRespond(a *app) *cobra.Command {
	var f respondFlags
	cmd := &cobra.Command{
		Use:     "respond SERIAL --bench",
		Short:   "Answer a test card's challenge on the bench, without a server",
		GroupID: groupToken,
		Long: `Answer the challenge of a test card straight from the token, to try out a profile
or a master key. None of the server's checks are made and NO AUDIT ENTRY IS WRITTEN,
so this is for the bench and not for cards in use: for those there is
latchkey unblock. --bench says that you know.

How the card works is said by --profile, from the configuration, or by --scheme,
--card-key-type and --master-key.`,
		Example: `  latchkey respond 0042 --bench --config latchkey.yaml --profile gids --challenge "1603 EBDF 1C8A 2E72"
  latchkey respond 0042 --bench --module M --token-label fleet --pin-file pin \
      --scheme latchkey-v1 --card-key-type tdes3 --master-key fleet --challenge 1603EBDF1C8A2E72`,
		Args: needs("SERIAL"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			if !f.bench {
				return misuse("this makes none of the server's checks and writes no audit entry; say --bench if that is meant, else use latchkey unblock")
			}
			key, alg, challenge, err := f.question(args[0])
			if err != nil {
				return err
			}
			return f.with(cmd.Context(), func(t *hsm.Token) error {
				response, err := t.Respond(cmd.Context(), key, alg, challenge)
				if err != nil {
					return err
				}
				defer response.Wipe()
				a.note("BENCH TEST: nothing was checked, and no audit entry was written.")
				return a.print(benchResponse{true, response.Hex(), response.Grouped(), response.Spoken()}, func(w io.Writer) {
					field(w, "response", "%s", response.Grouped())
					field(w, "spoken", "%s", response.Spoken())
				})
			})
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.bench, "bench", false, "this is a bench test: no checks, no audit entry")
	flags.StringVar(&f.challenge, "challenge", "", "the `challenge` that the card shows")
	flags.StringVar(&f.profile, "profile", "", "card `profile` of the configuration")
	flags.StringVar(&f.scheme, "scheme", "", "diversification `scheme`, without a profile")
	flags.StringVar(&f.keyType, "card-key-type", "", "card key `type`, without a profile")
	flags.StringVar(&f.algorithm, "response-algorithm", "", "response `algorithm`, without a profile; by default the card key's ECB")
	flags.IntVar(&f.challengeLen, "challenge-length", 0, "challenge length in `bytes`, without a profile; by default one block")
	flags.StringVar(&f.master, "master-key", "", "`label` of the master key, without a profile")
	flags.StringVar(&f.input, "input", "", "`template` of the derivation data, without a profile")
	flags.Uint8Var(&f.keyNumber, "key-number", 1, "key `number` of VISA2, EMV and KDF3 data, without a profile")
	flags.IntVar(&f.counter.Bits, "counter-bits", 0, "counter length in `bits` of sp800-108-counter, without a profile")
	flags.BoolVar(&f.counter.After, "counter-after", false, "the counter is behind the fixed input, without a profile")
	flags.StringVar(&f.wrapping, "wrapping", "", "how the card's key is `wrapped`, without a profile")
	f.cardFlags.add(flags)
	f.tokenFlags.add(flags)
	cmd.MarkFlagsOneRequired("profile", "scheme")
	for _, alone := range []string{"scheme", "card-key-type", "response-algorithm", "challenge-length", "master-key", "input", "key-number", "counter-bits", "counter-after", "wrapping"} {
		cmd.MarkFlagsMutuallyExclusive("profile", alone)
	}
	if err := cmd.MarkFlagRequired("challenge"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

// benchResponse is the result of a bench test.
type benchResponse struct {
	Bench    bool   `json:"bench"`
	Response string `json:"response"`
	Grouped  string `json:"grouped"`
	Spoken   string `json:"spoken"`
}

// cardFlags describe a card beside its serial number.
type cardFlags struct {
	cuid, kdd string
	wrapped   string
	version   int
}

func (f *cardFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.cuid, "cuid", "", "the card's CUID in `hex`")
	flags.StringVar(&f.kdd, "kdd", "", "the card's key diversification data in `hex`, 10 bytes")
	flags.StringVar(&f.wrapped, "wrapped-key", "", "the card's wrapped key in `hex`")
	flags.IntVar(&f.version, "master-key-version", 0, "`version` of the master key; by default the profile's, or 1")
}

func (f *cardFlags) card(serial string) (c card.Card, err error) {
	c = card.Card{Serial: serial, MasterKeyVersion: f.version}
	if c.CUID, err = hex.DecodeString(f.cuid); err != nil {
		return c, misuse("--cuid is not hex")
	}
	if c.KDD, err = hex.DecodeString(f.kdd); err != nil {
		return c, misuse("--kdd is not hex")
	}
	if c.WrappedKey, err = hex.DecodeString(f.wrapped); err != nil {
		return c, misuse("--wrapped-key is not hex")
	}
	return c, nil
}

// configuredProfile is a profile of the configuration file.
func configuredProfile(path, id string) (card.Profile, error) {
	if path == "" {
		return card.Profile{}, misuse("say which configuration has the profile: --config FILE")
	}
	c, err := config.Load(path)
	if err != nil {
		return card.Profile{}, err
	}
	p, err := c.Profile(id)
	if err != nil {
		return card.Profile{}, &usageError{err}
	}
	return p, nil
}

// question is what the token is to be asked.
func (f *respondFlags) question(serial string) (key card.AdminKey, alg card.Algorithm, challenge card.Challenge, err error) {
	c, err := f.card(serial)
	if err != nil {
		return key, "", nil, err
	}
	p, err := f.findProfile()
	if err != nil {
		return key, "", nil, err
	}
	if key, err = p.AdminKey(c); err != nil {
		return key, "", nil, &usageError{err}
	}
	if challenge, err = card.ParseChallenge(f.challenge, p.ChallengeLen); err != nil {
		return key, "", nil, &usageError{err}
	}
	return key, p.Algorithm, challenge, nil
}

// findProfile takes the profile from the configuration or makes one of the flags.
func (f *respondFlags) findProfile() (card.Profile, error) {
	if f.profile != "" {
		return configuredProfile(f.config, f.profile)
	}
	p := card.Profile{
		ID: "bench", Name: "bench", Algorithm: card.Algorithm(f.algorithm), ChallengeLen: f.challengeLen,
		CardKeyType: card.KeyType(f.keyType), Scheme: card.Scheme(f.scheme),
		MasterKey: f.master, MasterKeyVersion: 1, KeyNumber: f.keyNumber,
		Counter: f.counter, Wrapping: card.Wrapping(f.wrapping),
	}
	if p.Algorithm == "" {
		p.Algorithm = card.AlgorithmFor(p.CardKeyType)
	}
	if p.ChallengeLen == 0 {
		p.ChallengeLen = p.Algorithm.Block()
	}
	if f.input != "" {
		var err error
		if p.Input, err = card.ParseTemplate(f.input); err != nil {
			return card.Profile{}, misuse("--input: %w", err)
		}
	}
	if faults := p.Faults(); len(faults) != 0 {
		return card.Profile{}, misuse("the flags do not make a card profile: %s", joined(faults))
	}
	return p, nil
}
