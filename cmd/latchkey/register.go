package main

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"

	"go.uber.org/zap"

	"latchkey/config"
	"latchkey/identity"
	"latchkey/server"
)

// register is who may act: the clients and operators of the configuration file, as
// it was last read without a fault.
type register struct {
	began  *config.Config
	latest atomic.Pointer[config.Config]
}

func newRegister(c *config.Config) *register {
	r := &register{began: c}
	r.latest.Store(c)
	return r
}

// Operator finds an operator, or gives card.ErrNotFound.
func (r *register) Operator(ctx context.Context, id string) (identity.Person, error) {
	return r.latest.Load().Operator(ctx, id)
}

// reload reads the file again. Where it has faults nothing changes, and the log has
// a line for each.
func (r *register) reload(web *server.Server, log *zap.Logger) {
	next, err := r.began.Again()
	if err == nil {
		err = web.SetClients(next.Clients)
	}
	var faults *config.Faults
	switch {
	case errors.As(err, &faults):
		for _, f := range faults.Faults {
			log.Error("SIGHUP: the configuration has a fault; clients and operators stay as they were", zap.String("fault", f))
		}
		return
	case err != nil:
		log.Error("SIGHUP: the configuration cannot be used; clients and operators stay as they were", zap.Error(err))
		return
	}
	r.latest.Store(next)
	log.Info("SIGHUP: clients and operators were read again",
		zap.Int("clients", len(next.Clients)), zap.Int("operators", len(next.Operators)))
	rest := *next
	rest.Clients, rest.Operators = r.began.Clients, r.began.Operators
	if !reflect.DeepEqual(rest, *r.began) {
		log.Warn("SIGHUP: the configuration differs in more than clients and operators; the rest takes a restart")
	}
}
