package daemon_test

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// The mixed flood, and what is promised under it.
const (
	mixedSources   = 4000
	mixedASecond   = 20_000
	mixedBurst     = 10 * time.Second // after which the burst is over
	writesASecond  = 20
	steadyWrites   = 10 // what CREATE_RATE is good for: five rules a second, and their ends
	logBytesSecond = 1024
)

// TestMixedFlood sends 20,000 packets a second from 4,000 forged addresses, which make
// mappings, delete them, and make mappings for a second. Each of those hosts stays
// within its own bounds; what all of them together make the router write, and the log,
// is bounded nevertheless. It prints its figures; run it with -v.
func TestMixedFlood(t *testing.T) {
	t.Parallel()
	var log logBuffer
	cfg := lab.BenchConfig{
		Profile: natpmptest.RFC(), Router: routerostest.Config{Latency: 10 * time.Millisecond},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	cfg.Profile.ReplyDelay = 30 * time.Millisecond
	lasts := shorter(30*time.Second, 20*time.Second)
	onBench(t, cfg, func(r *rig) {
		granted := r.mapped(alice, natpmp.OpMapTCP, 6881)
		mark, asked, logged := r.Router.Mark(), r.requests(), len(log.String())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.mixedFlood(lasts)
		}()
		worst, steady := time.Duration(0), 0
		for second := range int(lasts / time.Second) {
			began := time.Now()
			again := r.ask(alice, natpmp.OpMapTCP, 6881, granted.ExternalPort)
			worst = max(worst, time.Since(began))
			if again.Result != natpmp.ResultSuccess || again.ExternalPort != granted.ExternalPort {
				r.t.Errorf("the renewal in second %d was answered %+v", second, again)
			}
			time.Sleep(time.Second - time.Since(began))
			if time.Duration(second+1)*time.Second == mixedBurst {
				steady = int(r.Router.StatsSince(mark).Writes)
			}
		}
		<-done
		writes, bytes := int(r.Router.StatsSince(mark).Writes), len(log.String())-logged
		_, clients := r.Daemon().PacketStats()
		r.t.Logf("%d packets a second from %d sources for %v: %d router writes in the first %v and %d after that; "+
			"%d bytes of log; worst renewal %v; %d gateway requests; %d creations dropped",
			mixedASecond, mixedSources, lasts, steady, mixedBurst, writes-steady, bytes, worst, r.requests()-asked, clients.TooManyInAll)
		after := int((lasts - mixedBurst) / time.Second)
		for _, bound := range []struct {
			what      string
			got, most int
		}{
			{"writes of the router in all", writes, 2*maxMappings + steadyWrites*int(lasts/time.Second)},
			{"writes of the router after the burst", writes - steady, writesASecond * after},
			{"bytes of log", bytes, logBytesSecond * int(lasts/time.Second)},
			{"milliseconds of the slowest renewal", int(worst.Milliseconds()), int(renewalBudget.Milliseconds())},
		} {
			if bound.got > bound.most {
				r.t.Errorf("%s: %d, want at most %d", bound.what, bound.got, bound.most)
			}
		}
		if writes < 1000 || clients.TooManyInAll < 1000 {
			r.t.Error("that was no flood")
		}
		time.Sleep(time.Minute)
		r.agree()
	})
}

// mixedFlood sends the packets of [TestMixedFlood].
func (r *rig) mixedFlood(lasts time.Duration) {
	const batch = mixedASecond / 1000
	to := netip.MustParseAddrPort(routerostest.LANAddress + ":5351")
	for i := range mixedASecond * int(lasts/time.Second) {
		from, packet := mixedPacket(i)
		r.Net.Inject(from, to, packet)
		if i%batch == batch-1 {
			time.Sleep(time.Millisecond)
		}
	}
}

// mixedPacket returns one packet of the flood: each source maps a port for two hours,
// deletes it, and maps it for a second, in turn.
func mixedPacket(i int) (from netip.AddrPort, packet []byte) {
	source, round := i%mixedSources, i/mixedSources
	req := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: uint16(1 + round/3)}
	switch round % 3 {
	case 0:
		req.Lifetime = 7200
	case 2:
		req.Lifetime = 1
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 100, byte(source >> 8), byte(source)}), uint16(1024+i%60000)), req.Append(nil)
}

// The mixed flood on the kernel's own socket, at the same rate and for as long, in real
// time.
//
// It is not parallel to others, because it takes the machine from them.
func TestMixedFloodOnASocket(t *testing.T) { //nolint:paralleltest // see above
	const sources, mappings = 1000, 64
	lasts, burst, logBurst := 30*time.Second, mixedBurst, 0
	if testing.Short() {
		lasts, burst, logBurst = 4*time.Second, 2*time.Second, 10<<10
	}
	var log logBuffer
	listen, honest := loopback(t), loopback(t)
	b, at := onSocket(t, netip.AddrPortFrom(listen, 0).String(), map[string]string{"MAX_MAPPINGS": "64"},
		func(o *daemon.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	await(t, honest, at)
	client, ask := honestClient(t, honest, at)
	first := ask()

	mark, logged, began := b.Router.Mark(), len(log.String()), time.Now()
	flooded := make(chan error, 1)
	go func() { flooded <- mixedFloodSocket(sources, lasts, at) }()
	renewals, steady, after := 0, 0, began
	for over := false; !over; renewals++ {
		if again := ask(); again.ExternalPort != first.ExternalPort {
			t.Errorf("renewal %d was answered %+v", renewals, again)
		}
		if steady == 0 && time.Since(began) >= burst {
			steady, after = int(b.Router.StatsSince(mark).Writes), time.Now()
		}
		select {
		case err := <-flooded:
			if err != nil {
				t.Fatal(err)
			}
			over = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	took, rest := time.Since(began), time.Since(after)
	writes, bytes := int(b.Router.StatsSince(mark).Writes), len(log.String())-logged
	server, clients := b.Daemon().PacketStats()
	t.Logf("%v: %d packets read, %d creations dropped; %d router writes, %d of them in the last %v; %d bytes of log; %d renewals, %d packets of them repeated",
		took, server.Received, clients.TooManyInAll, writes, writes-steady, rest, bytes, renewals, client.Stats().Retransmitted)
	for _, bound := range []struct {
		what      string
		got, most int
	}{
		{"writes of the router", writes, 2*mappings + steadyWrites*(int(took/time.Second)+1)},
		// On a slow machine the first mappings are not all made when the burst should be over.
		{"writes of the router after the burst", writes - steady, max(0, 2*mappings-steady) + writesASecond*(int(rest/time.Second)+1)},
		{"bytes of log", bytes, logBurst + logBytesSecond*int(took/time.Second)},
	} {
		if bound.got > bound.most {
			t.Errorf("%s: %d in %v, want at most %d", bound.what, bound.got, took, bound.most)
		}
	}
	if writes < mappings/2 || clients.TooManyInAll == 0 {
		t.Errorf("that was no flood: %d writes, %+v", writes, clients)
	}
}

// mixedFloodSocket sends [mixedASecond] packets a second from so many addresses in turn,
// see [mixedPacket].
func mixedFloodSocket(sources int, lasts time.Duration, to netip.AddrPort) error {
	conns := make([]*net.UDPConn, sources)
	for i := range conns {
		from := netip.AddrFrom4([4]byte{127, 101, byte(i >> 8), byte(i)})
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
		if err != nil {
			return err
		}
		defer conn.Close()
		conns[i] = conn
	}
	const batch = mixedASecond / 200
	tick := time.NewTicker(time.Second / 200)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for time.Since(began) < lasts {
		<-tick.C
		for range batch {
			// In each round all sources do the same.
			_, packet := mixedPacket(sent / sources * mixedSources)
			if _, err := conns[sent%sources].WriteToUDPAddrPort(packet, to); err != nil {
				return err
			}
			sent++
		}
	}
	return nil
}
