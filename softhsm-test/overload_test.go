package softhsmtest_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/softhsm-test/faultmodule"
	"latchkey/store"
)

func poolOf(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("no certificates in " + path)
	}
	return pool, nil
}

// overloadVariable asks for the long form of TestOverload: how long it is to last.
const overloadVariable = "LATCHKEY_OVERLOAD"

// derivation is how long the HSM takes for one, so that it is what there is too
// little of and not this machine's processors.
const derivation = 20 * time.Millisecond

// Ten times of what the HSM can do is asked for by one client. It does as much work
// as before, the others hear nothing of it, health stays true, memory does not grow,
// and each response that went out has its entry in the log. `make overload` is
// the same for a minute, and prints and judges the figures.
func TestOverload(t *testing.T) {
	lasting, judged := 3*time.Second, false
	if text := os.Getenv(overloadVariable); text != "" {
		var err error
		if lasting, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
		judged = true
	}
	a := prepareAppliance(t)
	fault := faultmodule.Start(t, a.token.Module)
	a.writeConfig(t, fault.Path, "limits: {requests_per_second: 1000000, burst: 1000000, per_operator: none, per_card: none}")
	a.start(t)
	var serials []string
	for i := range 64 {
		serials = append(serials, fmt.Sprint("CARD-", i))
		a.register(t, card.TDES3, serials[i])
	}
	fault.Delay("C_DeriveKey", derivation)

	client := func(name string) load {
		pair, err := a.ca.Client(pkix.Name{CommonName: name, Organization: []string{"Example"}})
		if err != nil {
			t.Fatal(err)
		}
		l := a.loadFor(t, pair)
		l.Serials = serials
		return l
	}
	steady := client("identity-manager")
	steady.Connections, steady.For = 32, lasting/2
	before := put(t, steady)
	sustained := float64(before.Answered) / before.Took.Seconds()
	if before.Answered == 0 || before.TurnedAway != 0 || len(before.Wrong) != 0 {
		t.Fatalf("as many as are answered: %d answered, %d turned away, and %q", before.Answered, before.TurnedAway, before.Wrong)
	}

	flood, person := client("identity-manager"), client("anna")
	flood.Connections, flood.Rate, flood.For = 400, int(10*sustained), lasting
	person.Connections, person.Rate, person.For = 1, 5, lasting
	memory := []int{a.resident(t)}
	over := make(chan struct{})
	var together sync.WaitGroup
	var flooded, persons loaded
	together.Go(func() { flooded = put(t, flood) })
	together.Go(func() { persons = put(t, person) })
	go func() {
		together.Wait()
		close(over)
	}()
	nobody := a.client()
	defer nobody.CloseIdleConnections()
	asked := 0
	for done := false; !done; asked++ {
		select {
		case <-over:
			done = true
		case <-time.After(100 * time.Millisecond):
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			response, err := nobody.Get(a.url + path)
			if err != nil {
				t.Fatal(err)
			}
			if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("under load %s says %s (%v)", path, response.Status, err)
			}
		}
		memory = append(memory, a.resident(t))
	}
	goodput := float64(flooded.Answered+persons.Answered) / flooded.Took.Seconds()
	half := memory[len(memory)/2]
	grown, late := slices.Max(memory)-memory[0], memory[len(memory)-1]-half
	t.Logf("sustained %.0f/s; asked for %d/s: %.0f/s answered (%.2f of it), %.0f/s turned away; worst second %d",
		sustained, flood.Rate, goodput, goodput/sustained, float64(flooded.TurnedAway)/flooded.Took.Seconds(),
		slices.Min(flooded.BySecond[:int(lasting.Seconds())]))
	t.Logf("another client at 5/s: %d answered, %d turned away; health asked %d times; memory %d MiB, at most %d MiB more, %d MiB in the second half",
		persons.Answered, persons.TurnedAway, asked, memory[0]>>20, grown>>20, late>>20)

	if flooded.TurnedAway == 0 {
		t.Error("nobody was turned away, so this was no overload")
	}
	if persons.Answered == 0 || persons.TurnedAway != 0 {
		t.Errorf("another client: %d answered, %d turned away for the flood of the first", persons.Answered, persons.TurnedAway)
	}
	if wrong := slices.Concat(flooded.Wrong, persons.Wrong); len(wrong) != 0 {
		t.Errorf("what was neither answered nor turned away: %q", wrong)
	}
	if floor := map[bool]float64{false: 0.25, true: 0.9}[judged]; goodput < floor*sustained {
		t.Errorf("%.0f/s are answered under overload, %.0f/s without", goodput, sustained)
	}
	if grown > 256<<20 || judged && late > 32<<20 {
		t.Errorf("memory grew by %d bytes, by %d in the second half", grown, late)
	}
	a.stop(t)
	a.everyAnswerLogged(t, slices.Concat(before.Processes, flooded.Processes, persons.Processes))
}

// resident is how many bytes of memory the server has in use.
func (a *appliance) resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", a.process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// everyAnswerLogged looks for the entry of each response that went out.
func (a *appliance) everyAnswerLogged(t *testing.T, processes []string) {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(a.dir, "latchkey.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	logged := map[string]int{}
	for from := int64(1); ; {
		entries, err := s.Entries(t.Context(), from, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		from = entries[len(entries)-1].Sequence + 1
		for _, e := range entries {
			if e.Action == audit.UnblockRespond && e.Outcome == audit.Permit {
				logged[e.Process]++
			}
		}
	}
	missing := 0
	for _, id := range processes {
		if logged[id] != 1 {
			missing++
		}
	}
	if missing != 0 || len(processes) == 0 {
		t.Errorf("of %d responses that went out %d have not one entry in the log", len(processes), missing)
	}
	t.Logf("%d responses went out, each with its entry", len(processes)-missing)
}
