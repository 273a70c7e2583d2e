package daemon

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lock"
	"doublenat/internal/lock/locktest"
	"doublenat/natpmp"
	"doublenat/pcp"
)

// mute is a handler that answers everything.
type mute struct{ pcp.Handler }

func (mute) ServePCP(context.Context, pcp.Arrival, pcp.Request) pcp.Reply {
	return pcp.Failure(pcp.ResultNotAuthorized, 0)
}

// A process that was stopped for longer than its lease is not the active one when it runs again, even
// before the goroutine runs that ends its term: it answers nobody, and tells nobody that it is gone.
func TestNobodySpeaksAfterATerm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var server locktest.Server
		keeper, err := lock.New(lock.Config{Store: server.Store("a"), Lease: 15 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		d := &Daemon{term: &term{keeper: keeper}}
		if err := keeper.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.term.state.Store(uint32(roleActive))
		sent := 0
		send := (&upnpServer{daemon: d}).whileActive(func([]byte) error { sent++; return nil })
		if err := send(nil); d.role() != roleActive || err != nil || sent != 1 {
			t.Errorf("in a term: role %d, %d packets, %v", d.role(), sent, err)
		}
		time.Sleep(15 * time.Second)
		if err := send(nil); d.role() != roleEnded || err != nil || sent != 1 {
			t.Errorf("after the term: role %d, %d packets, %v", d.role(), sent, err)
		}
		denial := natpmp.HandlerFunc(func(context.Context, natpmp.Arrival, natpmp.Request) natpmp.Reply {
			return natpmp.Failure(natpmp.ResultNotAuthorized)
		})
		if reply := d.timed(denial).ServeNATPMP(t.Context(), natpmp.Arrival{}, natpmp.Request{}); reply != natpmp.Silence() {
			t.Errorf("a client is told %+v", reply)
		}
		if reply := (timedPCP{mute{}, d}).ServePCP(t.Context(), pcp.Arrival{}, pcp.Request{}); reply != pcp.Silence() {
			t.Errorf("a client of PCP is told %+v", reply)
		}
	})
}
