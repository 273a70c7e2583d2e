package daemon

import (
	"context"
	"sync/atomic"

	"doublenat/natpmp"
)

// announcer is a [natpmp.Announcer] that need not be there: changes may come before
// the socket is open, and where announcing is off they always do.
type announcer struct {
	current atomic.Pointer[natpmp.Announcer]
}

func newAnnouncer() *announcer { return &announcer{} }

// Announce begins a series of announcements where that is possible. It never blocks.
func (a *announcer) Announce() {
	if current := a.current.Load(); current != nil {
		current.Announce()
	}
}

// run announces until ctx ends, the start first.
func (a *announcer) run(ctx context.Context, cfg natpmp.AnnouncerConfig) error {
	current, err := natpmp.NewAnnouncer(cfg)
	if err != nil {
		return err
	}
	a.current.Store(current)
	defer a.current.Store(nil)
	return current.Run(ctx)
}
