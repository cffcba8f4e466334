package server

import (
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	"latchkey/card"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/registry"
	"latchkey/rulebook"
	"latchkey/server/api"
	"latchkey/store"
	"latchkey/unblock"
)

// problem is one kind of problem document: the stable code, its HTTP status, its
// title, and what the caller can do about it.
type problem struct {
	code   string
	status int
	title  string
	remedy string
}

// Codes of problems that come up in the server itself. Those of the use case are
// unblock's.
const (
	codeMalformed      = "malformed-json"
	codeInvalid        = "invalid-request"
	codeTooLarge       = "request-too-large"
	codeMediaType      = "unsupported-media-type"
	codeTimeout        = "request-timeout"
	codeRoute          = "route-unknown"
	codeMethod         = "method-not-allowed"
	codeNoCertificate  = "client-certificate-required"
	codeClientUnknown  = "client-unknown"
	codeIdentity       = "identity-malformed"
	codeTwoIdentities  = "two-identities"
	codeToken          = "token-refused"
	codeProviderAway   = "identity-provider-unavailable"
	codeRevoked        = "client-certificate-revoked"
	codeNoCRL          = "revocation-unknown"
	codeCrossSite      = "cross-site"
	codeRole           = "role-forbidden"
	codeRate           = "rate-limited"
	codeOverloaded     = "overloaded"
	codeTypeUnknown    = "card-type-unknown"
	codeProfileUnknown = "profile-unknown"
	codeRecordUnknown  = "operator-record-unknown"
	codeOwnRecord      = "operator-own-record"
	codeGrant          = "grant-refused"
	codeTokenTaken     = "operator-token-taken"
	codeSyncUnknown    = "card-sync-unknown"
	codeSyncConflict   = "card-sync-conflict"
	codeEntryUnproved  = "entry-unproved"
	codeInternal       = "internal-error"
)

// problems lists every problem that the API answers with, in the order in which
// docs/problems.md shows them.
func problems() []problem {
	return []problem{
		{codeMalformed, http.StatusBadRequest, "The body is not the JSON expected", "Send one JSON object with the fields of the API description and no others."},
		{codeInvalid, http.StatusUnprocessableEntity, "The request has faults", "Mend every fault listed in faults."},
		{codeTooLarge, http.StatusRequestEntityTooLarge, "The body is too large", "Send less. A bulk import may be any length; one line of it may have 16 KiB."},
		{codeMediaType, http.StatusUnsupportedMediaType, "The body's media type is not taken", "Set Content-Type to application/json, or application/x-ndjson for an import."},
		{codeTimeout, http.StatusRequestTimeout, "The body did not arrive in time", "Send the request again, over a connection that carries it within seconds."},
		{codeRoute, http.StatusNotFound, "There is no such resource", "Compare the path with the API description at /openapi.yaml."},
		{codeMethod, http.StatusMethodNotAllowed, "The resource does not take this method", "Compare the method with the API description at /openapi.yaml."},
		{codeNoCertificate, http.StatusUnauthorized, "A client certificate is required, or a token", "Connect with a certificate of the CA that the server is configured with, or send a token of its identity provider."},
		{codeClientUnknown, http.StatusForbidden, "The client is not known", "Have the certificate's subject or name added to clients in the server's configuration."},
		{codeRevoked, http.StatusUnauthorized, "The client certificate was revoked", "Use the certificate that took its place, or have one issued. It is of no use to connect again with this one."},
		{codeNoCRL, http.StatusUnauthorized, "It cannot be told whether the client certificate was revoked", "Tell an administrator: the CA's revocation list on the server is missing or out of date. Nothing was done."},
		{codeIdentity, http.StatusUnauthorized, "The caller's identity is not sent as it has to be", "Send the header Authorization with Bearer and one token, and Latchkey-Operator-Token with one token, each at most once."},
		{codeTwoIdentities, http.StatusUnauthorized, "The call has two identities", "Send a client certificate or a token, and an operator's token only as a backend."},
		{codeToken, http.StatusUnauthorized, "The token is refused", "Get a new token from the identity provider, for this service. The detail says what is wrong with this one."},
		{codeProviderAway, http.StatusServiceUnavailable, "The identity provider cannot be reached", "Try again later. Until the provider can be reached, call with a client certificate."},
		{codeCrossSite, http.StatusForbidden, "The request comes from another site", "Call from a program, or from a page of this server."},
		{codeRole, http.StatusForbidden, "The client's roles do not allow this", "Use a client with one of the roles that the API description names."},
		{codeRate, http.StatusTooManyRequests, "Too many calls", "Wait for the seconds in Retry-After, then go on more slowly. The detail says whose limit it is."},
		{codeOverloaded, http.StatusServiceUnavailable, "The server is overloaded", "Wait for the seconds in Retry-After, then try again. Nothing was done."},
		{string(unblock.CallerUnknown), http.StatusUnauthorized, "The caller is not authenticated", "Connect with a client certificate."},
		{string(unblock.DelegationRefused), http.StatusForbidden, "The client may not name an operator", "Pass the operator's own token, have names_operators set for the client, or call as the operator."},
		{string(unblock.OperatorRequired), http.StatusUnprocessableEntity, "The operator is missing", "Name the operator on whose behalf you call."},
		{string(unblock.OperatorMismatch), http.StatusForbidden, "The client acts for itself only", "Leave the operator out, or name yourself."},
		{string(unblock.OperatorUnknown), http.StatusForbidden, "The operator is not registered", "Have the operator registered with PUT /v1/operators/{id}, or added to operators in the server's configuration."},
		{string(unblock.OperatorInactive), http.StatusForbidden, "The operator is inactive", "An administrator can make the operator active again, with PUT /v1/operators/{id}."},
		{string(unblock.SelfServiceOff), http.StatusForbidden, "Holders do not unblock their own cards here", "Call the help desk. An administrator can enable it with self_service in the configuration."},
		{string(unblock.SecondFactor), http.StatusForbidden, "A second factor is required", "Sign in again with a second factor, or call the help desk."},
		{string(unblock.CardUnknown), http.StatusNotFound, "The card is not registered", "Check the serial number; register the card with PUT /v1/cards/{serial}."},
		{string(unblock.CardNotActive), http.StatusConflict, "The card is not active", "Issue a new card, or correct the card's state where it is kept."},
		{string(unblock.HolderNotActive), http.StatusConflict, "The card's holder is not active", "Correct the holder's state where it is kept, if it is wrong."},
		{string(unblock.UseCaseOff), http.StatusForbidden, "The use case is switched off", "An administrator can switch it on for this card type and state; it is off until then."},
		{string(unblock.CardDataStale), http.StatusConflict, "The card's data is too old", "Have the card synchronised from its source, then try again."},
		{string(unblock.CardDataMissing), http.StatusConflict, "The card's data is incomplete", "Register what the card's profile makes its admin key from: its CUID, its KDD or its wrapped key."},
		{string(unblock.PolicyDenied), http.StatusForbidden, "The operator policy does not permit this", "Do as the detail says, or leave it to somebody whom the policy permits."},
		{string(unblock.CardBusy), http.StatusConflict, "Another process is under way for the card", "Go on with the process that is named, or cancel it, if it is yours. Else ask whoever the detail names, or wait until theirs has ended."},
		{string(unblock.ApprovalRequired), http.StatusForbidden, "A second person has to approve first", "Start a process with POST /v1/unblocks; it waits for the approval. Send the challenge once it is approved."},
		{string(unblock.OverrideForbidden), http.StatusForbidden, "Only a supervisor goes on beyond the limit of attempts", "Leave override out, or have a supervisor call who is authenticated as such."},
		{string(unblock.AttemptsExhausted), http.StatusConflict, "The card has no attempt left to give", "Report the outcome of the processes before. Where none worked, replace the card. A supervisor may go on with override and a reason."},
		{string(unblock.KeyNotUsable), http.StatusConflict, "The master key is not used in its state", "Tell a security officer: the key is suspended, compromised, destroyed or not yet active. Cards of a compromised key have to be issued anew."},
		{string(unblock.ChallengeNotHex), http.StatusUnprocessableEntity, "The challenge is not hex", "Read the challenge from the card's screen again; it has the digits 0-9 and A-F."},
		{string(unblock.ChallengeAmbiguous), http.StatusUnprocessableEntity, "The challenge is ambiguous", "Ask for the character that the detail names; nothing is guessed."},
		{string(unblock.ChallengeLength), http.StatusUnprocessableEntity, "The challenge has the wrong length", "Count the groups; the detail says how many digits this card's challenge has."},
		{string(unblock.ChallengeSuspicious), http.StatusUnprocessableEntity, "The challenge is most likely mistyped", "Have it read again from the card's screen. If it is right, send it again with confirmed: true."},
		{string(unblock.IdempotencyKeyReused), http.StatusUnprocessableEntity, "The idempotency key was used for something else", "Make a new key for each call, and send it again only with the same content."},
		{string(unblock.ApprovalForbidden), http.StatusForbidden, "Nobody who may approve this", "Leave it to somebody with the role that the process asks for, authenticated as themselves."},
		{string(unblock.ApprovalOwn), http.StatusForbidden, "Nobody approves their own process or card", "Have another person approve it."},
		{string(unblock.ApprovalHash), http.StatusConflict, "The hash is not that of the process", "Look at the process again, and approve the hash that is shown with it if it is what you want."},
		{string(unblock.ProcessUnknown), http.StatusNotFound, "The unblock process is not known", "Use the ID from the start, with the client that started it."},
		{string(unblock.ProcessAnswered), http.StatusConflict, "The process was answered already", "Complete or cancel it; start another for a new challenge."},
		{string(unblock.ProcessNotAnswered), http.StatusConflict, "The process was not answered yet", "Send the challenge first, or cancel the process."},
		{string(unblock.ProcessFinished), http.StatusConflict, "The process is finished", "Start another."},
		{string(unblock.ProcessCancelled), http.StatusConflict, "The process was cancelled", "Start another."},
		{string(unblock.ProcessExpired), http.StatusConflict, "The process has expired", "Start another, and send the challenge sooner."},
		{string(unblock.ProcessConflict), http.StatusConflict, "The process was changed meanwhile", "Read the process again before going on."},
		{string(unblock.ProcessWaiting), http.StatusConflict, "The process waits for approval", "Have it approved, then send the challenge."},
		{string(unblock.ProcessNotWaiting), http.StatusConflict, "The process does not wait for approval", "Read the process to see how it stands."},
		{string(unblock.ProcessRefused), http.StatusConflict, "The approval was refused", "Read the reason in the process; start another if it no longer holds."},
		{codeTypeUnknown, http.StatusNotFound, "The card type is not registered", "Register it with PUT /v1/card-types/{id}."},
		{codeProfileUnknown, http.StatusUnprocessableEntity, "The card profile is not configured", "Use one of the profiles in the server's configuration."},
		{codeSyncUnknown, http.StatusNotFound, "There is no such synchronisation", "Use an ID of GET /v1/card-syncs, with the client that began it."},
		{codeSyncConflict, http.StatusConflict, "The synchronisation does not go on there", "Read it with GET /v1/card-syncs/{id}, and send the lines behind those that are done."},
		{codeRecordUnknown, http.StatusNotFound, "The operator is not registered here", "Register the operator with PUT /v1/operators/{id}. Operators of the configuration and of the identity provider are not listed."},
		{codeOwnRecord, http.StatusForbidden, "Nobody changes their own record", "Have another administrator change it."},
		{codeGrant, http.StatusForbidden, "The role is not this client's to give", "Call as an administrator who is a person: with a certificate whose client names its operator, or with a token."},
		{codeTokenTaken, http.StatusConflict, "The token is another operator's", "Take it from that operator's record first, or correct issuer and subject."},
		{string(custody.KeyUnknown), http.StatusNotFound, "There is no such master key", "Compare name and version with the inventory, GET /v1/keys."},
		{string(custody.KeyExists), http.StatusConflict, "The master key version exists or did", "Choose the next version; none is ever used twice."},
		{string(custody.KeyTransition), http.StatusConflict, "The master key's state does not allow this act", "The detail says which states the act is for; docs/key-lifecycle.md shows them all."},
		{string(custody.KeyUnfit), http.StatusConflict, "The token does not hold the master key as it has to be", "The detail says what is wrong. Look at the key in the inventory, GET /v1/keys."},
		{string(dualcontrol.ProposalUnknown), http.StatusNotFound, "There is no such proposal", "Use an ID of GET /v1/key-proposals or GET /v1/policy-proposals."},
		{string(dualcontrol.ProposalOwn), http.StatusForbidden, "Nobody approves their own proposal", "Have another security officer approve it."},
		{string(dualcontrol.ProposalTwice), http.StatusConflict, "The officer has approved already", "Have another security officer approve it."},
		{string(dualcontrol.ProposalHash), http.StatusConflict, "The hash is not that of the proposal", "Look at what is proposed again, and approve the hash that is shown with it if it is what you want."},
		{string(dualcontrol.ProposalClosed), http.StatusConflict, "The proposal is closed", "Read it to see how it ended. Propose again what is still wanted."},
		{string(dualcontrol.ProposalExpired), http.StatusConflict, "The proposal has expired", "Propose it again, and have it approved sooner."},
		{string(dualcontrol.ProposalNotYours), http.StatusForbidden, "Only its proposer withdraws a proposal", "Reject it instead; any security officer may."},
		{string(custody.ProposalToken), http.StatusConflict, "The proposal is for another token", "Propose it again on the server that works with the token meant."},
		{string(dualcontrol.ProposalConflict), http.StatusConflict, "The proposal, or what it is about, was changed meanwhile", "Read it again before going on."},
		{string(rulebook.PolicyInvalid), http.StatusUnprocessableEntity, "The policies have faults", "Correct each fault at its file, line and column; latchkey policy check finds them too."},
		{string(rulebook.PolicyOutdated), http.StatusConflict, "Other policies are active by now", "Look at the active version, and propose again what is still wanted."},
		{string(rulebook.PolicyFiles), http.StatusConflict, "Files are the operator policies", "Change the files in policy.directory, or take it out of the configuration."},
		{string(rulebook.PolicyVersionUnknown), http.StatusNotFound, "There is no such version of the policies", "Use a number of GET /v1/policy/versions."},
		{string(unblock.PolicyFailed), http.StatusInternalServerError, "The operator policy could not be evaluated", "Tell a security officer; the server's log says why. Nothing was given out."},
		{string(unblock.ProfileUnusable), http.StatusInternalServerError, "The card type's profile cannot be used", "Tell an administrator; the profile is not in the server's configuration."},
		{string(unblock.HSMRefused), http.StatusInternalServerError, "The HSM cannot answer for this card", "Tell a security officer; the server's log says why. Nothing was given out."},
		{string(unblock.HSMUnavailable), http.StatusServiceUnavailable, "The HSM is not available", "Try again later. Nothing was given out."},
		{string(unblock.AuditUnavailable), http.StatusServiceUnavailable, "The audit log cannot be written", "Try again later. Nothing was given out."},
		{string(unblock.StoreUnavailable), http.StatusServiceUnavailable, "The store is not available", "Try again later. Nothing was given out."},
		{codeEntryUnproved, http.StatusNotFound, "The entry of the audit log cannot be proved", "Wait a minute for the next checkpoint, or look for the entry in an export. A pruned entry is proved by an export from before."},
		{string(unblock.CardSourceUnavailable), http.StatusServiceUnavailable, "The source of card data cannot be asked", "Try again later; the server's log says why. Nothing was given out."},
		{codeInternal, http.StatusInternalServerError, "Something went wrong in the server", "Tell an administrator the request's ID; the server's log says why."},
	}
}

// refusal is a no of the server itself, before or beside those of the use case.
type refusal struct {
	code   string
	detail string // a sentence that says what to do
	faults []card.Fault
	cause  error // for our own log only
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return r.code + ": " + r.cause.Error()
	}
	return r.code
}

func (r *refusal) Unwrap() error { return r.cause }

func refuse(code, detail string) *refusal { return &refusal{code: code, detail: detail} }

// invalid refuses a request for its faults, if there are any.
func invalid(faults []card.Fault) error {
	switch len(faults) {
	case 0:
		return nil
	case 1:
		return &refusal{code: codeInvalid, detail: "The request has 1 fault.", faults: faults}
	}
	return &refusal{code: codeInvalid, detail: fmt.Sprintf("The request has %d faults.", len(faults)), faults: faults}
}

// storeFailed refuses because the store did not work.
func storeFailed(err error) error {
	detail := "The store does not work. Nothing was changed; try again later."
	if errors.Is(err, store.ErrUncertain) {
		detail = "The store did not answer in time. It is not known whether the change was made; read it again."
	}
	return &refusal{code: string(unblock.StoreUnavailable), detail: detail, cause: err}
}

// problemOf finds a problem by its code.
func problemOf(code string) (problem, bool) {
	p, ok := byCode()[code]
	return p, ok
}

// byCode is the table as it is looked up in, made once: who is turned away is to
// cost next to nothing.
var byCode = sync.OnceValue(func() map[string]problem {
	table := make(map[string]problem)
	for _, p := range problems() {
		table[p.code] = p
	}
	return table
})

// document turns an error into the problem document that tells the caller of it.
// An error that is no refusal is a fault of ours, and is told as nothing more.
func document(err error, requestID string) *api.Problem {
	var ours *refusal
	var registration *registry.Refusal
	var desk *unblock.Refusal
	var office *dualcontrol.Refusal
	var routing *echo.HTTPError
	doc := &api.Problem{Code: codeInternal, Detail: "Something went wrong in the server. Tell an administrator the request ID."}
	switch {
	case errors.As(err, &ours):
		doc.Code, doc.Detail = ours.code, ours.detail
		for _, f := range ours.faults {
			doc.Faults = append(doc.Faults, api.Fault(f))
		}
	case errors.As(err, &registration):
		doc.Code, doc.Detail = string(registration.Code), registration.Detail
		for _, f := range registration.Faults {
			doc.Faults = append(doc.Faults, api.Fault(f))
		}
	case errors.As(err, &desk):
		doc.Code, doc.Detail, doc.Check, doc.Process = string(desk.Code), desk.Detail, string(desk.Check), desk.Process
	case errors.As(err, &office):
		doc.Code, doc.Detail = string(office.Code), office.Detail
	case errors.As(err, &routing) && routing.Code == http.StatusNotFound:
		doc.Code, doc.Detail = codeRoute, "There is nothing at this path."
	case errors.As(err, &routing) && routing.Code == http.StatusMethodNotAllowed:
		doc.Code, doc.Detail = codeMethod, "This path does not take the method; Allow says which it takes."
	}
	p, known := problemOf(doc.Code)
	if !known { // a code that was forgotten in the table; a test looks for those
		p, _ = problemOf(codeInternal)
		doc.Code = p.code
	}
	doc.Type, doc.Title, doc.Status = "/problems/"+p.code, p.title, p.status
	doc.Instance = "urn:request:" + requestID
	return doc
}

// Problem looks up with which HTTP status and title a problem code is told, and
// what there is to do about it. A code that is not known is told as an internal
// error.
func Problem(code string) (status int, title, remedy string) {
	p, known := problemOf(code)
	if !known {
		p, _ = problemOf(codeInternal)
	}
	return p.status, p.title, p.remedy
}
