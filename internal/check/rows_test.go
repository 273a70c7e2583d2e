package check_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/routeros/routerostest"
)

// rowTroubles are rows that do not do what they say.
func rowTroubles() []trouble {
	return []trouble{
		{
			name: "an invalid rule of ours", probe: "rules", level: check.Warn, kind: check.KindInvalid,
			text: `in-interface not ready; the router says "in-interface not ready"; fix that, then remove the rule`,
			provoke: func(r *rig) {
				r.serve()
				for _, ours := range r.OurRules("default") {
					if err := r.Router.Set(natPath, ours[".id"], routerostest.Row{"invalid": "true", ".about": "in-interface not ready"}); err != nil {
						r.t.Fatal(err)
					}
				}
				r.Kill()
			},
			mend: func(r *rig) {
				for _, ours := range r.OurRules("default") {
					if err := r.Router.Set(natPath, ours[".id"], routerostest.Row{"invalid": "false", ".about": ""}); err != nil {
						r.t.Fatal(err)
					}
				}
			},
		},
		{
			name: "an invalid redirect", probe: "redirect", level: check.Fail, kind: check.KindInvalid, text: "interface gone",
			provoke: func(r *rig) {
				r.set(natPath, "dst-port", "5351", routerostest.Row{"invalid": "true", ".about": "interface gone"})
			},
			mend: func(r *rig) {
				r.set(natPath, "dst-port", "5351", routerostest.Row{"invalid": "false", ".about": ""})
			},
		},
		{
			name: "a deleted list", probe: "lists", level: check.Warn, kind: check.KindDeletedList, text: "filter rule *8 (guests) (in-interface-list=*",
			provoke: func(r *rig) {
				r.add("/interface/list", "name=guests", "")
				r.add(filterPath, "chain=forward action=drop in-interface-list=guests comment=guests", "")
				r.remove("/interface/list", "name", "guests")
			},
			mend: func(r *rig) { r.remove(filterPath, "comment", "guests") },
		},
		{
			name: "redirect in a chain behind a rule", probe: "redirect", level: check.Fail, kind: check.KindShadowed, text: "/ip firewall nat move",
			provoke: func(r *rig) {
				r.redirectInChain()
				r.add(natPath, "chain=dstnat action=dst-nat to-addresses=192.168.88.5 protocol=udp in-interface=bridge dst-address-type=local", r.id(natPath, "jump-target", "natpmp"))
			},
		},
		{
			name: "redirect in a chain of which it is not the first", probe: "redirect", level: check.Fail, kind: check.KindShadowed, text: "/ip firewall nat move",
			provoke: func(r *rig) {
				r.redirectInChain()
				r.add(natPath, "chain=natpmp action=accept src-address=192.168.0.0/16", r.id(natPath, "dst-port", "5351"))
			},
		},
		{
			name: "redirect in a chain for everybody", probe: "redirect", level: check.Fail, kind: check.KindOpenRedirect, text: "requests from ether1 too",
			provoke: func(r *rig) {
				r.redirectInChain()
				r.unset(natPath, "jump-target", "natpmp", "in-interface-list")
			},
		},
		{
			name: "requests dropped by a rate that is not known", probe: "requests", level: check.Warn, kind: check.KindUnsure, text: "a matcher that cannot be evaluated here",
			provoke: func(r *rig) {
				r.add(filterPath, "chain=forward action=drop out-interface=veth1 limit=10,5:packet", r.id(filterPath, "chain", "forward"))
			},
		},
		{
			name: "requests not tracked", probe: "requests", level: check.Fail, kind: check.KindRequests, text: "exempts client requests from connection tracking",
			provoke: func(r *rig) {
				r.add(rawPath, "chain=prerouting action=notrack in-interface=bridge protocol=udp dst-port=5351", "")
			},
		},
		{
			name: "not masqueraded", probe: "upstream", level: check.Fail, kind: check.KindUnmasked, text: "action=masquerade out-interface=wg1",
			provoke: func(r *rig) {
				r.cfg.Self = nil
				r.remove("/interface/list/member", "interface", "wg1")
			},
		},
		{
			name: "exempt from masquerade", probe: "upstream", level: check.Fail, kind: check.KindUnmasked, text: "by the NAT rule",
			provoke: func(r *rig) {
				r.cfg.Self = nil
				r.add(natPath, "chain=srcnat action=accept src-address=172.30.254.0/30 out-interface=wg1", r.id(natPath, "action", "masquerade"))
			},
		},
		{
			name: "the API's replies sent into the tunnel", probe: "api", level: check.Fail, kind: check.KindAPI, text: "the API's replies to doublenat",
			provoke: func(r *rig) {
				r.cfg.Self = nil
				r.add(manglePath, "chain=output action=mark-routing new-routing-mark=vpn dst-address=172.16.0.0/12", "")
			},
		},
		{
			name: "no way to doublenat", probe: "requests", level: check.Fail, kind: check.KindRequests, text: "no single route to doublenat",
			provoke: func(r *rig) {
				r.cfg.Self = nil
				r.remove(routePath, "gateway", "198.51.100.1")
				r.remove("/ip/address", "interface", "veth1")
			},
			mend: func(r *rig) {
				r.add("/ip/address", "address=172.30.254.1/30 network=172.30.254.0 interface=veth1 actual-interface=veth1", "")
				r.add(routePath, "dst-address=172.30.254.0/30 gateway=veth1 distance=0 connect=true dynamic=true routing-table=main", "")
				r.add(routePath, "dst-address=0.0.0.0/0 gateway=198.51.100.1 static=true distance=1 routing-table=main", "")
			},
		},
	}
}

// redirectInChain moves the redirect into a chain to which the LAN's requests jump.
func (r *rig) redirectInChain() {
	r.t.Helper()
	r.add(natPath, "chain=dstnat action=jump jump-target=natpmp protocol=udp dst-port=5351 in-interface-list=LAN", r.id(natPath, "dst-port", "5351"))
	r.set(natPath, "to-addresses", routerostest.ContainerAddress, routerostest.Row{"chain": "natpmp", "in-interface-list": ""})
}

// TestRedirectInChain has a redirect in a chain that is jumped to: it is one.
func TestRedirectInChain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		r.redirectInChain()
		for _, f := range wrong(r.check()) {
			t.Errorf("%s: %s (%s)", f.Probe, f.Seen, f.Advice)
		}
	})
}

// TestUnsettledRows has rows that RouterOS calls invalid for some seconds, as it does
// after they were made: nobody is alarmed, and the check takes no longer than it has to.
func TestUnsettledRows(t *testing.T) {
	t.Parallel()
	for _, seconds := range []int{3, 9, 11} {
		t.Run(fmt.Sprint(seconds), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{})
				r.set(natPath, "dst-port", "5351", routerostest.Row{"invalid": "true"})
				time.AfterFunc(time.Duration(seconds)*time.Second, func() {
					r.set(natPath, "dst-port", "5351", routerostest.Row{"invalid": "false"})
				})
				start := time.Now()
				var kinds []string
				for _, f := range wrong(r.check()) {
					kinds = append(kinds, string(f.Advice.Kind))
				}
				took := time.Since(start)
				var want []string
				if seconds > 10 {
					want = []string{"invalid rule"}
				}
				if diff := cmp.Diff(want, kinds); diff != "" {
					t.Errorf("kinds (-want +got):\n%s", diff)
				}
				if took < 10*time.Second || took > 11*time.Second {
					t.Errorf("it took %v", took)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// TestHostOfSome has one host that is treated in another way than the rest: it is
// named, and the rest is not called broken.
func TestHostOfSome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		r.add(filterPath, "chain=forward action=drop src-address=192.168.88.66 comment=camera", r.id(filterPath, "chain", "forward"))
		found := wrong(r.check())
		if len(found) == 0 || found[0].Level != check.Warn || !strings.Contains(found[0].Seen, "drops requests from some clients (192.168.88.66)") {
			t.Errorf("got %+v", found)
		}
	})
}
