package daemon

import (
	"doublenat/internal/frontend"
	"doublenat/internal/nat"
	"doublenat/internal/readonly"
)

// makeNotebook makes what stands in for the layers when nothing is to be changed.
func (d *Daemon) makeNotebook(Options) error {
	if !d.cfg.ReadOnly {
		return nil
	}
	d.notebook = readonly.New(d.log.With("component", "read_only"))
	d.log.Warn("read only: nothing will be changed, and clients are refused")
	for _, m := range d.cfg.Static {
		d.notebook.Hold(m.Key, m.SuggestedPort)
	}
	d.cfg.Static = nil // else its keeper warns of each that it cannot be had
	return nil
}

// layers returns the two layers as the core is to see them.
func (d *Daemon) layers() (nat.Router, nat.Gateway) {
	switch {
	case d.term != nil:
		return fencedRouter{d.router, d.guard()}, fencedGateway{d.gateway, d.guard()}
	case d.notebook == nil:
		return d.router, d.gateway
	}
	return d.notebook.Router(d.router), d.notebook.Gateway()
}

// core returns what serves clients.
func (d *Daemon) core() frontend.Core {
	var core frontend.Core = d.static
	if d.notebook != nil {
		core = d.notebook.Core()
	}
	if !d.cfg.Router.Loopback() {
		core = elsewhere{core}
	}
	return core
}
