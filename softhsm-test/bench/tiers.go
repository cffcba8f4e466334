package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"latchkey/card"
	"latchkey/hsm"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/softhsm-test/rawloop"
	"latchkey/store"
	"latchkey/unblock"
)

// taskEnv holds what a child process of the benchmark is to do, as JSON.
const taskEnv = "LATCHKEY_BENCH_TASK"

// task is one measurement in a process of its own.
type task struct {
	Kind     string // raw, hsm, unblock, signers, signer, long or load
	Callers  int
	Slice    time.Duration
	Module   string // empty for the token's own
	Token    string
	PIN      string
	Sessions int      // 0 for as many as Latchkey is given
	Store    string   // of unblock and long
	Sockets  []string // of signers, or the one of a signer
	Cards    int
	Load     loadTask
	// Rate is how many answers a second are asked for, 0 for as many as there can be.
	Rate float64
	// Answers is how many a long run gives.
	Answers int64
	Of      string // the room that it is of: raw, hsm or unblock
}

// measure has a child process do a task.
func measure(ctx context.Context, h *house, t task) (figures, error) {
	cmd, out, err := start(ctx, h, t, nil)
	if err != nil {
		return figures{}, err
	}
	return finish(cmd, out)
}

func start(ctx context.Context, h *house, t task, in io.Reader) (*exec.Cmd, *bytes.Buffer, error) {
	t.Module, t.Token, t.PIN = cmp.Or(t.Module, h.token.Module), h.token.Label, h.token.PIN
	t.Sessions = cmp.Or(t.Sessions, sessions)
	text, err := json.Marshal(t)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(append(os.Environ(), h.token.Env()...), taskEnv+"="+string(text))
	out := new(bytes.Buffer)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, os.Stderr
	err = cmd.Start()
	return cmd, out, err
}

func finish(cmd *exec.Cmd, out *bytes.Buffer) (f figures, err error) {
	if err := cmd.Wait(); err != nil {
		return f, err
	}
	err = json.Unmarshal(out.Bytes(), &f)
	return f, err
}

// work is what a child process does.
func work(ctx context.Context, text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	// For whoever looks for what is hot.
	if file := os.Getenv("LATCHKEY_BENCH_PROFILE"); file != "" && t.Kind != "load" {
		out, err := os.Create(file + "." + t.Kind) //nolint:gosec // who measures names the file
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(out); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	kinds := map[string]func(context.Context, task) (figures, error){
		"raw": rawTier, "hsm": hsmTier, "unblock": unblockTier, "signers": signersTier, "signer": signerTier, "long": longTier, "load": load,
	}
	f, err := kinds[t.Kind](ctx, t)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Kind, err)
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// repeat gives the same function to each caller.
func repeat(n int, f func() error) []func() error {
	list := make([]func() error, n)
	for i := range list {
		list[i] = f
	}
	return list
}

// rawAnswers are bare loops, one for each caller. Their sessions end with the process.
func rawAnswers(t task) (answers []func() error, err error) {
	if err := rawloop.LogIn(t.Module, t.Token, t.PIN); err != nil {
		return nil, err
	}
	for range t.Callers {
		r, err := rawloop.New(t.Module, t.Token, masterKey)
		if err != nil {
			return nil, err
		}
		answers = append(answers, r.Answer)
	}
	return answers, nil
}

func rawTier(ctx context.Context, t task) (figures, error) {
	answers, err := rawAnswers(t)
	if err != nil {
		return figures{}, err
	}
	return during(ctx, t, answers)
}

func openToken(ctx context.Context, t task) (*hsm.Token, error) {
	m, err := hsm.Load(t.Module)
	if err != nil {
		return nil, err
	}
	return m.Open(ctx, hsm.Config{Token: hsm.Selector{Label: t.Token}, PIN: hsm.NewPIN(t.PIN), Sessions: t.Sessions, Log: zap.NewNop()})
}

// keyOf is the card admin key of a card.
func keyOf(i int) card.AdminKey {
	return card.AdminKey{Master: masterKey, Version: 1, Scheme: card.LatchkeyV1, Type: card.AES256, Data: []byte(serialOf(i))}
}

func hsmTier(ctx context.Context, t task) (figures, error) {
	token, err := openToken(ctx, t)
	if err != nil {
		return figures{}, err
	}
	var next atomic.Int64
	f, err := during(ctx, t, repeat(t.Callers, func() error {
		_, err := token.Respond(ctx, keyOf(int(next.Add(1))%t.Cards), card.AESECB, make(card.Challenge, 16))
		return err
	}))
	return f, errors.Join(err, token.Close(context.WithoutCancel(ctx)))
}

// book is what the desk asks besides the store and the token.
type book struct{ operator policy.Operator }

func (book) Profile(string) (card.Profile, error) { return profile(), nil }

func (b book) Operator(context.Context, string) (policy.Operator, error) { return b.operator, nil }

func (book) Usable(context.Context, string, int) (string, error) { return "", nil }

// desk is a whole Latchkey but for what is around its use case.
type desk struct {
	*unblock.Desk
	token *hsm.Token
	store *store.Store
}

func openDesk(ctx context.Context, t task) (d desk, err error) {
	if d.token, err = openToken(ctx, t); err != nil {
		return d, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close(ctx))
		}
	}()
	if d.store, err = store.Open(ctx, t.Store); err != nil {
		return d, err
	}
	decide, err := policy.Default()
	if err != nil {
		return d, err
	}
	b := book{policy.Operator{ID: "olga", Name: "Olga Ek", Roles: []identity.Role{identity.Operator}}}
	d.Desk, err = unblock.New(unblock.Config{
		Cards: d.store, Profiles: b, Operators: b, Policy: decide, Keys: b, HSM: d.token, Ledger: d.store,
		CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(),
		Lifetime: time.Minute, ApprovalLifetime: time.Minute, Now: time.Now, NewID: uuid.NewString,
	})
	return d, err
}

func (d desk) close(ctx context.Context) error {
	var err error
	if d.store != nil {
		err = d.store.Close()
	}
	return errors.Join(err, d.token.Close(context.WithoutCancel(ctx)))
}

// answer answers any of the cards.
func (d desk) answer(ctx context.Context, cards int) error {
	serial := serialOf(rand.IntN(cards)) //nolint:gosec // any card will do
	_, err := d.Respond(ctx, unblock.Caller{Client: clientName, NamesOperators: true},
		unblock.Begin{Card: serial, Operator: "olga", Reason: "benchmark"}, unblock.Typed{Challenge: hex.EncodeToString(challenge())})
	if ctx.Err() != nil {
		return nil // its time is over
	}
	return err
}

func unblockTier(ctx context.Context, t task) (figures, error) {
	d, err := openDesk(ctx, t)
	if err != nil {
		return figures{}, err
	}
	f, err := during(ctx, t, repeat(t.Callers, func() error { return d.answer(ctx, t.Cards) }))
	return f, errors.Join(err, d.close(ctx))
}
