package routeros_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/routeros"
)

// TestHeldTogether has a router that answers many commands at once, with rows and
// no end. The commands may hold no more together than one alone.
func TestHeldTogether(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	synctest.Test(t, func(t *testing.T) {
		most := 0
		var r *rig
		r = newRig(t, routeros.Config{MaxReplyBytes: limit, MaxInFlight: 8}, func(p *peer) {
			p.login()
			var tags []string
			for range 8 {
				tags = append(tags, tagOf(p.recv()))
			}
			go drain(p.conn) // the cancels
			for range 200 {
				for _, tag := range tags {
					p.send("!re", tag, "=a="+strings.Repeat("x", 1000))
				}
				synctest.Wait()
				most = max(most, r.Stats().Held)
			}
			for _, tag := range tags {
				p.send("!done", tag)
			}
			time.Sleep(time.Second)
		})
		var wg sync.WaitGroup
		var mu sync.Mutex
		limited, whole := 0, 0
		for range 8 {
			wg.Go(func() {
				_, err := r.Do(t.Context(), routeros.Command{Path: "/x/print"})
				mu.Lock()
				defer mu.Unlock()
				if _, ok := errors.AsType[*routeros.LimitError](err); ok {
					limited++
					return
				}
				if err == nil {
					whole++
				}
			})
		}
		wg.Wait()
		if most > limit || most < limit/2 || limited != 8 || whole != 0 {
			t.Errorf("held %d bytes, %d limited, %d whole; want at most %d, all limited", most, limited, whole, limit)
		}
		if got := r.Stats(); got.Held != 0 || got.Abandoned != 8 {
			t.Errorf("got %+v, want nothing held and 8 abandoned", got)
		}
	})
}

// TestLimits has replies beyond each limit. Each is told by a LimitError, nothing of
// it is kept, and the connection goes on.
func TestLimits(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cfg  routeros.Config
		rows int
		done []string
		want string
	}{
		"rows":       {routeros.Config{MaxRows: 2}, 3, nil, "/x/print: reply of more than 2 rows"},
		"bytes":      {routeros.Config{MaxReplyBytes: 500}, 5, nil, "/x/print: replies of more than 500 bytes together"},
		"bytes, end": {routeros.Config{MaxReplyBytes: 500}, 0, []string{"=ret=" + strings.Repeat("x", 500)}, "/x/print: replies of more than 500 bytes together"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.cfg, func(p *peer) {
					p.hurry()
					p.login()
					tag := tagOf(p.recv())
					for range tt.rows {
						p.send("!re", tag, "=a=b")
					}
					p.send(append([]string{"!done", tag}, tt.done...)...)
					p.echo()
				})
				_, err := r.Do(t.Context(), routeros.Command{Path: "/x/print"})
				if _, ok := errors.AsType[*routeros.LimitError](err); !ok || err.Error() != tt.want || !routeros.Ambiguous(err) {
					t.Errorf("got error %v (%T), want %q", err, err, tt.want)
				}
				if got := r.Stats().Held; got != 0 {
					t.Errorf("%d bytes are held, want none", got)
				}
				r.get(t, "/next")
				synctest.Wait()
				if got := len(r.dialed()); got != 1 || r.Stats().Held != 0 {
					t.Errorf("dialed %d times, with %d bytes held; want once, and none", got, r.Stats().Held)
				}
			})
		})
	}
}

// TestExactlyAtTheLimit has as many rows as are allowed.
func TestExactlyAtTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{MaxRows: 2}, func(p *peer) {
			p.login()
			tag := tagOf(p.recv())
			p.send("!re", tag)
			p.send("!re", tag)
			p.send("!done", tag)
			p.hang()
		})
		if reply, err := r.Do(t.Context(), routeros.Command{Path: "/x/print"}); err != nil || len(reply.Rows) != 2 {
			t.Errorf("got %v, error %v, want two rows", reply, err)
		}
	})
}

// TestAbandonedHoldsNothing gives a command up of which some rows have come: they
// are let go at once, not with the end that may never come.
func TestAbandonedHoldsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{}, func(p *peer) {
			p.login()
			tag := tagOf(p.recv())
			p.send("!re", tag, "=a="+strings.Repeat("x", 1000))
			time.Sleep(2 * time.Second)
			p.send("!re", tag, "=a="+strings.Repeat("x", 1000))
			p.hang()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := r.Do(ctx, routeros.Command{Path: "/x/print"})
			done <- err
		}()
		synctest.Wait()
		if got := r.Stats().Held; got < 1000 {
			t.Errorf("%d bytes are held, want the row that came", got)
		}
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v", err)
		}
		if got := r.Stats().Held; got != 0 {
			t.Errorf("%d bytes are held for nobody", got)
		}
		time.Sleep(2 * time.Second)
		if got := r.Stats(); got.Held != 0 || got.Late != 1 {
			t.Errorf("got %+v, want nothing held and one sentence dropped", got)
		}
	})
}

// TestTooManyStopped stops more tables than the router ends.
func TestTooManyStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{MaxInFlight: 2}, func(p *peer) {
			p.hurry()
			p.login()
			for cmd := p.recv(); cmd != nil; cmd = p.recv() {
				if cmd[0] != "/cancel" {
					p.send("!re", tagOf(cmd))
				}
			}
		})
		for range 3 {
			_, err := r.Each(t.Context(), routeros.Command{Path: "/x/print"}, func(routeros.Row) error { return errEnough })
			if !errors.Is(err, errEnough) {
				t.Errorf("got error %v, want %v", err, errEnough)
			}
		}
		synctest.Wait()
		if r.Stats().Connected {
			t.Error("three unfinished tables are kept, want two at most")
		}
	})
}

// TestLongMessages keeps little of what a router says about failures.
func TestLongMessages(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 60_000)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{}, func(p *peer) {
			p.login()
			tag := tagOf(p.recv())
			p.send("!trap", tag, "=message="+long)
			p.send("!done", tag)
			p.recv()
			p.send("!fatal", long)
		})
		_, err := r.Do(t.Context(), routeros.Command{Path: "/x"})
		if trap, ok := errors.AsType[*routeros.TrapError](err); !ok || len(trap.Traps[0].Message) != 1<<10 {
			t.Errorf("got %.100v", err)
		}
		_, err = r.Do(t.Context(), routeros.Command{Path: "/x"})
		if fatal, ok := errors.AsType[*routeros.FatalError](err); !ok || len(fatal.Reason) != 1<<10 {
			t.Errorf("got %.100v", err)
		}
	})
}
