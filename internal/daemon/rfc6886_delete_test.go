package daemon_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

const (
	natRemove = "/ip/firewall/nat/remove"
	unmapTCP  = "0002 0000 1234 0000 00000000"
	unmapped  = "0082 0000 00000005 1234 0000 00000000"
)

// TestRFC6886Delete: the same reply whatever is suggested, however often, and
// whether there was something or not (RFC 6886 §3.4).
func TestRFC6886Delete(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		r.expect(alice, unmapTCP, unmapped)
		r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
		r.expect(bob, unmapTCP, unmapped) // his own, of which there is none
		r.expect(alice, "0001 0000 1234 5678 00000000", "0081 0000 00000005 1234 0000 00000000")
		if diff := cmp.Diff([]string{"tcp → 192.168.88.10:4660"}, r.rules()); diff != "" {
			r.t.Errorf("rules after deletions of others (-want +got):\n%s", diff)
		}
		r.expect(alice, "0002 ffff 1234 9999 00000000", unmapped)
		r.expect(alice, unmapTCP, unmapped)
		r.empty()
	})
}

// TestRFC6886DeleteAll: all of that client and that protocol, and nothing else;
// the gateway is never asked to do the same (RFC 6886 §3.4, decision D3).
func TestRFC6886DeleteAll(t *testing.T) {
	t.Parallel()
	for _, profile := range []natpmptest.Profile{natpmptest.RFC(), natpmptest.Miniupnpd(), natpmptest.Proton()} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: profile, Capture: 4096}, func(r *rig) {
				began := time.Now()
				r.expect(alice, "0001 0000 0000 9999 00000000", "0081 0000 00000005 0000 0000 00000000")
				r.mapped(alice, natpmp.OpMapUDP, 1)
				r.mapped(alice, natpmp.OpMapUDP, 2)
				r.mapped(alice, natpmp.OpMapTCP, 1)
				r.mapped(bob, natpmp.OpMapUDP, 1)
				r.expect(alice, "0001 0000 0000 9999 00000000", "0081 0000 00000005 0000 0000 00000000")
				if diff := cmp.Diff([]string{"tcp → 192.168.88.10:1", "udp → 192.168.88.11:1"}, r.rules()); diff != "" {
					r.t.Errorf("rules that are left (-want +got):\n%s", diff)
				}
				r.agree()
				for _, packet := range r.asked(began) {
					if packet[8:12] == "0000" {
						r.t.Errorf("the gateway was sent %s", packet)
					}
				}
			})
		})
	}
}

// TestRFC6886DeleteFails: a deletion that the router does not carry out is
// answered with an error, goes on by itself, and does not keep the others (§3.4).
func TestRFC6886DeleteFails(t *testing.T) {
	t.Parallel()
	refuse := routerostest.Fault{Kind: routerostest.FaultTrap, Command: natRemove, Message: "not enough permissions (9)"}
	t.Run("one", func(t *testing.T) {
		t.Parallel()
		onBench(t, asRFC(), func(r *rig) {
			r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
			refuse := refuse
			refuse.Times = -1
			r.Router.Inject(refuse)
			r.expect(alice, unmapTCP, "0082 0002 00000005 1234 0000 00000000")
			r.expect(alice, unmapTCP, "0082 0002 00000005 1234 0000 00000000")
			if n := len(r.rules()); n != 1 || len(r.Daemon().Mappings()) != 1 {
				r.t.Errorf("%d rules and mappings %v, want one of each", n, r.Daemon().Mappings())
			}
			r.mend()
			r.empty()
		})
	})
	t.Run("one of three", func(t *testing.T) {
		t.Parallel()
		onBench(t, asRFC(), func(r *rig) {
			for port := range uint16(3) {
				r.mapped(alice, natpmp.OpMapUDP, 1+port)
			}
			r.Router.Inject(refuse)
			r.expect(alice, "0001 0000 0000 0000 00000000", "0081 0002 00000005 0000 0000 00000000")
			if rules := r.rules(); len(rules) != 1 {
				r.t.Errorf("rules %v, want the one whose removal was refused", rules)
			}
			r.mend()
			r.empty()
		})
	})
	t.Run("router is down", func(t *testing.T) {
		t.Parallel()
		onBench(t, asRFC(), func(r *rig) {
			r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
			r.Router.Reboot(routerostest.Reboot{Down: time.Minute})
			r.expect(alice, unmapTCP, "0082 0003 0000000a 1234 0000 00000000")
			r.mend()
			r.empty()
		})
	})
	t.Run("gateway is down", func(t *testing.T) {
		t.Parallel()
		onBench(t, asRFC(), func(r *rig) {
			r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
			r.Gateway.Refuse(true)
			time.Sleep(time.Second)
			// Nothing is forwarded any more, so the mapping is gone; the lease is
			// given back as soon as the gateway is there.
			r.expect(alice, unmapTCP, "0082 0000 00000006 1234 0000 00000000")
			r.mend()
			r.empty()
		})
	})
}

// TestRFC6886DeleteByHand: what an operator's own rule forwards is not a client's
// to delete (RFC 6886 §3.4, decision D10). The router has such a rule at first.
func TestRFC6886DeleteByHand(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		nas := netip.MustParseAddr("192.168.88.20")
		r.expect(nas, "0002 0000 0016 0000 00000000", "0082 0002 00000005 0016 0000 00000000") // ssh
		r.expect(nas, "0001 0000 0016 0000 00000000", "0081 0000 00000005 0016 0000 00000000") // it is TCP
		r.expect(nas, "0002 0000 0017 0000 00000000", "0082 0000 00000005 0017 0000 00000000") // another port
		r.mapped(nas, natpmp.OpMapTCP, 80)
		r.expect(nas, "0002 0000 0000 0000 00000000", "0082 0002 00000005 0000 0000 00000000") // all but that
		r.empty()

		// A client that asks for that port gets a mapping of its own beside it: the
		// rule says nothing about a port at the gateway.
		r.expect(nas, "0002 0000 0016 5678 00000e10", "0082 0000 00000006 0016 5678 00000e10")
		r.expect(nas, "0002 0000 0016 0000 00000000", "0082 0000 00000006 0016 0000 00000000")
		r.empty()
	})
}
