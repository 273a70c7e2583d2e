package daemon_test

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// onZero is a bench with ZERO_PORT=external and more settings.
func onZero(profile natpmptest.Profile, more map[string]string) lab.BenchConfig {
	environ := map[string]string{"ZERO_PORT": "external"}
	maps.Copy(environ, more)
	return lab.BenchConfig{Profile: profile, Capture: 4096, Environ: environ}
}

// TestZeroPort: what `natpmpc -a 1 0 udp 60` and its like for TCP send to ProtonVPN's
// gateway they may send to doublenat, and get the same answer, byte by byte: the port is
// one port for both protocols and leads to itself on the client (facts C16, A2).
func TestZeroPort(t *testing.T) {
	t.Parallel()
	onBench(t, onZero(natpmptest.Proton(), nil), func(r *rig) {
		r.Gateway.GrantNext(40404)
		r.expect(alice, "0001 0000 0000 0001 0000003c", "0081 0000 00000005 0000 9dd4 0000003c")
		r.expect(alice, "0002 0000 0000 0001 0000003c", "0082 0000 00000005 0000 9dd4 0000003c")
		if diff := cmp.Diff([]string{"tcp → 192.168.88.10:40404", "udp → 192.168.88.10:40404"}, r.rules()); diff != "" {
			r.t.Errorf("rules (-want +got):\n%s", diff)
		}
		mark := r.Router.Mark()
		time.Sleep(45 * time.Second) // as Proton's guide has it
		r.expect(alice, "0001 0000 0000 0001 0000003c", "0081 0000 00000032 0000 9dd4 0000003c")
		r.expect(alice, "0002 0000 0000 9dd4 0000003c", "0082 0000 00000032 0000 9dd4 0000003c")
		if n := r.Router.StatsSince(mark).Writes; n != 0 {
			r.t.Errorf("two renewals wrote to the router %d times", n)
		}
		for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
			r.reaches(op, 40404, alice, 40404)
		}
		r.mapped(alice, natpmp.OpMapUDP, 6881)
		other := r.send(bob, natpmp.Request{Opcode: natpmp.OpMapUDP, SuggestedExternalPort: 1, Lifetime: 60}).ExternalPort
		r.reaches(natpmp.OpMapUDP, other, bob, other)
		r.agree()

		// Port 0 and no lifetime still is everything of this client and protocol.
		r.expect(alice, "0001 0000 0000 0001 00000000", "0081 0000 00000033 0000 0000 00000000")
		if n := len(r.rules()); n != 2 {
			r.t.Errorf("rules %v, want tcp of the one and udp of the other", r.rules())
		}
		r.agree()
		if err := r.Stop(); err != nil {
			r.t.Errorf("stopping: %v", err)
		}
		r.empty()
	})
}

// TestZeroPortFollows: the rule leads to the new port of the client before the client is
// told of it, in the same row, with every setting of delivery and policy.
func TestZeroPortFollows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ delivery, policy string }{{"internal", "client"}, {"internal", "hold"}, {"both", "client"}, {"external", "hold"}} {
		t.Run(tt.delivery+" "+tt.policy, func(t *testing.T) {
			t.Parallel()
			profile := natpmptest.Proton()
			if tt.delivery != "internal" {
				profile = natpmptest.ProtonExternal()
			}
			onBench(t, onZero(profile, map[string]string{"GATEWAY_DELIVERY": tt.delivery, "LEASE_POLICY": tt.policy}), func(r *rig) {
				zero := natpmp.Request{Opcode: natpmp.OpMapTCP, SuggestedExternalPort: 1, Lifetime: 600}
				r.send(alice, zero)
				rule := r.onlyRule()
				for _, port := range []uint16{40404, 40505} {
					r.Gateway.GrantNext(port)
					r.Gateway.MovePorts()
					if tt.policy == "hold" {
						time.Sleep(31 * time.Second)
						r.reaches(natpmp.OpMapTCP, port, alice, port)
					}
					if got := r.send(alice, zero); got.ExternalPort != port || got.InternalPort != 0 {
						r.t.Errorf("told %+v, want port %d", got, port)
					}
					r.reaches(natpmp.OpMapTCP, port, alice, port)
				}
				if now := r.onlyRule(); now[".id"] != rule[".id"] {
					r.t.Errorf("rule %v became %v", rule, now)
				}
			})
		})
	}
}

// TestZeroPortOnlyToAllowedPorts: the gateway chooses the client's port, and the operator
// which ones may be open. A grant that is not allowed is given back.
func TestZeroPortOnlyToAllowedPorts(t *testing.T) {
	t.Parallel()
	onBench(t, onZero(natpmptest.RFC(), map[string]string{"ALLOWED_PORTS": "1024-50000", "DENIED_PORTS": "8080"}), func(r *rig) {
		r.Gateway.GrantNext(22, 8080, 50001, 60000)
		r.expect(alice, "0001 0000 0000 0016 0000003c", "0081 0002 00000005 0000 0000 00000000")
		r.empty()
		r.Gateway.GrantNext(22, 40404)
		r.expect(alice, "0001 0000 0000 0016 0000003c", "0081 0000 00000006 0000 9dd4 0000003c")
		r.agree()
		if n := len(r.Gateway.Mappings()); n != 1 {
			r.t.Errorf("%d leases, want one", n)
		}
	})
}

// TestZeroPortRestart: such a rule is adopted, or removed if it is not wanted any more.
func TestZeroPortRestart(t *testing.T) {
	t.Parallel()
	onBench(t, onZero(natpmptest.Proton(), nil), func(r *rig) {
		zero := natpmp.Request{Opcode: natpmp.OpMapTCP, SuggestedExternalPort: 1, Lifetime: 600}
		port, rule := r.send(alice, zero).ExternalPort, r.onlyRule()
		r.crash()
		r.start(nil)
		if got := r.send(alice, zero); got.ExternalPort != port || r.onlyRule()[".id"] != rule[".id"] {
			r.t.Errorf("told %+v with rule %v, before port %d with rule %v", got, r.onlyRule(), port, rule)
		}
		r.reaches(natpmp.OpMapTCP, port, alice, port)
		r.agree()
		r.crash()
		r.start(map[string]string{"ZERO_PORT": "refuse"})
		r.empty()
		if got := r.send(alice, zero); got.Result != natpmp.ResultNotAuthorized {
			r.t.Errorf("got %+v", got)
		}
	})
}

// TestZeroPortInSymmetricMode: one port all the way, as on a host that has the tunnel itself.
func TestZeroPortInSymmetricMode(t *testing.T) {
	t.Parallel()
	onBench(t, onZero(natpmptest.Proton(), map[string]string{"GATEWAY_SYMMETRIC": "on"}), func(r *rig) {
		began := time.Now()
		r.Gateway.GrantNext(40404)
		r.expect(alice, "0001 0000 0000 0001 0000003c", "0081 0000 00000005 0000 9dd4 0000003c")
		r.expect(bob, "0001 0000 0000 0001 0000003c", "0081 0004 00000005 0000 0000 00000000")
		r.reaches(natpmp.OpMapUDP, 40404, alice, 40404)
		if diff := cmp.Diff([]string{"00010000000000010000003c"}, r.asked(began)); diff != "" {
			r.t.Errorf("asked the gateway (-want +got):\n%s", diff)
		}
		r.neverDeletesAll()
	})
}
