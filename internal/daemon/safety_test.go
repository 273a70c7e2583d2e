package daemon_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// What the operator keeps back is refused with result 2, what is used up with
// result 4, and neither costs the router or the gateway anything.
func TestLimitsAndPolicy(t *testing.T) {
	t.Parallel()
	environ := map[string]string{
		"MAX_MAPPINGS": "5", "MAX_MAPPINGS_PER_CLIENT": "3", "ALLOWED_PORTS": "1024-65535", "DENIED_PORTS": "3389,5900-5910",
	}
	carol := netip.MustParseAddr("192.168.88.12")
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC(), Environ: environ}, func(r *rig) {
		for port := range uint16(3) {
			r.mapped(alice, natpmp.OpMapTCP, 2000+port)
		}
		for port := range uint16(2) {
			r.mapped(bob, natpmp.OpMapUDP, 2000+port)
		}
		mark, asked := r.Router.Mark(), r.requests()
		for _, tt := range []struct {
			name   string
			client netip.Addr
			port   uint16
			want   natpmp.ResultCode
		}{
			{"one client's limit", alice, 2003, natpmp.ResultOutOfResources},
			{"the limit of all", bob, 2003, natpmp.ResultOutOfResources},
			{"the limit of all, a new client", carol, 2000, natpmp.ResultOutOfResources},
			{"a port that is not allowed", alice, 22, natpmp.ResultNotAuthorized},
			{"a port that is denied", alice, 3389, natpmp.ResultNotAuthorized},
			{"a port of a range that is denied", carol, 5905, natpmp.ResultNotAuthorized},
			{"all ports at once", alice, 0, natpmp.ResultNotAuthorized},
		} {
			if got := r.ask(tt.client, natpmp.OpMapTCP, tt.port, 0); got.Result != tt.want || got.ExternalPort != 0 || got.Lifetime != 0 {
				r.t.Errorf("%s: answered %+v, want %v", tt.name, got, tt.want)
			}
		}
		if did := r.commands(mark); len(did) > 0 || r.requests() != asked {
			r.t.Errorf("refusals cost the router %v and the gateway %d packets", did, r.requests()-asked)
		}
		if got := r.ask(alice, natpmp.OpMapTCP, 2000, 0).Result; got != natpmp.ResultSuccess {
			r.t.Errorf("a renewal at the limit was answered %v", got)
		}
		r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 2000})
		r.mapped(carol, natpmp.OpMapTCP, 2000)
		r.agree()
	})
}

// Hosts that are no clients get no answer to anything: strangers, those that the
// operator denies, the router by all its addresses, and the gateway.
func TestSilenceForWhoIsNoClient(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Environ: map[string]string{"DENIED_CLIENTS": "192.168.88.64/26"}}, func(r *rig) {
		mark, asked := r.Router.Mark(), r.requests()
		for _, source := range []string{
			"203.0.113.9", "192.0.2.1", "192.168.88.70", "0.0.0.0", "224.0.0.1", "255.255.255.255",
			routerostest.LANAddress, routerostest.TunnelAddress, routerostest.WANAddress, "172.30.254.1", routerostest.GatewayAddress,
		} {
			for _, packet := range []string{
				"\x00\x00", "\x00\x02\x00\x00\x00\x50\x00\x50\x00\x00\x0e\x10", "\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
				"\x02\x00", "\x00\x03", "\x01\x01", "\x00\x80", "",
			} {
				if got := r.Ask(netip.MustParseAddr(source), []byte(packet), 9*time.Second); got != nil {
					r.t.Errorf("%s got %x for %x", source, got, packet)
				}
			}
		}
		writes := slices.DeleteFunc(r.commands(mark), func(c string) bool { return strings.HasSuffix(c, "/print") || c == "/ip/route/check" })
		if len(writes) > 0 || len(r.Daemon().Mappings()) > 0 {
			r.t.Errorf("the router was sent %v", writes)
		}
		// The gateway is only asked for the address, once in a while.
		if n := r.requests() - asked; n > uint64(11*8*9/20+5) {
			r.t.Errorf("the gateway got %d packets", n)
		}
		r.mapped(alice, natpmp.OpMapTCP, 80)
	})
}

// An address that the router gets while everything runs is no client's from the next
// reconcile on: it gets silence, and what it had is taken down.
func TestAddressBecomesTheRouters(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC(), Environ: map[string]string{"LEASE_POLICY": "hold"}}, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 80)
		r.mapped(bob, natpmp.OpMapTCP, 80)
		if _, err := r.Router.Add("/ip/address", routerostest.Row{"address": alice.String() + "/24", "interface": "bridge"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Second)
		for _, row := range r.OurRules("default") {
			if row["to-addresses"] == alice.String() {
				t.Errorf("a rule to the router: %v", row)
			}
		}
		mark := r.Router.Mark()
		request := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 81, Lifetime: 3600}.Append(nil)
		if got := r.Ask(alice, request, 9*time.Second); got != nil {
			t.Errorf("the router was answered %x", got)
		}
		time.Sleep(2*time.Hour + 5*time.Minute) // what it held is over
		if n := r.Router.StatsSince(mark).Writes; n > 1 {
			t.Errorf("%d writes, want bob's end at the most", n)
		}
		r.empty()
	})
}

// A program on doublenat's host that asks at 127.0.0.1 is told no, as loopback is
// another host's for the router, and costs nothing; it may know the address.
func TestLoopbackIsNoClientOfAnotherHost(t *testing.T) {
	t.Parallel()
	local := netip.MustParseAddr("127.0.0.1")
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
		mark, asked := r.Router.Mark(), r.requests()
		if got := r.ask(local, natpmp.OpMapTCP, 80, 0); got.Result != natpmp.ResultNotAuthorized {
			t.Errorf("answered %+v, want result 2", got)
		}
		if did := r.commands(mark); len(did) > 0 || r.requests() != asked {
			t.Errorf("it cost the router %v and the gateway %d packets", did, r.requests()-asked)
		}
		if got := r.send(local, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 80}); got.Result != natpmp.ResultSuccess {
			t.Errorf("a deletion of nothing was answered %v", got.Result)
		}
		if got := r.send(local, natpmp.Request{}); got.Result != natpmp.ResultSuccess {
			t.Errorf("the address was answered %v", got.Result)
		}
	})
	onBench(t, lab.BenchConfig{Environ: map[string]string{"MIKROTIK_API_ADDRESS": "127.88.0.1"}}, func(r *rig) {
		r.mapped(local, natpmp.OpMapTCP, 80)
		r.agree()
	})
}

// Who forges a client's address gets at that client's mappings, as the protocol has
// it (RFC 6886 §5), and at nothing else: not at other clients', nor at other rules.
func TestForgedClientHarmsThatClientOnly(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 80)
		kept := r.mapped(bob, natpmp.OpMapTCP, 80)
		to := netip.MustParseAddrPort(routerostest.LANAddress + ":5351")
		for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
			r.Net.Inject(netip.AddrPortFrom(alice, 5350), to, natpmp.Request{Opcode: op}.Append(nil)) // delete all
		}
		time.Sleep(time.Second)
		var left []netip.Addr
		for _, m := range r.Daemon().Mappings() {
			left = append(left, m.Key.Client)
		}
		if !slices.Equal(left, []netip.Addr{bob}) {
			r.t.Errorf("mappings are left of %v, want of bob", left)
		}
		if got := r.ask(bob, natpmp.OpMapTCP, 80, kept.ExternalPort); got.ExternalPort != kept.ExternalPort {
			r.t.Errorf("bob's port became %d", got.ExternalPort)
		}
		r.agree()
	})
}

// A gateway that lies or hands out the same port twice cannot make us forward a
// client's traffic to another, write what is not ours, or answer nonsense.
func TestHostileGateway(t *testing.T) {
	t.Parallel()
	profile := natpmptest.RFC()
	profile.Lies = []natpmptest.Lie{
		natpmptest.LieOpcode, natpmptest.LieVersion, natpmptest.LieLate, natpmptest.LieTruncated, natpmptest.LiePadded, natpmptest.LieShortError,
	}
	onBench(t, lab.BenchConfig{Profile: profile}, func(r *rig) {
		told := make(map[uint16]netip.Addr)
		for i := range uint16(30) {
			client := []netip.Addr{alice, bob}[i%2]
			got := r.ask(client, natpmp.OpMapUDP, 1000+i, 40000)
			if got.Result != natpmp.ResultSuccess {
				continue
			}
			if other, ok := told[got.ExternalPort]; ok && other != client {
				r.t.Errorf("port %d was told to %v and %v", got.ExternalPort, other, client)
			}
			if got.ExternalPort == 0 || got.Lifetime == 0 || got.Lifetime > 3600 {
				r.t.Errorf("a success of nothing: %+v", got)
			}
			told[got.ExternalPort] = client
		}
		for _, row := range r.OurRules("default") {
			if to := row["to-addresses"]; to != alice.String() && to != bob.String() || row["in-interface"] != routerostest.TunnelInterface {
				r.t.Errorf("a rule that nobody asked for: %v", row)
			}
		}
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Lies = nil })
		time.Sleep(2*time.Hour + 5*time.Minute) // what its lies left is over by then
		r.agree()
	})
}
