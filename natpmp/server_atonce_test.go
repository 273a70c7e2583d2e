package natpmp_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

// TestServerAtOnce: what needs no work is answered although all workers are busy, and
// what does is left to the handler. A bug costs no more than an answer.
func TestServerAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		busy := make(chan struct{})
		known := true
		s, conn := serve(t, natpmp.ServerConfig{
			Handler: natpmp.HandlerFunc(func(context.Context, natpmp.Arrival, natpmp.Request) natpmp.Reply {
				<-busy
				return natpmp.Failure(natpmp.ResultNetworkFailure)
			}),
			AtOnce: func(_ natpmp.Arrival, req natpmp.Request) (natpmp.Reply, bool) {
				if req.InternalPort == 666 {
					panic("a bug")
				}
				return natpmp.Address(address5678()), known && req.Opcode == natpmp.OpExternalAddress
			},
			MaxConcurrent: 1, MaxPerClient: 1,
		})
		port1 := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 1, Lifetime: 1}.Append(nil)
		port666 := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 666, Lifetime: 1}.Append(nil)
		address := natpmp.Request{}.Append(nil)

		waits := ask(t, conn, port1)
		got := [][]string{waits, ask(t, conn, address), ask(t, conn, port666)}
		known = false
		got = append(got, ask(t, conn, address))
		want := [][]string{nil, {"00800000" + "00000000" + "05060708"}, {"00820003" + "00000000" + "029a" + "0000" + "00000000"}, nil}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		close(busy)
		synctest.Wait()
		if n := len(conn.out); n != 2 || s.Stats().Panics != 1 {
			t.Errorf("%d answers of the handler and %d panics, want 2 and 1", n, s.Stats().Panics)
		}
	})
}
