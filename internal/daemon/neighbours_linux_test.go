package daemon_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
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
	// holderPatience is after which time a renewal counts as lost: a slow machine loses none.
	holderPatience = 5 * time.Second
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
			h := holderOnWire(t, w)
			h.renew()
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
			for flooding.Err() == nil {
				h.renew()
				time.Sleep(holderPause)
			}
			if err := <-flooded; err != nil {
				t.Error(err)
			}
			server, _ := b.Daemon().PacketStats()
			began := time.Now()
			if err := b.Stop(); err != nil {
				t.Errorf("stopping: %v", err)
			}
			took := time.Since(began)
			t.Logf("%d renewals, %d of them lost; %d packets read, %d replies sent, %d dropped; stopped in %v",
				h.renewals, h.lost, server.Received, server.Replies, server.Crowded, took)
			few := server.Received < uint64(tt.rate)*uint64(tt.lasts/time.Second)/2
			if !tt.drops && few || tt.drops && server.Crowded == 0 {
				t.Errorf("that was no flood: %+v", server)
			}
			if h.lost > h.renewals/10 || took > stopWithin {
				t.Errorf("%d of %d renewals were lost; stopped in %v", h.lost, h.renewals, took)
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

// holder is an honest client that holds a port. It sends each renewal once, so that it knows
// how many are lost; others repeat one after a quarter of a second.
type holder struct {
	t              *testing.T
	conn           net.Conn
	port           uint16 // its external port, 0 before it has one
	renewals, lost int
}

// holderOnWire returns a holder without a port.
func holderOnWire(t *testing.T, w *wire) *holder {
	t.Helper()
	conn, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &holder{t: t, conn: conn}
}

// renew asks for the port once, and awaits the reply.
func (h *holder) renew() {
	h.renewals++
	req := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881, SuggestedExternalPort: h.port, Lifetime: 3600}
	if _, err := h.conn.Write(req.Append(nil)); err != nil {
		h.t.Errorf("the honest client: %v", err)
		return
	}
	_ = h.conn.SetReadDeadline(time.Now().Add(holderPatience)) // if that fails, so does Read
	buf := make([]byte, 64)
	n, err := h.conn.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		h.lost++
		return
	}
	if err != nil {
		h.t.Errorf("the honest client: %v", err)
		return
	}
	resp, err := natpmp.ParseResponse(buf[:n])
	if err != nil || resp.Result != natpmp.ResultSuccess || h.port != 0 && resp.ExternalPort != h.port {
		h.t.Errorf("the honest client with port %d was answered %+v, %v", h.port, resp, err)
	}
	h.port = resp.ExternalPort
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
