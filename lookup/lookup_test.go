package lookup_test

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/lookup"
	"latchkey/registry"
	"latchkey/server/api"
	"latchkey/softhsm-test/throwawayca"
	"latchkey/store"
	"latchkey/unblock"
)

const serial = "AB 1/7"

// profiles and keys are the registry's other rooms, in which nothing is refused.
type profiles struct{}

func (profiles) Profile(id string) (card.Profile, error) {
	return card.Profile{ID: id, MasterKey: "cards", MasterKeyVersion: 3}, nil
}

func (profiles) NewCardVersion(context.Context, card.Profile) (int, error) { return 3, nil }

// world is an Identity Manager that answers as it is told, over real TLS, and a
// source that asks it.
type world struct {
	*lookup.Source
	store  *store.Store
	server *httptest.Server
	handle atomic.Pointer[http.HandlerFunc]
	calls  atomic.Int32
	now    atomic.Int64
}

func (w *world) answer(h http.HandlerFunc) { w.handle.Store(&h) }

// says has the source say this of the card.
func (w *world) says(change func(*api.Card)) {
	c := api.Card{Serial: serial, Type: "employee", State: "blocked", CUID: "00ff", Unit: "Badge office", Holder: api.Holder{ID: "u1", Name: "Anna Ek", State: "active"}}
	change(&c)
	w.answer(func(r http.ResponseWriter, _ *http.Request) {
		r.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(r).Encode(c)
	})
}

func newWorld(t *testing.T, changes ...func(*lookup.Config)) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{}
	w.now.Store(time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC).UnixMicro())
	now := func() time.Time { return time.UnixMicro(w.now.Load()).UTC() }
	ca, err := throwawayca.New("Identity Manager CA")
	must(err)
	pair, err := ca.Server("127.0.0.1")
	must(err)
	client, err := ca.Client(pkix.Name{CommonName: "latchkey"})
	must(err)
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(r http.ResponseWriter, q *http.Request) {
		w.calls.Add(1)
		if q.Header.Get("Authorization") != "Bearer a-token" || q.URL.EscapedPath() != "/cards/AB%201%2F7" || q.TLS.PeerCertificates[0].Subject.CommonName != "latchkey" {
			r.WriteHeader(http.StatusUnauthorized)
			return
		}
		(*w.handle.Load())(r, q)
	}))
	w.server.TLS = &tls.Config{Certificates: []tls.Certificate{pair.TLS()}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	w.store, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "latchkey.db"))
	must(err)
	t.Cleanup(func() { _ = w.store.Close() })
	_, err = w.store.PutCardType(t.Context(), card.Type{ID: "employee", Profile: "gids"}, audit.Entry{})
	must(err)
	token := filepath.Join(t.TempDir(), "token")
	must(os.WriteFile(token, []byte("a-token\n"), 0o600))
	c := lookup.Config{
		Name: "idm", URL: w.server.URL + "/cards/" + lookup.Placeholder, TokenFile: token, Timeout: 5 * time.Second, Fresh: time.Minute,
		TLS: &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{client.TLS()}}, Directory: w.store, Now: now,
		Registry: &registry.Registry{
			Cards: w.store, Profiles: profiles{}, Keys: profiles{}, CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(), Now: now,
		},
	}
	for _, change := range changes {
		change(&c)
	}
	w.Source, err = lookup.New(c)
	must(err)
	t.Cleanup(w.Source.Close)
	w.says(func(*api.Card) {})
	return w
}

func (w *world) later(d time.Duration) { w.now.Add(d.Microseconds()) }

// What the source says is kept with its name, serves for a while, and is asked for
// again then: a card that is revoked in between is revoked.
func TestCard(t *testing.T) {
	w := newWorld(t)
	found, err := w.Card(t.Context(), serial)
	if err != nil || found.State != "blocked" || found.Source != "idm" || found.MasterKeyVersion != 3 || found.Unit != "Badge office" || string(found.CUID) != "\x00\xff" {
		t.Fatalf("%+v, %v", found, err)
	}
	if kept, err := w.store.Card(t.Context(), serial); err != nil || !reflect.DeepEqual(kept, found) {
		t.Errorf("kept: %+v, %v", kept, err)
	}
	if cards, _, err := w.store.FindCards(t.Context(), store.Query{Text: "anna"}); err != nil || len(cards) != 1 {
		t.Errorf("a search finds %v, %v", cards, err)
	}
	w.says(func(c *api.Card) { c.State = "revoked" })
	w.later(59 * time.Second)
	if found, err := w.Card(t.Context(), serial); err != nil || found.State != "blocked" || w.calls.Load() != 1 {
		t.Errorf("within a minute: %s, %v, %d calls", found.State, err, w.calls.Load())
	}
	w.later(time.Second)
	if found, err := w.Card(t.Context(), serial); err != nil || found.State != "revoked" {
		t.Errorf("after a minute: %s, %v", found.State, err)
	}
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		w.answer(func(r http.ResponseWriter, _ *http.Request) { r.WriteHeader(status) })
		w.later(time.Minute)
		if _, err := w.Card(t.Context(), serial); !errors.Is(err, card.ErrNotFound) {
			t.Errorf("the source knows the card no longer, with %d: %v", status, err)
		}
	}
	calls := w.calls.Load()
	for _, serial := range []string{"", ".", "..", " x", "a\nb", strings.Repeat("x", card.MaxSerial+1)} {
		if _, err := w.Card(t.Context(), serial); !errors.Is(err, card.ErrNotFound) || w.calls.Load() != calls {
			t.Errorf("serial number %q: %v", serial, err)
		}
	}
}

// A copy that another source brought, and an old one, serve nobody where the source
// cannot be asked or says what cannot be right.
func TestFailsClosed(t *testing.T) {
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	text := func(kind, body string) http.HandlerFunc {
		return func(r http.ResponseWriter, _ *http.Request) {
			r.Header().Set("Content-Type", kind)
			_, _ = r.Write([]byte(body))
		}
	}
	const good = `{"serial":"AB 1/7","type":"employee","state":"active","holder":{"id":"u1","name":"Anna","state":"active"}}`
	release := make(chan struct{})
	for name, handle := range map[string]http.HandlerFunc{
		"slow": func(_ http.ResponseWriter, q *http.Request) {
			select {
			case <-q.Context().Done():
			case <-release:
			}
		},
		"slow in the body": func(r http.ResponseWriter, q *http.Request) {
			text("application/json", good[:20])(r, q)
			_ = http.NewResponseController(r).Flush()
			select {
			case <-q.Context().Done():
			case <-release:
			}
		},
		"500":                 func(r http.ResponseWriter, _ *http.Request) { r.WriteHeader(http.StatusInternalServerError) },
		"204":                 func(r http.ResponseWriter, _ *http.Request) { r.WriteHeader(http.StatusNoContent) },
		"elsewhere":           func(r http.ResponseWriter, q *http.Request) { http.Redirect(r, q, elsewhere.URL, http.StatusFound) },
		"no JSON":             text("application/json", `<html>`),
		"JSON cut off":        text("application/json", good[:50]),
		"a page":              text("text/html", good),
		"an unknown field":    text("application/json", strings.Replace(good, `"type"`, `"admin":true,"type"`, 1)),
		"a field twice":       text("application/json", strings.Replace(good, `"type"`, `"serial":"AB 1/7","type"`, 1)),
		"two cards":           text("application/json", good+good),
		"a list":              text("application/json", "["+good+"]"),
		"another card":        text("application/json", strings.Replace(good, "AB 1/7", "AB 1/8", 1)),
		"no serial number":    text("application/json", strings.Replace(good, "AB 1/7", "", 1)),
		"huge":                text("application/json", good+strings.Repeat(" ", 1<<20)),
		"an unknown state":    text("application/json", strings.Replace(good, `"state":"active"`, `"state":"Active"`, 1)),
		"an unknown type":     text("application/json", strings.Replace(good, "employee", "nonesuch", 1)),
		"CUID that is no hex": text("application/json", strings.Replace(good, `"type"`, `"cuid":"xy","type"`, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *lookup.Config) {
				if strings.HasPrefix(name, "slow") {
					c.Timeout = 200 * time.Millisecond
				}
			})
			if _, err := w.Card(t.Context(), serial); err != nil {
				t.Fatal(err)
			}
			w.later(time.Hour)
			w.answer(handle)
			found, err := w.Card(t.Context(), serial)
			if !errors.Is(err, unblock.ErrCardSource) || found.Serial != "" {
				t.Errorf("%+v, %v", found, err)
			}
			if err != nil && (strings.Contains(err.Error(), "AB") || strings.Contains(err.Error(), "a-token") || strings.Contains(err.Error(), "Anna")) {
				t.Errorf("the error says too much: %v", err)
			}
		})
	}
	close(release)
}

func TestForeignCA(t *testing.T) {
	other, err := throwawayca.New("another")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *lookup.Config) { c.TLS.RootCAs = other.Pool() })
	if _, err := w.Card(t.Context(), serial); !errors.Is(err, unblock.ErrCardSource) || w.calls.Load() != 0 {
		t.Errorf("%v, %d calls", err, w.calls.Load())
	}
}

// Who asks for one card at the same time is told by one look-up, and whoever gives
// up does not take it away from the others.
func TestTogether(t *testing.T) {
	w := newWorld(t)
	good := *w.handle.Load()
	asked, release := make(chan struct{}), make(chan struct{})
	w.answer(func(r http.ResponseWriter, q *http.Request) {
		close(asked) // a second call would panic
		<-release
		good(r, q)
	})
	ctx, giveUp := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { _, err := w.Card(ctx, serial); first <- err }()
	<-asked
	var others sync.WaitGroup
	for range 10 {
		others.Go(func() {
			if found, err := w.Card(t.Context(), serial); err != nil || found.Serial != serial {
				t.Errorf("%+v, %v", found, err)
			}
		})
	}
	giveUp()
	if err := <-first; !errors.Is(err, unblock.ErrCardSource) {
		t.Errorf("the one that gave up: %v", err)
	}
	close(release)
	others.Wait()
}

// A source that fails again and again is left alone, and a card that it does not
// know is no failure.
func TestCircuit(t *testing.T) {
	w := newWorld(t)
	w.answer(func(r http.ResponseWriter, _ *http.Request) { r.WriteHeader(http.StatusNotFound) })
	for range 10 {
		if _, err := w.Card(t.Context(), serial); !errors.Is(err, card.ErrNotFound) {
			t.Fatal(err)
		}
	}
	w.answer(func(r http.ResponseWriter, _ *http.Request) { r.WriteHeader(http.StatusBadGateway) })
	before := w.calls.Load()
	for range 20 {
		if _, err := w.Card(t.Context(), serial); !errors.Is(err, unblock.ErrCardSource) {
			t.Fatal(err)
		}
	}
	if calls := w.calls.Load() - before; calls != 5 {
		t.Errorf("asked %d times, want 5", calls)
	}
}

// What a source may say of a card is what the API takes, and tells.
func TestFieldsAreThoseOfTheAPI(t *testing.T) {
	full := api.Card{
		Serial: serial, Type: "employee", State: "active", CUID: "00ff", KDD: "00112233445566778899", MasterKeyVersion: 7, HasWrappedKey: true,
		Unit: "u", Assurance: "high", Source: "x", SyncedAt: time.Unix(1, 0),
		Holder: api.Holder{ID: "i", Name: "n", Email: "e", EmployeeNumber: "1", Unit: "u", Groups: []string{"g"}, Privileged: true, State: "active"},
	}
	set := reflect.ValueOf(full)
	for i := range set.NumField() {
		if name := set.Type().Field(i).Name; set.Field(i).IsZero() && name != "WrappedKey" { // which takes a profile that has such keys
			t.Errorf("%s is not tested", name)
		}
	}
	w := newWorld(t)
	w.says(func(c *api.Card) { *c = full })
	found, err := w.Card(t.Context(), serial)
	want := card.Card{
		Serial: serial, Type: "employee", State: "active", CUID: []byte{0, 0xff}, KDD: []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99"), MasterKeyVersion: 7,
		Unit: "u", Assurance: "high", Source: "idm", SyncedAt: time.UnixMicro(w.now.Load()).UTC(), Holder: card.Holder(full.Holder),
	}
	if err != nil || !reflect.DeepEqual(found, want) {
		t.Errorf("%+v, want %+v; %v", found, want, err)
	}
}

func TestURL(t *testing.T) {
	for text, good := range map[string]bool{
		"https://idm.example.org/cards/{serial}": true, "https://idm.example.org:8443/a/{serial}/card?view=full": true,
		"http://idm.example.org/cards/{serial}": false, "https://u:p@idm.example.org/{serial}": false, "https://idm.example.org/cards": false,
		"https://idm.example.org/{serial}/{serial}": false, "https://idm.example.org/cards?serial={serial}": false, "https://{serial}/cards": false, "": false,
	} {
		if err := lookup.CheckURL(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}
