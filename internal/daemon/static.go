package daemon

import (
	"doublenat/internal/nat"
	"doublenat/internal/static"
)

// makeStatic makes the keeper of the static mappings, through which clients reach
// the core.
func (d *Daemon) makeStatic(opts Options) (err error) {
	mappings := make([]static.Mapping, len(d.cfg.Static))
	for i, m := range d.cfg.Static {
		mappings[i] = static.Mapping(m)
	}
	d.static, err = static.New(static.Config{
		Core: &slots{Core: d.service, log: d.log.With("component", "nat")}, Mappings: mappings,
		Lifetime: d.cfg.MaxLifetime, Holds: d.cfg.LeasePolicy == nat.PolicyHold,
		Random: opts.Random, Logger: d.log.With("component", "static"),
	})
	return err
}
