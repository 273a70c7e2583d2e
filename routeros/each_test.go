package routeros_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
)

// errEnough is what a function given to Each returns to end it.
var errEnough = errors.New("enough")

// collect returns a function for Each that keeps the rows.
func collect(rows *[]routeros.Row) func(routeros.Row) error {
	return func(row routeros.Row) error {
		*rows = append(*rows, row.Clone())
		return nil
	}
}

// never is a function for Each that must not be called.
func never(t *testing.T) func(routeros.Row) error {
	t.Helper()
	return func(row routeros.Row) error {
		t.Errorf("got the row %v", row)
		return nil
	}
}

func TestEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{}, func(p *peer) {
			p.login()
			tag := tagOf(p.recv())
			p.send("!re", "=.id=*1", tag, "=comment=a=b", "=log-prefix=")
			p.send("!re", tag)
			p.send("!re", "=.id=*2", tag)
			p.send("!done", "=ret=2", tag)
			p.send("!done", tagOf(p.recv()))
			p.echo()
		})
		var got []routeros.Row
		reply, err := r.Each(t.Context(), routeros.Command{Path: "/x/print"}, collect(&got))
		if err != nil {
			t.Fatal(err)
		}
		want := []routeros.Row{{{Name: ".id", Value: "*1"}, {Name: "comment", Value: "a=b"}, {Name: "log-prefix"}}, {}, {{Name: ".id", Value: "*2"}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(&routeros.Reply{Done: routeros.Row{{Name: "ret", Value: "2"}}}, reply); diff != "" {
			t.Errorf("reply (-want +got):\n%s", diff)
		}
		if _, err := r.Each(t.Context(), routeros.Command{Path: "/empty/print"}, never(t)); err != nil {
			t.Error(err)
		}
		if _, err := r.Each(t.Context(), routeros.Command{Path: "no slash"}, never(t)); err == nil {
			t.Error("a bad command was sent")
		}
		r.get(t, "/after")
	})
}

// TestEachHasNoLimit reads more rows, and more bytes, than a reply may have that
// is kept whole. What comes one by one counts for nothing.
func TestEachHasNoLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rows = 1000
		cfg := routeros.Config{MaxRows: 10, MaxReplyBytes: 200}
		r := newRig(t, cfg, func(p *peer) {
			p.login()
			tag := tagOf(p.recv())
			for i := range rows {
				p.send("!re", tag, "=n="+strconv.Itoa(i))
			}
			p.send("!done", tag)
			p.echo()
		})
		n := 0
		_, err := r.Each(t.Context(), routeros.Command{Path: "/x/print"}, func(row routeros.Row) error {
			if row.Value("n") != strconv.Itoa(n) || r.Stats().Held != 0 {
				return fmt.Errorf("row %d: got %v, with %d bytes held", n, row, r.Stats().Held)
			}
			n++
			return nil
		})
		if err != nil || n != rows {
			t.Errorf("got %d rows and error %v, want %d and none", n, err, rows)
		}
	})
}

// TestEachEnds has every way in which the rows may end before their time. The
// connection survives where the router is not at fault, and what still comes is dropped.
func TestEachEnds(t *testing.T) {
	t.Parallel()
	enough := func(row routeros.Row) error {
		if row.Value("n") == "2" {
			return errEnough
		}
		return nil
	}
	// rows sends a row a second, from 0 on, until it is told to cancel.
	rows := func(p *peer, tag string) (cancel routeros.Sentence) {
		canceled := make(chan routeros.Sentence, 1)
		go func() { canceled <- p.recv() }()
		for i := 0; ; i++ {
			p.send("!re", tag, "=n="+strconv.Itoa(i))
			select {
			case cancel = <-canceled:
				return cancel
			case <-time.After(time.Second):
			}
		}
	}
	endless := func(p *peer) {
		p.login()
		tag := tagOf(p.recv())
		cancel := rows(p, tag)
		if cancel == nil {
			return
		}
		if want := (routeros.Sentence{"/cancel", "=tag=" + strings.TrimPrefix(tag, ".tag=")}); !slices.Equal(untagged(cancel), want) {
			p.t.Errorf("got %q, want %q", cancel, want)
		}
		p.send("!re", tag, "=n=late")
		p.send("!trap", tag, "=category=2", "=message=interrupted")
		p.send("!done", tagOf(cancel))
		p.send("!done", tag)
		p.echo()
	}
	tests := map[string]struct {
		cfg     routeros.Config
		f       func(routeros.Row) error
		timeout time.Duration // of the context
		play    script
		want    error
		took    time.Duration
		stays   bool // the connection does
	}{
		"by the function":     {f: enough, play: endless, want: errEnough, took: 2 * time.Second, stays: true},
		"by the context":      {f: discard, timeout: 3500 * time.Millisecond, play: endless, want: context.DeadlineExceeded, took: 3500 * time.Millisecond, stays: true},
		"by the time for all": {cfg: routeros.Config{EachTimeout: 15 * time.Second}, f: discard, play: endless, want: routeros.ErrTimeout, took: 15 * time.Second, stays: true},
		"by silence": {cfg: routeros.Config{CommandTimeout: 4 * time.Second}, f: discard, play: func(p *peer) {
			p.login()
			tag := tagOf(p.recv())
			for range 3 {
				time.Sleep(3 * time.Second)
				p.send("!re", tag)
			}
			p.hang()
		}, want: routeros.ErrTimeout, took: 13 * time.Second},
		"by a trap": {f: discard, play: func(p *peer) {
			p.login()
			tag := tagOf(p.recv())
			p.send("!re", tag)
			p.send("!trap", tag, "=message=interrupted")
			p.send("!done", tag)
			p.echo()
		}, want: &routeros.TrapError{Path: "/x/print", Traps: []routeros.Trap{{Message: "interrupted", Category: routeros.NoCategory}}}, stays: true},
		"by a lost connection": {f: discard, play: func(p *peer) {
			p.login()
			p.send("!re", tagOf(p.recv()))
		}, want: &routeros.TransportError{Op: "/x/print", Sent: true, Err: errors.New("reading: EOF")}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.cfg, tt.play, func(p *peer) { p.login(); p.echo() })
				ctx := t.Context()
				if tt.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.timeout)
					defer cancel()
				}
				ended := false
				start := time.Now()
				_, err := r.Each(ctx, routeros.Command{Path: "/x/print"}, func(row routeros.Row) error {
					if ended {
						t.Errorf("the row %v came after the end", row)
					}
					return tt.f(row)
				})
				ended = true
				if !errors.Is(err, tt.want) && (err == nil || err.Error() != tt.want.Error()) {
					t.Errorf("got error %v, want %v", err, tt.want)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				time.Sleep(5 * time.Second)
				r.get(t, "/next")
				if got := len(r.dialed()) == 1; got != tt.stays {
					t.Errorf("the connection stayed: %v, want %v", got, tt.stays)
				}
			})
		})
	}
}

// discard is a function for Each that takes everything.
func discard(routeros.Row) error { return nil }

// TestEachWaitsForItsFunction ends the context, and the whole client, while the
// function runs: Each must not return before it has.
func TestEachWaitsForItsFunction(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"context", "client"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routeros.Config{}, func(p *peer) {
					p.login()
					tag := tagOf(p.recv())
					p.send("!re", tag)
					p.hang()
				})
				ctx, cancel := context.WithCancel(t.Context())
				entered, running := make(chan struct{}), false
				go func() {
					<-entered
					if how == "context" {
						cancel()
					} else {
						r.stop()
					}
				}()
				_, err := r.Each(ctx, routeros.Command{Path: "/x/print"}, func(routeros.Row) error {
					running = true
					close(entered)
					time.Sleep(time.Second)
					running = false
					return nil
				})
				cancel()
				if err == nil || running {
					t.Errorf("got error %v, while the function runs: %v", err, running)
				}
			})
		})
	}
}

// TestLongRowsAreSkipped has rows, and an end, with words that are too long. All that
// is well arrives, and the connection goes on.
func TestLongRowsAreSkipped(t *testing.T) {
	t.Parallel()
	long := "=script=" + strings.Repeat("x", 2000)
	answers := func(p *peer) {
		tag := tagOf(p.recv())
		p.send("!re", tag, "=n=1")
		p.send("!re", tag, long)
		p.send("!re", long, "=n=3", tag)
		p.send("!re", tag, "=n=4")
		p.send("!done", tag, "=ret=5", long)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{Limits: routeros.Limits{WordBytes: 1000}}, func(p *peer) {
			p.login()
			answers(p)
			answers(p)
			p.send("!re", long) // nobody knows whose that is
		})
		rows := []routeros.Row{{{Name: "n", Value: "1"}}, {{Name: "n", Value: "4"}}}
		reply, err := r.Do(t.Context(), routeros.Command{Path: "/x/print"})
		want := &routeros.Reply{Rows: rows, Skipped: 2, Done: routeros.Row{{Name: "ret", Value: "5"}}}
		if diff := cmp.Diff(want, reply); err != nil || diff != "" {
			t.Errorf("error %v, reply (-want +got):\n%s", err, diff)
		}
		var got []routeros.Row
		reply, err = r.Each(t.Context(), routeros.Command{Path: "/x/print"}, collect(&got))
		want.Rows = nil
		if diff := cmp.Diff(want, reply); err != nil || diff != "" {
			t.Errorf("error %v, reply (-want +got):\n%s", err, diff)
		}
		if diff := cmp.Diff(rows, got); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		synctest.Wait()
		if s := r.Stats(); s.Skipped != 4 || s.Connected {
			t.Errorf("got %+v, want 4 rows skipped, and no connection any more", s)
		}
	})
}

func TestRowClone(t *testing.T) {
	t.Parallel()
	row := routeros.Row{{Name: "a", Value: "1"}}
	clone := row.Clone()
	row[0].Value = "2"
	if diff := cmp.Diff(routeros.Row{{Name: "a", Value: "1"}}, clone); diff != "" {
		t.Errorf("clone (-want +got):\n%s", diff)
	}
	if routeros.Row(nil).Clone() != nil {
		t.Error("the clone of nothing is something")
	}
}
