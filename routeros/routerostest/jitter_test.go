package routerostest_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// TestJitter sends commands in one instant, in another order each time: the router
// gets them in the order that its seed decides.
func TestJitter(t *testing.T) {
	t.Parallel()
	first := arrivals(t, 1)
	for range 5 {
		if diff := cmp.Diff(first, arrivals(t, 1)); diff != "" {
			t.Errorf("order of commands (-first +again):\n%s", diff)
		}
	}
	if cmp.Equal(first, arrivals(t, 2)) {
		t.Errorf("another seed has the same order %v", first)
	}
}

// arrivals sends ten commands at once and returns the order in which they came.
func arrivals(t *testing.T, seed uint64) (order []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		router, err := routerostest.New(routerostest.Config{Seed: seed, Jitter: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		client, err := routeros.New(routeros.Config{
			Dial: router.Dial, User: routerostest.LeastUser, Password: routeros.NewSecret(routerostest.LeastPassword),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := client.Run(ctx); err != nil {
				t.Errorf("running the client: %v", err)
			}
		})
		defer running.Wait()
		defer cancel()
		ask := func(name string) {
			if _, err := client.Do(ctx, routeros.Command{Path: "/interface/print", Queries: []string{routeros.Equal("name", name)}}); err != nil {
				t.Errorf("asking for %s: %v", name, err)
			}
		}
		ask("login first")
		mark := router.Mark()
		var asking sync.WaitGroup
		for _, i := range rand.Perm(10) {
			asking.Go(func() { ask(string(rune('a' + i))) })
		}
		asking.Wait()
		for _, e := range router.Since(mark) {
			order = append(order, e.Args[len(e.Args)-1])
		}
		if err := router.Close(); err != nil {
			t.Errorf("closing the router: %v", err)
		}
	})
	return order
}
