package router

import (
	"context"
	"errors"
	"sync"
	"time"

	"doublenat/internal/lock"
	"doublenat/routeros"
)

const (
	// watchPause is how often a list is read of which the router pushes no changes.
	watchPause = 500 * time.Millisecond
	// watchFresh is how old what Watch has read may be for Acquire to take it.
	watchFresh = watchPause + 100*time.Millisecond
	// watchHeard is how long a router that has pushed a change is believed to push the next. A
	// holder renews its lock more often than that.
	watchHeard = 30 * time.Second
	// watchRows is how many changes of other entries a second are listened to: there are routers
	// that put each attacker of theirs into a list.
	watchRows = 20
)

// Freed has a value when the lock may be free: [Lock.Acquire] is worth another try at once.
func (l *Lock) Freed() <-chan struct{} { return l.freed }

// Watch notices at once that a lock of somebody else is given away, until ctx ends: see
// [Lock.Freed]. It is for who stands by. It listens to changes of the list, as far as the router
// pushes them, and reads the list twice a second as long as it does not; what it has read saves
// [Lock.Acquire] the same look. Without it, and wherever it fails, Acquire is as right and later.
func (l *Lock) Watch(ctx context.Context) {
	var listening sync.WaitGroup
	listening.Go(func() { l.listen(ctx) })
	defer listening.Wait()
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if l.pushed() {
			continue
		}
		// What is wrong is for Acquire to say. A look that takes longer is of no use.
		bounded, cancel := context.WithTimeout(ctx, 4*watchPause)
		if _, err := l.look(bounded); err == nil {
			l.mu.Lock()
			l.last.at = time.Now()
			l.mu.Unlock()
		}
		cancel()
	}
}

// errChatty is a router with so many changes in its lists that listening is a burden.
var errChatty = errors.New("too many changes of other entries")

// listen listens to changes of the list until ctx ends, or the router refuses, or has too many.
// How a router speaks there was not tried on a device: live programs get a row for each entry that is
// new or changed, and one with .dead for each that is gone, in whatever list.
func (l *Lock) listen(ctx context.Context) {
	for ctx.Err() == nil {
		others, since := 0, time.Now()
		_, err := l.r.client.Each(ctx, routeros.Command{
			Path: addressListPath + "/listen", Properties: []string{".id", ".dead", "list", "address"},
			Queries: []string{routeros.Equal("list", l.list)}, Endless: true,
		}, func(row routeros.Row) error {
			if l.heard(row) {
				return nil
			}
			if now := time.Now(); now.Sub(since) > time.Second {
				others, since = 0, now
			}
			if others++; others > watchRows {
				return errChatty
			}
			return nil
		})
		l.mu.Lock()
		l.last.heard = time.Time{}
		l.mu.Unlock()
		if refused(err) || errors.Is(err, errChatty) {
			l.r.log.DebugContext(ctx, "router does not tell of changes of the lock, reading it instead", "error", err)
			return
		}
		pause := time.NewTimer(time.Second)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// heard takes in a row that the router pushed, and reports whether it is about the lock.
func (l *Lock) heard(row routeros.Row) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := row.Value(".id")
	switch {
	case row.Bool(".dead") && id != "" && id == l.last.id:
		l.last = sighting{heard: time.Now()}
		l.free()
	case !row.Bool(".dead") && row.Value("list") == l.list:
		l.last.heard = time.Now()
	default:
		return false
	}
	return true
}

// pushed reports whether the router has told of a change of late.
func (l *Lock) pushed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.last.heard.IsZero() && time.Since(l.last.heard) < watchHeard
}

// note takes in a look.
func (l *Lock) note(seen look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, others := seen.split(l.token)
	before, heard := l.last, l.last.heard
	l.last = sighting{heard: heard}
	if len(others) > 0 && !others[0].stuck() {
		l.last = sighting{id: others[0].id, holder: others[0].holder(), heard: heard}
	}
	if before.id != "" && len(seen.entries) == 0 {
		l.free()
	}
}

// free tells whoever waits for it that the lock may be free.
func (l *Lock) free() {
	select {
	case l.freed <- struct{}{}:
	default:
	}
}

// watched returns who has the lock if Watch has just seen it.
func (l *Lock) watched() (holder lock.Holder, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.holder, l.last.id != "" && time.Since(l.last.at) < watchFresh
}

// sighting is what was seen of the lock of somebody else.
type sighting struct {
	id     string // of the entry; empty for none
	holder lock.Holder
	at     time.Time // when Watch saw it; zero if that was somebody else
	heard  time.Time // when the router pushed a change last; zero for never on this connection
}
