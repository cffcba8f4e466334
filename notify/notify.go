// Package notify tells people that a card was unblocked: its holder and the help desk by
// e-mail, other systems by webhook. A holder who knows nothing of it learns so that
// somebody else had the response for the card.
//
// It follows the audit log, behind every answer and in nobody's way. Of an entry that it
// is to tell of it makes a Message for each who is told, which the store keeps until it
// is sent or given up: a restart goes on where it was, and of several nodes one sends. A
// message may arrive more than once, always with the same ID. It holds no response, no
// challenge and no PIN; the audit log has no response or PIN either, and the challenge
// is left where it is.
package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"latchkey/audit"
	"latchkey/card"
)

// Event is what is told of.
type Event string

// The events.
const (
	Answered  Event = "answered"  // a response was given out
	Completed Event = "completed" // and it was reported that the card has a new PIN
)

// Events lists the events.
func Events() []Event { return []Event{Answered, Completed} }

// Whom a message is to, besides addresses of the desk and webhooks.
const toHolder = "holder"

// Message is one notification, to one of those who are told.
type Message struct {
	// ID is the same each time that the message is sent.
	ID string `json:"id"`
	// Channel is "mail", or "webhook" and a name.
	Channel string `json:"channel"`
	// To is "holder" or an address of the desk; empty for a webhook.
	To    string    `json:"to,omitempty"`
	Event Event     `json:"event"`
	At    time.Time `json:"at"` // when it happened
	// Self tells that the holder did it himself.
	Self     bool   `json:"self,omitempty"`
	Card     string `json:"card"` // serial number
	Process  string `json:"process"`
	Operator string `json:"operator"`
	Client   string `json:"client"`
	Ticket   string `json:"ticket,omitempty"`
	// Tries is how often it was tried before.
	Tries int `json:"-"`
}

// Cards finds what is known of a card, as *store.Store does. It gives card.ErrNotFound.
type Cards interface {
	Card(ctx context.Context, serial string) (card.Card, error)
	CardType(ctx context.Context, id string) (card.Type, error)
}

// Waiting is what waits to be sent on a channel.
type Waiting struct {
	Messages int
	Oldest   time.Time // when that happened which the oldest tells of
}

// Ledger keeps messages until they are sent.
type Ledger interface {
	// KeepNotifications adds messages, due now. Those that are there stay as they are.
	KeepNotifications(ctx context.Context, list []Message, now time.Time) error
	// ClaimNotifications takes messages of a channel that are due, the longest due first:
	// they are due again at a later moment, unless they are dropped before.
	ClaimNotifications(ctx context.Context, channel string, now, again time.Time, limit int) ([]Message, error)
	// PostponeNotification counts a try of a message that is due again at a moment.
	PostponeNotification(ctx context.Context, id string, due time.Time) error
	// DropNotification drops a message, with an entry for the audit log unless it is nil.
	DropNotification(ctx context.Context, id string, e *audit.Entry) error
	// WaitingNotifications tells what waits, by channel.
	WaitingNotifications(ctx context.Context) (map[string]Waiting, error)
}

// Config is what a Notifier works with. All fields are required.
type Config struct {
	Settings
	Cards  Cards
	Ledger Ledger
	// Origin is what the audit log is called, by which IDs are no other server's.
	Origin string
	Zone   *time.Location
	Logger *zap.Logger
	Now    func() time.Time
	// Wait is how long a message waits for its next try, after so many; nil is Backoff.
	Wait func(tries int) time.Duration
}

const (
	lookEvery = time.Second // for messages that are due
	atOnce    = 20          // messages
	// lease is how long a node may be at work on the messages that it took.
	lease = 10 * time.Minute
)

// Backoff is 30 s after the first try, and twice as long after each, up to 30 min.
func Backoff(tries int) time.Duration {
	return min(30*time.Second<<min(tries, 10), 30*time.Minute)
}

// Count is what became of messages on a channel since the start.
type Count struct{ Sent, Failed, GivenUp uint64 }

// Notifier sends notifications. It is safe for concurrent use.
type Notifier struct {
	Config
	channels []channel

	mu     sync.Mutex
	counts map[string]Count
}

// channel is a way to send messages.
type channel interface {
	name() string
	// send sends messages, and tells of each what went wrong. An error that is permanent
	// or errNobody is not tried again.
	send(ctx context.Context, list []filled) []error
}

// filled is a message with the data of its card.
type filled struct {
	Message
	card card.Card
	kind card.Type
}

// permanent is a failure that the same message would meet again.
type permanent struct{ error }

// errNobody says that there is nobody to send the message to, which is no failure.
var errNobody = errors.New("the holder has no e-mail address")

// New makes a Notifier, or says what of the settings cannot be used.
func New(c Config) (*Notifier, error) {
	if c.Wait == nil {
		c.Wait = Backoff
	}
	n := &Notifier{Config: c, counts: map[string]Count{}}
	if c.Mail != nil {
		post, err := newPost(c)
		if err != nil {
			return nil, fmt.Errorf("notify by mail: %w", err)
		}
		n.channels = append(n.channels, post)
	}
	for _, w := range c.Webhooks {
		hook, err := newHook(w)
		if err != nil {
			return nil, fmt.Errorf("notify webhook %s: %w", w.Name, err)
		}
		n.channels = append(n.channels, hook)
	}
	for _, c := range n.channels {
		n.counts[c.name()] = Count{} // so that it is told of before anything happened
	}
	return n, nil
}

// Name is what the Notifier is called among those that follow the audit log.
const Name = "notifications"

// Take makes messages of audit entries, to be sent by whichever node comes first.
func (n *Notifier) Take(ctx context.Context, entries []audit.Entry) error {
	var list []Message
	for _, e := range entries {
		event, told := eventOf(e)
		if !told || n.Now().Sub(e.Time) > n.GiveUp { // that is not news any more
			continue
		}
		list = append(list, n.messages(e, event)...)
	}
	if len(list) == 0 {
		return nil
	}
	return n.Ledger.KeepNotifications(ctx, list, n.Now())
}

// eventOf is what an entry tells of, if it is to be told of.
func eventOf(e audit.Entry) (Event, bool) {
	if e.Outcome != audit.Permit {
		return "", false
	}
	switch e.Action {
	case audit.UnblockRespond, audit.SelfRespond:
		return Answered, e.Detail != audit.Repetition
	case audit.UnblockComplete, audit.SelfComplete:
		return Completed, e.Detail == audit.PINChanged
	default:
		return "", false
	}
}

// messages are those that an entry is told of by.
func (n *Notifier) messages(e audit.Entry, event Event) []Message {
	about := Message{
		Event: event, At: e.Time, Card: e.Card, Process: e.Process, Operator: e.Operator, Client: e.Client, Ticket: e.Ticket,
		Self: e.Action == audit.SelfRespond || e.Action == audit.SelfComplete,
	}
	var list []Message
	add := func(channel, to string) {
		m := about
		m.Channel, m.To = channel, to
		m.ID = idOf(n.Origin, e.Sequence, channel, to)
		list = append(list, m)
	}
	if n.Mail != nil && slices.Contains(n.Mail.Events, event) {
		if n.Mail.Holder {
			add(mailChannel, toHolder)
		}
		for _, address := range n.Mail.Desk {
			add(mailChannel, address)
		}
	}
	for _, w := range n.Webhooks {
		if slices.Contains(w.Events, event) {
			add(w.channel(), "")
		}
	}
	return list
}

// Run sends messages as they are due, until the context ends. Each channel goes at its
// own pace.
func (n *Notifier) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, c := range n.channels {
		running.Go(func() { n.run(ctx, c) })
	}
	running.Wait()
}

func (n *Notifier) run(ctx context.Context, c channel) {
	for {
		took, err := n.batch(ctx, c)
		if err != nil && ctx.Err() == nil {
			n.Logger.Warn("notifications could not be read or noted; they are tried again", zap.String("channel", c.name()), zap.Error(err))
		}
		pause := lookEvery
		if took == atOnce && err == nil {
			pause = 0
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// batch sends some messages that are due, and tells how many there were.
func (n *Notifier) batch(ctx context.Context, c channel) (int, error) {
	now := n.Now()
	list, err := n.Ledger.ClaimNotifications(ctx, c.name(), now, now.Add(lease), atOnce)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	var ready []filled
	var faults []error
	for _, m := range list {
		f, err := n.fill(ctx, m)
		if now.Sub(m.At) > n.GiveUp { // it waited in a backup, say
			err = permanent{errors.New("it is too old to be news")}
		}
		if err != nil {
			faults = append(faults, n.settle(ctx, m, err))
			continue
		}
		ready = append(ready, f)
	}
	if len(ready) != 0 {
		for i, err := range c.send(ctx, ready) {
			faults = append(faults, n.settle(ctx, ready[i].Message, err))
		}
	}
	return len(list), errors.Join(faults...)
}

// fill looks up what the message says of the card.
func (n *Notifier) fill(ctx context.Context, m Message) (filled, error) {
	f := filled{Message: m}
	var err error
	if f.card, err = n.Cards.Card(ctx, m.Card); err == nil {
		f.kind, err = n.Cards.CardType(ctx, f.card.Type)
		if errors.Is(err, card.ErrNotFound) {
			f.kind, err = card.Type{ID: f.card.Type, Name: f.card.Type}, nil
		}
	}
	if errors.Is(err, card.ErrNotFound) {
		err = permanent{err}
	}
	return f, err
}

// settle notes what became of a message.
func (n *Notifier) settle(ctx context.Context, m Message, failed error) error {
	// What was sent is noted, though the server may be stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	log := n.Logger.With(zap.String("notification", m.ID), zap.String("channel", m.Channel), zap.String("process", m.Process))
	now := n.Now()
	switch due := now.Add(n.Wait(m.Tries)); {
	case failed == nil:
		log.Info("notified", zap.String("event", string(m.Event)))
		n.count(m.Channel, func(c *Count) { c.Sent++ })
		return n.Ledger.DropNotification(ctx, m.ID, nil)
	case errors.Is(failed, errNobody):
		log.Info("the holder has no e-mail address, and is not notified")
		return n.Ledger.DropNotification(ctx, m.ID, nil)
	case errors.As(failed, &permanent{}), due.Sub(m.At) > n.GiveUp:
		log.Error("a notification is given up", zap.Int("tries", m.Tries+1), zap.Error(failed))
		n.count(m.Channel, func(c *Count) { c.Failed++; c.GivenUp++ })
		return n.Ledger.DropNotification(ctx, m.ID, &audit.Entry{
			Time: now, Action: audit.NotifyGiveUp, Outcome: audit.Failure, Client: "latchkey", Card: m.Card, Process: m.Process,
			Detail: fmt.Sprintf("%s of %s to the %s after %d tries: %v", m.Channel, m.Event, m.whom(), m.Tries+1, failed),
		})
	default:
		log.Warn("a notification could not be sent", zap.Int("tries", m.Tries+1), zap.Time("again_at", due), zap.Error(failed))
		n.count(m.Channel, func(c *Count) { c.Failed++ })
		return n.Ledger.PostponeNotification(ctx, m.ID, due)
	}
}

// whom says whom a message is to, without an address.
func (m Message) whom() string {
	switch m.To {
	case toHolder:
		return "holder"
	case "":
		return "receiver"
	}
	return "desk"
}

func (n *Notifier) count(channel string, change func(*Count)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.counts[channel]
	change(&c)
	n.counts[channel] = c
}

// Counts tells what became of messages since the start, by channel.
func (n *Notifier) Counts() map[string]Count {
	n.mu.Lock()
	defer n.mu.Unlock()
	counts := make(map[string]Count, len(n.counts))
	for name, c := range n.counts {
		counts[name] = c
	}
	return counts
}

// Waiting tells what waits to be sent, by channel.
func (n *Notifier) Waiting(ctx context.Context) (map[string]Waiting, error) {
	waiting, err := n.Ledger.WaitingNotifications(ctx)
	for _, c := range n.channels {
		if _, there := waiting[c.name()]; err == nil && !there {
			waiting[c.name()] = Waiting{}
		}
	}
	return waiting, err
}

// Try sends a trial message at once: to an address, or to the webhook of a name.
func (n *Notifier) Try(ctx context.Context, event Event, address, webhook string) error {
	m := sample(event, false)
	m.At = n.Now()
	m.To, m.Channel = address, mailChannel
	if webhook != "" {
		m.To, m.Channel = "", "webhook "+webhook
	}
	m.ID = idOf(fmt.Sprint("trial ", m.At.UnixNano()), 0, m.Channel, m.To)
	for _, c := range n.channels {
		if c.name() == m.Channel {
			return c.send(ctx, []filled{m})[0]
		}
	}
	return fmt.Errorf("the configuration has no channel %q", m.Channel)
}
