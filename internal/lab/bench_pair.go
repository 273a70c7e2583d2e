package lab

import (
	"context"
	"net/netip"

	"doublenat/internal/daemon"
)

// Beside returns a place for one more daemon at the same router and gateway, where clients ask at
// another address. [Bench.Leave] ends its daemon; the rest is the bench's.
func (b *Bench) Beside(listen netip.AddrPort) *Bench {
	at := b.spot
	at.listen = listen
	return &Bench{
		Net: b.Net, Gateway: b.Gateway, PCP: b.PCP, Box: b.Box, Place: b.Place, Router: b.Router,
		cfg: b.cfg, spot: at, others: b.others, stop: func() {},
	}
}

// Leave ends the daemon of a place that [Bench.Beside] made, and returns what it returned.
func (b *Bench) Leave() error {
	err := b.Stop()
	b.graves.Wait()
	return err
}

// Serve is [Bench.Start] for one daemon of several: it stands by again when it lost the lock. Change
// may change what it is made from; nil changes nothing.
func (b *Bench) Serve(more map[string]string, change func(*daemon.Options)) error {
	cfg, err := b.config(more)
	if err != nil {
		return err
	}
	p := &incarnation{done: make(chan error, 1)}
	opts := daemon.Options{Config: cfg, Logger: b.cfg.Logger, Network: b.network(p)}
	for _, f := range []func(*daemon.Options){b.cfg.Options, change} {
		if f != nil {
			f(&opts)
		}
	}
	ctx, quit := context.WithCancel(context.Background())
	p.quit = quit
	b.daemon = p
	go func() { p.done <- daemon.Serve(ctx, opts) }()
	return nil
}
