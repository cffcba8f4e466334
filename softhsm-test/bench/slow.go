package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"gonum.org/v1/plot/plotter"

	"latchkey/softhsm-test/faultmodule"
)

// slow is what sessions give where every call to the token takes a while, as one over
// a network does.
type slow struct {
	circumstances
	Delay time.Duration `json:"delay_ns"`
	Steps []slowStep    `json:"steps"`
}

type slowStep struct {
	Sessions int     `json:"sessions"`
	Raw      figures `json:"raw"`
	HSM      figures `json:"hsm"`
}

func measureSlow(ctx context.Context, h *house, o options) (found slow, err error) {
	found = slow{circumstances: circumstancesOf(o), Delay: 2 * time.Millisecond}
	var orders []string
	for _, fn := range []string{
		"C_OpenSession", "C_GetSessionInfo", "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue",
		"C_DeriveKey", "C_CreateObject", "C_EncryptInit", "C_Encrypt", "C_EncryptUpdate", "C_EncryptFinal", "C_DestroyObject",
	} {
		orders = append(orders, fmt.Sprintf("delay %s %d", fn, found.Delay.Milliseconds()))
	}
	fault, err := faultmodule.Launch(h.token.Module, func(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }, orders...)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, fault.Close()) }()
	for _, n := range []int{1, 2, 4, 8, 16, 32} {
		_, _ = fmt.Fprintf(os.Stderr, "bench: slow token, %s\n", plural(n, "session"))
		step := slowStep{Sessions: n}
		if step.Raw, err = measure(ctx, h, task{Kind: "raw", Module: fault.Path, Callers: n, Slice: o.slice, Cards: o.cards}); err != nil {
			return found, err
		}
		// Twice as many callers, so that no session waits for one.
		if step.HSM, err = measure(ctx, h, task{Kind: "hsm", Module: fault.Path, Sessions: n, Callers: 2 * n, Slice: o.slice, Cards: o.cards}); err != nil {
			return found, err
		}
		found.Steps = append(found.Steps, step)
	}
	return found, nil
}

func (slow) name() string { return "sessions" }

func (s slow) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s; a module adds %s to every PKCS#11 call. The bare loop has as many threads as `hsm` has sessions.\n\n", s.circumstances, s.Delay)
	_, _ = fmt.Fprint(w, "| sessions | raw, answers/s | hsm, answers/s | hsm of raw | hsm, times one session | hsm, p50 in microseconds | CPU |\n|---------:|---------------:|---------------:|-----------:|-----------------------:|-------------------------:|----:|\n")
	for _, step := range s.Steps {
		_, _ = fmt.Fprintf(w, "| %8d | %14.0f | %14.0f | %10.2f | %22.1f | %24d | %3.0f |\n", step.Sessions, step.Raw.PerSecond, step.HSM.PerSecond,
			step.HSM.PerSecond/step.Raw.PerSecond, step.HSM.PerSecond/s.Steps[0].HSM.PerSecond, step.HSM.P50, step.HSM.CPU)
	}
}

func (s slow) draw() (*drawing, error) {
	hsm, raw := line{name: "hsm"}, line{name: "bare loop"}
	for _, step := range s.Steps {
		x := float64(step.Sessions)
		hsm.points, raw.points = append(hsm.points, plotter.XY{X: x, Y: step.HSM.PerSecond}), append(raw.points, plotter.XY{X: x, Y: step.Raw.PerSecond})
	}
	return lines(fmt.Sprintf("Answers a second with %s added to every PKCS#11 call", s.Delay), "sessions", "answers a second", false, hsm, raw)
}
