package gateway_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

// pcpRig is a gateway of ours that is asked by PCP, and a test gateway that speaks it.
type pcpRig struct {
	*rig

	far *pcptest.Gateway
	// own is the router's address towards the gateway.
	own atomic.Pointer[netip.Addr]
	// backs counts the calls of OnBack.
	backs atomic.Int32
}

// newPCPRig starts everything in a bubble of virtual time, and ends it with the test.
func newPCPRig(t *testing.T, profile pcptest.Profile, configure func(r *pcpRig, cfg *gateway.PCPConfig)) *pcpRig {
	t.Helper()
	far, err := pcptest.New(profile, natpmptest.Config{Journal: 10000})
	if err != nil {
		t.Fatal(err)
	}
	r := &pcpRig{rig: newNetwork(), far: far}
	r.remote = far.Gateway
	r.setOwn(tunnelAddr.Addr())
	r.run(t, r.another(t, configure))
	return r
}

// another returns a gateway of ours, as after a restart.
func (r *pcpRig) another(t *testing.T, configure func(r *pcpRig, cfg *gateway.PCPConfig)) *gateway.Gateway {
	t.Helper()
	cfg := gateway.PCPConfig{Config: r.config(), Own: func() netip.Addr { return *r.own.Load() }}
	cfg.OnBack = func() { r.backs.Add(1) }
	if configure != nil {
		configure(r, &cfg)
	}
	g, err := gateway.NewPCP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// setOwn changes the router's address towards the gateway.
func (r *pcpRig) setOwn(a netip.Addr) { r.own.Store(&a) }

// probes counts the MAP requests for the port by which the address is learned.
func (r *pcpRig) probes() (n int) {
	for _, p := range r.network.Packets(natpmptest.PacketSent) {
		if req, err := pcp.ParseRequest(p.Payload); err == nil && req.Map.InternalPort == 30000 && req.Lifetime != 0 {
			n++
		}
	}
	return n
}

// TestPCPLease: a lease is had, renewed and given back, and tells the public address.
func TestPCPLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPCPRig(t, pcptest.RFC(), nil)
		renewal := request()
		renewal.Renewal, renewal.Lifetime = true, 30*time.Second
		for _, tt := range []struct {
			req  nat.LeaseRequest
			want nat.Lease
		}{
			{request(), nat.Lease{ExternalPort: 6881, Lifetime: time.Hour}},
			{renewal, nat.Lease{ExternalPort: 6881, Lifetime: 2 * time.Minute}}, // raised (RFC 6887 §15)
			{
				nat.LeaseRequest{Protocol: nat.UDP, InnerPort: 20000, ExternalPort: 6881, Lifetime: time.Hour},
				nat.Lease{ExternalPort: 6881, Lifetime: time.Hour},
			},
		} {
			if got, err := r.lease(t, tt.req, 8*time.Second); err != nil || got != tt.want {
				t.Errorf("%+v, %v, want %+v", got, err, tt.want)
			}
		}
		if a, ok := r.External(); !ok || a != publicAddr {
			t.Errorf("public address %v, %v", a, ok)
		}
		for _, p := range nat.Protocols() {
			if err := r.Release(t.Context(), p, 20000); err != nil {
				t.Error(err)
			}
			if err := r.Release(t.Context(), p, 20000); err != nil { // One that is not there is success.
				t.Error(err)
			}
		}
		if left := r.far.Mappings(); len(left) != 0 {
			t.Errorf("left: %+v", left)
		}
		if s := r.Stats(); s.State != gateway.StateOK || s.Address != publicAddr || s.LeaseError != nil || s.LookError != nil {
			t.Errorf("%+v", s)
		}
	})
}

// TestPCPAfterRestart: nonces of a secret renew and end what an earlier run had, with a
// strict gateway too. Without one a strict gateway says no until that has expired.
func TestPCPAfterRestart(t *testing.T) {
	t.Parallel()
	secret := func(_ *pcpRig, cfg *gateway.PCPConfig) { cfg.Secret = []byte("of this instance") }
	for name, tt := range map[string]struct {
		profile        pcptest.Profile
		configure      func(r *pcpRig, cfg *gateway.PCPConfig)
		renews, ends   bool
		gatewayIsFound gateway.State
	}{
		"strict, by chance": {pcptest.RFC(), nil, false, false, gateway.StateOK},
		"strict, a secret":  {pcptest.RFC(), secret, true, true, gateway.StateOK},
		"lax, by chance":    {pcptest.Miniupnpd(), nil, true, true, gateway.StateOK},
		"lax, a secret":     {pcptest.Miniupnpd(), secret, true, true, gateway.StateOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newPCPRig(t, tt.profile, tt.configure)
				if _, err := r.lease(t, request(), 8*time.Second); err != nil {
					t.Fatal(err)
				}
				again := r.another(t, tt.configure)
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { _ = again.Run(ctx) })
				defer wg.Wait()
				defer cancel()
				_, err := again.Lease(t.Context(), request())
				e, _ := errors.AsType[*nat.Error](err)
				if (err == nil) != tt.renews || err != nil && e.Reason != nat.ReasonDenied {
					t.Errorf("renewed: %v", err)
				}
				if err := again.Release(t.Context(), nat.TCP, 20000); (err == nil) != tt.ends {
					t.Errorf("ended: %v", err)
				}
				if s := again.Stats().State; s != tt.gatewayIsFound {
					t.Errorf("state %v", s)
				}
			})
		})
	}
}

// TestPCPUpdate: a mapping that the gateway moved by itself makes the core ask.
func TestPCPUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPCPRig(t, pcptest.RFC(), nil)
		if _, err := r.lease(t, request(), 8*time.Second); err != nil {
			t.Fatal(err)
		}
		var client netip.AddrPort
		for _, p := range r.network.Packets(natpmptest.PacketSent) {
			if p.To == gatewayAddr {
				client = p.From
			}
		}
		r.far.MovePorts()
		update := r.far.Update(pcp.TCP, r.far.Mappings()[0].ExternalPort)
		r.network.Inject(gatewayAddr, client, update)
		time.Sleep(time.Second)
		if n := len(r.stateLosses()); n != 1 || r.logged("gateway moved a mapping") != 1 {
			t.Errorf("%d losses", n)
		}
	})
}

// TestPCPConfig refuses what cannot work.
func TestPCPConfig(t *testing.T) {
	t.Parallel()
	dial := func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }
	own := tunnelAddr.Addr
	for name, cfg := range map[string]gateway.PCPConfig{
		"no way to dial": {Own: own},
		"no own address": {Config: gateway.Config{Dial: dial}},
		"symmetric":      {Config: gateway.Config{Dial: dial, Symmetric: true}, Own: own},
		"negative time":  {Config: gateway.Config{Dial: dial, Refresh: -1}, Own: own},
	} {
		if _, err := gateway.NewPCP(cfg); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}
