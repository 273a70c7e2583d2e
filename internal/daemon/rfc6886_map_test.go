package daemon_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// TestRFC6886OneProtocol: what is asked for is mapped on both layers, for who
// asked, and nothing else (RFC 6886 §3.3).
func TestRFC6886OneProtocol(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		op        natpmp.Opcode
		packet    string
		want      string
		rule      string
		companion natpmp.Opcode
	}{
		{natpmp.OpMapUDP, "0001 0000 1234 5678 00000e10", "0081 0000 00000005 1234 5678 00000e10", "udp → 192.168.88.10:4660", natpmp.OpMapTCP},
		{natpmp.OpMapTCP, "0002 0000 1234 5678 00000e10", "0082 0000 00000005 1234 5678 00000e10", "tcp → 192.168.88.10:4660", natpmp.OpMapUDP},
	} {
		t.Run(tt.op.String(), func(t *testing.T) {
			t.Parallel()
			onBench(t, asRFC(), func(r *rig) {
				r.expect(alice, tt.packet, tt.want)
				if diff := cmp.Diff([]string{tt.rule}, r.rules()); diff != "" {
					r.t.Errorf("rules (-want +got):\n%s", diff)
				}
				lease, ok := r.Gateway.Lookup(tt.op, 0x5678)
				if !ok {
					r.t.Fatal("no lease")
				}
				to, _, ok := r.Router.Match(strings.ToLower(tt.op.String()), routerostest.TunnelInterface, lease.Target.Port())
				if want := netip.AddrPortFrom(alice, 0x1234); !ok || to != want {
					r.t.Errorf("the Internet reaches %v, %t; want %v", to, ok, want)
				}
				if _, ok := r.Gateway.Lookup(tt.companion, 0x5678); ok {
					r.t.Error("there is a lease of the other protocol")
				}
				if to, _, ok := r.Router.Match(strings.ToLower(tt.companion.String()), routerostest.TunnelInterface, lease.Target.Port()); ok {
					r.t.Errorf("the other protocol reaches %v", to)
				}
				r.agree()
			})
		})
	}
}

// TestRFC6886Suggestions: a suggestion is a wish, and a mapping that stands keeps
// its port whatever is wished for (RFC 6886 §3.3).
func TestRFC6886Suggestions(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		free := r.ask(alice, natpmp.OpMapTCP, 1, 0)
		if free.Result != natpmp.ResultSuccess || free.ExternalPort < 1024 {
			r.t.Errorf("without a suggestion: %+v, want a high port", free)
		}
		r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
		taken := r.ask(bob, natpmp.OpMapTCP, 0x1234, 0x5678)
		if taken.Result != natpmp.ResultSuccess || taken.ExternalPort == 0x5678 || taken.ExternalPort == 0 {
			r.t.Errorf("with a suggestion that is taken: %+v, want another port", taken)
		}
		for _, suggestion := range []string{"0000", "5678", "9999", "0050"} {
			r.expect(alice, "0002 0000 1234 "+suggestion+" 00000e10", "0082 0000 00000005 1234 5678 00000e10")
		}
		want := []string{"tcp → 192.168.88.10:1", "tcp → 192.168.88.10:4660", "tcp → 192.168.88.11:4660"}
		if diff := cmp.Diff(want, r.rules()); diff != "" {
			r.t.Errorf("rules (-want +got):\n%s", diff)
		}
		r.agree()
	})
}

// TestRFC6886SuggestionAfterRestart: after the daemon, the gateway or both lost
// their state, a renewal gets the port that it suggests (RFC 6886 §3.7).
func TestRFC6886SuggestionAfterRestart(t *testing.T) {
	t.Parallel()
	for _, gateway := range []bool{false, true} {
		for _, shutdown := range []string{"crash", "clean", "keep"} {
			t.Run(fmt.Sprintf("%s/gateway too %t", shutdown, gateway), func(t *testing.T) {
				t.Parallel()
				onBench(t, asRFC(), func(r *rig) {
					r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
					if shutdown == "crash" {
						r.crash()
					} else if err := r.Stop(); err != nil {
						r.t.Fatal(err)
					}
					if gateway {
						r.Gateway.Restart(false)
					}
					r.start(map[string]string{"SHUTDOWN": strings.Replace(shutdown, "crash", "clean", 1)})
					r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
					r.agree()
				})
			})
		}
	}
}

// TestRFC6886NoPortLeft: another port as long as there is one, then result 4.
func TestRFC6886NoPortLeft(t *testing.T) {
	t.Parallel()
	cfg := asRFC()
	cfg.Profile.MinPort, cfg.Profile.MaxPort = 0x5678, 0x567a
	onBench(t, cfg, func(r *rig) {
		var got []uint16
		for i := range uint16(3) {
			got = append(got, r.ask(alice, natpmp.OpMapTCP, 1+i, 0x5678).ExternalPort)
		}
		slices.Sort(got)
		if diff := cmp.Diff([]uint16{0x5678, 0x5679, 0x567a}, got); diff != "" {
			r.t.Errorf("ports (-want +got):\n%s", diff)
		}
		r.expect(alice, "0002 0000 0004 5678 00000e10", "0082 0004 00000005 0004 0000 00000000")
		r.agree()
	})
}

// TestRFC6886ClientLimit: one client cannot take everything, and learns why.
func TestRFC6886ClientLimit(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		for i := range uint16(64) {
			r.mapped(alice, natpmp.OpMapTCP, 1+i)
		}
		r.expect(alice, "0002 0000 1234 5678 00000e10", "0082 0004 00000005 1234 0000 00000000")
		r.expect(bob, "0002 0000 1234 5678 00000e10", "0082 0000 00000005 1234 5678 00000e10")
		r.agree()
	})
}

// TestRFC6886Companion: who holds TCP X may have UDP X, and nobody else (RFC 6886
// §3.3). To the gateway all clients are one, so it protects nobody.
func TestRFC6886Companion(t *testing.T) {
	t.Parallel()
	for _, profile := range []natpmptest.Profile{natpmptest.RFC(), natpmptest.Miniupnpd()} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: profile}, func(r *rig) {
				r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
				got := r.ask(bob, natpmp.OpMapUDP, 0x1234, 0x5678)
				if got.Result != natpmp.ResultSuccess || got.ExternalPort == 0x5678 {
					r.t.Errorf("bob asks for the companion of alice's port: %+v, want another one", got)
				}
				r.agree()
				r.expect(alice, "0001 0000 1234 5678 00000e10", "0081 0000 00000006 1234 5678 00000e10")
				r.agree()
				// Also without a suggestion, as tailscale asks.
				tcp, udp := r.mapped(bob, natpmp.OpMapTCP, 99), r.mapped(bob, natpmp.OpMapUDP, 99)
				if tcp.ExternalPort != udp.ExternalPort {
					r.t.Errorf("TCP got %d, UDP %d", tcp.ExternalPort, udp.ExternalPort)
				}
				r.agree()
			})
		})
	}
}

// TestRFC6886PortsNeverGiven: a gateway that grants NAT-PMP's own ports is asked
// for another one, and what it granted goes back.
func TestRFC6886PortsNeverGiven(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Ports = natpmptest.PortsRandom })
		r.Gateway.GrantNext(5351, 5350, 0x5678)
		r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
		r.agree()
	})
}

// TestRFC6886Retransmissions: copies of a request are one request. They get one
// reply while it is worked on, and the same reply afterwards (RFC 6886 §3.3, §3.5).
func TestRFC6886Retransmissions(t *testing.T) {
	t.Parallel()
	cfg := asRFC()
	cfg.Profile.ReplyDelay = 900 * time.Millisecond
	onBench(t, cfg, func(r *rig) {
		began := time.Now()
		m := r.mouth(alice)
		for range 3 {
			m.send(mapTCP)
			time.Sleep(250 * time.Millisecond)
		}
		time.Sleep(2250 * time.Millisecond)
		if diff := cmp.Diff([]string{"0082 0000 00000005 1234 5678 00000e10"}, m.replies()); diff != "" {
			r.t.Errorf("replies to three copies at once (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"tcp → 192.168.88.10:4660"}, r.rules()); diff != "" {
			r.t.Errorf("rules (-want +got):\n%s", diff)
		}
		if n := len(r.Gateway.Mappings()); n != 1 {
			r.t.Errorf("%d leases, want 1", n)
		}
		// The gateway did not answer in its first 250 ms and 500 ms: its own copies.
		asked := r.asked(began)
		if len(asked) != 3 || asked[0] != asked[1] || asked[1] != asked[2] {
			r.t.Errorf("the gateway was asked %q, want one request and its two repetitions", asked)
		}

		m.send(mapTCP)
		time.Sleep(250 * time.Millisecond)
		if diff := cmp.Diff([]string{"0082 0000 00000008 1234 5678 00000e0d"}, m.replies()); diff != "" {
			r.t.Errorf("reply to a late copy (-want +got):\n%s", diff)
		}
		r.agree()
	})
}

// TestRFC6886AnswersInTime: a renewal is answered within the 250 ms after which
// clients repeat or give up, however slow the gateway is.
func TestRFC6886AnswersInTime(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.ReplyDelay = 3 * time.Second })
		time.Sleep(10 * time.Second)
		m, began := r.mouth(alice), time.Now()
		m.send(mapTCP)
		time.Sleep(249 * time.Millisecond)
		if diff := cmp.Diff([]string{"0082 0000 0000000f 1234 5678 00000e05"}, m.replies()); diff != "" {
			r.t.Errorf("replies %v after the request (-want +got):\n%s", time.Since(began), diff)
		}
		time.Sleep(10 * time.Second)
		if got := m.replies(); len(got) != 0 {
			r.t.Errorf("replies that nobody asked for: %v", got)
		}
		// Meanwhile the gateway did renew.
		left := time.Until(r.Daemon().Mappings()[0].Until)
		if left < time.Hour-8*time.Second {
			r.t.Errorf("%v left, want the hour of the renewal", left)
		}
		r.mend()
		r.agree()
	})
}

// TestRFC6886Lifetimes: never longer than asked, never longer than the gateway
// grants, over the whole range, and gone when it is over (RFC 6886 §3.3, §3.4).
func TestRFC6886Lifetimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		profile     natpmptest.Profile
		asked, told string
	}{
		{natpmptest.Proton(), "00000001", "00000001"},
		{natpmptest.Proton(), "0000001e", "0000001e"},
		{natpmptest.Proton(), "00000e10", "0000003c"},
		{natpmptest.RFC(), "00000003", "00000003"},
		{natpmptest.RFC(), "00000e10", "00000e10"},
		{natpmptest.RFC(), "00001c20", "00001c20"},
		{natpmptest.RFC(), "00001c21", "00001c20"},
		{natpmptest.RFC(), "7fffffff", "00001c20"},
		{natpmptest.Miniupnpd(), "80000000", "00001c20"},
		{natpmptest.Miniupnpd(), "ffffffff", "00001c20"},
	} {
		t.Run(tt.profile.Name+"/"+tt.asked, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: tt.profile}, func(r *rig) {
				got := r.say(alice, "0002 0000 1234 5678 "+tt.asked)
				if want := "0082 0000 00000005 1234 "; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " "+tt.told) {
					r.t.Fatalf("got %q, want %q… and lifetime %s", got, want, tt.told)
				}
				seconds := time.Duration(parse32(r.t, tt.told)) * time.Second
				time.Sleep(seconds - time.Millisecond)
				if n := len(r.rules()); n != 1 {
					r.t.Errorf("%d rules a moment before the end, want 1", n)
				}
				time.Sleep(time.Second)
				r.empty()
			})
		})
	}
}

// parse32 reads the last field of a reply.
func parse32(t *testing.T, field string) uint32 {
	t.Helper()
	b := unhex(t, field)
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// TestRFC6886RenewalMeetsExpiry: a renewal in the last moment wins (RFC 6886 §3.4).
func TestRFC6886RenewalMeetsExpiry(t *testing.T) {
	t.Parallel()
	cfg := asRFC()
	cfg.Profile.ReplyDelay = 20 * time.Millisecond
	onBench(t, cfg, func(r *rig) {
		r.expect(alice, "0002 0000 1234 5678 0000000a", "0082 0000 00000005 1234 5678 0000000a")
		mark := r.Router.Mark()
		time.Sleep(10*time.Second - 10*time.Millisecond)
		r.expect(alice, "0002 0000 1234 5678 0000000a", "0082 0000 0000000f 1234 5678 0000000a")
		for _, command := range r.commands(mark) {
			if command != "/ip/firewall/nat/print" {
				r.t.Errorf("the router was sent %s", command)
			}
		}
		r.agree()
	})
}
