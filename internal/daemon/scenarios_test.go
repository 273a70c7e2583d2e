package daemon_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// The tests of this file are what a VPN gateway, a router and their clients do to
// each other in the field. docs/gateways.md lists them.

var (
	gatewayHost = netip.MustParseAddr("10.2.0.1")
	tunnelHost  = netip.MustParseAddr("10.2.0.2")
)

// leads returns where a packet to an external port arrives, through the gateway's
// lease and the router's rule; the zero value is nowhere.
func (r *rig) leads(op natpmp.Opcode, external uint16) netip.AddrPort {
	lease, ok := r.Gateway.Lookup(op, external)
	if !ok {
		return netip.AddrPort{}
	}
	to, _, _ := r.Router.Match(op.String(), routerostest.TunnelInterface, lease.Target.Port())
	return to
}

// reaches fails the test unless the external port leads to the client's port.
func (r *rig) reaches(op natpmp.Opcode, external uint16, client netip.Addr, port uint16) {
	r.t.Helper()
	if got, want := r.leads(op, external), netip.AddrPortFrom(client, port); got != want {
		r.t.Errorf("%v port %d leads to %v, want %v", op, external, got, want)
	}
}

// onlyRule returns our one rule, and fails the test if there are others.
func (r *rig) onlyRule() routerostest.Row {
	r.t.Helper()
	rules := r.OurRules("default")
	if len(rules) != 1 {
		r.t.Fatalf("%d rules, want one", len(rules))
	}
	return rules[0]
}

// lastAsked returns the last map request that reached the gateway.
func (r *rig) lastAsked() natpmp.Request {
	r.t.Helper()
	for _, p := range slices.Backward(r.Net.Packets(natpmptest.PacketDelivered)) {
		if p.To.Addr() != gatewayHost {
			continue
		}
		if req, err := natpmp.ParseRequest(p.Payload); err == nil && req.Opcode != natpmp.OpExternalAddress {
			return req
		}
	}
	r.t.Fatal("the gateway was asked for nothing")
	return natpmp.Request{}
}

// A port that changes while a connection runs through the rule: the rule stays the
// same row of the router all the time, so the connection lives. Where the rule
// matches the external port, it matches the old one too until that lease is over.
func TestPortChangesUnderAConnection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		delivery, policy string
		profile          natpmptest.Profile
	}{
		{"internal", "client", natpmptest.Proton()},
		{"internal", "hold", natpmptest.Proton()},
		{"external", "client", natpmptest.ProtonExternal()},
		{"both", "client", natpmptest.ProtonExternal()},
		{"both", "hold", natpmptest.Proton()},
	} {
		t.Run(tt.delivery+" "+tt.policy, func(t *testing.T) {
			t.Parallel()
			environ := map[string]string{"GATEWAY_DELIVERY": tt.delivery, "LEASE_POLICY": tt.policy}
			onBench(t, lab.BenchConfig{Profile: tt.profile, Environ: environ}, func(r *rig) {
				before := r.mapped(alice, natpmp.OpMapTCP, 6881).ExternalPort
				rule, mark := r.onlyRule(), r.Router.Mark()
				r.reaches(natpmp.OpMapTCP, before, alice, 6881)
				r.Gateway.GrantNext(40404)
				r.Gateway.MovePorts()
				if tt.policy == "hold" {
					time.Sleep(31 * time.Second) // Nobody asks but the daemon.
				}
				told := r.mapped(alice, natpmp.OpMapTCP, 6881)
				if told.ExternalPort != 40404 || told.Lifetime != 60 {
					r.t.Errorf("told %+v, want port 40404 for 60 s", told)
				}
				r.reaches(natpmp.OpMapTCP, 40404, alice, 6881)
				if old, _, _ := r.Router.Match("tcp", routerostest.TunnelInterface, before); tt.delivery != "internal" && !old.IsValid() {
					r.t.Error("the old port is matched no longer")
				}
				for range 8 {
					time.Sleep(20 * time.Second)
					r.mapped(alice, natpmp.OpMapTCP, 6881)
					if now := r.onlyRule(); now[".id"] != rule[".id"] {
						r.t.Fatalf("rule %v became %v", rule, now)
					}
				}
				if old, _, _ := r.Router.Match("tcp", routerostest.TunnelInterface, before); old.IsValid() {
					r.t.Errorf("the old port still leads to %v", old)
				}
				for _, command := range r.commands(mark) {
					if command == natAdd || command == "/ip/firewall/nat/remove" {
						r.t.Errorf("the router was sent %s", command)
					}
				}
				r.reaches(natpmp.OpMapTCP, 40404, alice, 6881)
			})
		})
	}
}

// A gateway that refuses for five minutes, whose client renews meanwhile, in time for
// what it is granted: each time it is told success and its port.
func TestClientRenewsWhileGatewayRefuses(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"client", "hold"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Environ: map[string]string{"LEASE_POLICY": policy}}, func(r *rig) {
				first := r.mapped(alice, natpmp.OpMapTCP, 6881)
				r.Gateway.Refuse(true)
				next := first
				for began := time.Now(); time.Since(began) < 5*time.Minute; {
					time.Sleep(time.Duration(next.Lifetime) * time.Second * 3 / 4)
					asked := time.Now()
					next = r.mapped(alice, natpmp.OpMapTCP, 6881)
					if took := time.Since(asked); took > 250*time.Millisecond || next.ExternalPort != first.ExternalPort || next.Lifetime < 15 {
						r.t.Errorf("told %+v after %v, want port %d", next, took, first.ExternalPort)
					}
				}
				r.Gateway.Refuse(false)
				time.Sleep(30 * time.Second)
				next = r.mapped(alice, natpmp.OpMapTCP, 6881)
				r.reaches(natpmp.OpMapTCP, next.ExternalPort, alice, 6881)
				r.agree()
			})
		})
	}
}

// A daemon that is killed and started again inside a lease asks for the same ports;
// rule, lease and what the client is told stay as they were.
func TestRestartInsideALease(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Capture: 4096}, func(r *rig) {
		before := r.mapped(alice, natpmp.OpMapTCP, 6881)
		rule := r.onlyRule()
		asked := r.lastAsked()
		time.Sleep(10 * time.Second)
		r.Kill()
		r.start(nil)
		want := natpmp.Request{
			Opcode: natpmp.OpMapTCP, InternalPort: asked.InternalPort, SuggestedExternalPort: before.ExternalPort, Lifetime: 3600,
		}
		if diff := cmp.Diff(want, r.lastAsked()); diff != "" {
			r.t.Errorf("asked after the restart (-want +got):\n%s", diff)
		}
		after := r.mapped(alice, natpmp.OpMapTCP, 6881)
		if after.ExternalPort != before.ExternalPort || r.onlyRule()[".id"] != rule[".id"] {
			r.t.Errorf("told %+v by rule %v, before %+v by %v", after, r.onlyRule(), before, rule)
		}
		r.agree()
	})
}

// Two clients with the same internal port get a way each.
func TestTwoClientsWithOneInternalPort(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{}, func(r *rig) {
		for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
			a, b := r.mapped(alice, op, 6881), r.mapped(bob, op, 6881)
			r.reaches(op, a.ExternalPort, alice, 6881)
			r.reaches(op, b.ExternalPort, bob, 6881)
		}
		r.agree()
	})
}

// A client's delete-all ends its own mappings, one by one: a gateway to which all
// clients are one would end everybody's.
func TestDeleteAllLeavesOtherClientsAlone(t *testing.T) {
	t.Parallel()
	for _, profile := range []natpmptest.Profile{natpmptest.Proton(), natpmptest.Miniupnpd()} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: profile, Capture: 4096}, func(r *rig) {
				r.mapped(alice, natpmp.OpMapTCP, 1)
				r.mapped(alice, natpmp.OpMapTCP, 2)
				udp, others := r.mapped(alice, natpmp.OpMapUDP, 1), r.mapped(bob, natpmp.OpMapTCP, 1)
				if got := r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP}); got.Result != natpmp.ResultSuccess {
					r.t.Errorf("delete-all was answered %v", got.Result)
				}
				r.agree()
				r.reaches(natpmp.OpMapUDP, udp.ExternalPort, alice, 1)
				r.reaches(natpmp.OpMapTCP, others.ExternalPort, bob, 1)
				if n := len(r.Gateway.Mappings()); n != 2 {
					r.t.Errorf("%d leases, want two", n)
				}
				for _, p := range r.Net.Packets(natpmptest.PacketDelivered) {
					req, err := natpmp.ParseRequest(p.Payload)
					if p.To.Addr() == gatewayHost && err == nil && req.Opcode != natpmp.OpExternalAddress && req.InternalPort == 0 {
						r.t.Errorf("the gateway was sent %+v", req)
					}
				}
			})
		})
	}
}

// A router that comes back without our rules gets them again, without a client and
// with the same ports.
func TestRouterRebootsWithoutItsRules(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Environ: map[string]string{"LEASE_POLICY": "hold"}}, func(r *rig) {
		told := make(map[netip.Addr]uint16)
		for _, client := range []netip.Addr{alice, bob} {
			told[client] = r.mapped(client, natpmp.OpMapUDP, 7000).ExternalPort
		}
		r.Router.Reboot(routerostest.Reboot{Down: 20 * time.Second})
		for _, rule := range r.OurRules("default") {
			if err := r.Router.Remove("/ip/firewall/nat", rule[".id"]); err != nil {
				r.t.Fatal(err)
			}
		}
		time.Sleep(65 * time.Second) // The reconciler looks once a minute.
		for client, port := range told {
			r.reaches(natpmp.OpMapUDP, port, client, 7000)
		}
		r.agree()
	})
}

// A reply that got lost: the gateway has a lease of which we do not know. The next
// request takes it over, and none is left behind.
func TestReplyToACreateIsLost(t *testing.T) {
	t.Parallel()
	for _, profile := range []natpmptest.Profile{natpmptest.Proton(), natpmptest.Miniupnpd(), natpmptest.RFC()} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: profile}, func(r *rig) {
				r.Net.SetFaults(natpmptest.Between(gatewayHost, tunnelHost), natpmptest.Faults{Blackhole: true})
				if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultNetworkFailure {
					r.t.Errorf("answered %v, want result 3", got.Result)
				}
				if n := len(r.Gateway.Mappings()); n != 1 {
					r.t.Fatalf("the gateway has %d leases, want the one that we do not know", n)
				}
				r.Net.ClearFaults()
				got := r.mapped(alice, natpmp.OpMapTCP, 6881)
				r.reaches(natpmp.OpMapTCP, got.ExternalPort, alice, 6881)
				r.agree()
			})
		})
	}
}

// A line that is dead for 61 s, longer than a lease lives: the client notices
// nothing but, perhaps, another port.
func TestLineIsDeadForLongerThanALease(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"client", "hold"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Environ: map[string]string{"LEASE_POLICY": policy}}, func(r *rig) {
				first := r.mapped(alice, natpmp.OpMapTCP, 6881)
				dead := natpmptest.Faults{Loss: 1}
				r.Net.SetFaults(natpmptest.Between(gatewayHost, tunnelHost), dead)
				r.Net.SetFaults(natpmptest.Between(tunnelHost, gatewayHost), dead)
				got, began := first, time.Now()
				for time.Since(began) < 50*time.Second {
					time.Sleep(time.Duration(got.Lifetime) * time.Second / 2)
					if got = r.mapped(alice, natpmp.OpMapTCP, 6881); got.ExternalPort != first.ExternalPort {
						r.t.Errorf("told %+v, want port %d", got, first.ExternalPort)
					}
				}
				time.Sleep(time.Until(began.Add(61 * time.Second)))
				r.Net.ClearFaults()
				time.Sleep(10 * time.Second)
				r.mapped(alice, natpmp.OpMapTCP, 6881)
				time.Sleep(10 * time.Second)
				got = r.mapped(alice, natpmp.OpMapTCP, 6881)
				r.reaches(natpmp.OpMapTCP, got.ExternalPort, alice, 6881)
				r.agree()
			})
		})
	}
}

// A gateway that restarts has forgotten everything: all is asked for again without
// the clients, who hear of it only if a port is another one.
func TestGatewayRestarts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		profile natpmptest.Profile
		moves   bool
	}{{natpmptest.RFC(), false}, {natpmptest.Proton(), true}} {
		t.Run(fmt.Sprint("moves ", tt.moves), func(t *testing.T) {
			t.Parallel()
			hold := map[string]string{"LEASE_POLICY": "hold"}
			onBench(t, lab.BenchConfig{Profile: tt.profile, Environ: hold}, func(r *rig) {
				time.Sleep(time.Hour)
				before := r.mapped(alice, natpmp.OpMapTCP, 6881)
				r.mapped(bob, natpmp.OpMapUDP, 6881)
				rules := r.OurRules("default")
				r.Gateway.Restart(false)
				time.Sleep(70 * time.Second)
				r.agree()
				after := r.mapped(alice, natpmp.OpMapTCP, 6881)
				if moved := after.ExternalPort != before.ExternalPort; moved != tt.moves {
					r.t.Errorf("port %d became %d", before.ExternalPort, after.ExternalPort)
				}
				if reset := after.Epoch < before.Epoch; reset != tt.moves {
					r.t.Errorf("epoch %d became %d, ports moved: %v", before.Epoch, after.Epoch, tt.moves)
				}
				for i, rule := range r.OurRules("default") {
					if rule[".id"] != rules[i][".id"] {
						r.t.Errorf("rule %v became %v", rules[i], rule)
					}
				}
			})
		})
	}
}

// A client that maps TCP alone gets UDP on the same port, if that is wanted.
func TestClientWithTCPOnly(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Environ: map[string]string{"COMPANION": "on"}}, func(r *rig) {
		port := r.mapped(alice, natpmp.OpMapTCP, 51413).ExternalPort
		time.Sleep(time.Second)
		r.reaches(natpmp.OpMapTCP, port, alice, 51413)
		r.reaches(natpmp.OpMapUDP, port, alice, 51413)
		r.agree()
	})
	onBench(t, lab.BenchConfig{}, func(r *rig) {
		port := r.mapped(alice, natpmp.OpMapTCP, 51413).ExternalPort
		time.Sleep(time.Second)
		if to := r.leads(natpmp.OpMapUDP, port); to.IsValid() {
			r.t.Errorf("UDP leads to %v, which nobody asked for", to)
		}
	})
}

// A client that comes back after half an hour, whatever it was granted, is mapped all
// the time with policy hold, and with policy client until its lease is over.
func TestClientThatRenewsAfterHalfAnHour(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"client", "hold"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Environ: map[string]string{"LEASE_POLICY": policy}}, func(r *rig) {
				port := r.mapped(alice, natpmp.OpMapTCP, 22000).ExternalPort
				for range 4 {
					for range 30 {
						time.Sleep(time.Minute)
						if leads := r.leads(natpmp.OpMapTCP, port).IsValid(); leads != (policy == "hold") {
							r.t.Fatalf("port %d leads to the client: %v", port, leads)
						}
					}
					port = r.mapped(alice, natpmp.OpMapTCP, 22000).ExternalPort
				}
				r.agree()
			})
		})
	}
}
