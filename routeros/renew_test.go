package routeros_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
)

// worked is a script that serves any number of commands.
func worked(p *peer) {
	p.login()
	p.echo()
}

// TestRenew logs in anew, at most once a minute.
func TestRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{}, slices.Repeat([]script{worked}, 10)...)
		if wait := r.Renew(); wait != 0 {
			t.Errorf("without a connection: wait %v", wait)
		}
		r.get(t, "/x")
		if wait := r.Renew(); wait != time.Minute {
			t.Errorf("right after the login: wait %v, want a minute", wait)
		}
		time.Sleep(59 * time.Second)
		if wait := r.Renew(); wait != time.Second {
			t.Errorf("59s after the login: wait %v, want 1s", wait)
		}
		r.get(t, "/same")
		if got := len(r.dialed()); got != 1 {
			t.Errorf("dialed %d times, want once", got)
		}
		time.Sleep(time.Second)
		start := time.Now()
		for range 3 {
			_ = r.Renew()
			r.get(t, "/next")
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v, want no time", took)
		}
		synctest.Wait()
		want := []routeros.State{{Connected: true}, {Err: routeros.ErrRenewed}, {Connected: true}}
		if diff := cmp.Diff(want, r.states, cmp.Comparer(errors.Is)); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
	})
}

// TestRenewLetsCommandsEnd has commands in flight, one of which takes some time and
// one of which has no end: the first gets its reply, and so does a command that
// comes meanwhile, over the next connection.
func TestRenewLetsCommandsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{}, func(p *peer) {
			p.login()
			slow, endless := p.recv(), p.recv()
			p.send("!re", tagOf(endless))
			time.Sleep(62 * time.Second)
			p.send("!re", "=command="+slow[0], tagOf(slow))
			p.send("!done", tagOf(slow))
			if cmd := p.recv(); cmd != nil {
				t.Errorf("the old connection got %q", cmd)
			}
		}, worked)
		slow, endless := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := r.Do(t.Context(), routeros.Command{Path: "/slow", Timeout: time.Hour})
			slow <- err
		}()
		synctest.Wait()
		go func() {
			_, err := r.Do(t.Context(), routeros.Command{Path: "/endless", Endless: true})
			endless <- err
		}()
		time.Sleep(time.Minute)
		_ = r.Renew()
		r.get(t, "/meanwhile")
		if err := <-slow; err != nil {
			t.Errorf("the command in flight: %v", err)
		}
		if err := <-endless; !errors.Is(err, routeros.ErrRenewed) || !routeros.Ambiguous(err) {
			t.Errorf("the endless command: got %v, want %v", err, routeros.ErrRenewed)
		}
		if diff := cmp.Diff([]time.Duration{0, 62 * time.Second}, r.dialed()); diff != "" {
			t.Errorf("dialed (-want +got):\n%s", diff)
		}
	})
}

// TestRenewDoesNotWaitForEver has a command in flight without an answer.
func TestRenewDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	for _, abandoned := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, routeros.Config{CommandTimeout: 10 * time.Second}, func(p *peer) { p.login(); p.hang() }, worked)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := r.Do(ctx, routeros.Command{Path: "/slow", Timeout: time.Hour})
				done <- err
			}()
			time.Sleep(time.Minute)
			_ = r.Renew()
			want := time.Minute + 10*time.Second
			if abandoned {
				time.Sleep(time.Second)
				cancel()
				want = time.Minute + time.Second
			}
			r.get(t, "/next")
			if err := <-done; !errors.Is(err, routeros.ErrRenewed) && !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v", err)
			}
			if diff := cmp.Diff([]time.Duration{0, want}, r.dialed()); diff != "" {
				t.Errorf("dialed (-want +got):\n%s", diff)
			}
		})
	}
}
