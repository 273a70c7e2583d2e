package frontend_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/frontend"
	"doublenat/internal/nat"
	"doublenat/pcp"
)

// filtered is pcpAsk with filters: "prefix/length of 128 bits port".
func filtered(filters ...pcp.Filter) pcp.Request {
	return pcpAsk(func(r *pcp.Request) {
		r.Options.Filtered = len(filters)
		copy(r.Options.Filters[:], filters)
	})
}

// from is a filter.
func from(prefix string, port uint16) pcp.Filter {
	return pcp.Filter{Remote: netip.MustParsePrefix(prefix), Port: port}
}

// anyIPv4 is the filter of 96 bits, which has all of IPv4; clears that of none.
var (
	anyIPv4 = pcp.Filter{Remote: netip.PrefixFrom(netip.MustParseAddr("::ffff:0.0.0.0"), 96)}
	clears  = pcp.Filter{Remote: netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
)

// What the options of a request come to is what the core is asked for, and nothing is asked
// for where they come to nothing that it can do.
func TestPCPFilters(t *testing.T) {
	t.Parallel()
	host, neighbor, net := from("203.0.113.7/32", 0), from("203.0.113.8/32", 0), from("203.0.113.0/24", 0)
	v4Port, v4Cleared := anyIPv4, pcp.Filter{Remote: netip.MustParsePrefix("203.0.113.7/0"), Port: 7}
	v4Port.Port = 5000
	for name, tt := range map[string]struct {
		filters []pcp.Filter
		want    string
		result  pcp.ResultCode
	}{
		"none":                       {nil, "", 0},
		"a host":                     {[]pcp.Filter{host}, " and from 203.0.113.7", 0},
		"a host's port":              {[]pcp.Filter{from("203.0.113.7/32", 5000)}, " and from 203.0.113.7:5000", 0},
		"bits beyond the length":     {[]pcp.Filter{from("203.0.113.7/24", 0)}, " and from 203.0.113.0/24", 0},
		"all of IPv4":                {[]pcp.Filter{anyIPv4}, " and from everybody", 0},
		"all of IPv4, from a port":   {[]pcp.Filter{v4Port}, " and from 0.0.0.0/0:5000", 0},
		"none at all":                {[]pcp.Filter{clears}, " from everybody", 0},
		"none at all, with more":     {[]pcp.Filter{v4Cleared}, " from everybody", 0},
		"another":                    {[]pcp.Filter{clears, host}, " from 203.0.113.7", 0},
		"another after all":          {[]pcp.Filter{host, neighbor, clears}, "", pcp.ResultExcessiveRemotePeers},
		"the same twice":             {[]pcp.Filter{host, host}, " and from 203.0.113.7", 0},
		"a host and its net":         {[]pcp.Filter{host, net}, " and from 203.0.113.0/24", 0},
		"two":                        {[]pcp.Filter{host, neighbor}, "", pcp.ResultExcessiveRemotePeers},
		"another two":                {[]pcp.Filter{clears, host, neighbor}, "", pcp.ResultExcessiveRemotePeers},
		"IPv6":                       {[]pcp.Filter{from("2001:db8::/32", 0)}, "", pcp.ResultMalformedOption},
		"IPv6 behind one that is in": {[]pcp.Filter{host, from("2001:db8::/32", 0)}, "", pcp.ResultMalformedOption},
		"as many as are kept":        {slices.Repeat([]pcp.Filter{host}, pcp.MaxFilters), " and from 203.0.113.7", 0},
	} {
		core := &fakeCore{grant: grant4001()}
		onPCP(t, core, nil, func(f pcpRig) {
			if got := result(f.t, f.Frontend, filtered(tt.filters...)); got.Result != tt.result {
				f.t.Errorf("%s: %v, want %v", name, got.Result, tt.result)
			}
			var want []string
			if tt.result == 0 {
				want = []string{"map tcp 192.168.88.10:80 for 1h0m0s" + tt.want}
			}
			if calls := core.asked(); !slices.Equal(calls, want) {
				f.t.Errorf("%s: the core was asked %q, want %q", name, calls, want)
			}
		})
	}
}

// More filters than are kept are more than a mapping can have, whatever they are.
func TestPCPVeryManyFilters(t *testing.T) {
	t.Parallel()
	core := &fakeCore{grant: grant4001()}
	onPCP(t, core, nil, func(f pcpRig) {
		responder, err := pcp.NewResponder(pcp.ResponderConfig{Handler: f, Epoch: func() uint32 { return 7 }})
		if err != nil {
			f.t.Fatal(err)
		}
		req := filtered(from("203.0.113.7/32", 0))
		packet := req.Append(nil)
		option := packet[len(packet)-24:]
		for range pcp.MaxFilters {
			packet = append(packet, option...)
		}
		reply := responder.Request(packet, pcp.Arrival{Client: netip.AddrPortFrom(clientA, 40000), At: time.Now()}).Serve(f.t.Context())
		if got, err := pcp.ParseResponse(reply); err != nil || got.Result != pcp.ResultExcessiveRemotePeers || got.Lifetime != 1800 {
			f.t.Errorf("%+v, %v", got, err)
		}
		if calls := core.asked(); len(calls) != 0 {
			f.t.Errorf("the core was asked %q", calls)
		}
	})
}

// Another filter costs the router a write, so that a client gets as many of them as of new
// mappings. To repeat one, to say nothing of it, and what fails without a write are free.
func TestPCPFiltersAreBounded(t *testing.T) {
	t.Parallel()
	core := &fakeCore{grant: grant4001()}
	onPCP(t, core, func(cfg *frontend.Config) {
		cfg.CreateBurst, cfg.CreateRate, cfg.CreateRateBurst = 4, 1, 100
		cfg.Mapped = func(nat.Key) bool { return true }
	}, func(f pcpRig) {
		expect := func(what string, req pcp.Request, want pcp.ResultCode) {
			f.t.Helper()
			if got := result(f.t, f.Frontend, req); got.Result != want {
				f.t.Errorf("%s: %v, want %v", what, got.Result, want)
			}
		}
		a, b := filtered(from("203.0.113.7/32", 0)), filtered(clears, from("203.0.113.8/32", 0))
		for range 20 {
			expect("the first", a, 0)
			expect("without one", pcpAsk(nil), 0)
		}
		core.err = &nat.Error{Reason: nat.ReasonRemotes}
		for range 20 {
			expect("refused", b, pcp.ResultExcessiveRemotePeers)
		}
		core.err = nil
		expect("another", b, 0)
		expect("the first again", a, 0)
		expect("the other again", b, 0)
		expect("once too often", a, pcp.ResultUserExceededQuota)
		expect("a renewal", b, 0)
		time.Sleep(time.Minute)
		expect("a minute later", a, 0)
		if n := f.Stats().TooManyCreates; n != 1 {
			f.t.Errorf("%d counted", n)
		}
	})
}

// All clients together get as many other filters as new mappings: what comes beyond gets no
// answer, and is repeated.
func TestPCPFiltersInAllAreBounded(t *testing.T) {
	t.Parallel()
	core := &fakeCore{grant: grant4001()}
	onPCP(t, core, func(cfg *frontend.Config) {
		cfg.CreateRate, cfg.CreateRateBurst = 1, 4
		cfg.Mapped, cfg.Holds = func(nat.Key) bool { return true }, func(netip.Addr) bool { return true }
	}, func(f pcpRig) {
		for i := range 8 {
			f.ServePCP(f.t.Context(), pcp.Arrival{Client: netip.AddrPortFrom(clientA, 40000), At: time.Now()},
				filtered(clears, from(fmt.Sprintf("203.0.113.%d/32", i), 0)))
		}
		if n := len(core.asked()); n != 4 || f.Stats().TooManyInAll != 4 {
			f.t.Errorf("%d got through, %d counted", n, f.Stats().TooManyInAll)
		}
	})
}

// A copy of a request shares what is done for the first, but not when another filter was asked
// for in between: what it was told then would be over.
func TestPCPFiltersAreNotShared(t *testing.T) {
	t.Parallel()
	core := &fakeCore{grant: grant4001(), takes: time.Second}
	onPCP(t, core, nil, func(f pcpRig) {
		a, b := filtered(from("203.0.113.7/32", 0)), filtered(clears, from("203.0.113.8/32", 0))
		ask := func(req pcp.Request, port uint16) {
			go f.ServePCP(f.t.Context(), pcp.Arrival{Client: netip.AddrPortFrom(clientA, port), At: time.Now()}, req)
			synctest.Wait()
		}
		ask(a, 1)
		ask(a, 2)
		ask(pcpAsk(nil), 2)
		ask(a, 3)
		if n := len(core.asked()); n != 2 {
			f.t.Errorf("%d asked for, before the other", n)
		}
		ask(b, 4)
		ask(a, 5)
		if n := len(core.asked()); n != 4 {
			f.t.Errorf("%d asked for, after the other", n)
		}
		time.Sleep(time.Minute)
	})
}

// The router may have been written to, and written back, before a gateway refuses the renewal
// that a filter came with: that counts as the filter does. What was refused before costs nothing.
func TestPCPFiltersThatFailAreBounded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  *nat.Error
		free bool
	}{
		"the gateway refuses":      {err: &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonResources}},
		"the gateway is away":      {err: &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable, Ambiguous: true}},
		"too late":                 {err: &nat.Error{Reason: nat.ReasonUnreachable}},
		"the router may have done": {err: &nat.Error{Hop: nat.HopRouter, Reason: nat.ReasonUnreachable, Ambiguous: true}},
		"somebody has the port":    {err: &nat.Error{Hop: nat.HopRouter, Reason: nat.ReasonResources}},
		"the router refuses":       {err: &nat.Error{Hop: nat.HopRouter, Reason: nat.ReasonDenied}, free: true},
		"too many remotes":         {err: &nat.Error{Reason: nat.ReasonRemotes}, free: true},
		"a static mapping":         {err: &nat.Error{Reason: nat.ReasonDenied}, free: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := &fakeCore{err: tt.err}
			onPCP(t, core, func(cfg *frontend.Config) {
				cfg.CreateBurst, cfg.CreateRate, cfg.CreateRateBurst = 4, 1, 100
				cfg.Mapped = func(nat.Key) bool { return true }
			}, func(f pcpRig) {
				for i := range 20 {
					result(f.t, f.Frontend, filtered(clears, from(fmt.Sprintf("203.0.113.%d/32", i), 0)))
				}
				want := 4
				if tt.free {
					want = 20
				}
				if n := len(core.asked()); n != want {
					f.t.Errorf("%d got through, want %d", n, want)
				}
			})
		})
	}
}
