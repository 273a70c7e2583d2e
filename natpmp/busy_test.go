package natpmp_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
)

// TestServerBusy: a reader that is held up by one packet says for how long.
func TestServerBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		server, err := natpmp.NewServer(natpmp.ServerConfig{
			Handler: natpmp.HandlerFunc(func(context.Context, natpmp.Arrival, natpmp.Request) natpmp.Reply { return natpmp.Reply{} }), Epoch: natpmp.NewEpoch(),
			Admit: func(natpmp.Arrival) bool {
				<-release
				return false
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		conn := newMemPacketConn()
		ctx, cancel := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(ctx, conn) })
		synctest.Wait()
		time.Sleep(time.Hour)
		if got := server.Busy(); got != 0 {
			t.Errorf("without a packet: busy for %v", got)
		}
		conn.in <- datagram{[]byte{0, 0}, netip.MustParseAddrPort("192.168.88.10:1")}
		synctest.Wait()
		time.Sleep(time.Minute)
		if got := server.Busy(); got != time.Minute {
			t.Errorf("busy for %v, want a minute", got)
		}
		close(release)
		synctest.Wait()
		if got := server.Busy(); got != 0 {
			t.Errorf("afterwards: busy for %v", got)
		}
		cancel()
		serving.Wait()
	})
}
