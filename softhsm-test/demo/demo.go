// Package demo is `latchkey demo`, which `make run` starts: a whole Latchkey in
// one folder, made on the first run and kept for the next. A SoftHSM2 token, a CA,
// certificates, a database and sample cards come from here; the server that is
// started with them is the real one.
//
// Nothing in it is a secret worth keeping: the token's PIN lies in a file beside
// the token, and one master key was seen outside it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"latchkey/hsm"
	"latchkey/server/api"
	"latchkey/softhsm-test/softtoken"
	"latchkey/softhsm-test/virtualcard"
)

// Config says where the demonstration lives and how it is shown.
type Config struct {
	Dir  string // made if it is not there
	Once bool   // end after the unblock instead of waiting for the context
	Out  io.Writer

	// Serve runs the server with a configuration file until the context ends, and
	// calls started with the server's URL once it takes calls.
	Serve func(ctx context.Context, configFile string, started func(url string)) error
}

// The files in the folder, beside the token's and the clients' own.
const (
	tokenDir   = "token"
	clientDir  = "clients"
	configFile = "latchkey.yaml"
	caFile     = "ca.pem"
	cardFile   = "virtual-card.json"
	tokenLabel = "latchkey-demo" //nolint:gosec // the name of a PKCS#11 token, not a secret

	// LogFile is where Serve is to write the server's log.
	LogFile = "latchkey.log"
)

// demo is a demonstration with its parts.
type demo struct {
	Config
	token softtoken.Token
	card  *virtualcard.Card
	url   string
}

// Run makes what is missing, starts the server, unblocks the virtual card through
// the API and then waits for the context to end.
func Run(ctx context.Context, c Config) error {
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return fmt.Errorf("demonstration: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, clientDir), 0o700); err != nil {
		return fmt.Errorf("demonstration: %w", err)
	}
	d := &demo{Config: c}
	for _, make := range []func(context.Context) error{d.makeToken, d.makeKeys, d.makeCertificates, d.makeConfig} {
		err := make(ctx)
		if ctx.Err() != nil {
			d.say("Stopped before the server was started. The next run goes on from here.")
			return nil
		}
		if err != nil {
			return err
		}
	}
	return d.serve(ctx)
}

// makeToken makes the token or finds the one of an earlier run, and points the
// PKCS#11 library of this process at it.
func (d *demo) makeToken(ctx context.Context) error {
	folder := d.path(tokenDir)
	t, err := softtoken.Existing(folder, tokenLabel)
	if errors.Is(err, os.ErrNotExist) {
		d.say("Making a SoftHSM2 token, its PIN in %s", d.short(folder, "pin"))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		t, err = softtoken.Make(ctx, folder, tokenLabel)
	}
	if err != nil {
		return err
	}
	d.token = t
	return os.Setenv("SOFTHSM2_CONF", t.Conf)
}

// makeKeys makes the master keys that are missing, and with the test key the
// virtual card.
func (d *demo) makeKeys(ctx context.Context) (err error) {
	module, err := hsm.Load(d.token.Module)
	if err != nil {
		return d.spoilt(err)
	}
	defer func() { err = errors.Join(err, module.Close()) }()
	t, err := module.Open(ctx, hsm.Config{Token: hsm.Selector{Label: tokenLabel}, PIN: hsm.NewPIN(d.token.PIN), Sessions: 1})
	if err != nil {
		return d.spoilt(err)
	}
	defer func() { err = errors.Join(err, t.Close(context.WithoutCancel(ctx))) }()
	if !t.HasKey(fleetKey, 1) {
		k, err := t.Generate(ctx, hsm.NewKey{Label: fleetKey, Version: 1, Type: masterType, Use: hsm.ForDeriving})
		if err != nil {
			return err
		}
		d.say("Generating master key %s inside the token; key check value %s", k.Label, k.KCV[0])
	}
	if t.HasKey(testKey, 1) {
		if d.card, err = readCard(d.path(cardFile)); err != nil {
			return d.spoilt(err)
		}
		return nil
	}
	d.say("Importing master key %s, of random bytes that this process has seen: the virtual\n  card has to know its admin key, and a key from inside the token never comes out", testKey)
	master := randomMaster()
	defer clear(master)
	// The card first: without the key it is made again, without the card the key
	// would be of no use.
	if d.card, err = makeCard(master); err != nil {
		return err
	}
	if err := d.keepCard(); err != nil {
		return err
	}
	_, err = t.Import(ctx, hsm.NewKey{Label: testKey, Version: 1, Type: masterType, Use: hsm.ForDeriving}, master)
	return err
}

// spoilt says what to do where what an earlier run made is of no use.
func (d *demo) spoilt(err error) error {
	return fmt.Errorf("%w\n%s cannot be used as it is, perhaps since it was moved; to begin anew, delete it", err, d.Dir)
}

// serve runs the server, shows an unblock, and stops the server again.
func (d *demo) serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	started := make(chan string, 1)
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx, d.path(configFile), func(url string) { started <- url }) }()
	select {
	case err := <-ended:
		return err
	case d.url = <-started:
	}
	err := d.show(ctx)
	if no := (*api.Problem)(nil); !d.Once && errors.As(err, &no) {
		// What was changed in an earlier run can only be changed back while it serves.
		d.say("   refused (%s): %s\n   Whatever was changed here can be changed back with the commands below.", no.Code, no.Detail)
		err = nil
	}
	if err == nil && !d.Once {
		d.explain()
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
		}
	}
	if errors.Is(err, context.Canceled) {
		err = nil // asked to stop half-way through
	}
	stop()
	err = errors.Join(err, <-ended)
	if err == nil {
		d.say("Stopped. The data stays in %s", d.Dir)
	}
	return err
}

// show registers the samples and unblocks the virtual card.
func (d *demo) show(ctx context.Context) error {
	administrator, err := d.client(administratorName)
	if err != nil {
		return err
	}
	defer administrator.Close()
	if err := register(ctx, administrator); err != nil {
		return err
	}
	backend, err := d.client(backendName)
	if err != nil {
		return err
	}
	defer backend.Close()
	return d.unblock(ctx, backend)
}

// client is a client of the server, with the certificate of that name.
func (d *demo) client(name string) (*api.Client, error) {
	return api.NewClient(api.Connection{
		Server: d.url, CA: d.path(caFile),
		Certificate: d.path(clientDir, name+".pem"), Key: d.path(clientDir, name+".key"),
	})
}

func (d *demo) path(parts ...string) string {
	return filepath.Join(append([]string{d.Dir}, parts...)...)
}

// short is a path as one would type it: from the folder that one is in, if it is
// below that.
func (d *demo) short(parts ...string) string {
	path := filepath.Join(parts...)
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if relative, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(relative) {
		return relative
	}
	return path
}

func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.Out, format+"\n", args...) }
