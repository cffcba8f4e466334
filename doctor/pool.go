package doctor

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"latchkey/hsm"
)

// How the pool is measured: each number of sessions for so long, in turn, so
// often.
const (
	slice  = 200 * time.Millisecond
	rounds = 3
)

func poolSizes() []int { return []int{1, 2, 4, 8, 16} }

// pool measures how many answers the token gives from how many sessions.
func (e *Exam) pool(ctx context.Context, t *hsm.Token) {
	if e.options.Quick {
		return
	}
	measured, err := t.Measure(ctx, poolSizes(), rounds, slice)
	if err != nil {
		e.find(Pool, "", Warning, "it could not be measured: "+err.Error())
		return
	}
	e.result().Measured = measured
	e.Add(recommend(measured, e.sessions, e.configured))
}

// enough is the share of the best at which fewer sessions do.
const enough = 0.95

// recommend tells the pool size to choose: the smallest that is within the noise,
// or 5 %, of the best, and 2 at least, so that a call which hangs does not stop
// everything.
func recommend(measured []hsm.Measurement, sessions int, configured bool) Finding {
	var texts []string
	best, noise := 0.0, 0.0
	for _, m := range measured {
		best = max(best, m.Median())
		noise = max(noise, (m.PerSecond[len(m.PerSecond)-1]-m.PerSecond[0])/m.Median())
		texts = append(texts, fmt.Sprintf("%d: %.0f", m.Sessions, m.Median()))
	}
	share := min(enough, 1-noise/2)
	size := 0
	var now hsm.Measurement // the largest that is not above what is configured
	for _, m := range measured {
		if size == 0 && m.Median() >= share*best {
			size = max(m.Sessions, 2)
		}
		if m.Sessions <= sessions {
			now = m
		}
	}
	f := Finding{Check: Pool, Grade: Pass, Text: fmt.Sprintf(
		"answers a second by number of sessions: %s; the runs of one number differ by up to %.0f %%; hsm.sessions: %d would do", strings.Join(texts, ", "), 100*noise, size)}
	const costly = 0.8
	if configured && len(now.PerSecond) > 0 && now.Median() < min(costly, share)*best {
		f.Grade = Note
		f.Text += fmt.Sprintf(", the %d of now give %.0f %% of the best", sessions, math.Floor(100*now.Median()/best))
		f.Do = fmt.Sprintf("Set hsm.sessions: %d.", size)
	}
	return f
}
