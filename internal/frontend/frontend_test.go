package frontend_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/frontend"
	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// What clients send: a TCP and a UDP mapping, deletions, and an address request.
const (
	address   = "0000"
	mapTCP    = "0002 0000 1234 5678 00000e10"
	unmapTCP  = "0002 0000 1234 5678 00000000"
	unmapUDP  = "0001 0000 1234 5678 00000000"
	unmapTCP2 = "0002 0000 1235 5678 00000000"
	unmapAll  = "0002 0000 0000 0000 00000000"
	mapAll    = "0001 0000 0000 0000 00000e10"
	mapUDP    = "0001 0000 1234 5678 00000e10"
	pcpMap    = "0201 0000"
	unknownOp = "0003"
)

// grant4001 is what most cores give.
func grant4001() nat.Grant { return nat.Grant{ExternalPort: 4001, Lifetime: time.Minute} }

func TestRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		core   *fakeCore
		packet string
		want   string
		calls  []string
	}{
		{name: "address", core: &fakeCore{}, packet: address, want: "008000000000000005060708"},
		{
			name: "map tcp", core: &fakeCore{grant: grant4001()}, packet: mapTCP,
			want: "008200000000000012340fa10000003c", calls: []string{"map tcp 192.168.88.10:4660 for 1h0m0s"},
		},
		{
			name: "map udp", core: &fakeCore{grant: grant4001()}, packet: mapUDP,
			want: "008100000000000012340fa10000003c", calls: []string{"map udp 192.168.88.10:4660 for 1h0m0s"},
		},
		{
			name: "longest lifetime", core: &fakeCore{grant: grant4001()}, packet: "0001 0000 1234 5678 ffffffff",
			want: "008100000000000012340fa10000003c", calls: []string{"map udp 192.168.88.10:4660 for 1193046h28m15s"},
		},
		{
			name: "delete", core: &fakeCore{}, packet: unmapTCP,
			want: "00820000000000001234000000000000", calls: []string{"unmap tcp 192.168.88.10:4660"},
		},
		{
			name: "delete all", core: &fakeCore{}, packet: unmapAll,
			want: "00820000000000000000000000000000", calls: []string{"unmap all tcp of 192.168.88.10"},
		},
		{name: "all ports", core: &fakeCore{grant: grant4001()}, packet: mapAll, want: "00810002000000000000000000000000"},
		{name: "another version", core: &fakeCore{}, packet: pcpMap, want: "0081000100000000"},
		{name: "unknown opcode", core: &fakeCore{}, packet: unknownOp, want: "0083000500000000"},
		{
			name: "grant for longer than asked", core: &fakeCore{grant: nat.Grant{ExternalPort: 4001, Lifetime: 24 * time.Hour}}, packet: mapTCP,
			want: "008200000000000012340fa100000e10", calls: []string{"map tcp 192.168.88.10:4660 for 1h0m0s"},
		},
		{
			name: "grant of a second and a half", core: &fakeCore{grant: nat.Grant{ExternalPort: 4001, Lifetime: 1500 * time.Millisecond}}, packet: mapTCP,
			want: "008200000000000012340fa100000001", calls: []string{"map tcp 192.168.88.10:4660 for 1h0m0s"},
		},
		{
			name: "grant of half a second", core: &fakeCore{grant: nat.Grant{ExternalPort: 4001, Lifetime: 500 * time.Millisecond}}, packet: mapTCP,
			want: "00820003000000001234000000000000", calls: []string{"map tcp 192.168.88.10:4660 for 1h0m0s"},
		},
		{
			name: "grant without a port", core: &fakeCore{grant: nat.Grant{Lifetime: time.Minute}}, packet: mapTCP,
			want: "00820003000000001234000000000000", calls: []string{"map tcp 192.168.88.10:4660 for 1h0m0s"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.core, nil)
				h := r.host(t, clientA)
				h.send(tt.packet)
				if diff := cmp.Diff([]string{tt.want}, h.replies()); diff != "" {
					t.Errorf("replies (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.calls, tt.core.asked()); diff != "" {
					t.Errorf("calls of the core (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestLastRequestDecides: requests that contradict each other are not taken for copies
// of those before, however quickly they come.
func TestLastRequestDecides(t *testing.T) {
	t.Parallel()
	for name, packets := range map[string][]string{
		"map, delete, map":        {mapTCP, unmapTCP, mapTCP},
		"map, delete all, map":    {mapTCP, unmapAll, mapTCP},
		"delete, map, delete":     {unmapTCP, mapTCP, unmapTCP},
		"delete all, map, again":  {unmapAll, mapTCP, unmapAll},
		"another protocol's":      {mapTCP, unmapUDP, mapTCP},
		"another port's":          {mapTCP, unmapTCP2, mapTCP},
		"the same with a copy":    {mapTCP, mapTCP},
		"two deletions of a kind": {unmapTCP, unmapAll, unmapTCP},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, &fakeCore{grant: grant4001(), takes: time.Second}, nil)
				for _, p := range packets {
					r.host(t, clientA).send(p)
					synctest.Wait()
				}
				time.Sleep(time.Minute)
				want := len(packets)
				if strings.Contains(name, "another") || strings.Contains(name, "copy") || strings.Contains(name, "of a kind") {
					want-- // the last is the first one's work
				}
				if calls := r.core.asked(); len(calls) != want {
					t.Errorf("the core was asked %q, want %d", calls, want)
				}
			})
		})
	}
}

// TestErrors: RFC 6886 §3.5: the code, the internal port, and zeros.
func TestErrors(t *testing.T) {
	t.Parallel()
	fault := func(r nat.Reason) error { return &nat.Error{Hop: nat.HopRouter, Reason: r, Err: errors.New("why")} }
	tests := []struct {
		name string
		err  error
		code string
	}{
		{name: "unreachable", err: fault(nat.ReasonUnreachable), code: "0003"},
		{name: "denied", err: fault(nat.ReasonDenied), code: "0002"},
		{name: "resources", err: fault(nat.ReasonResources), code: "0004"},
		{name: "wrapped", err: fmt.Errorf("creating: %w", fault(nat.ReasonResources)), code: "0004"},
		{name: "one of several", err: errors.Join(nil, fault(nat.ReasonDenied), nil), code: "0002"},
		{name: "reason of the future", err: fault(99), code: "0003"},
		{name: "no reason", err: errors.New("a surprise"), code: "0003"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, &fakeCore{err: tt.err, grant: grant4001()}, nil)
				h := r.host(t, clientA)
				for _, packet := range []string{mapTCP, unmapTCP, unmapAll} {
					h.send(packet)
				}
				want := []string{
					"0082" + tt.code + "00000000" + "1234000000000000",
					"0082" + tt.code + "00000000" + "1234000000000000",
					"0082" + tt.code + "00000000" + "0000000000000000",
				}
				got := h.replies()
				slices.Sort(got)
				slices.Sort(want)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("replies (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestUnknownAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCore{}, func(cfg *frontend.Config, _ *natpmp.ServerConfig) {
			cfg.External = func() (netip.Addr, bool) { return netip.Addr{}, false }
		})
		h := r.host(t, clientA)
		h.send(address)
		if diff := cmp.Diff([]string{"008000030000000000000000"}, h.replies()); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
	})
}

// TestCopies: the same bytes from the same port get one reply, however often they came.
func TestCopies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCore{grant: grant4001(), takes: 2 * time.Second}, nil)
		h := r.host(t, clientA)
		for range 3 {
			h.send(mapTCP)
			time.Sleep(250 * time.Millisecond)
		}
		other := r.host(t, clientA)
		other.send(mapTCP)
		time.Sleep(2 * time.Second)
		reply := []string{"0082000000000002" + "12340fa10000003c"}
		if diff := cmp.Diff(reply, h.replies()); diff != "" {
			t.Errorf("replies (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(reply, other.replies()); diff != "" {
			t.Errorf("replies to the client's other port (-want +got):\n%s", diff)
		}
		if calls := r.core.asked(); len(calls) != 1 {
			t.Errorf("the core was asked %d times: %v", len(calls), calls)
		}
		want := frontend.Stats{
			Answers:    map[frontend.Answer]uint64{{Opcode: natpmp.OpMapTCP}: 2},
			Duplicates: 2, Shared: 1,
		}
		if diff := cmp.Diff(want, r.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}

		// Nothing of it is kept: the next copy is a request like any other.
		h.send(mapTCP)
		time.Sleep(2 * time.Second)
		if calls := r.core.asked(); len(h.replies()) != 1 || len(calls) != 2 {
			t.Errorf("after the work ended: calls %v", calls)
		}
		if n := r.Works(); n != 0 {
			t.Errorf("%d pieces of work left", n)
		}
	})
}

// TestDifferentWork shares nothing: another client, opcode, port, wish or lifetime.
func TestDifferentWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCore{grant: grant4001(), takes: time.Second}, nil)
		a, b := r.host(t, clientA), r.host(t, clientB)
		for _, packet := range []string{
			mapTCP, mapUDP, unmapTCP, unmapAll,
			"0002 0000 1235 5678 00000e10", "0002 0000 1234 5679 00000e10", "0002 0000 1234 5678 00000e11",
		} {
			a.send(packet)
		}
		b.send(mapTCP)
		time.Sleep(5 * time.Second) // a deletion waits for the mappings before it, and holds up those behind it
		if n, m := len(a.replies()), len(b.replies()); n != 7 || m != 1 {
			t.Errorf("%d and %d replies, want 7 and 1", n, m)
		}
		if n := len(r.core.asked()); n != 8 {
			t.Errorf("the core was asked %d times, want 8", n)
		}
	})
}

// TestPanic: a bug of the core is one client's failure, and nothing stays behind.
func TestPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCore{panics: true, takes: time.Second}, nil)
		first, second := r.host(t, clientA), r.host(t, clientA)
		first.send(mapTCP)
		second.send(mapTCP)
		time.Sleep(time.Second)
		failure := []string{"0082000300000001" + "1234000000000000"}
		if diff := cmp.Diff(failure, first.replies()); diff != "" {
			t.Errorf("replies to the one (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(failure, second.replies()); diff != "" {
			t.Errorf("replies to the other (-want +got):\n%s", diff)
		}
		if n := r.Works(); n != 0 || r.server.Stats().Panics != 1 {
			t.Errorf("%d pieces of work left, %d panics", n, r.server.Stats().Panics)
		}
	})
}

// TestFence: whoever is no client gets no reply to anything, and is counted.
func TestFence(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		client string
		want   bool
		stats  frontend.Stats
	}{
		{name: "class A", client: "10.255.255.255", want: true},
		{name: "class B", client: "172.31.0.1", want: true},
		{name: "class C", client: "192.168.88.10", want: true},
		{name: "provider's", client: "100.64.0.1", want: true},
		{name: "loopback", client: "127.0.1.1", want: true},
		{name: "beyond class B", client: "172.32.0.1", stats: frontend.Stats{NotAllowed: 3}},
		{name: "beyond the provider's", client: "100.128.0.1", stats: frontend.Stats{NotAllowed: 3}},
		{name: "public", client: "9.9.9.9", stats: frontend.Stats{NotAllowed: 3}},
		{name: "denied", client: "192.168.99.7", stats: frontend.Stats{Denied: 3}},
		{name: "router", client: "192.168.88.1", stats: frontend.Stats{Excluded: 3}},
	}
	for _, gate := range []string{"server's", "own"} {
		for _, tt := range tests {
			t.Run(gate+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, &fakeCore{grant: grant4001()}, func(cfg *frontend.Config, server *natpmp.ServerConfig) {
						cfg.Deny = []netip.Prefix{netip.MustParsePrefix("192.168.99.0/24")}
						cfg.Exclude = func(a netip.Addr) bool { return a == routerAddr.Addr() }
						if gate == "own" {
							server.Admit = func(natpmp.Arrival) bool { return true }
						}
					})
					h := r.host(t, netip.MustParseAddr(tt.client))
					h.send(address)
					h.send(mapTCP)
					if gate == "own" {
						h.send(mapUDP)
					} else {
						h.send(pcpMap)
					}
					want := 0
					if tt.want {
						want = 3
					}
					if got := h.replies(); len(got) != want {
						t.Errorf("replies %v, want %d", got, want)
					}
					if calls := r.core.asked(); !tt.want && len(calls) != 0 {
						t.Errorf("the core was asked: %v", calls)
					}
					got := r.Stats()
					got.Answers = nil
					if diff := cmp.Diff(tt.stats, got); diff != "" {
						t.Errorf("stats (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

func TestNobodyAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCore{}, func(cfg *frontend.Config, _ *natpmp.ServerConfig) { cfg.Allow = []netip.Prefix{} })
		h := r.host(t, clientA)
		h.send(address)
		if got := h.replies(); got != nil {
			t.Errorf("replies %v", got)
		}
	})
}

func TestStats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCore{err: &nat.Error{Reason: nat.ReasonDenied}}, nil)
		h := r.host(t, clientA)
		for _, packet := range []string{address, address, mapTCP, unmapTCP, mapUDP, mapAll, pcpMap, unknownOp} {
			h.send(packet)
		}
		h.replies()
		want := frontend.Stats{Answers: map[frontend.Answer]uint64{
			{Opcode: natpmp.OpExternalAddress}:                            2,
			{Opcode: natpmp.OpMapTCP, Result: natpmp.ResultNotAuthorized}: 2,
			{Opcode: natpmp.OpMapUDP, Result: natpmp.ResultNotAuthorized}: 2,
		}}
		if diff := cmp.Diff(want, r.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	})
}

// TestLog: ordinary traffic is for those who debug.
func TestLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newRig(t, &fakeCore{grant: grant4001()}, func(cfg *frontend.Config, _ *natpmp.ServerConfig) {
			cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		h := r.host(t, clientA)
		h.send(mapTCP)
		h.replies()
		got := log.String()
		if strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=DEBUG") {
			t.Errorf("log:\n%s", got)
		}
		for _, part := range []string{"client=192.168.88.10:", "opcode=tcp", "internal_port=4660", "external_port=4001", "lifetime=60"} {
			if !strings.Contains(got, part) {
				t.Errorf("the line does not say %s: %s", part, got)
			}
		}
	})
}

func TestStopping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &fakeCore{grant: grant4001(), takes: time.Hour}, nil)
		r.host(t, clientA).send(mapTCP)
		r.host(t, clientA).send(mapTCP)
		synctest.Wait()
		if n := r.Works(); n != 1 {
			t.Errorf("%d pieces of work, want 1", n)
		}
		// The rig's cleanup hangs if the one who waits does not see the end.
	})
}

func TestNewChecks(t *testing.T) {
	t.Parallel()
	external := func() (netip.Addr, bool) { return netip.Addr{}, false }
	for name, cfg := range map[string]frontend.Config{
		"no core":           {External: external},
		"no address":        {Core: &fakeCore{}},
		"negative rate":     {Core: &fakeCore{}, External: external, ClientRate: -1},
		"prefix of nothing": {Core: &fakeCore{}, External: external, Deny: []netip.Prefix{{}}},
	} {
		if _, err := frontend.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestAtOnce: the public address is told without any work as long as it is known; all
// else is for those who may wait.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	public, known := netip.MustParseAddr("5.6.7.8"), true
	f, err := frontend.New(frontend.Config{Core: &fakeCore{}, External: func() (netip.Addr, bool) { return public, known }})
	if err != nil {
		t.Fatal(err)
	}
	client := natpmp.Arrival{Client: netip.MustParseAddrPort("192.168.88.10:4000")}
	if reply, ok := f.AtOnce(client, natpmp.Request{}); !ok || reply != natpmp.Address(public) {
		t.Errorf("got %+v, %v", reply, ok)
	}
	if _, ok := f.AtOnce(client, natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 1, Lifetime: 1}); ok {
		t.Error("a mapping was made at once")
	}
	known = false
	if _, ok := f.AtOnce(client, natpmp.Request{}); ok {
		t.Error("an address was told that is not known")
	}
	want := map[frontend.Answer]uint64{{Opcode: natpmp.OpExternalAddress}: 1}
	if diff := cmp.Diff(want, f.Stats().Answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
