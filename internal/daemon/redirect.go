package daemon

import (
	"context"
	"time"

	"doublenat/internal/remedy"
)

const (
	// redirectRetry is the wait until a router is asked again that did not move the redirect.
	redirectRetry = 5 * time.Second
	// redirectLook is how often the active one looks whether the redirect leads to it.
	redirectLook = 5 * time.Minute
)

// leadClientsHere points the router's redirect of client requests to this host until ctx ends.
func (d *Daemon) leadClientsHere(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	trouble := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := d.pointRedirect(ctx)
		switch {
		case err == nil:
			trouble = ""
			timer.Reset(redirectLook)
		case ctx.Err() != nil:
			return
		default:
			if advice, _ := remedy.For(err); trouble != err.Error() {
				d.log.WarnContext(ctx, "clients' redirect on the router does not lead here, retrying", "error", err, "remedy", advice)
			}
			trouble = err.Error()
			timer.Reset(redirectRetry)
		}
	}
}

// pointRedirect does it once.
func (d *Daemon) pointRedirect(ctx context.Context) error {
	to := d.cfg.Listen.Addr()
	if to.IsUnspecified() {
		var err error
		if to, err = d.router.Host(ctx); err != nil {
			return err
		}
	}
	moved, err := d.router.PointRedirects(ctx, to)
	if moved > 0 && d.upnp != nil {
		d.upnp.ledHere()
	}
	return err
}
