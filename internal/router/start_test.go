package router_test

import (
	"testing"
	"testing/synctest"
	"time"

	"doublenat/routeros/routerostest"
)

// TestStartAsksAtOnce: what a connection needs to know is asked for side by side, so that
// the start takes four turns of the router and not one for each of its commands: the
// login, all tables, the group of the user that one of them named, and the rules.
func TestStartAsksAtOnce(t *testing.T) {
	t.Parallel()
	const turn = 10 * time.Millisecond
	for _, version := range []string{"6.49", "7.10", "7.24"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				r := newRig(t, routerostest.Config{Version: version, Latency: turn}).settled(t)
				if took := time.Since(start); took != 4*turn {
					t.Errorf("the rules are known after %v, want %v; commands: %d", took, 4*turn, r.box.Stats().Commands)
				}
			})
		})
	}
}

// TestLookAgainAsksAtOnce: so is what is read again with the table, in one turn besides
// the table's own and the two of the user's rights.
func TestLookAgainAsksAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const turn = 10 * time.Millisecond
		r := newRig(t, routerostest.Config{Latency: turn}).settled(t)
		time.Sleep(time.Minute)
		start := time.Now()
		if _, err := r.Rules(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 4*turn {
			t.Errorf("another look took %v, want %v", took, 4*turn)
		}
	})
}
