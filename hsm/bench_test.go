package hsm_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/pkcs11"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
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
					raw := newRawLoop(b, fixture, label)
					const slice = 20 * time.Millisecond
					var bare, ours, ratios []float64
					for b.Loop() {
						for range 25 {
							// The raw best on SoftHSM is one thread: its locks are the process's.
							x := during(b, slice, 1, raw.answer)
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

// rawLoop is what one thread can make of the token with miekg/pkcs11 alone.
type rawLoop struct {
	ctx       *pkcs11.Ctx
	session   pkcs11.SessionHandle
	master    pkcs11.ObjectHandle
	mechanism []*pkcs11.Mechanism
	template  []*pkcs11.Attribute
	encrypt   []*pkcs11.Mechanism
	block     []byte
	pinned    runtime.Pinner
	data      []byte
}

func newRawLoop(b *testing.B, fixture *softhsmtest.Token, label string) *rawLoop {
	b.Helper()
	r := &rawLoop{ctx: pkcs11.New(fixture.Module), block: make([]byte, 16), data: make([]byte, 32)}
	fail := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	// The library is initialised and logged in to already: this is the same process.
	slots, err := r.ctx.GetSlotList(true)
	fail(err)
	for _, slot := range slots {
		if info, err := r.ctx.GetTokenInfo(slot); err == nil && info.Label == fixture.Label {
			r.session, err = r.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
			fail(err)
		}
	}
	fail(r.ctx.FindObjectsInit(r.session, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)}))
	found, _, err := r.ctx.FindObjects(r.session, 1)
	fail(err)
	fail(r.ctx.FindObjectsFinal(r.session))
	r.master = found[0]
	r.pinned.Pin(&r.data[0])
	b.Cleanup(func() { r.pinned.Unpin(); _ = r.ctx.CloseSession(r.session) })
	type parameter struct {
		iv   [16]byte
		data uintptr
		len  uint64
	}
	p := parameter{data: uintptr(unsafe.Pointer(&r.data[0])), len: 32}
	r.mechanism = []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_CBC_ENCRYPT_DATA,
		append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(&p)), unsafe.Sizeof(p))...))}
	r.encrypt = []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}
	for t, v := range map[uint]any{
		pkcs11.CKA_CLASS: pkcs11.CKO_SECRET_KEY, pkcs11.CKA_KEY_TYPE: pkcs11.CKK_AES, pkcs11.CKA_VALUE_LEN: 32,
		pkcs11.CKA_TOKEN: false, pkcs11.CKA_PRIVATE: true, pkcs11.CKA_SENSITIVE: true, pkcs11.CKA_EXTRACTABLE: false,
		pkcs11.CKA_ENCRYPT: true, pkcs11.CKA_DECRYPT: false, pkcs11.CKA_SIGN: false, pkcs11.CKA_VERIFY: false,
		pkcs11.CKA_WRAP: false, pkcs11.CKA_UNWRAP: false, pkcs11.CKA_DERIVE: false,
	} {
		r.template = append(r.template, pkcs11.NewAttribute(t, v))
	}
	return r
}

func (r *rawLoop) answer() error {
	key, err := r.ctx.DeriveKey(r.session, r.mechanism, r.master, r.template)
	if err != nil {
		return err
	}
	if err := r.ctx.EncryptInit(r.session, r.encrypt, key); err != nil {
		return err
	}
	if _, err := r.ctx.Encrypt(r.session, r.block); err != nil {
		return err
	}
	return r.ctx.DestroyObject(r.session, key)
}
