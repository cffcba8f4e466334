package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"latchkey/config"
	"latchkey/hsm"
)

// tokenFlags say which token a command works on.
type tokenFlags struct {
	config string
	module string
	token  hsm.Selector
	pin    hsm.PINSource
}

func (f *tokenFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.config, "config", os.Getenv("LATCHKEY_CONFIG"), "configuration `file` to take the token from (LATCHKEY_CONFIG)")
	flags.StringVar(&f.module, "module", "", "PKCS#11 `library`")
	flags.StringVar(&f.token.Label, "token-label", "", "`label` of the token")
	flags.StringVar(&f.token.Serial, "token-serial", "", "serial `number` of the token")
	flags.StringVar(&f.pin.File, "pin-file", "", "`file` that holds the token's user PIN, readable by its owner alone")
	flags.StringVar(&f.pin.Env, "pin-env", "", "environment `variable` that holds the PIN")
	flags.IntVar(&f.pin.FD, "pin-fd", 0, "open file `descriptor` to read the PIN from, 3 or above")
}

// source is the token that the flags name; a flag outweighs the configuration.
func (f *tokenFlags) source() (config.HSM, error) {
	var from config.HSM
	if f.config != "" {
		var err error
		if from, err = config.LoadHSM(f.config); err != nil {
			return config.HSM{}, err
		}
	}
	if f.module != "" {
		from.Module = f.module
	}
	if f.token != (hsm.Selector{}) {
		from.Token = f.token
	}
	if f.pin != (hsm.PINSource{}) {
		from.PIN = f.pin
	}
	if from.Module == "" {
		return config.HSM{}, misuse("say which token: --config FILE, or --module, --token-label or --token-serial, and --pin-file, --pin-env or --pin-fd")
	}
	return from, nil
}

// complete is the source, with all that opening the token needs.
func (f *tokenFlags) complete() (config.HSM, error) {
	from, err := f.source()
	if err != nil {
		return config.HSM{}, err
	}
	if from.Token == (hsm.Selector{}) {
		return config.HSM{}, misuse("say which token: --token-label or --token-serial")
	}
	if err := from.PIN.Faults(); err != nil {
		return config.HSM{}, misuse("%w: --pin-file, --pin-env or --pin-fd", err)
	}
	return from, nil
}

// with opens the token for as long as work takes.
func (f *tokenFlags) with(ctx context.Context, work func(*hsm.Token) error) error {
	from, err := f.complete()
	if err != nil {
		return err
	}
	return withModule(from.Module, func(m *hsm.Module) error { return withToken(ctx, m, from, work) })
}

// withModule loads the PKCS#11 library for as long as work takes.
func withModule(path string, work func(*hsm.Module) error) (err error) {
	m, err := hsm.Load(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	return work(m)
}

// closeTimeout bounds the wait for calls under way when a token is closed.
const closeTimeout = 10 * time.Second

// closing is the context of closing a token. ctx may have ended the work; what is
// under way in the token is waited for all the same, but not a call that hangs.
func closing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
}

// withToken reads the PIN and opens the token for as long as work takes.
func withToken(ctx context.Context, m *hsm.Module, from config.HSM, work func(*hsm.Token) error) (err error) {
	c, err := hsmConfig(from, nil)
	if err != nil {
		return err
	}
	t, err := m.Open(ctx, c)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := closing(ctx)
		defer cancel()
		err = errors.Join(err, t.Close(ctx))
	}()
	return work(t)
}

// withGroup opens the token and its fallbacks for as long as work takes. The
// observer, where there is one, is told of each PKCS#11 call.
func withGroup(ctx context.Context, from config.HSM, o hsm.Observer, log *zap.Logger, work func(*hsm.Group) error) (err error) {
	var members []hsm.Member
	for _, one := range append([]config.HSM{from}, from.Fallbacks...) {
		c, err := hsmConfig(one, log)
		if err != nil {
			return err
		}
		c.Observer = o
		members = append(members, hsm.Member{Path: one.Module, Config: c})
	}
	g, err := hsm.OpenGroup(ctx, members)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := closing(ctx)
		defer cancel()
		err = errors.Join(err, g.Close(ctx))
	}()
	return work(g)
}

// hsmConfig is the configuration with its PIN read.
func hsmConfig(from config.HSM, log *zap.Logger) (hsm.Config, error) {
	pin, err := from.PIN.Read()
	if err != nil {
		return hsm.Config{}, &usageError{err}
	}
	return hsm.Config{
		Token: from.Token, PIN: pin, Reread: from.PIN.Read, Sessions: from.Sessions, AllowExtractable: from.AllowExtractable,
		CallTimeout: from.CallTimeout, KeepAlive: from.KeepAlive, RecoverEvery: from.RecoverEvery, Log: log,
	}, nil
}
