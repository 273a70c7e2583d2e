package daemon_test

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/routeros/routerostest"
)

var (
	friend   = netip.MustParseAddrPort("203.0.113.7:5000")
	neighbor = netip.MustParseAddrPort("203.0.113.8:5000")
)

// opened is mapPCP with filters: "" takes away those that there are.
func opened(port uint16, prefixes ...string) pcp.Request {
	req := mapPCP(port, 1)
	for i, text := range prefixes {
		f := pcp.Filter{Remote: netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
		if text != "" {
			f.Remote = netip.MustParsePrefix(text)
		}
		req.Options.Filters[i], req.Options.Filtered = f, i+1
	}
	return req
}

// comesIn says whether a packet from there comes to alice's port.
func (r *rig) comesIn(from netip.AddrPort, port uint16) bool {
	r.t.Helper()
	inner := uint16(0)
	for _, m := range r.Daemon().Mappings() {
		if m.Key.Client == alice && m.Key.InternalPort == port {
			inner = m.InnerPort
		}
	}
	to, _, ok := r.Router.MatchFrom(from, "tcp", routerostest.TunnelInterface, inner)
	return ok && to == netip.AddrPortFrom(alice, port)
}

// wantOnly fails the test unless the friend comes in and the neighbor as wanted.
func (r *rig) wantOnly(when string, friendly, neighborly bool) {
	r.t.Helper()
	if got := r.comesIn(friend, 6881); got != friendly {
		r.t.Errorf("%s: the friend comes in: %v", when, got)
	}
	if got := r.comesIn(neighbor, 6881); got != neighborly {
		r.t.Errorf("%s: the neighbor comes in: %v", when, got)
	}
}

// A mapping with a filter is open to those whom it names, through renewals by either protocol,
// other filters, a kill, and what somebody does to its rule; and to everybody when its client
// takes the filter away.
func TestFilter(t *testing.T) {
	t.Parallel()
	onBench(t, speaksPCP(nil), func(r *rig) {
		expect := func(what string, req pcp.Request, want pcp.ResultCode) {
			r.t.Helper()
			if got := r.askPCP(alice, req); got.Result != want {
				r.t.Errorf("%s: %+v, want %v", what, got, want)
			}
		}
		expect("made", opened(6881, "203.0.113.7/32"), 0)
		r.wantOnly("made", true, false)
		mark := r.Router.Mark()
		time.Sleep(time.Minute)
		expect("renewed", opened(6881, "203.0.113.7/32"), 0)
		expect("renewed without a filter", mapPCP(6881, 2), 0)
		if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != 0 {
			r.t.Errorf("renewed by NAT-PMP: %+v", got)
		}
		if wrote := r.wrote(mark); len(wrote) > 0 {
			r.t.Errorf("renewals cost the router %v", wrote)
		}
		r.wantOnly("renewed", true, false)
		expect("one more", opened(6881, "203.0.113.8/32"), pcp.ResultExcessiveRemotePeers)
		expect("one of IPv6", opened(6881, "2001:db8::/32"), pcp.ResultMalformedOption)
		r.wantOnly("refused", true, false)

		r.Kill()
		r.wantOnlyRule("killed", true, false)
		r.start(nil)
		r.wantOnly("killed and started", true, false)
		expect("renewed after a kill", mapPCP(6881, 1), 0)

		id := r.OurRules("default")[0][".id"]
		if err := r.Router.Set(natPath, id, routerostest.Row{"src-address": ""}); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		r.wantOnly("opened by hand", true, false)
		r.agree()

		expect("another", opened(6881, "", "203.0.113.8/32"), 0)
		r.wantOnly("another", false, true)
		expect("the network", opened(6881, "203.0.113.0/24"), 0)
		r.wantOnly("the network", true, true)
		expect("none", opened(6881, ""), 0)
		r.wantOnly("none", true, true)
		expect("one again", opened(6881, "203.0.113.7/32"), 0)
		r.wantOnly("one again", true, false)
		if n := len(r.OurRules("default")); n != 1 {
			r.t.Errorf("%d rules", n)
		}
		ends := mapPCP(6881, 1)
		ends.Lifetime = 0
		expect("ended", ends, 0)
		r.empty()
		if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != 0 {
			r.t.Errorf("made by NAT-PMP: %+v", got)
		}
		r.wantOnly("a new one", true, true)
	})
}

// wantOnlyRule is wantOnly while no daemon runs.
func (r *rig) wantOnlyRule(when string, friendly, neighborly bool) {
	r.t.Helper()
	inner, err := strconv.ParseUint(r.OurRules("default")[0]["dst-port"], 10, 16)
	if err != nil {
		r.t.Fatal(err)
	}
	for from, want := range map[netip.AddrPort]bool{friend: friendly, neighbor: neighborly} {
		if _, _, in := r.Router.MatchFrom(from, "tcp", routerostest.TunnelInterface, uint16(inner)); in != want {
			r.t.Errorf("%s: %v comes in: %v", when, from, in)
		}
	}
}

// A request that fails changes nothing: a router that refuses the new filter has the old one,
// and so has its client, and who renews it is served.
func TestFilterNotChanged(t *testing.T) {
	t.Parallel()
	for _, kind := range []routerostest.FaultKind{routerostest.FaultTrap, routerostest.FaultVanish} {
		onBench(t, speaksPCP(nil), func(r *rig) {
			if got := r.askPCP(alice, opened(6881, "203.0.113.7/32")); got.Result != 0 {
				r.t.Fatalf("%+v", got)
			}
			r.Router.Inject(routerostest.Fault{Kind: kind, Command: natSet, Times: 10})
			got := r.askPCP(alice, opened(6881, "", "203.0.113.8/32"))
			if got.Result != pcp.ResultNetworkFailure && got.Result != pcp.ResultNotAuthorized {
				r.t.Errorf("%v: %+v", kind, got)
			}
			r.Router.ClearFaults()
			time.Sleep(3 * time.Minute)
			if got := r.askPCP(alice, mapPCP(6881, 1)); got.Result != 0 {
				r.t.Errorf("%v: renewed: %+v", kind, got)
			}
			r.wantOnly(kind.String(), true, false)
			r.agree()
		})
	}
}

// The companion of a mapping is open to nobody else than that.
func TestFilterOfTheCompanion(t *testing.T) {
	t.Parallel()
	cfg := speaksPCP(map[string]string{"COMPANION": "on"})
	cfg.Profile = natpmptest.Proton()
	onBench(t, cfg, func(r *rig) {
		if got := r.askPCP(alice, opened(6881, "203.0.113.7/32")); got.Result != 0 {
			r.t.Fatalf("%+v", got)
		}
		time.Sleep(5 * time.Second)
		rows := r.OurRules("default")
		if len(rows) != 2 {
			r.t.Fatalf("%v", rows)
		}
		for _, row := range rows {
			if row["src-address"] != "203.0.113.7" {
				r.t.Errorf("%v", row)
			}
		}
	})
}

// A static mapping is open to everybody, whatever its host asks for.
func TestFilterOfAStaticMapping(t *testing.T) {
	t.Parallel()
	onBench(t, speaksPCP(staticMappings), func(r *rig) {
		before := r.OurRules("default")
		if got := r.askPCP(alice, opened(51413, "203.0.113.7/32")); got.Result != pcp.ResultNotAuthorized {
			r.t.Errorf("%+v", got)
		}
		if got := r.askPCP(alice, opened(51413, "")); got.Result != 0 {
			r.t.Errorf("without one: %+v", got)
		}
		for i, row := range r.OurRules("default") {
			if row["src-address"] != "" || row["comment"] != before[i]["comment"] {
				r.t.Errorf("%v", row)
			}
		}
	})
}
