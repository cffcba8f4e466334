package demo

import (
	"context"
	"encoding/hex"
	"fmt"

	"latchkey/card"
	"latchkey/server/api"
)

// unblock blocks the virtual card and unblocks it again through the API, and says
// each step.
func (d *demo) unblock(ctx context.Context, c *api.Client) error {
	if err := d.writeClientFiles(); err != nil {
		return err
	}
	d.say("\nOne unblock, from a blocked card to a new PIN, through %s", d.url)
	d.say("\n1. The holder of %s enters wrong PINs until the card is blocked", d.card.Serial())
	if err := d.blockPIN(); err != nil {
		return err
	}

	d.say("\n2. %s starts a process on behalf of %s: POST /v1/unblocks", backendName, operatorName)
	p, err := c.StartUnblock(ctx, api.StartUnblock{Card: d.card.Serial(), Operator: operatorName, Reason: "INC-20417, demonstration"})
	if err != nil {
		return err
	}
	d.sayChecks(p.Checks)
	d.say("   the holder, to be compared with the caller: %s, %s, %s", p.Card.Holder.Name, p.Card.Holder.Unit, p.Card.Holder.Email)

	// From here to the response no other command may reach the card: it would void
	// the challenge.
	challenge, err := d.card.Challenge()
	if err != nil {
		return err
	}
	shown := card.Challenge(challenge).Grouped()
	d.say("\n3. The card shows the challenge %s", shown)
	d.say("\n4. It is sent: POST /v1/unblocks/%s/response", p.ID)
	r, err := c.AnswerUnblock(ctx, p.ID, api.Challenge{Challenge: shown})
	if err != nil {
		return err
	}
	d.sayChecks(r.Checks)
	d.say("   response %s\n   spoken   %s", r.Grouped, r.Spoken)

	response, err := hex.DecodeString(r.Response)
	if err != nil {
		return fmt.Errorf("read response: %w", err)
	}
	d.say("\n5. The holder types the response and a new PIN in")
	if err := d.card.Authenticate(response); err != nil {
		return fmt.Errorf("the card does not take the response: %w", err)
	}
	pin := newPIN()
	if err := d.card.SetPIN(pin); err != nil {
		return fmt.Errorf("the card does not take the new PIN: %w", err)
	}
	if err := d.card.VerifyPIN(pin); err != nil {
		return fmt.Errorf("the new PIN does not work: %w", err)
	}
	if err := d.keepCard(); err != nil {
		return err
	}
	d.say("   the card takes both, and the new PIN works")

	d.say("\n6. The outcome is reported: POST /v1/unblocks/%s/complete", p.ID)
	if p, err = c.CompleteUnblock(ctx, p.ID, "pin-changed"); err != nil {
		return err
	}
	d.say("   %s: PIN changed", p.State)
	return nil
}

func (d *demo) sayChecks(checks []string) {
	for _, check := range checks {
		d.say("   ok  %s", check)
	}
}

// explain says what can be tried while the server runs.
func (d *demo) explain() {
	clients := d.short(d.path(clientDir))
	d.say(`
Latchkey runs at %[1]s until Ctrl-C.

Console    %[1]s/console/
           Import %[2]s/%[4]s.p12 into the browser as your certificate (its
           password is %[6]q), call the page, choose that certificate, and go past
           the warning that the browser does not know this CA, or import %[3]s
           as an authority first. There is no card behind the samples, so any 16 hex
           digits (32 for DEMO-0002) will do as a challenge.

API        %[1]s/openapi.yaml

  curl --cacert %[3]s --cert %[2]s/%[5]s.pem --key %[2]s/%[5]s.key \
    -H 'Content-Type: application/json' \
    -d '{"operator": "%[4]s", "challenge": "1603 EBDF 1C8A 2E72", "reason": "INC-20417"}' \
    %[1]s/v1/cards/DEMO-0001/response

Terminal
  bin/latchkey unblock DEMO-0001 --client %[2]s/%[4]s.yaml
  bin/latchkey card list --client %[2]s/%[5]s.yaml
  bin/latchkey card-type enable contractor --state blocked --client %[2]s/administrator.yaml

Keys, under dual control: olga proposes, otto approves
  bin/latchkey key inventory --client %[2]s/olga.yaml
  bin/latchkey key propose generate fleet --key-version 2 --client %[2]s/olga.yaml
  bin/latchkey key proposals --state open --client %[2]s/otto.yaml
  bin/latchkey key approve ID --client %[2]s/otto.yaml

Policies, by the same two; and omar approves the unblocks that wait for a supervisor
  bin/latchkey policy list --client %[2]s/olga.yaml
  bin/latchkey policy rollback 0 --client %[2]s/olga.yaml
  bin/latchkey policy approve ID --client %[2]s/otto.yaml
  bin/latchkey process waiting --client %[2]s/omar.yaml

HSM        The module finds the token by this variable
  export SOFTHSM2_CONF=%[8]s
  bin/latchkey doctor --config %[9]s
  bin/latchkey kat hsm/testdata/diversification.json --config %[9]s
  bin/latchkey key list --config %[9]s

Refused    DEMO-0003 is revoked, DEMO-0004's holder is inactive, DEMO-0005's type
           has the use case off, DEMO-0006's holder takes a supervisor (omar)

The server's log is in %[7]s`, d.url, clients, d.short(d.path(caFile)), operatorName, backendName, p12Password, d.short(d.Dir, LogFile),
		d.token.Conf, d.short(d.path(configFile)))
}
