package daemon_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

const (
	// forgedPerSecond is enough to keep a send buffer of the usual 208 KiB full for good:
	// the reply to a host that does not exist stays in it for the three seconds in which
	// the kernel asks for its hardware address. manyPerSecond is enough for one of 2 MiB.
	forgedPerSecond = 150
	manyPerSecond   = 1500
	floodPerSecond  = 2500
	forgedFor       = 30 * time.Second
	// forgedSources is how many hosts do not exist.
	forgedSources = 300
	// floodBacklog is how many packets of the flood the server may have left unread: it comes
	// as fast as this machine can read, and no faster. What the kernel drops from a full
	// receive buffer nobody can answer.
	floodBacklog = 64
	// stopWithin is what docker grants a stop. Three hundred mappings go in it, on whatever
	// machine this runs.
	stopWithin = 10 * time.Second
	// holderPause is the time between two renewals of the honest client.
	holderPause = 100 * time.Millisecond
)

// TestForgedNeighbours: 150 packets a second in the names of hosts of our own subnet
// that do not exist, of such without a mapping and of such that got one, while an honest
// client renews. All of its renewals are answered, and a stop does not take long.
func TestForgedNeighbours(t *testing.T) {
	t.Parallel()
	address := natpmp.Request{}.Append(nil)
	mapping := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881, Lifetime: 3600}.Append(nil)
	for name, tt := range map[string]struct {
		packet []byte
		rate   int
		lasts  time.Duration
		drops  bool
	}{
		"address requests":          {packet: address, rate: forgedPerSecond, lasts: forgedFor},
		"requests of PCP":           {packet: []byte{2, 0}, rate: forgedPerSecond, lasts: 8 * time.Second},
		"mappings, again and again": {packet: mapping, rate: forgedPerSecond, lasts: 15 * time.Second},
		"renewals of forged hosts":  {packet: mapping, rate: floodPerSecond, lasts: 15 * time.Second, drops: true},
		"ten times as many":         {packet: address, rate: manyPerSecond, lasts: 8 * time.Second, drops: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			b := benchOnWire(t, w)
			client, renew := holderOnWire(t, w)
			renew()
			if testing.Short() {
				tt.lasts = min(tt.lasts, 2*time.Second)
			}
			flooding, stop := context.WithTimeout(t.Context(), tt.lasts)
			defer stop()
			flooded := make(chan error, 1)
			go func() {
				flooded <- w.flood(flooding, tt.packet, tt.rate, func() uint64 {
					server, _ := b.Daemon().PacketStats()
					return server.Received
				})
			}()
			renewals := 0
			for ; flooding.Err() == nil; renewals++ {
				renew()
				time.Sleep(holderPause)
			}
			if err := <-flooded; err != nil {
				t.Error(err)
			}
			server, _ := b.Daemon().PacketStats()
			s := client.Stats()
			began := time.Now()
			if err := b.Stop(); err != nil {
				t.Errorf("stopping: %v", err)
			}
			took := time.Since(began)
			t.Logf("%d renewals, %d packets repeated; %d packets read, %d replies sent, %d dropped; stopped in %v",
				renewals, s.Retransmitted, server.Received, server.Replies, server.Crowded, took)
			few := server.Received < uint64(tt.rate)*uint64(tt.lasts/time.Second)/2
			if !tt.drops && few || tt.drops && server.Crowded == 0 {
				t.Errorf("that was no flood: %+v", server)
			}
			if s.Timeouts > 0 || s.Retransmitted > uint64(renewals/10) || took > stopWithin {
				t.Errorf("%+v after %d renewals; stopped in %v", s, renewals, took)
			}
		})
	}
}

// benchOnWire starts a daemon that answers on the wire.
func benchOnWire(t *testing.T, w *wire) *lab.Bench {
	t.Helper()
	b, err := lab.NewBench(lab.BenchConfig{
		Profile: natpmptest.RFC(), Environ: map[string]string{"LEASE_POLICY": "hold"},
		Options: func(o *daemon.Options) {
			o.Network.Listen = func(context.Context, netip.AddrPort) (net.PacketConn, error) { return w.server, nil }
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	if err := b.Start(nil); err != nil {
		t.Fatal(err)
	}
	return b
}

// holderOnWire returns an honest client and what maps and renews its port.
func holderOnWire(t *testing.T, w *wire) (*natpmp.Client, func()) {
	t.Helper()
	client := clientBy(t, w.dial)
	req := natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: 6881, Lifetime: 3600}
	return client, func() {
		m, err := client.Map(t.Context(), req)
		if err != nil {
			t.Errorf("the honest client: %v", err)
			return
		}
		req.SuggestedExternalPort = m.ExternalPort
	}
}

// flood sends the packet in the name of one host after the other until ctx ends; read
// returns how many packets the server has read.
func (w *wire) flood(ctx context.Context, packet []byte, rate int, read func() uint64) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for sent := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		most := int(read()) + floodBacklog
		for due := min(most, int(time.Since(began).Seconds()*float64(rate))); sent < due; sent++ {
			host := sent % forgedSources
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 99, byte(1 + host>>8), byte(host)}), 40000)
			if err := w.forge(from, packet); err != nil {
				return err
			}
		}
	}
}
