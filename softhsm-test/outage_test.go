package softhsmtest_test

import (
	"encoding/json"
	"net/http"
	"syscall"
	"testing"
	"time"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/faultmodule"
)

// The token goes away under the running server and comes back: answers are
// refused as what they are, readiness says so, and nobody has to restart
// anything. The responses are those of before, which a card would notice.
func TestOutage(t *testing.T) {
	a := prepareAppliance(t)
	fault := faultmodule.Start(t, a.token.Module)
	a.writeConfig(t, fault.Path)
	a.start(t)
	a.register(t, card.TDES3, "OUTAGE-1")
	backend := a.as(t, "identity-manager")
	respond := func(t *testing.T) (status int, response string) {
		t.Helper()
		const path = "/v1/cards/OUTAGE-1/response"
		body := api.Respond{Operator: "anna", Challenge: "0123 4567 89AB CDEF", Confirmed: true, Reason: reason}
		status, answer := backend.send(t, http.MethodPost, path, body)
		var both struct{ Response, Code string }
		if err := json.Unmarshal(answer, &both); err != nil {
			t.Fatal(err)
		}
		return status, both.Response + both.Code
	}
	_, want := respond(t)
	// Readiness is asked for often and so is remembered for a moment.
	eventually := func(t *testing.T, what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it does not come about that %s", what)
			}
		}
	}
	down := func(t *testing.T) {
		t.Helper()
		if status, code := respond(t); status != http.StatusServiceUnavailable || code != "hsm-unavailable" {
			t.Errorf("during the outage: %d %s", status, code)
		}
		eventually(t, "the server is not ready", func() bool { return a.ready(t) == http.StatusServiceUnavailable })
	}
	back := func(t *testing.T) {
		t.Helper()
		var got string
		eventually(t, "a response is given out", func() bool {
			var status int
			status, got = respond(t)
			return status == http.StatusOK
		})
		if got != want {
			t.Errorf("after the outage the response is %s, before it was %s", got, want)
		}
		eventually(t, "the server is ready", func() bool { return a.ready(t) == http.StatusOK })
	}

	t.Run("token lost", func(t *testing.T) {
		fault.LoseToken()
		down(t)
		fault.RestoreToken()
		back(t)
	})
	t.Run("PIN refused", func(t *testing.T) {
		fault.ResetCalls()
		fault.WrongPIN(true)
		fault.DropSessions()
		down(t)
		down(t)
		if n := fault.Calls("C_Login"); n != 1 {
			t.Errorf("the PIN was tried %d times, want once", n)
		}
		fault.WrongPIN(false)
		down(t)
		if err := a.process.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		back(t)
	})
	a.stop(t)
}

// ready is the status of /readyz.
func (a *appliance) ready(t *testing.T) int {
	t.Helper()
	nobody := a.client()
	defer nobody.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := nobody.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}
