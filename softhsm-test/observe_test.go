package softhsmtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"latchkey/card"
	"latchkey/server/api"
)

// receiver takes spans as an OTLP collector does.
type receiver struct {
	url string

	mu       sync.Mutex
	spans    []*tracepb.Span
	resource map[string]string
	bodies   [][]byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{url: "http://" + l.Addr().String() + "/v1/traces"}
	web := &http.Server{Handler: r}
	go func() { _ = web.Serve(l) }()
	t.Cleanup(func() { _ = web.Close() })
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	var export collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &export)
	}
	if err != nil || request.Method != http.MethodPost || request.Header.Get("Content-Type") != "application/x-protobuf" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = append(r.bodies, body)
	for _, of := range export.ResourceSpans {
		r.resource = attributes(of.Resource.Attributes)
		for _, scope := range of.ScopeSpans {
			r.spans = append(r.spans, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func attributes(list []*commonpb.KeyValue) map[string]string {
	all := make(map[string]string)
	for _, a := range list {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			all[a.Key] = v.StringValue
		case *commonpb.AnyValue_BoolValue:
			all[a.Key] = map[bool]string{true: "true", false: "false"}[v.BoolValue]
		default:
			all[a.Key] = a.Value.String()
		}
	}
	return all
}

// tree is a span and those inside of it, as text.
func (r *receiver) tree(parent []byte, depth int) (text []string) {
	inside := slices.DeleteFunc(slices.Clone(r.spans), func(s *tracepb.Span) bool { return !bytes.Equal(s.ParentSpanId, parent) })
	slices.SortFunc(inside, func(a, b *tracepb.Span) int { return int(a.StartTimeUnixNano) - int(b.StartTimeUnixNano) })
	for _, s := range inside {
		text = append(text, strings.Repeat("  ", depth)+s.Name)
		text = append(text, r.tree(s.SpanId, depth+1)...)
	}
	return text
}

// observed is an appliance whose metrics are at the socket and whose spans all go
// to the receiver.
func observed(t *testing.T, more ...string) (*appliance, *receiver, *http.Client) {
	t.Helper()
	a, r := prepareAppliance(t), newReceiver(t)
	socket := filepath.Join(t.TempDir(), "observe.sock")
	a.writeConfig(t, a.token.Module, append(more, "observe: {listen: 'unix:"+socket+"', tracing: {endpoint: '"+r.url+"', sample: 1}}")...)
	if len(more) != 0 {
		a.command(t, "audit", "key", "audit", "--create", "--config", a.config, "--out", filepath.Join(t.TempDir(), "audit.pem"))
	}
	a.start(t)
	inside := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	t.Cleanup(inside.CloseIdleConnections)
	return a, r, inside
}

// scrape is what Prometheus gets.
func scrape(t *testing.T, inside *http.Client, path string) (int, string) {
	t.Helper()
	response, err := inside.Get("http://latchkey" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// A request's spans go through all rooms, belong to what the client says that they
// belong to, and tell of no card and no person. Those who are not known make none.
func TestSpans(t *testing.T) {
	a, r, _ := observed(t)
	a.register(t, card.TDES3, "SERIAL-TO-HIDE")
	c := issueCard(t, card.TDES3, "SERIAL-TO-HIDE")
	challenge := typedChallenge(t, c)
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	send := func(who *caller, traceparent ...string) (status int, answer api.Response) {
		t.Helper()
		body, err := json.Marshal(api.Respond{Challenge: challenge, Operator: "anna", Reason: "reason-to-hide"})
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+"/v1/cards/SERIAL-TO-HIDE/response", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header["Traceparent"] = traceparent
		request.Header.Set("Content-Type", api.JSON)
		request.Header.Set("X-Request-Id", "the-request")
		response, err := who.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		_ = json.NewDecoder(response.Body).Decode(&answer) // a problem has other fields
		return response.StatusCode, answer
	}
	backend := a.as(t, "identity-manager")
	status, answer := send(backend, "00-"+trace+"-"+parent+"-01")
	if status != http.StatusOK {
		t.Fatalf("answered with %d", status)
	}
	stranger := &caller{client: a.client(), url: a.url}
	const strange = "11111111111111111111111111111111"
	send(stranger, "00-"+strange+"-"+parent+"-01")
	const twice, long, unsampled = "22222222222222222222222222222222", "33333333333333333333333333333333", "44444444444444444444444444444444"
	send(backend, "00-"+twice+"-"+parent+"-01", "00-"+twice+"-"+parent+"-01")
	send(backend, "cc-"+long+"-"+parent+"-01-and-more")
	send(backend, "00-"+unsampled+"-"+parent+"-00")
	a.stop(t) // which sends what waits

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resource["service.name"] != "latchkey" {
		t.Errorf("resource %v", r.resource)
	}
	var root *tracepb.Span
	for _, s := range r.spans {
		switch id := hexOf(s.TraceId); {
		case id == trace && hexOf(s.ParentSpanId) == parent:
			root = s
		case id == strange, id == twice, id == long, id == unsampled:
			t.Errorf("%s belongs to trace %s", s.Name, id)
		}
	}
	if root == nil {
		t.Fatal("no span belongs to the client's")
	}
	inside := slices.DeleteFunc(slices.Clone(r.spans), func(s *tracepb.Span) bool { return hexOf(s.TraceId) != trace })
	got := (&receiver{spans: inside}).tree(root.ParentSpanId, 0)
	want := []string{
		"POST /v1/cards/{serial}/response",
		"  unblock.Respond",
		"    store.Dossier",
		"    policy.Decide",
		"    hsm.Respond",
		"    store.Apply",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	about := attributes(root.Attributes)
	if about["latchkey.request_id"] != "the-request" || about["http.route"] != "/v1/cards/{serial}/response" || root.Kind != tracepb.Span_SPAN_KIND_SERVER {
		t.Errorf("the request's span is %v %v", root.Kind, about)
	}
	for _, s := range inside {
		if s.Name == "unblock.Respond" && attributes(s.Attributes)["latchkey.process"] != answer.Unblock {
			t.Errorf("the desk's span names process %q, want %q", attributes(s.Attributes)["latchkey.process"], answer.Unblock)
		}
	}
	for _, secret := range []string{"SERIAL-TO-HIDE", "reason-to-hide", "Astrid", "u417", "anna", strings.ReplaceAll(challenge, " ", ""), challenge, answer.Response, answer.Grouped} {
		for _, body := range r.bodies {
			if bytes.Contains(body, []byte(secret)) {
				t.Errorf("spans tell %q", secret)
			}
		}
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var text strings.Builder
	for _, c := range b {
		text.WriteByte(digits[c>>4])
		text.WriteByte(digits[c&15])
	}
	return text.String()
}

// metricNames are the names in a text.
var metricNames = regexp.MustCompile(`\b(latchkey|process|go)_[a-z0-9_]+\b`)

// Every metric that the dashboard and the rules name is one that the binary has,
// and Prometheus' own tool finds no fault with either; no label tells of a card or a
// person; the public listener has none of it.
func TestMetrics(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("5e", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	a, _, inside := observed(t, "audit: {key: audit, checkpoint_after: 1, sinks: [{name: away, kind: file, path: /nowhere/audit.jsonl}]}",
		"notify: {webhooks: [{name: away, url: 'https://127.0.0.1:1/', secret_file: '"+secret+"'}]}") // where nobody listens
	a.register(t, card.TDES3, "SERIAL-TO-HIDE")
	backend := a.as(t, "identity-manager")
	body := api.Respond{Challenge: "1603EBDF1C8A2E72", Confirmed: true, Operator: "anna", Reason: "reason-to-hide"}
	call[api.Response](t, backend, http.MethodPost, "/v1/cards/SERIAL-TO-HIDE/response", body)
	refused(t, backend, http.MethodPost, "/v1/cards/SERIAL-UNKNOWN/response", body)

	var status int
	var text string
	eventually(t, func() bool {
		status, text = scrape(t, inside, "/metrics")
		return status != http.StatusOK || strings.Contains(text, "\nlatchkey_audit_log_signed_size 5\n") &&
			strings.Contains(text, "\nlatchkey_audit_sink_lag{sink=\"away\"} 5\n") &&
			strings.Contains(text, "\nlatchkey_notifications_waiting{channel=\"webhook away\"} 1\n")
	}, "a checkpoint is over all entries, and the notification waits")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	for _, line := range []string{
		`latchkey_audit_entries_total{action="unblock.respond",code="",outcome="permit"} 1`,
		`latchkey_audit_entries_total{action="unblock.respond",code="card-unknown",outcome="deny"} 1`,
		`latchkey_http_requests_total{method="POST",problem="",route="/v1/cards/{serial}/response"} 1`,
		`latchkey_http_requests_total{method="POST",problem="card-unknown",route="/v1/cards/{serial}/response"} 1`,
		`latchkey_hsm_call_duration_seconds_count{code="CKR_OK",function="C_DeriveKey"} 1`,
		`latchkey_requests_places{gate="api"} 256`,
		`latchkey_audit_log_size 5`,
		`latchkey_store_readable 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the metrics lack the line %s", line)
		}
	}
	if !regexp.MustCompile(`(?m)^latchkey_cards_synced_timestamp_seconds\{source="identity-manager"\} 1\.\d+e\+09$`).MatchString(text) {
		t.Error("the metrics do not tell when the cards were confirmed")
	}
	for _, secret := range []string{"SERIAL", "reason-to-hide", "Astrid", "u417", "anna"} {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics tell %q", secret)
		}
	}
	if t.Failed() {
		t.Log(text)
	}

	has := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)`).FindAllStringSubmatch(text, -1) {
		has[m[1]] = true
		if m[2] == "histogram" {
			has[m[1]+"_bucket"], has[m[1]+"_count"], has[m[1]+"_sum"] = true, true, true
		}
	}
	for _, file := range []string{"../deploy/latchkey.dashboard.json", "../deploy/latchkey.rules.yaml"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]bool{}
		for _, name := range metricNames.FindAllString(string(content), -1) {
			named[name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(named)) {
			if !has[name] {
				t.Errorf("%s names %s, which there is not", file, name)
			}
		}
		if len(named) < 10 {
			t.Errorf("%s names only %d metrics", file, len(named))
		}
	}
	for _, check := range [][]string{{"check", "rules", "../deploy/latchkey.rules.yaml"}, {"check", "metrics"}} {
		tool := exec.CommandContext(t.Context(), "promtool", check...)
		tool.Stdin = strings.NewReader(onlyOurs(text))
		if out, err := tool.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(check, " "), err, out)
		}
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if content, err := os.ReadFile("../deploy/latchkey.dashboard.json"); err != nil || json.Unmarshal(content, &dashboard) != nil {
		t.Fatalf("the dashboard is not JSON (%v)", err)
	}
	rules := "groups: [{name: dashboard, rules: [\n"
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			expr, err := json.Marshal(strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(target.Expr))
			if err != nil {
				t.Fatal(err)
			}
			rules += "{record: 'a:b', labels: {n: '" + time.Now().Format(time.RFC3339Nano) + "'}, expr: " + string(expr) + "},\n"
		}
	}
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(path, []byte(rules+"]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("the dashboard's expressions: %v\n%s", err, out)
	}

	if status, text := scrape(t, inside, "/debug/pprof/goroutine?debug=1"); status != http.StatusOK || !strings.Contains(text, "goroutine profile") {
		t.Errorf("profiles: %d", status)
	}
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		if p := refused(t, backend, http.MethodGet, path, nil); p.Code != "route-unknown" {
			t.Errorf("%s on the public listener: %s", path, p.Code)
		}
	}
}

// onlyOurs are the lines of the metrics that Latchkey itself makes.
func onlyOurs(text string) string {
	var ours strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "latchkey_") {
			ours.WriteString(line)
		}
	}
	return ours.String()
}
