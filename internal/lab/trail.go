package lab

import (
	"context"
	"sync"
)

// trailLength is how many crossings a trail keeps for somebody to look at.
const trailLength = 64

// trail has the last connections that went through the relays. It is safe for
// use by several goroutines.
type trail struct {
	// news is filled when a crossing was added.
	news chan struct{}

	mu   sync.Mutex // guards what follows
	list []crossing
}

// newTrail returns an empty trail.
func newTrail() *trail { return &trail{news: make(chan struct{}, 1)} }

// add keeps a crossing.
func (t *trail) add(c crossing) {
	t.mu.Lock()
	t.list = append(t.list, c)
	if len(t.list) > trailLength {
		t.list = t.list[1:]
	}
	t.mu.Unlock()
	select {
	case t.news <- struct{}{}:
	default: // the reader has not seen the last one yet
	}
}

// take returns what was kept, oldest first, and forgets it.
func (t *trail) take() []crossing {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.list
	t.list = nil
	return list
}

// find returns the crossing of a relay's port, once there is one, or false when
// ctx has ended before.
func (t *trail) find(ctx context.Context, at string, on port) (crossing, bool) {
	for {
		t.mu.Lock()
		for _, c := range t.list {
			if c.at == at && c.on == on {
				t.mu.Unlock()
				return c, true
			}
		}
		t.mu.Unlock()
		select {
		case <-t.news:
		case <-ctx.Done():
			return crossing{}, false
		}
	}
}
