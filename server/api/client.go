package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// timeout bounds every call but an import, which takes as long as it takes.
const timeout = time.Minute

// Connection says where a server is and how the client proves who it is.
type Connection struct {
	Server           string // such as https://latchkey.example:8443
	Certificate, Key string // the client's own, as PEM files; both empty where Token is set
	// Token, where set, is called before each request and gives the token that is sent
	// with it.
	Token func() (string, error)
	CA    string // PEM file of the server's CA; the system's roots if empty
}

// Client calls a Latchkey server. Where the server says no, a method's error is
// a *Problem. It is safe for concurrent use.
type Client struct {
	base  string
	http  *http.Client
	token func() (string, error) // nil where the certificate says who calls
}

// NewClient makes a client without calling the server.
func NewClient(c Connection) (*Client, error) {
	base, err := url.Parse(c.Server)
	if err != nil || base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.User != nil {
		return nil, fmt.Errorf("the server must be named as https://host:port, not %q", c.Server)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.Token == nil {
		pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, fmt.Errorf("read client certificate and key: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("read CA certificate: %w", err)
		}
		if t.RootCAs = x509.NewCertPool(); !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA certificate: %s holds none in PEM form", c.CA)
		}
	}
	return &Client{
		base: strings.TrimSuffix(c.Server, "/"), token: c.Token,
		http: &http.Client{
			// HTTP/1.1: over HTTP/2 the library hides the alert by which a server refuses
			// the client's certificate.
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, TLSClientConfig: t, TLSHandshakeTimeout: 10 * time.Second,
				MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second,
			},
			// The API redirects nobody; following would show requests to another server.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// StartUnblock starts an unblock process: every check that needs no challenge.
func (c *Client) StartUnblock(ctx context.Context, s StartUnblock) (Unblock, error) {
	return call[Unblock](ctx, c, http.MethodPost, "/v1/unblocks", s)
}

// Unblock tells how a process stands.
func (c *Client) Unblock(ctx context.Context, id string) (Unblock, error) {
	return call[Unblock](ctx, c, http.MethodGet, "/v1/unblocks/"+url.PathEscape(id), nil)
}

// AnswerUnblock has the challenge of a started process answered.
func (c *Client) AnswerUnblock(ctx context.Context, id string, challenge Challenge) (Response, error) {
	return call[Response](ctx, c, http.MethodPost, "/v1/unblocks/"+url.PathEscape(id)+"/response", challenge)
}

// ReadBack tells how a challenge is understood, without having it answered.
func (c *Client) ReadBack(ctx context.Context, id, challenge string) (ReadBack, error) {
	return call[ReadBack](ctx, c, http.MethodPost, "/v1/unblocks/"+url.PathEscape(id)+"/read-back", ReadChallenge{challenge})
}

// Approvals lists the processes that wait for an approval that the caller may give.
func (c *Client) Approvals(ctx context.Context) (PendingUnblocks, error) {
	return call[PendingUnblocks](ctx, c, http.MethodGet, "/v1/approvals", nil)
}

// ApproveUnblock lets a process go on that waits for approval, by the hash of what was
// looked at.
func (c *Client) ApproveUnblock(ctx context.Context, id, statement, reason string) (PendingUnblock, error) {
	return call[PendingUnblock](ctx, c, http.MethodPost, "/v1/unblocks/"+url.PathEscape(id)+"/approve", ApproveUnblock{statement, reason})
}

// RefuseUnblock ends a process that waits for approval.
func (c *Client) RefuseUnblock(ctx context.Context, id, reason string) (PendingUnblock, error) {
	return call[PendingUnblock](ctx, c, http.MethodPost, "/v1/unblocks/"+url.PathEscape(id)+"/refuse", RefuseUnblock{reason})
}

// CompleteUnblock reports what became of an answered process: pin-changed,
// failed or unknown.
func (c *Client) CompleteUnblock(ctx context.Context, id, outcome string) (Unblock, error) {
	return call[Unblock](ctx, c, http.MethodPost, "/v1/unblocks/"+url.PathEscape(id)+"/complete", Complete{outcome})
}

// CancelUnblock cancels a process.
func (c *Client) CancelUnblock(ctx context.Context, id string) (Unblock, error) {
	return call[Unblock](ctx, c, http.MethodPost, "/v1/unblocks/"+url.PathEscape(id)+"/cancel", nil)
}

// Respond starts a process and has its challenge answered in one call.
func (c *Client) Respond(ctx context.Context, serial string, r Respond) (Response, error) {
	return call[Response](ctx, c, http.MethodPost, "/v1/cards/"+url.PathEscape(serial)+"/response", r)
}

// Card finds a card by its serial number.
func (c *Client) Card(ctx context.Context, serial string) (Card, error) {
	return call[Card](ctx, c, http.MethodGet, "/v1/cards/"+url.PathEscape(serial), nil)
}

// PutCard registers a card or replaces its data, and tells whether it is new.
func (c *Client) PutCard(ctx context.Context, card Card) (_ Card, created bool, err error) {
	return put(ctx, c, "/v1/cards/"+url.PathEscape(card.Serial), card)
}

// FindCards gives one page of the cards that text fits: how words of the serial
// number or the holder's data begin. A page may have fewer cards than there are
// left; there are no more where Next is empty. A limit of 0 leaves it to the server.
// After is Next of the page before.
func (c *Client) FindCards(ctx context.Context, text string, limit int, after string) (Cards, error) {
	query := pageQuery(limit, after)
	if text != "" {
		query.Set("q", text)
	}
	return call[Cards](ctx, c, http.MethodGet, "/v1/cards?"+query.Encode(), nil)
}

// Operator finds what is registered of an operator.
func (c *Client) Operator(ctx context.Context, id string) (Operator, error) {
	return call[Operator](ctx, c, http.MethodGet, "/v1/operators/"+url.PathEscape(id), nil)
}

// Operators gives one page of the registered operators, by ID. A limit of 0 leaves
// it to the server. After is Next of the page before.
func (c *Client) Operators(ctx context.Context, limit int, after string) (Operators, error) {
	return call[Operators](ctx, c, http.MethodGet, "/v1/operators?"+pageQuery(limit, after).Encode(), nil)
}

// PutOperator registers an operator or replaces the record, and tells whether it is
// new.
func (c *Client) PutOperator(ctx context.Context, o Operator) (_ Operator, created bool, err error) {
	return put(ctx, c, "/v1/operators/"+url.PathEscape(o.ID), o)
}

// CardType finds a card type by its ID.
func (c *Client) CardType(ctx context.Context, id string) (CardType, error) {
	return call[CardType](ctx, c, http.MethodGet, "/v1/card-types/"+url.PathEscape(id), nil)
}

// CardTypes lists all card types.
func (c *Client) CardTypes(ctx context.Context) (CardTypes, error) {
	return call[CardTypes](ctx, c, http.MethodGet, "/v1/card-types", nil)
}

// PutCardType registers a card type or replaces its data, and tells whether it
// is new.
func (c *Client) PutCardType(ctx context.Context, t CardType) (_ CardType, created bool, err error) {
	return put(ctx, c, "/v1/card-types/"+url.PathEscape(t.ID), t)
}

// Keys is the inventory of master keys.
func (c *Client) Keys(ctx context.Context) (Keys, error) {
	return call[Keys](ctx, c, http.MethodGet, "/v1/keys", nil)
}

// KeyPlan tells how many cards are left on each version of a master key.
func (c *Client) KeyPlan(ctx context.Context, key string) (KeyPlan, error) {
	return call[KeyPlan](ctx, c, http.MethodGet, "/v1/keys/"+url.PathEscape(key)+"/plan", nil)
}

// AffectedCards gives one page of the cards whose admin key comes from a master
// key version. A limit of 0 leaves it to the server. After is Next of the page
// before.
func (c *Client) AffectedCards(ctx context.Context, key string, version, limit int, after string) (Cards, error) {
	path := fmt.Sprintf("/v1/keys/%s/%d/cards?%s", url.PathEscape(key), version, pageQuery(limit, after).Encode())
	return call[Cards](ctx, c, http.MethodGet, path, nil)
}

func pageQuery(limit int, after string) url.Values {
	query := url.Values{}
	if limit != 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	if after != "" {
		query.Set("after", after)
	}
	return query
}

// ProposeKeyAct proposes an act on a master key.
func (c *Client) ProposeKeyAct(ctx context.Context, p Propose) (KeyProposal, error) {
	return call[KeyProposal](ctx, c, http.MethodPost, "/v1/key-proposals", p)
}

// KeyProposals gives one page of the proposals, the newest first; state is "" for
// all.
func (c *Client) KeyProposals(ctx context.Context, state string, limit int, after string) (KeyProposals, error) {
	query := pageQuery(limit, after)
	if state != "" {
		query.Set("state", state)
	}
	return call[KeyProposals](ctx, c, http.MethodGet, "/v1/key-proposals?"+query.Encode(), nil)
}

// KeyProposal finds a proposal by its ID.
func (c *Client) KeyProposal(ctx context.Context, id string) (KeyProposal, error) {
	return call[KeyProposal](ctx, c, http.MethodGet, "/v1/key-proposals/"+url.PathEscape(id), nil)
}

// ApproveKeyProposal approves a proposal by the hash of its statement. Compute it
// from what was looked at rather than taking the server's word.
func (c *Client) ApproveKeyProposal(ctx context.Context, id, hash string) (KeyProposal, error) {
	return call[KeyProposal](ctx, c, http.MethodPost, "/v1/key-proposals/"+url.PathEscape(id)+"/approve", ApproveProposal{hash})
}

// RejectKeyProposal ends a proposal.
func (c *Client) RejectKeyProposal(ctx context.Context, id, reason string) (KeyProposal, error) {
	return call[KeyProposal](ctx, c, http.MethodPost, "/v1/key-proposals/"+url.PathEscape(id)+"/reject", RejectProposal{reason})
}

// WithdrawKeyProposal ends a proposal of the client's own.
func (c *Client) WithdrawKeyProposal(ctx context.Context, id string) (KeyProposal, error) {
	return call[KeyProposal](ctx, c, http.MethodPost, "/v1/key-proposals/"+url.PathEscape(id)+"/withdraw", nil)
}

// TransportKey is the key under which master keys come in wrapped.
func (c *Client) TransportKey(ctx context.Context) (TransportKey, error) {
	return call[TransportKey](ctx, c, http.MethodGet, "/v1/transport-key", nil)
}

// ExportAudit copies an export of the audit log from an entry on. It takes as long as
// it takes; audit.Verify tells whether it is whole.
func (c *Client) ExportAudit(ctx context.Context, from int64, to io.Writer) error {
	r, err := c.send(ctx, http.MethodGet, fmt.Sprintf("/v1/audit?from=%d", from), "", nil)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }() // only read from
	if _, err := io.Copy(to, r.Body); err != nil {
		return fmt.Errorf("the export broke off: %w", err)
	}
	return nil
}

// AuditState tells how the audit log stands.
func (c *Client) AuditState(ctx context.Context) (AuditState, error) {
	return call[AuditState](ctx, c, http.MethodGet, "/v1/audit/state", nil)
}

// ProveAudit gives the proof that an entry is in the audit log, as C2SP tlog-proof has
// it.
func (c *Client) ProveAudit(ctx context.Context, sequence int64) (string, error) {
	p, err := call[AuditProof](ctx, c, http.MethodGet, fmt.Sprintf("/v1/audit/%d/proof", sequence), nil)
	return p.Proof, err
}

// Problem tells what a problem code means and what can be done about it.
func (c *Client) Problem(ctx context.Context, code string) (ProblemKind, error) {
	return call[ProblemKind](ctx, c, http.MethodGet, "/problems/"+url.PathEscape(code), nil)
}

// ImportCards registers the cards that lines holds, one JSON object a line, and
// hands on the result of each as it comes, while lines is still being read. An
// error of each ends the import.
func (c *Client) ImportCards(ctx context.Context, lines io.Reader, each func(ImportLine) error) (ImportCounts, error) {
	done, err := c.importLines(ctx, "/v1/cards:import", lines, each)
	return done.Summary, err
}

// ImportKeys gives cards that are registered their wrapped keys, one WrappedKey a
// line, as ImportCards does.
func (c *Client) ImportKeys(ctx context.Context, lines io.Reader, each func(ImportLine) error) (ImportCounts, error) {
	done, err := c.importLines(ctx, "/v1/cards:import-keys", lines, each)
	return done.Summary, err
}

// BeginCardSync begins a synchronisation of all the client's cards from a file, or
// finds the one of the same file that is not finished.
func (c *Client) BeginCardSync(ctx context.Context, b BeginCardSync) (CardSync, error) {
	return call[CardSync](ctx, c, http.MethodPost, "/v1/card-syncs", b)
}

// CardSync tells how far a synchronisation has come.
func (c *Client) CardSync(ctx context.Context, id string) (CardSync, error) {
	return call[CardSync](ctx, c, http.MethodGet, "/v1/card-syncs/"+url.PathEscape(id), nil)
}

// CardSyncs gives one page of the synchronisations, the newest first. A limit of 0
// leaves it to the server. After is Next of the page before.
func (c *Client) CardSyncs(ctx context.Context, limit int, after string) (CardSyncs, error) {
	return call[CardSyncs](ctx, c, http.MethodGet, "/v1/card-syncs?"+pageQuery(limit, after).Encode(), nil)
}

// SyncCards goes on with a synchronisation: lines has those behind the ones that are
// done. Results are handed on as by ImportCards. It gives the synchronisation as it
// is finished.
func (c *Client) SyncCards(ctx context.Context, sync CardSync, lines io.Reader, each func(ImportLine) error) (CardSync, error) {
	query := url.Values{"sync": {sync.ID}, "after": {strconv.Itoa(sync.Done)}}
	done, err := c.importLines(ctx, "/v1/cards:import?"+query.Encode(), lines, each)
	if err == nil && done.Sync == nil {
		err = errors.New("the server did not say that the synchronisation is finished")
	}
	if err != nil {
		return CardSync{}, err
	}
	return *done.Sync, nil
}

// CardsNotInSync gives one page of the cards of a synchronisation's source that were
// not in it.
func (c *Client) CardsNotInSync(ctx context.Context, id string, limit int, after string) (Cards, error) {
	query := pageQuery(limit, after)
	query.Set("not_in_sync", id)
	return call[Cards](ctx, c, http.MethodGet, "/v1/cards?"+query.Encode(), nil)
}

func (c *Client) importLines(ctx context.Context, path string, lines io.Reader, each func(ImportLine) error) (ImportSummary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the sending too, where the answer ended first
	r, err := c.send(ctx, http.MethodPost, path, NDJSON, lines)
	if err != nil {
		return ImportSummary{}, err
	}
	defer func() { _ = r.Body.Close() }() // only read from
	last := 0
	for results := json.NewDecoder(r.Body); ; {
		var result struct {
			ImportLine
			Summary *ImportCounts `json:"summary"`
			Sync    *CardSync     `json:"sync"`
		}
		switch err := results.Decode(&result); {
		case err != nil:
			return ImportSummary{}, fmt.Errorf("the import broke off after line %d; send it again, lines that are in change nothing: %w", last, err)
		case result.Summary != nil:
			return ImportSummary{*result.Summary, result.Sync}, nil
		}
		last = result.Line
		if err := each(result.ImportLine); err != nil {
			return ImportSummary{}, err
		}
	}
}

// call sends in as JSON, unless it is nil, and reads the answer.
func call[Out any](ctx context.Context, c *Client, method, path string, in any) (Out, error) {
	out, _, err := exchange[Out](ctx, c, method, path, in)
	return out, err
}

func put[T any](ctx context.Context, c *Client, path string, in T) (_ T, created bool, err error) {
	out, status, err := exchange[T](ctx, c, http.MethodPut, path, in)
	return out, status == http.StatusCreated, err
}

func exchange[Out any](ctx context.Context, c *Client, method, path string, in any) (out Out, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var body io.Reader
	var mediaType string
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return out, 0, fmt.Errorf("encode request: %w", err)
		}
		body, mediaType = bytes.NewReader(text), JSON
	}
	r, err := c.send(ctx, method, path, mediaType, body)
	if err != nil {
		return out, 0, err
	}
	defer func() { _ = r.Body.Close() }() // only read from
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil {
		return out, 0, fmt.Errorf("read the server's answer: %w", err)
	}
	return out, r.StatusCode, nil
}

// send makes a request and gives its answer if it is a good one; the caller
// closes its body.
func (c *Client) send(ctx context.Context, method, path, mediaType string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if c.token != nil {
		token, err := c.token()
		if err != nil {
			return nil, fmt.Errorf("read token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Header.Set("Accept", JSON)
	if mediaType != "" {
		request.Header.Set("Content-Type", mediaType)
	}
	r, err := c.http.Do(request)
	if err != nil {
		// The URL may hold a search for a person, which is nothing for a log.
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, &ConnectionError{c.base, err}
	}
	if r.StatusCode == http.StatusOK || r.StatusCode == http.StatusCreated {
		return r, nil
	}
	defer func() { _ = r.Body.Close() }() // only read from
	return nil, problem(r)
}

// problem reads the problem document that r has to be.
func problem(r *http.Response) error {
	const limit = 64 << 10
	var p Problem
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == ProblemJSON {
		if err := json.NewDecoder(io.LimitReader(r.Body, limit)).Decode(&p); err == nil && p.Code != "" {
			return &p
		}
	}
	return fmt.Errorf("the server answered %s without a problem document; is it Latchkey?", r.Status)
}

// RequestID is the ID that the server's log has the refused request under.
func (p *Problem) RequestID() string { return strings.TrimPrefix(p.Instance, "urn:request:") }

// ConnectionError says that a server could not be called.
type ConnectionError struct {
	Server string
	err    error
}

func (e *ConnectionError) Error() string { return "call " + e.Server + ": " + e.err.Error() }

// Unwrap gives the cause.
func (e *ConnectionError) Unwrap() error { return e.err }

// Unavailable tells that the call may work another time.
func (e *ConnectionError) Unavailable() bool { return true }
