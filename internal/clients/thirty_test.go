package clients_test

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// The default keeps `go test ./...` quick; CI and docs/gateways.md have 30 days.
var days = flag.Float64("days", 1, "virtual days that the clients live, at least 1")

const (
	// interval is the time between two looks along the way.
	interval = 10 * time.Second
	// enough is the part of the time in which a told port has to lead to its client.
	enough = 0.999
)

// TestThirtyDays has all kinds of clients live with each gateway for a month, under
// both policies, and prints for which part of the time the port that each was told
// last really led to it.
func TestThirtyDays(t *testing.T) {
	t.Parallel()
	for i, profile := range []natpmptest.Profile{
		natpmptest.ProtonRotate(120), natpmptest.ProtonRefuse(time.Hour, 5*time.Minute),
		natpmptest.Lossy(0.2), natpmptest.Restarting(20*time.Hour, false),
	} {
		for j, policy := range []nat.LeasePolicy{nat.PolicyClient, nat.PolicyHold} {
			if testing.Short() && i%2 != j {
				continue
			}
			t.Run(profile.Name+"/"+policy.String(), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					l := live(t, profile, policy, lasting(), habits())
					t.Logf("%s\n%s", l, l.table())
					l.check(t)
				})
			})
		}
	}
}

// TestRenewalLoad has clients live with a gateway that changes nothing: a lease costs
// the gateway one packet for each half of it, and the router nothing at all.
func TestRenewalLoad(t *testing.T) {
	t.Parallel()
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			honest := slices.DeleteFunc(habits(), func(h habit) bool { return !h.honors })
			l := live(t, natpmptest.Proton(), nat.PolicyClient, lasting(), honest)
			t.Logf("%s; %d requests of clients, %d map packets", l, l.asked(), l.mapPackets())
			// Each request of a client is one packet, and nothing else is.
			if got, want := l.mapPackets(), l.asked(); got != want || l.writes != 0 {
				t.Errorf("%d packets for %d requests, and %d router writes, want as many and none", got, want, l.writes)
			}
		})
	})
	t.Run("hold", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := live(t, natpmptest.Proton(), nat.PolicyHold, lasting(), habits())
			// Seven mappings. A renewal comes up to a tenth before the half of a lease.
			halves := uint64(l.lasted / (30 * time.Second))
			t.Logf("%s; %d requests of clients, %d map packets, %.2f for each mapping and half lease",
				l, l.asked(), l.mapPackets(), float64(l.mapPackets())/float64(7*halves))
			if got, limit := l.mapPackets(), 7*halves*10/9; got > limit || got < 7*halves || l.writes != 0 {
				t.Errorf("%d packets and %d router writes, want %d to %d and none", got, l.writes, 7*halves, limit)
			}
		})
	})
}

// mapPackets returns how many map requests the gateway got.
func (l *life) mapPackets() uint64 {
	return l.stats.Requests[natpmp.OpMapTCP] + l.stats.Requests[natpmp.OpMapUDP]
}

// asked returns how many mappings and renewals the clients asked for.
func (l *life) asked() uint64 {
	var n uint64
	for _, c := range l.clients {
		n += c.asked
	}
	return n
}

// lasting returns how long the clients live: less with -short.
func lasting() time.Duration {
	if testing.Short() {
		return 6 * time.Hour
	}
	return time.Duration(*days * 24 * float64(time.Hour))
}

// life is what became of all clients.
type life struct {
	profile natpmptest.Profile
	policy  nat.LeasePolicy
	lasted  time.Duration
	clients []*client
	probe   *probe
	stats   natpmptest.Stats
	writes  uint64
}

// live lets the clients live for a time.
func live(t *testing.T, profile natpmptest.Profile, policy nat.LeasePolicy, lasting time.Duration, kinds []habit) *life {
	t.Helper()
	l := &life{profile: profile, policy: policy, lasted: lasting}
	bench, err := lab.NewBench(lab.BenchConfig{
		Profile: profile, Seed: 1, Latency: 5 * time.Millisecond, Environ: map[string]string{"LEASE_POLICY": policy.String()},
		Options: func(o *daemon.Options) { o.OnEvent = func(ev nat.Event) { l.probe.observe(ev) } },
	})
	if err != nil {
		t.Fatal(err)
	}
	l.probe = newProbe(bench, profile)
	if err := bench.Start(nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second)

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i, h := range kinds {
		c := newClient(h, netip.AddrFrom4([4]byte{192, 168, 88, byte(10 + i)}), bench)
		l.clients = append(l.clients, c)
		running.Go(func() { c.run(ctx) })
	}
	time.Sleep(interval)
	mark := bench.Router.Mark()
	for end := time.Now().Add(lasting); time.Now().Before(end); time.Sleep(interval) {
		l.probe.look(l.clients)
	}
	l.writes = bench.Router.StatsSince(mark).Writes
	stop()
	running.Wait()
	l.stats = bench.Gateway.Stats()
	if err := bench.Close(); err != nil && profile.Refusal.Every == 0 && profile.Requests.Loss == 0 {
		t.Errorf("closing: %v", err)
	}
	return l
}

func (l *life) String() string {
	var packets uint64
	for _, n := range l.stats.Requests {
		packets += n
	}
	return fmt.Sprintf("%s, policy %s, %v: %d gateway packets, %d router writes, %d ports changed",
		l.profile.Name, l.policy, l.lasted, packets, l.writes, l.probe.moves)
}

// sum adds what was found on the way to one client's mappings.
func (l *life) sum(c *client) share {
	var all share
	for _, op := range c.opcodes {
		if s := l.probe.seen[nat.Key{Client: c.host, Protocol: nat.Protocol(op), InternalPort: c.port}]; s != nil {
			for p, n := range s {
				all[p] += n
			}
		}
	}
	return all
}

// table shows the shares of all clients.
func (l *life) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "client\treached\trefused\ttaken\tfailed\treached of the rest\trequests")
	for _, c := range l.clients {
		s := l.sum(c)
		fmt.Fprintf(w, "%s\t%.3f %%\t%.3f %%\t%.3f %%\t%.3f %%\t%.3f %%\t%d\n", c.name,
			100*s.of(reached), 100*s.of(refused), 100*s.of(taken), 100*s.of(failed), 100*s.of(reached, refused, taken), c.asked)
	}
	_ = w.Flush() // into memory
	return b.String()
}

// check holds the shares against what was promised: with policy hold for all
// clients, with policy client for those that ask again before their time is over.
func (l *life) check(t *testing.T) {
	t.Helper()
	for _, c := range l.clients {
		got := l.sum(c).of(reached, refused, taken)
		switch {
		case l.policy == nat.PolicyHold || c.honors || l.profile.Lifetime > time.Hour:
			if got < enough {
				t.Errorf("%s was reached for %.3f %% of the time, want %.1f %%", c.name, 100*got, 100*enough)
			}
		case got > 0.5:
			// It comes back long after its lease ended: then nothing can have led to it,
			// and a look that finds otherwise is a look at something else.
			t.Errorf("%s was reached for %.3f %% of the time, which cannot be", c.name, 100*got)
		}
	}
}
