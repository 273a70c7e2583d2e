package daemon

import (
	"context"
	"net"

	"doublenat/internal/profiling"
)

// profile serves profiles to developers until ctx ends, if somebody wants them. That
// it cannot stops nobody's mappings.
func (d *Daemon) profile(ctx context.Context) {
	if !d.cfg.Pprof.IsValid() {
		return
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", d.cfg.Pprof.String())
	if err == nil {
		d.log.WarnContext(ctx, "serving profiles, which show the process's memory", "addr", d.cfg.Pprof)
		err = profiling.Serve(ctx, ln)
	}
	if err != nil {
		d.log.ErrorContext(ctx, "profiles are not served", "addr", d.cfg.Pprof, "error", err)
	}
}
