package softhsmtest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"latchkey/server/api"
	"latchkey/softhsm-test/throwawayca"
)

// load is what a process of its own puts on a server: this test binary, started
// once more, so that its work and its memory are not the server's or the test's.
type load struct {
	URL, CA           string
	Certificate, Key  string // of the client
	Connections, Rate int    // Rate is requests a second; 0 is as many as are answered
	For               time.Duration
	Serials           []string
}

// loaded is what came of it.
type loaded struct {
	Answered, TurnedAway int
	BySecond             []int    // answered
	Wrong                []string // what else came back, the first few
	Processes            []string // IDs of those answered
	Took                 time.Duration
}

// loadVariable names the environment variable with the load, as JSON.
const loadVariable = "LATCHKEY_TEST_LOAD"

// put runs the load in another process until it is done.
func put(t *testing.T, l load) (result loaded) {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), loadVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &result)
	}
	if err != nil {
		t.Errorf("load: %v", err)
	}
	return result
}

// loadFor is the load of a client, whose certificate is written down for it.
func (a *appliance) loadFor(t *testing.T, pair *throwawayca.Pair) load {
	t.Helper()
	dir := t.TempDir()
	l := load{URL: a.url, CA: filepath.Join(dir, "ca.crt"), Certificate: filepath.Join(dir, "client.crt"), Key: filepath.Join(dir, "client.key")}
	if err := a.ca.Write(l.CA); err != nil {
		t.Fatal(err)
	}
	if err := pair.Write(l.Certificate, l.Key); err != nil {
		t.Fatal(err)
	}
	return l
}

// runLoad is the other process.
func runLoad(text string) int {
	var l load
	err := json.Unmarshal([]byte(text), &l)
	if err == nil {
		var result loaded
		if result, err = l.run(); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (l load) run() (loaded, error) {
	pair, err := tls.LoadX509KeyPair(l.Certificate, l.Key)
	if err != nil {
		return loaded{}, err
	}
	pool, err := poolOf(l.CA)
	if err != nil {
		return loaded{}, err
	}
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{pair}},
			MaxIdleConnsPerHost: l.Connections, MaxConnsPerHost: l.Connections,
		},
		Timeout: time.Minute,
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.For)
	defer cancel()
	due := make(chan struct{}, max(1, l.Rate)) // at most a second behind
	go func() {
		began := time.Now()
		for sent := 0; ctx.Err() == nil && l.Rate > 0; time.Sleep(time.Millisecond) {
			for ; sent < int(time.Since(began).Seconds()*float64(l.Rate)); sent++ {
				select {
				case due <- struct{}{}:
				default:
				}
			}
		}
	}()
	var mu sync.Mutex
	result := loaded{BySecond: make([]int, int(l.For.Seconds())+1)}
	began := time.Now()
	var all sync.WaitGroup
	for i := range l.Connections {
		all.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				if l.Rate > 0 {
					select {
					case <-due:
					case <-ctx.Done():
						return
					}
				}
				second := int(time.Since(began).Seconds())
				id, away, err := ask(client, l.URL, l.Serials[n%len(l.Serials)])
				mu.Lock()
				switch {
				case err != nil && len(result.Wrong) < 10:
					result.Wrong = append(result.Wrong, err.Error())
				case err != nil:
				case away:
					result.TurnedAway++
				default:
					result.Answered++
					result.Processes = append(result.Processes, id)
					result.BySecond[min(second, len(result.BySecond)-1)]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	result.Took = time.Since(began)
	return result, nil
}

// ask asks for one answer and gives the process that it was given in, or tells
// that it was turned away as overloaded.
func ask(client *http.Client, url, serial string) (id string, away bool, err error) {
	body, err := json.Marshal(api.Respond{Challenge: "1603EBDF1C8A2E72", Confirmed: true, Operator: "anna", Reason: "overload"})
	if err != nil {
		return "", false, err
	}
	response, err := client.Post(url+"/v1/cards/"+serial+"/response", api.JSON, bytes.NewReader(body))
	if err != nil {
		return "", false, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", false, err
	}
	var answer struct{ Unblock, Code string }
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", false, err
	}
	switch {
	case response.StatusCode == http.StatusOK && answer.Unblock != "":
		return answer.Unblock, false, nil
	case response.StatusCode == http.StatusServiceUnavailable && answer.Code == "overloaded" && response.Header.Get("Retry-After") != "":
		return "", true, nil
	}
	return "", false, fmt.Errorf("%s %s", response.Status, text)
}
