package natpmptest_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// model is what a client knows from the replies: the lease of each external port.
type model map[portKey]natpmptest.Mapping

type portKey struct {
	protocol natpmp.Opcode
	port     uint16
}

// steadyProfiles returns the profiles whose replies can be believed and whose leases
// change by requests and time alone.
func steadyProfiles() []natpmptest.Profile {
	return []natpmptest.Profile{
		natpmptest.RFC(), natpmptest.Proton(), natpmptest.ProtonExternal(), natpmptest.Miniupnpd(),
		natpmptest.Short(10 * time.Second), natpmptest.Full(3), natpmptest.Split(),
	}
}

// Whatever is asked: no two leases share a public port, every lease is one that
// was granted, and it stands for exactly the time that was granted.
func TestLeasesAreWhatWasGranted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// A bubble has no deadline; the wrapper keeps rapid from asking for it.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			p := rapid.SampledFrom(steadyProfiles()).Draw(rt, "profile")
			n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
			g, err := natpmptest.New(natpmptest.Config{Profile: p, Seed: rapid.Uint64().Draw(rt, "seed")})
			if err != nil {
				rt.Fatal(err)
			}
			conn, err := n.Listen(gatewayAddr)
			if err != nil {
				rt.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			wg.Go(func() { _ = g.Serve(ctx, conn) })
			defer func() {
				cancel()
				wg.Wait()
				_ = n.Close()
			}()
			var clients [2]net.Conn
			for i, a := range []netip.Addr{routerAddr, otherAddr} {
				if clients[i], err = n.Dial(netip.AddrPortFrom(a, 0), gatewayAddr); err != nil {
					rt.Fatal(err)
				}
			}
			known := make(model)
			for range rapid.IntRange(1, 40).Draw(rt, "steps") {
				if rapid.IntRange(0, 3).Draw(rt, "what") == 0 {
					time.Sleep(time.Duration(rapid.IntRange(1, 40_000).Draw(rt, "pause")) * time.Millisecond)
				} else {
					client := rapid.SampledFrom(clients[:]).Draw(rt, "client")
					known.learn(rt, client, drawRequest(rt))
				}
				known.check(rt, g)
			}
		})
	})
}

// drawRequest draws a request out of few ports, so that they meet. Symmetric
// mappings, whose internal port is the gateway's choice, are tested elsewhere.
func drawRequest(rt *rapid.T) natpmp.Request {
	return natpmp.Request{
		Opcode:                rapid.SampledFrom([]natpmp.Opcode{natpmp.OpMapUDP, natpmp.OpMapTCP}).Draw(rt, "protocol"),
		InternalPort:          uint16(rapid.IntRange(1000, 1006).Draw(rt, "internal")),
		SuggestedExternalPort: rapid.SampledFrom([]uint16{0, 1000, 1001, 1002, 65535}).Draw(rt, "external"),
		Lifetime:              rapid.SampledFrom([]uint32{0, 1, 30, 60, 3600, 1<<31 - 1, 1<<32 - 1}).Draw(rt, "lifetime"),
	}
}

// learn sends a request and notes what the reply promises.
func (m model) learn(rt *rapid.T, c net.Conn, req natpmp.Request) {
	now := time.Now()
	_ = c.SetReadDeadline(now.Add(time.Second))
	_, _ = c.Write(req.Append(nil))
	buf := make([]byte, 100)
	size, err := c.Read(buf)
	if err != nil {
		rt.Fatalf("%+v: %v", req, err)
	}
	resp, err := natpmp.ParseResponse(buf[:size])
	if err != nil {
		rt.Fatalf("%+v: %v", req, err)
	}
	if resp.InternalPort != req.InternalPort || resp.Lifetime > max(req.Lifetime, 60) {
		rt.Fatalf("%+v was answered with %+v", req, resp)
	}
	client := netip.MustParseAddrPort(c.LocalAddr().String()).Addr()
	if req.Lifetime == 0 {
		for k, l := range m {
			if l.Client == client && l.Protocol == req.Opcode && l.InternalPort == req.InternalPort {
				delete(m, k)
			}
		}
		return
	}
	k := portKey{req.Opcode, resp.ExternalPort}
	if old, ok := m[k]; ok && now.Before(old.Expires) && (old.Client != client || old.InternalPort != req.InternalPort) {
		rt.Fatalf("port %d of %+v was given to %+v", resp.ExternalPort, old, req)
	}
	delete(m, k)
	if resp.Result == natpmp.ResultSuccess && resp.Lifetime < 1<<31 {
		m[k] = natpmptest.Mapping{
			Protocol: req.Opcode, ExternalPort: resp.ExternalPort, Client: client, InternalPort: req.InternalPort,
			Expires: now.Add(time.Duration(resp.Lifetime) * time.Second),
		}
	}
}

// check compares the gateway's leases with the promises.
func (m model) check(rt *rapid.T, g *natpmptest.Gateway) {
	for k, l := range m {
		if !time.Now().Before(l.Expires) {
			delete(m, k)
		}
	}
	got := make(model)
	external := g.Profile().DeliversExternal
	for _, l := range g.Mappings() {
		k := portKey{l.Protocol, l.ExternalPort}
		if _, ok := got[k]; ok {
			rt.Fatalf("two leases have %+v", k)
		}
		if found, ok := g.Lookup(l.Protocol, l.ExternalPort); !ok || found != l {
			rt.Fatalf("Lookup says %+v of %+v", found, l)
		}
		port := l.InternalPort
		if external {
			port = l.ExternalPort
		}
		if l.Target != netip.AddrPortFrom(l.Client, port) {
			rt.Fatalf("%+v has a wrong target", l)
		}
		l.Target = netip.AddrPort{}
		got[k] = l
	}
	if diff := cmp.Diff(m, got, addrs()); diff != "" {
		rt.Fatalf("leases differ (-granted +standing):\n%s", diff)
	}
}

// The same seed and the same clients give the same run, whatever the scheduler
// does: with faults on the line, requests side by side and ports at random.
func TestGatewayReplays(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (leases []natpmptest.Mapping, packets []natpmptest.Packet) {
		synctest.Test(t, func(t *testing.T) {
			n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Seed: seed, Latency: time.Millisecond, Capture: 10_000})
			n.SetFaults(natpmptest.Path{}, natpmptest.Faults{
				Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Jitter: 5 * time.Millisecond,
			})
			p := natpmptest.RFC()
			p.ReplyDelay = 10 * time.Millisecond
			p.Replies.Loss = 0.1
			b := newBenchOn(t, n, natpmptest.Config{Profile: p, Seed: seed})
			var wg sync.WaitGroup
			for i := range byte(8) {
				c := b.dial(t, netip.AddrFrom4([4]byte{10, 2, 1, i}))
				wg.Go(func() {
					for j := range uint16(10) {
						req := natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 1000 + j, SuggestedExternalPort: 2000, Lifetime: 60}
						write(t, c, string(req.Append(nil)))
						_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
						if _, err := c.Read(make([]byte, 100)); err != nil && !os.IsTimeout(err) {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			leases, packets = b.Mappings(), n.Packets()
		})
		return leases, packets
	}
	leases, packets := run(1)
	if len(leases) < 40 || len(packets) < 200 {
		t.Fatalf("%d leases, %d packets: too little happened", len(leases), len(packets))
	}
	for range 3 {
		l, p := run(1)
		if diff := cmp.Diff(leases, l, addrs()); diff != "" {
			t.Errorf("leases differ (-first +other):\n%s", diff)
		}
		if diff := cmp.Diff(fmt.Sprint(packets), fmt.Sprint(p)); diff != "" {
			t.Errorf("packets differ (-first +other):\n%s", diff)
		}
	}
	if l, _ := run(2); cmp.Equal(leases, l, addrs()) {
		t.Error("another seed gives the same leases")
	}
}
