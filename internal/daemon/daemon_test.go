package daemon_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

const natAdd = "/ip/firewall/nat/add"

// A create costs one write and one packet and takes the two round trips; a renewal
// costs the router nothing.
func TestCost(t *testing.T) {
	t.Parallel()
	profile := natpmptest.Proton()
	profile.ReplyDelay = 30 * time.Millisecond
	onBench(t, lab.BenchConfig{Profile: profile, Router: routerostest.Config{Latency: 10 * time.Millisecond}}, func(r *rig) {
		time.Sleep(2 * time.Second)
		mark, packets, began := r.Router.Mark(), r.requests(), time.Now()
		first := r.mapped(alice, natpmp.OpMapTCP, 6881)
		if took := time.Since(began); took != 40*time.Millisecond {
			r.t.Errorf("a create took %v, want 40ms", took)
		}
		if diff := cmp.Diff([]string{natAdd}, r.commands(mark)); diff != "" {
			r.t.Errorf("router commands of a create (-want +got):\n%s", diff)
		}
		if n := r.requests() - packets; n != 1 {
			r.t.Errorf("a create took %d gateway packets, want 1", n)
		}
		time.Sleep(25 * time.Second)
		mark, packets, began = r.Router.Mark(), r.requests(), time.Now()
		again := r.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort)
		if took := time.Since(began); took != 30*time.Millisecond {
			r.t.Errorf("a renewal took %v, want 30ms", took)
		}
		if did := r.commands(mark); len(did) != 0 {
			r.t.Errorf("a renewal cost the router %v", did)
		}
		if n := r.requests() - packets; n != 1 {
			r.t.Errorf("a renewal took %d gateway packets, want 1", n)
		}
		again.Epoch = first.Epoch
		if again != first || first.Lifetime != 60 {
			r.t.Errorf("renewal answered %+v, create %+v, want the same and the gateway's 60 s", again, first)
		}
		r.agree()
	})
}

func TestManyCreatesAtOnce(t *testing.T) {
	t.Parallel()
	profile := natpmptest.RFC()
	profile.ReplyDelay = 30 * time.Millisecond
	onBench(t, lab.BenchConfig{Profile: profile, Router: routerostest.Config{Latency: 10 * time.Millisecond}}, func(r *rig) {
		time.Sleep(2 * time.Second)
		began := time.Now()
		var all sync.WaitGroup
		for i := range uint16(100) {
			client := alice
			if i >= 50 {
				client = bob
			}
			all.Go(func() { r.mapped(client, natpmp.OpMapTCP, 7000+i) })
		}
		all.Wait()
		// Three rounds of a window that opens, with 16, 32 and 52 of them, and the last rules.
		if took := time.Since(began); took < 120*time.Millisecond || took > 150*time.Millisecond {
			r.t.Errorf("100 creates took %v, want about 130ms", took)
		}
		r.agree()
	})
}

// Everything that may happen to a mapping leaves both layers as the table says.
func TestLifeOfMappings(t *testing.T) {
	t.Parallel()
	for _, profile := range []natpmptest.Profile{natpmptest.Proton(), natpmptest.Miniupnpd(), natpmptest.RFC()} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: profile, Prepare: holdRange}, func(r *rig) {
				tcp, udp := r.mapped(alice, natpmp.OpMapTCP, 6881), r.mapped(alice, natpmp.OpMapUDP, 6881)
				if tcp.ExternalPort != udp.ExternalPort {
					r.t.Errorf("TCP got %d, UDP %d", tcp.ExternalPort, udp.ExternalPort)
				}
				other := r.mapped(bob, natpmp.OpMapTCP, 6881)
				if other.ExternalPort == tcp.ExternalPort {
					r.t.Errorf("two clients were told port %d", other.ExternalPort)
				}
				// A port that somebody else's rule takes, as part of a range.
				taken := r.ask(bob, natpmp.OpMapUDP, 9, 25000)
				if taken.Result != natpmp.ResultSuccess {
					r.t.Errorf("suggesting a port of a foreign range: %+v", taken)
				}
				r.agree()

				deleted := r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881, SuggestedExternalPort: 9999})
				again := r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881})
				want := natpmp.Response{Opcode: natpmp.OpMapTCP, Epoch: deleted.Epoch, InternalPort: 6881, Address: deleted.Address}
				if deleted != want || again.Result != natpmp.ResultSuccess {
					r.t.Errorf("deleting: %+v, again: %+v", deleted, again)
				}
				r.agree()

				r.mapped(alice, natpmp.OpMapUDP, 1)
				r.mapped(alice, natpmp.OpMapTCP, 2)
				all := r.send(alice, natpmp.Request{Opcode: natpmp.OpMapUDP})
				if all.Result != natpmp.ResultSuccess || all.InternalPort != 0 {
					r.t.Errorf("deleting all: %+v", all)
				}
				r.agree()
				if n := len(r.Daemon().Mappings()); n != 3 {
					r.t.Errorf("%d mappings, want alice's TCP and bob's two", n)
				}

				time.Sleep(2*time.Hour + time.Minute)
				r.empty()
				r.mapped(alice, natpmp.OpMapTCP, 6881)
				r.mapped(bob, natpmp.OpMapUDP, 53)
				if err := r.Stop(); err != nil {
					r.t.Errorf("stopping: %v", err)
				}
				r.empty()
			})
		})
	}
}

// holdRange lets a foreign rule take most of the inner ports.
func holdRange(router *routerostest.Router) {
	_, err := router.Add("/ip/firewall/nat", routerostest.Row{
		"chain": "dstnat", "action": "dst-nat", "protocol": "udp", "dst-port": "20000-26000,27000-29990",
		"in-interface": routerostest.TunnelInterface, "to-addresses": "192.168.88.77", "comment": "by hand",
	})
	if err != nil {
		panic(fmt.Sprintf("preparing the router: %v", err)) // the test cannot mean anything then
	}
}

func TestForeignRangeIsAvoided(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Prepare: holdRange, Profile: natpmptest.RFC()}, func(r *rig) {
		for i := range uint16(50) {
			r.mapped(alice, natpmp.OpMapUDP, 100+i)
		}
		for _, m := range r.Daemon().Mappings() {
			if m.InnerPort <= 26000 || m.InnerPort >= 27000 && m.InnerPort <= 29990 {
				r.t.Errorf("inner port %d belongs to somebody else's rule", m.InnerPort)
			}
		}
		r.agree()
	})
}

func TestFailingGateway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		harm   func(*lab.Bench)
		result natpmp.ResultCode
	}{
		{"silent", func(b *lab.Bench) { b.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true }) }, natpmp.ResultNetworkFailure},
		{"refuses", func(b *lab.Bench) { b.Gateway.Refuse(true) }, natpmp.ResultNetworkFailure},
		{"result 2", result(natpmp.ResultNotAuthorized), natpmp.ResultNotAuthorized},
		{"result 3", result(natpmp.ResultNetworkFailure), natpmp.ResultNetworkFailure},
		{"result 4", result(natpmp.ResultOutOfResources), natpmp.ResultOutOfResources},
		{"result 77", result(77), natpmp.ResultNetworkFailure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{}, func(r *rig) {
				tt.harm(r.Bench)
				mark := r.Router.Mark()
				got := r.ask(alice, natpmp.OpMapTCP, 80, 8080)
				want := natpmp.Response{Opcode: natpmp.OpMapTCP, Result: tt.result, Epoch: got.Epoch, InternalPort: 80, Address: got.Address}
				if diff := cmp.Diff(want, got, cmpAddr); diff != "" {
					r.t.Errorf("reply (-want +got):\n%s", diff)
				}
				for _, command := range r.commands(mark) {
					if command != "/ip/firewall/nat/print" { // the reconciler looks now and then
						r.t.Errorf("the router was sent %s", command)
					}
				}
				r.Gateway.Refuse(false)
				r.Gateway.Adjust(func(p *natpmptest.Profile) { *p = natpmptest.Proton() })
				time.Sleep(time.Minute)
				r.mapped(alice, natpmp.OpMapTCP, 80)
				r.agree()
			})
		})
	}
}

func result(code natpmp.ResultCode) func(*lab.Bench) {
	return func(b *lab.Bench) { b.Gateway.Adjust(func(p *natpmptest.Profile) { p.Result = code }) }
}

func TestFailingRouter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fault  routerostest.Fault
		reboot bool
		result natpmp.ResultCode
	}{
		{"slow", routerostest.Fault{Kind: routerostest.FaultDelay, Command: natAdd, Delay: 3 * time.Second}, false, natpmp.ResultSuccess},
		{"very slow", routerostest.Fault{Kind: routerostest.FaultDelay, Command: natAdd, Delay: 30 * time.Second, Times: -1}, false, natpmp.ResultNetworkFailure},
		{"silent", routerostest.Fault{Kind: routerostest.FaultSilence, Command: natAdd, Times: -1}, false, natpmp.ResultNetworkFailure},
		{"cut before", routerostest.Fault{Kind: routerostest.FaultReset, Command: natAdd}, false, natpmp.ResultSuccess},
		{"reply lost", routerostest.Fault{Kind: routerostest.FaultCloseReply, Command: natAdd}, false, natpmp.ResultSuccess},
		{"trap", routerostest.Fault{Kind: routerostest.FaultTrap, Command: natAdd, Times: -1}, false, natpmp.ResultNetworkFailure},
		{"no permission", routerostest.Fault{
			Kind: routerostest.FaultTrap, Command: natAdd, Times: -1, Message: "not enough permissions (9)",
		}, false, natpmp.ResultNotAuthorized},
		{"down", routerostest.Fault{}, true, natpmp.ResultNetworkFailure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{}, func(r *rig) {
				if tt.reboot {
					r.Router.Reboot(routerostest.Reboot{Down: time.Minute})
				} else {
					r.Router.Inject(tt.fault)
				}
				if got := r.ask(alice, natpmp.OpMapTCP, 80, 0); got.Result != tt.result {
					r.t.Errorf("answered %v, want %v", got.Result, tt.result)
				}
				r.Router.ClearFaults()
				time.Sleep(3 * time.Minute) // what was owed is paid
				r.empty()
				r.mapped(alice, natpmp.OpMapTCP, 80)
				r.agree()
			})
		})
	}
}

func TestHopsOutOfReachAtStart(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Prepare: func(router *routerostest.Router) {
		router.Reboot(routerostest.Reboot{Down: 30 * time.Second})
	}}, func(r *rig) {
		if got := r.ask(alice, natpmp.OpMapTCP, 80, 0); got.Result != natpmp.ResultNetworkFailure {
			r.t.Errorf("answered %v without a router, want result 3", got.Result)
		}
		time.Sleep(time.Minute)
		r.mapped(alice, natpmp.OpMapTCP, 80)
		r.agree()
	})
}
