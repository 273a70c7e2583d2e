package frontend_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/frontend"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/pcp"
)

// pcpAsk is a map request of clientA for TCP port 80.
func pcpAsk(change func(*pcp.Request)) pcp.Request {
	req := pcp.Request{
		Opcode: pcp.OpMap, Lifetime: 3600, Client: clientA,
		Map: pcp.Map{Nonce: pcp.Nonce{1}, Protocol: pcp.TCP, InternalPort: 80, ExternalPort: 4001, ExternalAddress: netip.IPv4Unspecified()},
	}
	if change != nil {
		change(&req)
	}
	return req
}

// result reads the result of a reply: nobody else can look into one.
func result(t *testing.T, f *frontend.Frontend, req pcp.Request) (resp pcp.Response) {
	t.Helper()
	responder, err := pcp.NewResponder(pcp.ResponderConfig{Handler: f, Epoch: func() uint32 { return 7 }})
	if err != nil {
		t.Fatal(err)
	}
	packet := responder.Request(req.Append(nil), pcp.Arrival{Client: netip.AddrPortFrom(clientA, 40000), At: time.Now()}).Serve(t.Context())
	if packet == nil {
		t.Fatal("no reply")
	}
	if resp, err = pcp.ParseResponse(packet); err != nil {
		t.Fatal(err)
	}
	return resp
}

// pcpRig is a frontend in a test.
type pcpRig struct {
	*frontend.Frontend

	t *testing.T
}

// onPCP runs a test with a frontend in virtual time.
func onPCP(t *testing.T, core *fakeCore, change func(*frontend.Config), test func(f pcpRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := frontend.Config{Core: core, External: func() (netip.Addr, bool) { return publicAddr, true }}
		if change != nil {
			change(&cfg)
		}
		f, err := frontend.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		test(pcpRig{f, t})
	})
}

// A mapping is answered with address, port and lifetime, its end with what was suggested.
func TestPCPMapsAndEnds(t *testing.T) {
	t.Parallel()
	core := &fakeCore{grant: grant4001()}
	onPCP(t, core, nil, func(f pcpRig) {
		got := result(f.t, f.Frontend, pcpAsk(nil))
		want := pcp.Response{Opcode: pcp.OpMap, Lifetime: 60, Epoch: 7, Map: pcpAsk(nil).Map}
		want.Map.ExternalAddress = publicAddr
		if got != want {
			f.t.Errorf("mapped: %+v, want %+v", got, want)
		}
		got = result(f.t, f.Frontend, pcpAsk(func(r *pcp.Request) { r.Lifetime = 0 }))
		if want = (pcp.Response{Opcode: pcp.OpMap, Epoch: 7, Map: pcpAsk(nil).Map}); got.Result != 0 || got.Lifetime != 0 || got.Map.Nonce != want.Map.Nonce || got.Map.ExternalPort != 4001 {
			f.t.Errorf("ended: %+v", got)
		}
		if calls := core.asked(); len(calls) != 2 || calls[0] != "map tcp 192.168.88.10:80 for 1h0m0s" || calls[1] != "unmap tcp 192.168.88.10:80" {
			f.t.Errorf("the core was asked %q", calls)
		}
	})
}

// Each reason has its code, and the time for which the failure lasts.
func TestPCPResults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want pcp.ResultCode
		life uint32
	}{
		"no answer":   {&nat.Error{Hop: nat.HopRouter, Reason: nat.ReasonUnreachable}, pcp.ResultNetworkFailure, 30},
		"no reason":   {context.Canceled, pcp.ResultNetworkFailure, 30},
		"refused":     {&nat.Error{Reason: nat.ReasonDenied}, pcp.ResultNotAuthorized, 1800},
		"full":        {&nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonResources}, pcp.ResultNoResources, 30},
		"client full": {&nat.Error{Reason: nat.ReasonResources, Err: nat.ErrClientFull}, pcp.ResultUserExceededQuota, 30},
		"other port":  {&nat.Error{Reason: nat.ReasonPort}, pcp.ResultCannotProvideExternal, 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onPCP(t, &fakeCore{err: tt.err}, nil, func(f pcpRig) {
				got := result(f.t, f.Frontend, pcpAsk(nil))
				if got.Result != tt.want || got.Lifetime != tt.life || got.Map != pcpAsk(nil).Map {
					f.t.Errorf("%+v, want %v for %d s and the request's map", got, tt.want, tt.life)
				}
				if n := f.Stats().PCP[tt.want]; n != 1 {
					f.t.Errorf("%d counted", n)
				}
			})
		})
	}
}

// The very port and address, or nothing.
func TestPCPPrefersFailure(t *testing.T) {
	t.Parallel()
	core := &fakeCore{grant: grant4001()}
	onPCP(t, core, nil, func(f pcpRig) {
		for _, tt := range []struct {
			address string
			want    pcp.ResultCode
		}{{"5.6.7.8", 0}, {"0.0.0.0", 0}, {"::", 0}, {"5.6.7.9", pcp.ResultCannotProvideExternal}} {
			got := result(f.t, f.Frontend, pcpAsk(func(r *pcp.Request) {
				r.Options.PreferFailure, r.Map.ExternalAddress = true, netip.MustParseAddr(tt.address)
			}))
			if got.Result != tt.want {
				f.t.Errorf("%s: %v", tt.address, got.Result)
			}
		}
		if calls := core.asked(); len(calls) != 3 {
			f.t.Errorf("the core was asked %q", calls)
		}
	})
}

// A mapping is taken over by another nonce of its client, and ended by its own only; a
// strict server lets nothing be done with another one.
func TestPCPNonces(t *testing.T) {
	t.Parallel()
	other := func(r *pcp.Request) { r.Map.Nonce = pcp.Nonce{2} }
	ends := func(n byte, port uint16, p pcp.Protocol) func(*pcp.Request) {
		return func(r *pcp.Request) {
			r.Map.Nonce, r.Lifetime, r.Map.InternalPort, r.Map.Protocol = pcp.Nonce{n}, 0, port, p
		}
	}
	for _, strict := range []bool{false, true} {
		onPCP(t, &fakeCore{grant: grant4001()}, func(cfg *frontend.Config) { cfg.StrictNonce = strict }, func(f pcpRig) {
			expect := func(what string, req pcp.Request, want pcp.ResultCode, life uint32) {
				f.t.Helper()
				if got := result(f.t, f.Frontend, req); got.Result != want || got.Lifetime != life {
					f.t.Errorf("strict %v: %s: %v for %d s, want %v for %d s", strict, what, got.Result, got.Lifetime, want, life)
				}
			}
			expect("made", pcpAsk(nil), 0, 60)
			time.Sleep(20 * time.Second)
			for _, port := range []uint16{80, 0} {
				for _, p := range []pcp.Protocol{pcp.TCP, pcp.AllProtocols} {
					if port == 0 || p == pcp.TCP {
						expect("ended by a stranger", pcpAsk(ends(2, port, p)), pcp.ResultNotAuthorized, 40)
					}
				}
			}
			expect("another protocol ended by a stranger", pcpAsk(ends(2, 0, pcp.UDP)), 0, 0)
			if strict {
				expect("taken over", pcpAsk(other), pcp.ResultNotAuthorized, 40)
				expect("ended", pcpAsk(ends(1, 80, pcp.TCP)), 0, 0)
				return
			}
			expect("taken over", pcpAsk(other), 0, 60)
			expect("ended by who had it", pcpAsk(ends(1, 80, pcp.TCP)), pcp.ResultNotAuthorized, 60)
			time.Sleep(time.Minute)
			expect("ended when its time is over", pcpAsk(ends(1, 80, pcp.TCP)), 0, 0)
			expect("taken over again", pcpAsk(other), 0, 60)
			f.Observe(nat.Event{Kind: nat.EventExpired, Mapping: nat.Mapping{Key: nat.Key{Client: clientA, Protocol: nat.TCP, InternalPort: 80}}})
			expect("ended when it is over", pcpAsk(ends(1, 80, pcp.TCP)), 0, 0)
			expect("made again", pcpAsk(nil), 0, 60)
			f.StateLost()
			expect("ended after a loss of state", pcpAsk(ends(2, 80, pcp.TCP)), 0, 0)
		})
	}
}

// Without a public address there is nothing that a client could be told.
func TestPCPWithoutAddress(t *testing.T) {
	t.Parallel()
	core := &fakeCore{grant: grant4001()}
	onPCP(t, core, func(cfg *frontend.Config) { cfg.External = func() (netip.Addr, bool) { return netip.Addr{}, false } }, func(f pcpRig) {
		if got := result(f.t, f.Frontend, pcpAsk(nil)); got.Result != pcp.ResultNetworkFailure {
			f.t.Errorf("%+v", got)
		}
		if calls := core.asked(); len(calls) != 0 {
			f.t.Errorf("the core was asked %q", calls)
		}
	})
}

// What NAT-PMP asked for PCP may end, whatever its nonce.
func TestPCPEndsWhatNATPMPMade(t *testing.T) {
	t.Parallel()
	core := &fakeCore{grant: grant4001()}
	onPCP(t, core, nil, func(f pcpRig) {
		f.ServeNATPMP(f.t.Context(), natpmp.Arrival{Client: netip.AddrPortFrom(clientA, 1)}, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 80, Lifetime: 60})
		if got := result(f.t, f.Frontend, pcpAsk(func(r *pcp.Request) { r.Lifetime = 0 })); got.Result != 0 {
			f.t.Errorf("%+v", got)
		}
		if got := result(f.t, f.Frontend, pcpAsk(func(r *pcp.Request) { r.Lifetime, r.Map.InternalPort, r.Map.Protocol = 0, 0, 0 })); got.Result != 0 {
			f.t.Errorf("all: %+v", got)
		}
		if calls := core.asked(); len(calls) != 4 || calls[2] != "unmap all tcp of 192.168.88.10" || calls[3] != "unmap all udp of 192.168.88.10" {
			f.t.Errorf("the core was asked %q", calls)
		}
	})
}

// A NAT on the way to us is told of once a minute, with the remedy, and counted.
func TestMismatchIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f, err := frontend.New(frontend.Config{
			Core: &fakeCore{}, External: func() (netip.Addr, bool) { return publicAddr, true }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 90 {
			f.Mismatch(pcp.Arrival{Client: routerAddr})
			time.Sleep(time.Second)
		}
		if n := strings.Count(log.String(), "except dst-port=5351"); n != 2 || f.Stats().Mismatches != 90 {
			t.Errorf("told %d times, counted %d:\n%s", n, f.Stats().Mismatches, log.String())
		}
	})
}

// Who asked is remembered for mappings that stand, however many others there were.
func TestPCPForgets(t *testing.T) {
	t.Parallel()
	onPCP(t, &fakeCore{grant: grant4001()}, nil, func(f pcpRig) {
		for port := range uint16(10_000) {
			if got := result(f.t, f.Frontend, pcpAsk(func(r *pcp.Request) { r.Map.InternalPort = port + 1 })); got.Result != 0 {
				f.t.Fatalf("%+v", got)
			}
		}
		if n := f.Keepers(); n > 4096 {
			f.t.Errorf("%d are remembered, and nothing is mapped", n)
		}
	})
}

// What was known of the public address when a request came is told with its mapping, also when
// that is too old by the time that the mapping stands: a success has an address.
func TestPCPAddressThatAges(t *testing.T) {
	t.Parallel()
	onPCP(t, &fakeCore{grant: grant4001(), takes: 2 * time.Second}, func(cfg *frontend.Config) {
		began := time.Now()
		cfg.External = func() (netip.Addr, bool) { return publicAddr, time.Since(began) < time.Second }
	}, func(f pcpRig) {
		if got := result(f.t, f.Frontend, pcpAsk(nil)); got.Result != 0 || got.Map.ExternalAddress != publicAddr {
			f.t.Errorf("%+v", got)
		}
	})
}
