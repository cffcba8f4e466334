package hsm

import (
	"testing"
	"time"

	"github.com/miekg/pkcs11"
)

func TestClock(t *testing.T) {
	const has = pkcs11.CKF_CLOCK_ON_TOKEN
	for _, test := range []struct {
		flags uint
		utc   string
		want  time.Time
	}{
		{has, "2026112423050000", time.Date(2026, 11, 24, 23, 5, 0, 0, time.UTC)},
		{0, "2026112423050000", time.Time{}},
		{has, "", time.Time{}},
		{has, "20261324230500", time.Time{}},
	} {
		if got := clock(test.flags, test.utc); !got.Equal(test.want) {
			t.Errorf("%#x %q: %s, want %s", test.flags, test.utc, got, test.want)
		}
	}
}
