package router_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// The observer hears how long commands take, refused ones too, but nothing of those
// that are not answered or that waited for the connection.
func TestObserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		took := make(chan time.Duration, 100)
		r := newRig(t, routerostest.Config{Latency: 10 * time.Millisecond}, func(c *router.Config) {
			c.Observe = func(d time.Duration) { took <- d }
		}).settled(t)
		for len(took) > 0 {
			if d := <-took; d != 10*time.Millisecond {
				t.Errorf("a command of the survey took %v", d)
			}
		}
		made := r.add(t, wanted("192.168.88.10", 6881))
		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: natPath + "/remove", Message: "failure: no"})
		if err := r.RemoveRule(t.Context(), made); err == nil {
			t.Error("the removal worked")
		}
		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultDelayReply, Command: natPath + "/remove", Delay: 200 * time.Millisecond})
		if err := r.RemoveRule(t.Context(), made); err != nil {
			t.Error(err)
		}
		var got []time.Duration
		for len(took) > 0 {
			got = append(got, <-took)
		}
		// The first add reads the table, so does the second removal.
		slowest, fast := time.Duration(0), 0
		for _, d := range got {
			slowest = max(slowest, d)
			if d == 10*time.Millisecond {
				fast++
			}
		}
		if diff := cmp.Diff(210*time.Millisecond, slowest); diff != "" || fast != len(got)-1 || fast < 2 {
			t.Errorf("heard %v", got)
		}
	})
}
