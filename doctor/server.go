package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"latchkey/config"
	"latchkey/store"
)

// renewIn is how long before its end a certificate is warned of.
const renewIn = 30 * 24 * time.Hour

// Configuration examines a server's configuration file and what it names on this
// machine, and keeps its profiles in mind for the token. The server may be
// running.
func (e *Exam) Configuration(ctx context.Context, path string) {
	c, err := config.Load(path)
	var faults *config.Faults
	switch {
	case errors.As(err, &faults):
		for _, f := range faults.Faults {
			e.Add(Finding{Check: Configuration, Subject: path, Grade: Fail, Text: f,
				Do: "Mend it in the file; latchkey serve does not start with it."})
		}
		return
	case err != nil:
		e.find(Configuration, path, Fail, err.Error())
		return
	}
	e.configured = true
	e.allowed, e.sessions, e.fallbacks = c.HSM.AllowExtractable, c.HSM.Sessions, len(c.HSM.Fallbacks)
	for _, id := range slices.Sorted(maps.Keys(c.Profiles)) {
		e.profiles = append(e.profiles, c.Profiles[id])
	}
	e.find(Configuration, path, Pass, fmt.Sprintf("no faults; %d profiles, %d clients", len(c.Profiles), len(c.Clients)))
	for _, label := range c.HSM.AllowExtractable {
		e.Add(Finding{Check: Configuration, Subject: path, Grade: Warning,
			Text: fmt.Sprintf("hsm.allow_extractable lets master key %s be used although it could leave the token", label),
			Do:   "Move its cards to a key that was generated in the token, and take the label out."})
	}
	e.certificates(c.TLS.Certificate, true)
	e.certificates(c.TLS.ClientCA, false)
	for _, token := range append([]config.HSM{c.HSM}, c.HSM.Fallbacks...) {
		if file := token.PIN.File; file != "" {
			e.pinFile(file)
		}
	}
	e.store(ctx, c.Store)
}

// certificates examines a PEM file of certificates; the first of the server's own
// is the one that it shows.
func (e *Exam) certificates(path string, own bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		e.find(TLS, path, Fail, err.Error())
		return
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			e.find(TLS, path, Fail, err.Error())
			continue
		}
		e.Add(e.certificate(path, c, own))
		own = false
	}
}

func (e *Exam) certificate(path string, c *x509.Certificate, own bool) Finding {
	name := cmp.Or(c.Subject.String(), "the certificate")
	f := Finding{Check: TLS, Subject: path, Grade: Pass, Text: name + " is valid until " + day(c.NotAfter)}
	switch left := c.NotAfter.Sub(e.options.Now); {
	case left <= 0:
		f.Grade, f.Text = Fail, name+" has expired on "+day(c.NotAfter)
		f.Do = "Put a new one in its place and start the server anew."
	case e.options.Now.Before(c.NotBefore):
		f.Grade, f.Text = Fail, name+" is not valid before "+day(c.NotBefore)
		f.Do = "See whether this machine's clock is right."
	case own && len(c.DNSNames)+len(c.IPAddresses) == 0:
		f.Grade, f.Text = Fail, name+" has no DNS name and no IP address among its alternative names, so no client takes it"
		f.Do = "Have it issued anew with the names by which clients call the server."
	case left < renewIn:
		f.Grade, f.Text = Warning, fmt.Sprintf("%s expires on %s, in %d days", name, day(c.NotAfter), int(left.Hours()/24))
		f.Do = "Have it renewed."
	}
	return f
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// pinFile has only good things to say: that others may read it is a fault of the
// configuration, which is found before.
func (e *Exam) pinFile(path string) {
	info, err := os.Stat(path)
	if err != nil {
		e.find(PINFile, path, Fail, err.Error())
		return
	}
	e.find(PINFile, path, Pass, fmt.Sprintf("mode %04o", info.Mode().Perm()))
}

func (e *Exam) store(ctx context.Context, where config.Store) {
	path, err := where.Where()
	if err != nil {
		e.find(Store, where.String(), Fail, err.Error())
		return
	}
	c, err := store.Inspect(ctx, path)
	path = where.String()
	f := Finding{Check: Store, Subject: path, Grade: Fail}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Grade, f.Text = Note, "there is no database yet; latchkey serve makes it"
	case errors.Is(err, store.ErrNewer):
		f.Text, f.Do = err.Error(), "Run the newer version, or restore the backup made before the upgrade."
	case errors.Is(err, store.ErrForeign):
		f.Text, f.Do = err.Error(), "Name another file: store.path."
	case errors.Is(err, fs.ErrPermission):
		f.Grade, f.Text, f.Do = Warning, err.Error(), "Run the doctor as the user that the server runs as."
	case err != nil:
		f.Text, f.Do = err.Error(), "Where it cannot be reached, mend that; where it is damaged, restore the last backup: docs/operations.md."
	case where.Path != "" && c.Mode.Perm()&0o077 != 0:
		f.Grade, f.Text, f.Do = Warning, fmt.Sprintf("others may read it (mode %04o)", c.Mode.Perm()), "Run: chmod 600 "+path
	case c.Schema < c.Latest:
		f.Grade = Note
		f.Text = fmt.Sprintf("schema %d; the next start brings it to %d", c.Schema, c.Latest)
		f.Do = "Make a backup before: there is no way back without one."
	default:
		f.Grade, f.Text = Pass, fmt.Sprintf("schema %d", c.Schema)
		if where.Path != "" {
			f.Text += fmt.Sprintf(", mode %04o", c.Mode.Perm())
		}
	}
	e.Add(f)
}

// Machine examines the machine's clock.
func (e *Exam) Machine() {
	f := Finding{Check: Clock, Subject: "machine", Grade: Pass, Text: "it is kept right, the kernel says"}
	yes, known := e.options.Synchronised()
	switch {
	case !e.options.Built.IsZero() && e.options.Now.Before(e.options.Built):
		f.Grade = Fail
		f.Text = "it shows a time before this program was built: " + day(e.options.Now)
		f.Do = "Set the clock: certificates, the age of card data and the audit log go by it."
	case !known:
		f.Grade, f.Text = Note, "whether anything keeps it right cannot be told here"
	case !yes:
		f.Grade, f.Text = Warning, "nothing keeps it right, the kernel says"
		f.Do = "Run chrony, ntpd or systemd-timesyncd, here or on the host of this container: the audit log goes by it."
	}
	e.Add(f)
}
