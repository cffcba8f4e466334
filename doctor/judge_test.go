package doctor

import (
	"strings"
	"testing"
	"time"

	"latchkey/hsm"
)

func TestJudge(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name   string
		says   hsm.Condition
		check  Check
		want   Grade
		advice string
	}{
		{"no limit", hsm.Condition{}, Sessions, Pass, ""},
		{"limit not told", hsm.Condition{MaxSessions: -1}, Sessions, Note, ""},
		{"just enough", hsm.Condition{MaxSessions: 10}, Sessions, Pass, ""},
		{"one too few", hsm.Condition{MaxSessions: 9}, Sessions, Fail, "to 7 at most"},
		{"memory not told", hsm.Condition{FreeMemory: -1, TotalMemory: -1}, Memory, Note, ""},
		{"memory free", hsm.Condition{FreeMemory: 100, TotalMemory: 1000}, Memory, Pass, ""},
		{"memory short", hsm.Condition{FreeMemory: 99, TotalMemory: 1000}, Memory, Warning, "Free some"},
		{"clock right", hsm.Condition{Clock: now.Add(time.Minute)}, Clock, Pass, ""},
		{"clock wrong", hsm.Condition{Clock: now.Add(-time.Hour)}, Clock, Warning, "Set the one that is wrong"},
		{"write-protected", hsm.Condition{WriteProtected: true}, Token, Note, ""},
	} {
		e := New(Options{Now: now})
		e.judge("hsm", test.says)
		found := false
		for _, f := range e.Findings {
			if f.Check == test.check {
				found = true
				if f.Grade != test.want || !strings.Contains(f.Do, test.advice) {
					t.Errorf("%s: %+v, want %s and %q", test.name, f, test.want, test.advice)
				}
			}
		}
		if !found {
			t.Errorf("%s: nothing is said of %s", test.name, test.check)
		}
	}
}

func TestRecommend(t *testing.T) {
	steady := func(rates ...float64) (list []hsm.Measurement) {
		for i, r := range rates {
			list = append(list, hsm.Measurement{Sessions: 1 << i, PerSecond: []float64{r, r, r}})
		}
		return list
	}
	noisy := []hsm.Measurement{
		{Sessions: 1, PerSecond: []float64{500, 800, 900}},
		{Sessions: 2, PerSecond: []float64{900, 1000, 1100}},
	}
	for _, test := range []struct {
		name       string
		measured   []hsm.Measurement
		sessions   int
		configured bool
		want       string
		grade      Grade
	}{
		{"one thread is best, two are safer", steady(1000, 900, 800), 8, false, "hsm.sessions: 2 would do", Pass},
		{"a network HSM", steady(100, 200, 400, 790, 800), 8, true, "hsm.sessions: 8 would do", Pass},
		{"a pool that is too small", steady(100, 200, 400, 790, 800), 2, true, "the 2 of now give 25 % of the best", Note},
		{"the same, with nothing configured", steady(100, 200, 400, 790, 800), 2, false, "hsm.sessions: 8 would do", Pass},
		{"differences within the noise", noisy, 1, true, "differ by up to 50 %; hsm.sessions: 2 would do", Pass},
	} {
		if f := recommend(test.measured, test.sessions, test.configured); !strings.Contains(f.Text, test.want) || f.Grade != test.grade {
			t.Errorf("%s: %+v, want %s, %q", test.name, f, test.grade, test.want)
		}
	}
}
