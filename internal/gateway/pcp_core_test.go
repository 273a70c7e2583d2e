package gateway_test

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/internal/router"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// house is the core between a gateway that is asked by PCP and a router.
type house struct {
	*pcpRig

	mikrotik *routerostest.Router
	service  atomic.Pointer[nat.Service]
}

// newHouse starts the gateway and the router; live starts the core.
func newHouse(t *testing.T, profile pcptest.Profile) *house {
	t.Helper()
	far, err := pcptest.New(profile, natpmptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	mikrotik, err := routerostest.New(routerostest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{pcpRig: &pcpRig{rig: newNetwork(), far: far}, mikrotik: mikrotik}
	h.remote = far.Gateway
	h.setOwn(tunnelAddr.Addr())
	idle := h.another(t, nil) // The rig wants one. It holds no lease.
	h.run(t, idle)
	t.Cleanup(func() { _ = mikrotik.Close() })
	return h
}

// live starts the core, a gateway and a router of ours, and returns what ends them.
func (h *house) live(t *testing.T, keep bool, secret string) (stop func()) {
	t.Helper()
	g := h.another(t, func(_ *pcpRig, cfg *gateway.PCPConfig) {
		cfg.OnStateLost = func() { h.service.Load().GatewayLost() }
		cfg.OnBack = func() { h.service.Load().GatewayBack() }
		cfg.Secret = []byte(secret)
	})
	onRouter, err := router.New(router.Config{
		API: routeros.Config{
			Dial: h.mikrotik.Dial, User: routerostest.LeastUser, Password: routeros.NewSecret(routerostest.LeastPassword),
		},
		Instance: "default", Gateway: netip.MustParseAddr(routerostest.GatewayAddress),
	})
	if err != nil {
		t.Fatal(err)
	}
	service, err := nat.New(nat.Config{
		Router: onRouter, Gateway: g, Instance: "default", Policy: nat.PolicyHold, KeepOnShutdown: keep,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.service.Store(service)
	below, cancelBelow := context.WithCancel(t.Context())
	above, cancelAbove := context.WithCancel(t.Context())
	ended := make(chan error, 3)
	go func() { ended <- g.Run(below) }()
	go func() { ended <- onRouter.Run(below) }()
	stopped := make(chan error, 1)
	go func() { stopped <- service.Run(above) }()
	return sync.OnceFunc(func() {
		cancelAbove()
		if err := <-stopped; err != nil {
			t.Errorf("the core ended with %v", err)
		}
		cancelBelow()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// stands says whether the one lease and the one rule lead to each other.
func (h *house) stands() error {
	leases, inner := h.far.Mappings(), h.rules()
	if len(leases) != 1 || len(inner) != 1 || inner[0] != strconv.Itoa(int(leases[0].InternalPort)) || leases[0].ExternalPort != 6881 {
		return fmt.Errorf("the gateway has %+v, the router rules for %v", leases, inner)
	}
	return nil
}

// rules returns the ports that the router's rules for the client match first.
func (h *house) rules() (ports []string) {
	for _, row := range h.mikrotik.Rows("/ip/firewall/nat") {
		if row["to-addresses"] == "192.168.88.10" && strings.HasPrefix(row["comment"], "doublenat:default") {
			port, _, _ := strings.Cut(row["dst-port"], ",")
			ports = append(ports, port)
		}
	}
	return ports
}

// TestPCPCore: the core by PCP. A mapping is made, renewed and held, comes back when the
// gateway lost it, goes on after a restart of ours, and nothing is left.
func TestPCPCore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		profile pcptest.Profile
		secret  string
	}{{pcptest.RFC(), "of this instance"}, {pcptest.Miniupnpd(), ""}, {pcptest.Short(40 * time.Second), "of this instance"}} {
		t.Run(tt.profile.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, tt.profile)
				stop := h.live(t, true, tt.secret)
				request := nat.MapRequest{
					Key:           nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: 6881},
					SuggestedPort: 6881, Lifetime: 2 * time.Hour,
				}
				stands := func(when string) {
					t.Helper()
					if err := h.stands(); err != nil {
						t.Errorf("%s: %v", when, err)
					}
				}
				grant, err := h.service.Load().Map(t.Context(), request)
				if err != nil || grant.ExternalPort != 6881 {
					t.Fatalf("%+v, %v", grant, err)
				}
				stands("at first")
				time.Sleep(50 * time.Minute)
				stands("after 50 minutes")
				h.far.Restart(false)
				time.Sleep(30 * time.Second)
				stands("after a restart of the gateway")
				stop()
				stands("while we are away")
				stop = h.live(t, false, tt.secret)
				time.Sleep(10 * time.Second)
				if _, err := h.service.Load().Map(t.Context(), request); err != nil {
					t.Errorf("after a restart of ours: %v", err)
				}
				stands("after a restart of ours")
				time.Sleep(30 * time.Minute)
				stands("half an hour later")
				stop()
				if left, rules := h.far.Mappings(), h.rules(); len(left) != 0 || len(rules) != 0 {
					t.Errorf("left: %+v, rules for %v", left, rules)
				}
			})
		})
	}
}

// TestPCPCoreWithoutSecret: after a restart without a secret, or with another one, a strict
// gateway refuses to renew what it has, as NOT_AUTHORIZED: the mapping goes on with another
// inner port, and the client is not refused.
func TestPCPCoreWithoutSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pcptest.RFC())
		stop := h.live(t, true, "")
		request := nat.MapRequest{
			Key:           nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: 6881},
			SuggestedPort: 6881, Lifetime: 10 * time.Minute,
		}
		if _, err := h.service.Load().Map(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		stop()
		stop = h.live(t, false, "")
		defer stop()
		time.Sleep(10 * time.Second)
		_, err := h.service.Load().Map(t.Context(), request)
		if err != nil || h.far.Results()[pcp.ResultNotAuthorized] == 0 {
			t.Errorf("while the earlier mapping stands: %v", err)
		}
		time.Sleep(20 * time.Minute)
		if _, err := h.service.Load().Map(t.Context(), request); err != nil {
			t.Errorf("when it has expired: %v", err)
		}
		if err := h.stands(); err != nil {
			t.Error(err)
		}
	})
}
