package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/notify"
)

// A message is taken by one who asks, until it is dropped or due again.
func TestNotifications(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	var list []notify.Message
	for i := range 30 {
		list = append(list, notify.Message{
			ID: fmt.Sprintf("m%02d", i), Channel: "mail", To: "holder", Event: notify.Answered, At: kept(moment), Card: "4711", Process: "p", Operator: "anna", Client: "idm",
		})
	}
	hook := notify.Message{ID: "h", Channel: "webhook chat", Event: notify.Completed, Self: true, At: kept(moment), Card: "4711", Ticket: "T"}
	for range 2 { // the log may be read twice
		if err := s.KeepNotifications(ctx, append(list, hook), moment); err != nil {
			t.Fatal(err)
		}
	}
	if waiting := must[map[string]notify.Waiting](t)(s.WaitingNotifications(ctx)); len(waiting) != 2 ||
		waiting["mail"] != (notify.Waiting{Messages: 30, Oldest: kept(moment)}) || waiting["webhook chat"].Messages != 1 {
		t.Errorf("waiting: %v", waiting)
	}
	if early := must[[]notify.Message](t)(s.ClaimNotifications(ctx, "mail", moment.Add(-1*time.Second), moment, 10)); len(early) != 0 {
		t.Errorf("%d are taken before they are due", len(early))
	}

	var mu sync.Mutex
	took := map[string]int{}
	var nodes sync.WaitGroup
	for range 4 {
		nodes.Go(func() {
			for {
				some, err := s.ClaimNotifications(ctx, "mail", moment, moment.Add(time.Minute), 7)
				if err != nil {
					t.Error(err)
				}
				if len(some) == 0 {
					return
				}
				mu.Lock()
				for _, m := range some {
					took[m.ID]++
				}
				mu.Unlock()
			}
		})
	}
	nodes.Wait()
	if len(took) != 30 {
		t.Errorf("%d were taken", len(took))
	}
	for id, n := range took {
		if n != 1 {
			t.Errorf("%s was taken %d times", id, n)
		}
	}

	same(t, "of the webhook", must[[]notify.Message](t)(s.ClaimNotifications(ctx, "webhook chat", moment, moment.Add(time.Minute), 7)), []notify.Message{hook})
	if err := s.PostponeNotification(ctx, "h", moment.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if early := must[[]notify.Message](t)(s.ClaimNotifications(ctx, "webhook chat", moment.Add(time.Minute), moment.Add(time.Hour), 7)); len(early) != 0 {
		t.Error("it is taken before it is due again")
	}
	hook.Tries = 1
	same(t, "again", must[[]notify.Message](t)(s.ClaimNotifications(ctx, "webhook chat", moment.Add(time.Hour), moment.Add(2*time.Hour), 7)), []notify.Message{hook})
	for range 2 { // what is dropped already tells nothing more
		if err := s.DropNotification(ctx, "h", &audit.Entry{Action: audit.NotifyGiveUp, Card: "4711"}); err != nil {
			t.Fatal(err)
		}
	}
	if entries := must[[]audit.Entry](t)(s.Entries(ctx, 1, 0)); len(entries) != 1 || entries[0].Action != audit.NotifyGiveUp {
		t.Errorf("entries: %v", entries)
	}
}

// Who follows the log anew begins at its end, and stays where it was after that.
func TestBeginCursor(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	for _, want := range []int64{0, 3} {
		name := fmt.Sprint("sink ", want)
		for range 2 {
			if err := s.BeginCursor(ctx, name, moment); err != nil {
				t.Fatal(err)
			}
		}
		same(t, "cursor", must[int64](t)(s.Cursor(ctx, name)), want)
		for range 3 {
			if err := s.Append(ctx, audit.Entry{Action: audit.CardPut}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
