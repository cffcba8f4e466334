package stream

import (
	"fmt"
	"strings"

	"latchkey/audit"
)

// facility is syslog's "log audit", 13.
const facility = 13

// syslog is a message of RFC 5424 with the entry's text as it is in its format. The
// time is the entry's, the message ID its action.
func (m message) syslog(host string) string {
	severity := 6 // informational
	switch m.Outcome {
	case audit.Deny:
		severity = 4 // warning
	case audit.Failure:
		severity = 3 // error
	case audit.Permit:
	}
	at := "-"
	if !m.Time.IsZero() {
		at = m.Time.UTC().Format("2006-01-02T15:04:05.000000Z")
	}
	// sequenceId is as large as RFC 5424, section 7.3.1 lets it be.
	return fmt.Sprintf("<%d>1 %s %s latchkey - %s [meta sequenceId=\"%d\"] %s",
		facility*8+severity, at, printable(host, 255), printable(string(m.Action), 32), (m.Sequence-1)%2147483647+1, m.text)
}

// printable is a header field of syslog: visible ASCII without spaces.
func printable(s string, longest int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), longest)]
}

// asCEF is an entry in ArcSight's Common Event Format, revision 25.
func asCEF(e audit.Entry, version string) string {
	severity := map[audit.Outcome]int{audit.Permit: 3, audit.Deny: 6, audit.Failure: 8}[e.Outcome]
	header := strings.NewReplacer(`\`, `\\`, `|`, `\|`, "\n", " ", "\r", " ")
	value := strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\n", `\n`, "\r", `\r`)
	var b strings.Builder
	fmt.Fprintf(&b, "CEF:0|Latchkey|Latchkey|%s|%s|%s %s|%d|", header.Replace(version),
		header.Replace(string(e.Action)), header.Replace(string(e.Action)), header.Replace(string(e.Outcome)), severity)
	for i, f := range []struct{ key, value string }{
		{"rt", fmt.Sprint(e.Time.UnixMilli())},
		{"externalId", fmt.Sprint(e.Sequence)},
		{"outcome", string(e.Outcome)},
		{"src", e.Address},
		{"suser", e.Operator},
		{"requestClientApplication", e.Client},
		{"reason", e.Code},
		{"msg", e.Detail},
		{"cs1Label", label(e.Card, "card")}, {"cs1", e.Card},
		{"cs2Label", label(e.Process, "process")}, {"cs2", e.Process},
		{"cs3Label", label(e.Profile, "profile")}, {"cs3", e.Profile},
		{"cs4Label", label(key(e), "masterKey")}, {"cs4", key(e)},
		{"cs5Label", label(e.PolicyVersion, "policyVersion")}, {"cs5", e.PolicyVersion},
		{"cs6Label", label(e.RequestID, "requestId")}, {"cs6", e.RequestID},
	} {
		if f.value == "" {
			continue
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(f.key + "=" + value.Replace(f.value))
	}
	return b.String()
}

func label(value, name string) string {
	if value == "" {
		return ""
	}
	return name
}

func key(e audit.Entry) string {
	if e.MasterKey == "" {
		return ""
	}
	return fmt.Sprintf("%s/%d", e.MasterKey, e.KeyVersion)
}
