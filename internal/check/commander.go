package check

import (
	"context"
	"time"

	"doublenat/internal/router"
	"doublenat/routeros"
)

// commander sends commands to the router, and gives up when it has been silent for
// long: the client itself would wait for a connection that was lost.
type commander struct {
	api     *routeros.Client
	silence time.Duration
}

var _ router.Commander = commander{}

func (v *visit) commander() commander { return commander{v.api, 2 * v.cfg.Patience} }

// Do implements [router.Commander].
func (c commander) Do(ctx context.Context, cmd routeros.Command) (*routeros.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.silence)
	defer cancel()
	return c.api.Do(ctx, cmd)
}

// Each implements [router.Commander].
func (c commander) Each(ctx context.Context, cmd routeros.Command, f func(routeros.Row) error) (*routeros.Reply, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(c.silence, func() { cancel(context.DeadlineExceeded) })
	defer patience.Stop()
	return c.api.Each(ctx, cmd, func(row routeros.Row) error {
		patience.Reset(c.silence)
		return f(row)
	})
}
