package main

import (
	"context"
	"errors"
	"fmt"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/internal/setup"
	"doublenat/routeros"
)

// askRouter completes the plan by what the router says of itself. What was given stays.
func (p *process) askRouter(ctx context.Context, plan *setup.Config) error {
	cfg, err := p.config()
	if err != nil {
		return fmt.Errorf("%w\n(or give --version, and nobody is asked)", err)
	}
	found, survey, err := lookAtRouter(ctx, cfg)
	if err != nil {
		return unasked(err)
	}
	plan.Version, plan.Architecture = found.Version, found.Architecture
	if plan.LAN == (setup.LAN{}) {
		plan.LAN = found.LAN()
	}
	if plan.Disk == "" {
		plan.Disk = found.Disk()
	}
	if plan.Tunnel == "" {
		plan.Tunnel = survey.InInterface
	}
	plan.VPN = cfg.At(survey.Gateway).Gateway
	return nil
}

// unasked is the error for a router that could not be asked, with what helps.
func unasked(err error) error {
	err = fmt.Errorf("asking the router (or give --version, and nobody is asked): %w", err)
	if advice, ok := remedy.For(err); ok {
		err = advised{err, advice.String()}
	}
	return err
}

// lookAtRouter asks the router, over a connection of its own, and returns its survey too,
// without the tunnel interface if that is not clear. The first error of the connection ends it: a
// wrong password is not a router that will be there in a while.
func lookAtRouter(ctx context.Context, cfg config.Config) (found setup.Found, survey router.Survey, err error) {
	patience := routeros.DefaultConnectTimeout + routeros.DefaultCommandTimeout
	ctx, done := context.WithTimeoutCause(ctx, patience, routeros.ErrTimeout)
	defer done()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	api := daemon.RouterAPI(cfg)
	api.OnState = func(s routeros.State) {
		if s.Err != nil {
			fail(s.Err)
		}
	}
	client, err := routeros.New(api)
	if err != nil {
		return found, survey, err
	}
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	defer func() {
		cause := context.Cause(ctx)
		fail(nil)
		if errRun := <-ended; err == nil {
			err = errRun
		} else if cause != nil {
			err = cause // and not that the context has ended
		}
	}()
	if found, err = setup.Look(ctx, client); err != nil {
		return found, survey, err
	}
	survey, err = router.Look(ctx, client, router.Config{InInterface: cfg.InInterface, Gateway: cfg.Gateway.Addr(), Place: daemon.Place(cfg)})
	if _, unclear := errors.AsType[*router.InterfaceError](err); unclear && !cfg.FindsGateway() {
		return found, survey, nil
	}
	return found, survey, err
}
