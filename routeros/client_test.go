package routeros_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
)

func TestDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []routeros.Sentence
		r := newRig(t, routeros.Config{}, func(p *peer) {
			p.login()
			cmd := p.recv()
			got = append(got, untagged(cmd))
			tag := tagOf(cmd)
			p.send()
			p.send("!re", "=.id=*1", tag, "=comment=a=b", "=log-prefix=", "=flag")
			p.send("!re", tag)
			p.send("!re", "=.id=*2", tag)
			p.send("!done", "=ret=2", tag)
			cmd = p.recv()
			got = append(got, untagged(cmd))
			p.send("!empty", tagOf(cmd))
			p.send("!someday", tagOf(cmd), "=x=y")
			p.send("!done", tagOf(cmd))
			p.hang()
		})
		reply, err := r.Do(t.Context(), routeros.Command{
			Path:       "/ip/firewall/nat/print",
			Args:       []routeros.Attr{{Name: "count-only", Value: ""}, {Name: "from", Value: "a=b"}},
			Properties: []string{".id", "comment"},
			Queries:    []string{routeros.Equal("comment", "x y"), "?-dynamic", "?#&"},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := &routeros.Reply{
			Rows: []routeros.Row{
				{{Name: ".id", Value: "*1"}, {Name: "comment", Value: "a=b"}, {Name: "log-prefix"}, {Name: "flag"}},
				nil,
				{{Name: ".id", Value: "*2"}},
			},
			Done: routeros.Row{{Name: "ret", Value: "2"}},
		}
		if diff := cmp.Diff(want, reply); diff != "" {
			t.Errorf("reply (-want +got):\n%s", diff)
		}
		reply, err = r.Do(t.Context(), routeros.Command{Path: "/ip/route/print"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&routeros.Reply{}, reply); diff != "" {
			t.Errorf("empty reply (-want +got):\n%s", diff)
		}
		r.stop()
		wantWire := []routeros.Sentence{
			{
				"/ip/firewall/nat/print", "=count-only=", "=from=a=b", "=.proplist=.id,comment",
				"?comment=x y", "?-dynamic", "?#&",
			},
			{"/ip/route/print"},
		}
		if diff := cmp.Diff(wantWire, got); diff != "" {
			t.Errorf("commands (-want +got):\n%s", diff)
		}
		wantStats := routeros.Stats{Connects: 1, Commands: 2}
		if diff := cmp.Diff(wantStats, r.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	})
}

// TestManyInFlight sends 20 commands at once; the router answers each batch in
// reverse order, the sentences of all replies mixed.
func TestManyInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		r := newRig(t, routeros.Config{MaxInFlight: 8}, func(p *peer) {
			p.login()
			cmds := make(chan routeros.Sentence)
			go func() {
				defer close(cmds)
				for cmd := p.recv(); cmd != nil; cmd = p.recv() {
					cmds <- cmd
				}
			}()
			var batch []routeros.Sentence
			for {
				select {
				case cmd, ok := <-cmds:
					if !ok {
						return
					}
					batch = append(batch, cmd)
					continue
				case <-time.After(time.Second): // no more commands come
				}
				if len(batch) == 0 {
					continue
				}
				batches = append(batches, len(batch))
				slices.Reverse(batch)
				for range 3 {
					for _, cmd := range batch {
						p.send("!re", "=command="+cmd[0], tagOf(cmd))
					}
				}
				for _, cmd := range batch {
					p.send("!done", tagOf(cmd))
				}
				batch = nil
			}
		})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				path := "/command/" + strconv.Itoa(i)
				reply, err := r.Do(t.Context(), routeros.Command{Path: path})
				if err != nil {
					t.Errorf("%s: %v", path, err)
					return
				}
				row := routeros.Row{{Name: "command", Value: path}}
				if diff := cmp.Diff([]routeros.Row{row, row, row}, reply.Rows); diff != "" {
					t.Errorf("%s (-want +got):\n%s", path, diff)
				}
			})
		}
		wg.Wait()
		r.stop()
		if diff := cmp.Diff([]int{8, 8, 4}, batches); diff != "" {
			t.Errorf("commands in flight (-want +got):\n%s", diff)
		}
	})
}

func TestSlotWaitEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{MaxInFlight: 1}, func(p *peer) { p.login(); p.hang() })
		go func() { _, _ = r.Do(t.Context(), routeros.Command{Path: "/first"}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.Do(ctx, routeros.Command{Path: "/second"})
		if transport(t, err).Sent || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an unsent command and the context's error", err)
		}
	})
}

func TestTrapsKeepTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{}, func(p *peer) {
			p.login()
			tag := tagOf(p.recv())
			p.send("!trap", "=category=0", tag, "=message=no such command or directory (check)")
			p.send("!trap", "=message=no such command prefix", tag)
			p.send("!done", tag)
			tag = tagOf(p.recv())
			p.send("!trap", tag)
			for range 1000 {
				p.send("!trap", tag, "=message=again", "=category=x")
			}
			p.send("!done", tag)
			p.echo()
		})
		_, err := r.Do(t.Context(), routeros.Command{Path: "/ip/route/check"})
		trap, ok := errors.AsType[*routeros.TrapError](err)
		if !ok {
			t.Fatalf("got error %v, want a TrapError", err)
		}
		want := &routeros.TrapError{Path: "/ip/route/check", Traps: []routeros.Trap{
			{Message: "no such command or directory (check)", Category: routeros.CategoryMissing},
			{Message: "no such command prefix", Category: routeros.NoCategory},
		}}
		if diff := cmp.Diff(want, trap); diff != "" {
			t.Errorf("trap (-want +got):\n%s", diff)
		}
		if want := "/ip/route/check: no such command or directory (check); no such command prefix"; err.Error() != want {
			t.Errorf("got text %q, want %q", err, want)
		}
		_, err = r.Do(t.Context(), routeros.Command{Path: "/trap/storm"})
		if trap, ok := errors.AsType[*routeros.TrapError](err); !ok || len(trap.Traps) != 16 {
			t.Errorf("got %v, want the first 16 of 1001 traps", err)
		}
		r.get(t, "/still/connected")
		if got := r.dialed(); len(got) != 1 {
			t.Errorf("dialed %d times, want once", len(got))
		}
	})
}

// TestConnectionFailures has what ends a connection: each fails the command in
// flight as "outcome unknown", and the next command gets a new connection.
func TestConnectionFailures(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fail script
		want string
	}{
		"closed":             {fail: func(*peer) {}, want: "/x: reading: EOF (outcome unknown)"},
		"fatal":              {fail: func(p *peer) { p.send("!fatal", "not logged in") }, want: "/x: router ended the connection: not logged in (outcome unknown)"},
		"fatal with message": {fail: func(p *peer) { p.send("!fatal", ".tag=1", "=message=m") }, want: "/x: router ended the connection: m (outcome unknown)"},
		"fatal alone":        {fail: func(p *peer) { p.send("!fatal") }, want: "/x: router ended the connection: no reason given (outcome unknown)"},
		"no tag":             {fail: func(p *peer) { p.send("!done") }, want: `/x: routeros protocol: reply "!done" without a tag of ours (outcome unknown)`},
		"strange tag":        {fail: func(p *peer) { p.send("!re", ".tag=me") }, want: `/x: routeros protocol: reply "!re" without a tag of ours (outcome unknown)`},
		"no reply word":      {fail: func(p *peer) { p.send("/login", ".tag=1") }, want: `/x: routeros protocol: "/login" is no reply (outcome unknown)`},
		"endless word": {
			fail: func(p *peer) { p.send("!re", ".tag=1"); _, _ = p.conn.Write([]byte("\x03!re\xF0\xFF\xFF\xFF\xFF")) },
			want: "/x: reading: routeros protocol: sentence of more than 16777216 bytes (outcome unknown)",
		},
		"garbage length":  {fail: func(p *peer) { _, _ = p.conn.Write([]byte{0xFF}) }, want: "/x: reading: routeros protocol: reserved length byte 0xff (outcome unknown)"},
		"half a sentence": {fail: func(p *peer) { _, _ = p.conn.Write([]byte("\x05!do")) }, want: "/x: reading: unexpected EOF (outcome unknown)"},
		"silence":         {fail: func(p *peer) { p.hang() }, want: "/x: no answer from the router in time (outcome unknown)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routeros.Config{},
					func(p *peer) { p.login(); p.recv(); tt.fail(p) },
					func(p *peer) { p.login(); p.echo() },
				)
				_, err := r.Do(t.Context(), routeros.Command{Path: "/x"})
				if name == "silence" && errors.Is(err, routeros.ErrTimeout) {
					tt.want = err.Error() // the command's time and the connection's end in the same moment
				}
				if err == nil || err.Error() != tt.want {
					t.Errorf("got error %v, want %v", err, tt.want)
				}
				if !transport(t, err).Sent || !routeros.Ambiguous(err) {
					t.Errorf("%v: want a command that may have been executed", err)
				}
				r.get(t, "/next")
				if got := len(r.dialed()); got != 2 {
					t.Errorf("dialed %d times, want 2", got)
				}
			})
		})
	}
}

// TestLateReply lets a command time out while the router answers others: the
// connection stays, and the late reply reaches nobody.
func TestLateReply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{CommandTimeout: 10 * time.Second}, func(p *peer) {
			p.login()
			slow := tagOf(p.recv())
			for range 5 {
				cmd := p.recv()
				p.send("!re", tagOf(cmd), "=command="+cmd[0])
				p.send("!done", tagOf(cmd))
			}
			p.send("!re", slow, "=late=1")
			p.send("!trap", slow, "=message=late")
			p.send("!done", slow)
			p.echo()
		})
		done := make(chan error, 1)
		go func() {
			_, err := r.Do(t.Context(), routeros.Command{Path: "/slow"})
			done <- err
		}()
		synctest.Wait()
		start := time.Now()
		for range 5 {
			time.Sleep(3 * time.Second)
			r.get(t, "/quick")
		}
		err := <-done
		if !errors.Is(err, routeros.ErrTimeout) || !routeros.Ambiguous(err) {
			t.Errorf("got error %v, want %v and outcome unknown", err, routeros.ErrTimeout)
		}
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("took %v, want 15s", took)
		}
		r.get(t, "/after")
		want := routeros.Stats{Connected: true, Connects: 1, Commands: 7, Abandoned: 1, Late: 3}
		if diff := cmp.Diff(want, r.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
		time.Sleep(time.Hour)
		if !r.Stats().Connected {
			t.Error("a connection on which nothing is owed was dropped")
		}
	})
}

// TestOwedForEver has a router that never answers one command, of which the
// caller knows no more, and is silent: the connection is given up.
func TestOwedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{CommandTimeout: 10 * time.Second}, func(p *peer) { p.login(); p.hang() })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := r.Do(ctx, routeros.Command{Path: "/x", Timeout: 20 * time.Second})
		if !errors.Is(err, context.DeadlineExceeded) || !routeros.Ambiguous(err) {
			t.Errorf("got error %v, want the context's, and outcome unknown", err)
		}
		time.Sleep(19 * time.Second)
		if !r.Stats().Connected {
			t.Error("the connection was given up before the command's timeout")
		}
		time.Sleep(2 * time.Second)
		if r.Stats().Connected {
			t.Error("the connection to a silent router was kept")
		}
	})
}

// TestPatience gives up on a silent router neither before the time of the last
// command that was sent, nor later because of an earlier one with more time.
func TestPatience(t *testing.T) {
	t.Parallel()
	for _, last := range []bool{true, false} {
		t.Run(fmt.Sprintf("with a last command %v", last), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routeros.Config{CommandTimeout: 10 * time.Second}, func(p *peer) {
					p.login()
					p.send("!done", tagOf(p.recv()))
					p.hang()
				})
				if _, err := r.Do(t.Context(), routeros.Command{Path: "/patient", Timeout: time.Hour}); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if _, err := r.Do(ctx, routeros.Command{Path: "/left"}); !routeros.Ambiguous(err) {
					t.Errorf("got error %v, want outcome unknown", err)
				}
				if last {
					time.Sleep(900 * time.Millisecond)
					start := time.Now()
					_, err := r.Do(t.Context(), routeros.Command{Path: "/last"})
					if took := time.Since(start); !errors.Is(err, routeros.ErrTimeout) || took != 10*time.Second {
						t.Errorf("got error %v after %v, want %v after 10s", err, took, routeros.ErrTimeout)
					}
				} else {
					time.Sleep(10 * time.Second)
				}
				synctest.Wait()
				if r.Stats().Connected {
					t.Error("the connection to a silent router was kept")
				}
			})
		})
	}
}

// TestLateRepliesEndTheDebt abandons more commands than may be owed at a time,
// but the router answers each of them in the end.
func TestLateRepliesEndTheDebt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{MaxInFlight: 2}, func(p *peer) {
			p.login()
			for cmd := p.recv(); cmd != nil; cmd = p.recv() {
				time.Sleep(time.Second)
				p.send("!re", tagOf(cmd), "=a=b")
				p.send("!done", tagOf(cmd))
			}
		})
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			if _, err := r.Do(ctx, routeros.Command{Path: "/x"}); !routeros.Ambiguous(err) {
				t.Errorf("got error %v, want outcome unknown", err)
			}
			cancel()
			time.Sleep(time.Second)
		}
		want := routeros.Stats{Connected: true, Connects: 1, Commands: 10, Abandoned: 10, Late: 20}
		if diff := cmp.Diff(want, r.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	})
}

// TestReplyBeforeCommand has a router that answers a command before it got it.
func TestReplyBeforeCommand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{}, func(p *peer) {
			p.login()
			time.Sleep(time.Second) // both commands wait, the first one in the write
			p.send("!done", ".tag=2")
			p.echo()
		})
		go func() { _, _ = r.Do(t.Context(), routeros.Command{Path: "/first"}) }()
		synctest.Wait()
		r.get(t, "/second")
		if got := r.Stats().Late; got != 1 {
			t.Errorf("%d sentences dropped, want 1", got)
		}
	})
}

func TestTooManyAbandoned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{MaxInFlight: 4, CommandTimeout: time.Hour}, func(p *peer) { p.login(); p.hang() })
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := r.Do(ctx, routeros.Command{Path: "/x"})
			cancel()
			if !routeros.Ambiguous(err) {
				t.Errorf("got error %v, want outcome unknown", err)
			}
		}
		synctest.Wait()
		if r.Stats().Connected {
			t.Error("five unanswered commands are kept, want four at most")
		}
	})
}

func TestEndless(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var canceled routeros.Sentence
		r := newRig(t, routeros.Config{CommandTimeout: time.Second}, func(p *peer) {
			p.login()
			tag := tagOf(p.recv())
			var wg sync.WaitGroup
			stop := make(chan struct{})
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Minute):
						p.send("!re", tag, "=status=ok")
					}
				}
			})
			cancel := p.recv()
			close(stop)
			wg.Wait()
			canceled = untagged(cancel)
			if canceled[1] != "=tag="+tag[len(".tag="):] {
				t.Errorf("got %q for %q", canceled, tag)
			}
			p.send("!trap", tag, "=category=2", "=message=interrupted")
			p.send("!done", tagOf(cancel))
			p.send("!done", tag)
			p.echo()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := r.Do(ctx, routeros.Command{Path: "/ip/route/check", Endless: true})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		r.get(t, "/after")
		if len(canceled) == 0 || canceled[0] != "/cancel" {
			t.Errorf("the router got %q, want /cancel", canceled)
		}
		if got := len(r.dialed()); got != 1 {
			t.Errorf("dialed %d times, want once", got)
		}
	})
}

// TestStalledWrite has a router that reads nothing any more.
func TestStalledWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{CommandTimeout: 10 * time.Second},
			func(p *peer) { p.login(); time.Sleep(time.Minute) },
			func(p *peer) { p.login(); p.echo() },
		)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := r.Do(ctx, routeros.Command{Path: "/x"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got error %v after %v, want the context's after 1s", err, time.Since(start))
		}
		r.get(t, "/next") // queued behind the stalled write, never sent, given to the next connection
		if took := time.Since(start); took < 10*time.Second || took > 10*time.Second+routeros.DefaultBackoffMin {
			t.Errorf("took %v, want 10s and the pause before connecting again", took)
		}
	})
}

func TestAbandonedBeforeSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		r := newRig(t, routeros.Config{CommandTimeout: time.Minute}, func(p *peer) {
			p.login()
			time.Sleep(10 * time.Second) // the first command is stuck in the write
			for cmd := p.recv(); cmd != nil; cmd = p.recv() {
				got = append(got, cmd[0])
				p.send("!done", tagOf(cmd))
			}
		})
		go func() { _, _ = r.Do(t.Context(), routeros.Command{Path: "/first"}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.Do(ctx, routeros.Command{Path: "/second"})
		if transport(t, err).Sent || routeros.Ambiguous(err) {
			t.Errorf("%v: the command was not sent and counts as sent", err)
		}
		time.Sleep(time.Minute)
		r.stop()
		if diff := cmp.Diff([]string{"/first"}, got); diff != "" {
			t.Errorf("commands (-want +got):\n%s", diff)
		}
	})
}

func TestClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{}, func(p *peer) { p.login(); p.hang() })
		inFlight := make(chan error, 1)
		go func() {
			_, err := r.Do(t.Context(), routeros.Command{Path: "/x"})
			inFlight <- err
		}()
		synctest.Wait()
		r.stop()
		if err := <-inFlight; !errors.Is(err, routeros.ErrClosed) || !routeros.Ambiguous(err) {
			t.Errorf("in flight: got error %v, want %v and outcome unknown", err, routeros.ErrClosed)
		}
		if _, err := r.Do(t.Context(), routeros.Command{Path: "/x"}); !errors.Is(err, routeros.ErrClosed) || routeros.Ambiguous(err) {
			t.Errorf("afterwards: got error %v, want %v and a known outcome", err, routeros.ErrClosed)
		}
		if err := r.Run(t.Context()); err == nil {
			t.Error("a client could be run twice")
		}
		want := []routeros.State{{Connected: true}, {Err: routeros.ErrClosed}}
		if diff := cmp.Diff(want, r.states, cmp.Comparer(errors.Is)); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
	})
}
