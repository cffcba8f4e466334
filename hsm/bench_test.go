package hsm_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/rawloop"
)

// BenchmarkRespond runs the bare PKCS#11 calls of one answer (derive, encrypt,
// destroy) and hsm.Respond in turn, on the same token in the same process, and
// prints what Respond makes of the bare calls' best as the metric "of-raw-best":
// the median over pairs of short slices, so that a noisy machine is noisy to both.
func BenchmarkRespond(b *testing.B) {
	fixture := softhsmtest.New(b)
	for _, sessions := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			token := fixture.Open(b, func(c *hsm.Config) { c.Sessions = sessions })
			label := fmt.Sprintf("bench-%d", sessions)
			if _, err := token.Generate(b.Context(), hsm.NewKey{Label: label, Version: 1, Type: card.AES256, Use: hsm.ForDeriving}); err != nil {
				b.Fatal(err)
			}
			key := card.AdminKey{Master: label, Version: 1, Scheme: card.LatchkeyV1, Type: card.AES256, Data: []byte("SN-0001")}
			challenge := make(card.Challenge, 16)
			respond := func() error {
				_, err := token.Respond(b.Context(), key, card.AESECB, challenge)
				return err
			}
			for _, callers := range []int{1, 2, 4, 8, 32} {
				b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
					// The library is initialised and logged in to already: this is the same process.
					raw, err := rawloop.New(fixture.Module, fixture.Label, label)
					if err != nil {
						b.Fatal(err)
					}
					defer func() { _ = raw.Close() }()
					const slice = 20 * time.Millisecond
					var bare, ours, ratios []float64
					for b.Loop() {
						for range 25 {
							// The raw best on SoftHSM is one thread: its locks are the process's.
							x := during(b, slice, 1, raw.Answer)
							y := during(b, slice, callers, respond)
							bare, ours, ratios = append(bare, x), append(ours, y), append(ratios, y/x)
						}
					}
					b.ReportMetric(median(bare), "raw/s")
					b.ReportMetric(median(ours), "respond/s")
					b.ReportMetric(median(ratios), "of-raw-best")
				})
			}
		})
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// during calls f from that many goroutines for the time d and gives the calls
// per second.
func during(b *testing.B, d time.Duration, callers int, f func() error) float64 {
	b.Helper()
	var count atomic.Int64
	var stop atomic.Bool
	began := time.Now()
	time.AfterFunc(d, func() { stop.Store(true) })
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			for !stop.Load() {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	wait.Wait()
	return float64(count.Load()) / time.Since(began).Seconds()
}
