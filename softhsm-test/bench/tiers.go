package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	Kind    string // raw, hsm, unblock or load
	Callers int
	Slice   time.Duration
	Module  string
	Token   string
	PIN     string
	Store   string // of unblock
	Cards   int
	Load    loadTask
	// Rate is how many answers a second are asked for, 0 for as many as there can be.
	Rate float64
}

// measure has a child process do a task.
func measure(ctx context.Context, h *house, t task) (figures, error) {
	cmd, out, err := start(ctx, h, t)
	if err != nil {
		return figures{}, err
	}
	return finish(cmd, out)
}

func start(ctx context.Context, h *house, t task) (*exec.Cmd, *bytes.Buffer, error) {
	t.Module, t.Token, t.PIN = h.token.Module, h.token.Label, h.token.PIN
	text, err := json.Marshal(t)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(append(os.Environ(), h.token.Env()...), taskEnv+"="+string(text))
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
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
	kinds := map[string]func(context.Context, task) (figures, error){"raw": rawTier, "hsm": hsmTier, "unblock": unblockTier, "load": load}
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

func rawTier(ctx context.Context, t task) (figures, error) {
	if err := rawloop.LogIn(t.Module, t.Token, t.PIN); err != nil {
		return figures{}, err
	}
	var loops []*rawloop.Loop
	defer func() {
		for _, r := range loops {
			_ = r.Close() // the process ends with it
		}
	}()
	var answers []func() error
	for range t.Callers {
		r, err := rawloop.New(t.Module, t.Token, masterKey)
		if err != nil {
			return figures{}, err
		}
		loops, answers = append(loops, r), append(answers, r.Answer)
	}
	return during(ctx, t.Slice, answers)
}

func openToken(ctx context.Context, t task) (*hsm.Token, error) {
	m, err := hsm.Load(t.Module)
	if err != nil {
		return nil, err
	}
	return m.Open(ctx, hsm.Config{Token: hsm.Selector{Label: t.Token}, PIN: hsm.NewPIN(t.PIN), Sessions: sessions, Log: zap.NewNop()})
}

func hsmTier(ctx context.Context, t task) (figures, error) {
	token, err := openToken(ctx, t)
	if err != nil {
		return figures{}, err
	}
	var next atomic.Int64
	f, err := during(ctx, t.Slice, repeat(t.Callers, func() error {
		key := card.AdminKey{Master: masterKey, Version: 1, Scheme: card.LatchkeyV1, Type: card.AES256, Data: []byte(serialOf(int(next.Add(1)) % t.Cards))}
		_, err := token.Respond(ctx, key, card.AESECB, make(card.Challenge, 16))
		return err
	}))
	return f, errors.Join(err, token.Close(context.WithoutCancel(ctx)))
}

// book is what the desk asks besides the store and the token.
type book struct{ operator policy.Operator }

func (book) Profile(string) (card.Profile, error) { return profile(), nil }

func (b book) Operator(context.Context, string) (policy.Operator, error) { return b.operator, nil }

func (book) Usable(context.Context, string, int) (string, error) { return "", nil }

func unblockTier(ctx context.Context, t task) (_ figures, err error) {
	token, err := openToken(ctx, t)
	if err != nil {
		return figures{}, err
	}
	defer func() { err = errors.Join(err, token.Close(context.WithoutCancel(ctx))) }()
	s, err := store.Open(ctx, t.Store)
	if err != nil {
		return figures{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	decide, err := policy.Default()
	if err != nil {
		return figures{}, err
	}
	b := book{policy.Operator{ID: "olga", Name: "Olga Ek", Roles: []identity.Role{identity.Operator}}}
	desk, err := unblock.New(unblock.Config{
		Cards: s, Profiles: b, Operators: b, Policy: decide, Keys: b, HSM: token, Ledger: s,
		CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(),
		Lifetime: time.Minute, ApprovalLifetime: time.Minute, Now: time.Now, NewID: uuid.NewString,
	})
	if err != nil {
		return figures{}, err
	}
	caller := unblock.Caller{Client: "bench", NamesOperators: true}
	return during(ctx, t.Slice, repeat(t.Callers, func() error {
		serial := serialOf(rand.IntN(t.Cards)) //nolint:gosec // any card will do
		_, err := desk.Respond(ctx, caller, unblock.Begin{Card: serial, Operator: "olga", Reason: "benchmark"}, unblock.Typed{Challenge: challenge()})
		if ctx.Err() != nil {
			return nil // its time is over
		}
		return err
	}))
}
