package daemon_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// onSymmetric is a bench with GATEWAY_SYMMETRIC.
func onSymmetric(profile natpmptest.Profile, policy string) lab.BenchConfig {
	return lab.BenchConfig{
		Profile: profile, Capture: 4096,
		Environ: map[string]string{"GATEWAY_SYMMETRIC": "true", "LEASE_POLICY": policy, "SHUTDOWN": "clean"},
	}
}

// symmetric fails the test unless both protocols' rules match this external port, beside
// the inner one, and packets for it lead to alice; and unless the gateway never got a
// request for internal port 0 that deletes.
func (r *rig) symmetric(external uint16) {
	r.t.Helper()
	for _, m := range r.Daemon().Mappings() {
		row, _ := r.Router.Find(natPath, ".id", m.RuleID)
		if want := fmt.Sprintf("%d,%d", m.InnerPort, external); row["dst-port"] != want || m.ExternalPort != external {
			r.t.Errorf("mapping %+v with rule %v, want it to match %s", m, row, want)
		}
	}
	for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
		r.reaches(op, external, alice, 6881)
	}
	r.neverDeletesAll()
}

// neverDeletesAll fails the test if the gateway was asked to end everything (facts C11).
func (r *rig) neverDeletesAll() {
	r.t.Helper()
	for _, packet := range r.asked(time.Time{}) {
		if req, err := natpmp.ParseRequest(unhex(r.t, packet)); err != nil || req.InternalPort == 0 && req.Lifetime == 0 {
			r.t.Errorf("the gateway was sent %s", packet)
		}
	}
}

// TestSymmetricMode: the tunnel's one port, from the Internet to the client and through
// a change, and only one port of one client has it (facts C3).
func TestSymmetricMode(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"client", "hold"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			onBench(t, onSymmetric(natpmptest.Proton(), policy), func(r *rig) {
				r.Gateway.GrantNext(40100)
				began := time.Now()
				r.expect(alice, "0002 0000 1ae1 1ae1 00000e10", "0082 0000 00000005 1ae1 9ca4 0000003c")
				r.expect(alice, "0001 0000 1ae1 1ae1 00000e10", "0081 0000 00000005 1ae1 9ca4 0000003c")
				if diff := cmp.Diff([]string{"000200000000000100000e10", "000100000000000100000e10"}, r.asked(began)); diff != "" {
					r.t.Errorf("asked the gateway (-want +got):\n%s", diff)
				}
				time.Sleep(2 * time.Second)
				r.symmetric(40100)
				asked := len(r.asked(began))
				r.expect(bob, "0002 0000 1ae1 0000 00000e10", "0082 0004 00000007 1ae1 0000 00000000")
				r.expect(alice, "0002 0000 1ae2 0000 00000e10", "0082 0004 00000007 1ae2 0000 00000000")
				if n := len(r.asked(began)); n != asked {
					r.t.Errorf("what cannot be had cost %d packets", n-asked)
				}

				ids := r.ids("default")
				r.Gateway.GrantNext(40404)
				r.Gateway.MovePorts()
				if policy == "hold" {
					time.Sleep(31 * time.Second) // Nobody asks but the daemon.
				}
				for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
					if got := r.mapped(alice, op, 6881); got.ExternalPort != 40404 {
						r.t.Errorf("told %+v", got)
					}
				}
				for range 8 { // past the lease of the old port and the reconcile after it
					time.Sleep(20 * time.Second)
					r.mapped(alice, natpmp.OpMapTCP, 6881)
					r.mapped(alice, natpmp.OpMapUDP, 6881)
				}
				r.symmetric(40404)
				if diff := cmp.Diff(ids, r.ids("default")); diff != "" {
					r.t.Errorf("rules (-before +after):\n%s", diff)
				}
			})
		})
	}
}

// TestSymmetricModeReleasesNothing: neither a deletion nor a stop sends anything to the
// gateway, and the port is there for whoever asks next.
func TestSymmetricModeReleasesNothing(t *testing.T) {
	t.Parallel()
	onBench(t, onSymmetric(natpmptest.Proton(), "client"), func(r *rig) {
		port := r.mapped(alice, natpmp.OpMapTCP, 6881).ExternalPort
		r.mapped(alice, natpmp.OpMapUDP, 6881)
		time.Sleep(time.Second)
		began := time.Now()
		r.expect(alice, "0002 0000 0000 0000 00000000", "0082 0000 00000006 0000 0000 00000000")
		r.expect(alice, "0001 0000 1ae1 0000 00000000", "0081 0000 00000006 1ae1 0000 00000000")
		if n := len(r.OurRules("default")); n != 0 || len(r.asked(began)) != 0 {
			r.t.Errorf("%d rules left, the gateway was sent %v", n, r.asked(began))
		}
		if got := r.mapped(bob, natpmp.OpMapTCP, 80); got.ExternalPort != port {
			r.t.Errorf("the next one got port %d, want %d", got.ExternalPort, port)
		}
		r.reaches(natpmp.OpMapTCP, port, bob, 80)
		time.Sleep(time.Second)
		began = time.Now()
		if err := r.Stop(); err != nil {
			r.t.Errorf("stopping: %v", err)
		}
		if n := len(r.OurRules("default")); n != 0 || len(r.asked(began)) != 0 {
			r.t.Errorf("%d rules left, the gateway was sent %v", n, r.asked(began))
		}
		r.neverDeletesAll()
		if n := r.Gateway.Stats().Deletes; n != 0 {
			r.t.Errorf("the gateway counted %d deletions", n)
		}
	})
}

// TestSymmetricModeRestart: who had the mapping has it after a crash.
func TestSymmetricModeRestart(t *testing.T) {
	t.Parallel()
	onBench(t, onSymmetric(natpmptest.Proton(), "client"), func(r *rig) {
		port := r.mapped(alice, natpmp.OpMapTCP, 6881).ExternalPort
		r.mapped(alice, natpmp.OpMapUDP, 6881)
		ids := r.ids("default")
		r.crash()
		mark := r.Router.Mark()
		r.start(nil)
		if got := r.ask(bob, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultOutOfResources {
			r.t.Errorf("another client got %+v", got)
		}
		if got := r.mapped(alice, natpmp.OpMapTCP, 6881); got.ExternalPort != port {
			r.t.Errorf("told port %d, want %d", got.ExternalPort, port)
		}
		r.symmetric(port)
		if diff := cmp.Diff(ids, r.ids("default")); diff != "" || r.Router.StatsSince(mark).Writes != 0 {
			r.t.Errorf("%d writes, rules (-before +after):\n%s", r.Router.StatsSince(mark).Writes, diff)
		}
	})
}

// TestSymmetricModeRefused: a gateway without such a mapping is asked for named ports,
// and its packets, which arrive on the inner port, find their rule (facts C8).
func TestSymmetricModeRefused(t *testing.T) {
	t.Parallel()
	t.Run("miniupnpd", func(t *testing.T) {
		t.Parallel()
		onBench(t, onSymmetric(natpmptest.Miniupnpd(), "client"), func(r *rig) {
			for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
				r.reaches(op, r.ask(alice, op, 6881, 6881).ExternalPort, alice, 6881)
			}
			if got := r.ask(bob, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultOutOfResources {
				r.t.Errorf("another client got %+v", got)
			}
			r.symmetric(6881)
			if err := r.Stop(); err != nil {
				r.t.Errorf("stopping: %v", err)
			}
			r.empty()
			r.neverDeletesAll()
		})
	})
	t.Run("unauth", func(t *testing.T) {
		t.Parallel()
		onBench(t, onSymmetric(natpmptest.Unauthorized(), "client"), func(r *rig) {
			mark, began := r.Router.Mark(), time.Now()
			for range 2 {
				if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultNotAuthorized {
					r.t.Errorf("got %+v", got)
				}
			}
			// Once for internal port 0, then by name; once more with a suggestion.
			if n := len(r.asked(began)); n != 4 || r.Router.StatsSince(mark).Writes != 0 {
				r.t.Errorf("asked %v; router written to %d times", r.asked(began), r.Router.StatsSince(mark).Writes)
			}
		})
	})
}

// TestSymmetricModeWithOthersRules: where somebody else's rule takes the tunnel's port
// there is no mapping, and the rule is left alone.
func TestSymmetricModeWithOthersRules(t *testing.T) {
	t.Parallel()
	cfg := onSymmetric(natpmptest.Proton(), "client")
	cfg.Prepare = func(box *routerostest.Router) {
		if _, err := box.Add(natPath, routerostest.Row{
			"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "in-interface": routerostest.TunnelInterface,
			"dst-port": "40100", "to-addresses": "192.168.88.20", "to-ports": "22",
		}); err != nil {
			t.Fatal(err)
		}
	}
	onBench(t, cfg, func(r *rig) {
		r.Gateway.GrantNext(40100)
		if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultOutOfResources {
			r.t.Errorf("got %+v", got)
		}
		if n := len(r.OurRules("default")); n != 0 || !r.OthersUntouched() {
			r.t.Errorf("%d rules of ours, others untouched: %v", n, r.OthersUntouched())
		}
	})
}
