package upnp_test

import (
	"context"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/internal/gateway/upnp"
	"doublenat/internal/nat"
)

// router has rules in memory. It fails never.
type router struct {
	mu    sync.Mutex // guards what follows
	rules []nat.Rule
	last  int
}

var _ nat.Router = (*router)(nil)

func (r *router) Rules(context.Context) (nat.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return nat.Snapshot{Rules: append([]nat.Rule(nil), r.rules...)}, nil
}

// have returns the rules.
func (r *router) have() []nat.Rule {
	s, _ := r.Rules(context.Background()) // always nil
	return s.Rules
}

func (r *router) AddRule(_ context.Context, rule nat.Rule) (nat.Rule, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	rule.ID = "*" + strconv.Itoa(r.last)
	r.rules = append(r.rules, rule)
	return rule, nil
}

func (r *router) UpdateRule(_ context.Context, found, want nat.Rule) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.rules {
		if r.rules[i].ID == found.ID {
			want.ID = found.ID
			r.rules[i] = want
		}
	}
	return nil
}

func (r *router) RemoveRule(_ context.Context, rule nat.Rule) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.rules {
		if r.rules[i].ID == rule.ID {
			r.rules = append(r.rules[:i], r.rules[i+1:]...)
			break
		}
	}
	return nil
}

// core runs the core on a router and a gateway, and returns what stops it.
func core(t *testing.T, r *router, cfg nat.Config, service **nat.Service) (stop func()) {
	t.Helper()
	cfg.Router = r
	s, err := nat.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	*service = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the core ended with %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// TestCore: the core on a box, with each kind of it: a mapping is made, renewed and held,
// comes back after the box forgot it, survives the program's restart, and nothing is left
// at the end.
func TestCore(t *testing.T) {
	t.Parallel()
	for _, profile := range []igdtest.Profile{igdtest.IGD1(), igdtest.IGD2(), igdtest.PPP(), igdtest.Permanent(), igdtest.Invalid402()} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { liveWithTheCore(t, profile) })
		})
	}
}

func liveWithTheCore(t *testing.T, profile igdtest.Profile) {
	t.Helper()
	box, onRouter := igdtest.New(igdtest.Config{Profile: profile}), new(router)
	request := nat.MapRequest{
		Key: nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: 6881}, SuggestedPort: 6881, Lifetime: time.Hour,
	}
	var service *nat.Service
	begin := func(keep bool) (*rig, func()) {
		t.Helper()
		r := newRigWith(t, box, func(_ *rig, c *upnp.Config) {
			c.OnStateLost = func() { service.GatewayLost() }
			c.OnBack = func() { service.GatewayBack() }
		})
		stop := core(t, onRouter, nat.Config{Gateway: r.Gateway, Policy: nat.PolicyHold, KeepOnShutdown: keep}, &service)
		return r, func() { stop(); r.stop() }
	}
	stands := func(when string) {
		t.Helper()
		all, rules := box.Mappings(), onRouter.have()
		if len(all) != 1 || all[0].External != 6881 || all[0].Client != routerAddr || len(rules) != 1 || all[0].Internal != rules[0].InnerPort {
			t.Errorf("%s: the box has %v, the router %v", when, all, rules)
		}
	}
	r, stop := begin(true)
	grant, err := service.Map(t.Context(), request)
	if err != nil || grant.ExternalPort != 6881 || grant.Lifetime != time.Hour {
		t.Fatalf("grant %+v, %v", grant, err)
	}
	stands("at first")
	time.Sleep(50 * time.Minute)
	stands("after 50 minutes")
	if _, err := service.Map(t.Context(), request); err != nil {
		t.Error(err)
	}
	box.Restart(false)
	time.Sleep(time.Minute + 10*time.Second)
	stands("a minute after the box restarted")
	if n := r.Stats().StateLosses; n != 1 {
		t.Errorf("%d losses", n)
	}
	stop()
	stands("after the end of a run that keeps it")

	_, stop = begin(false)
	time.Sleep(10 * time.Minute)
	stands("adopted")
	if _, err := service.Map(t.Context(), request); err != nil {
		t.Error(err)
	}
	stands("renewed")
	stop()
	if all := box.Mappings(); len(all) != 0 || len(onRouter.have()) != 0 {
		t.Errorf("left: the box has %v, the router %v", all, onRouter.have())
	}
}

// TestCoreAfterACrash: a mapping for ever whose client does not come back ends when its
// time is over, also in the next run; one that has no rule is removed.
func TestCoreAfterACrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, onRouter := igdtest.New(igdtest.Config{Profile: igdtest.Permanent()}), new(router)
		for _, port := range []uint16{6881, 6882} {
			box.Put(igd.Mapping{Protocol: igd.TCP, External: port, Client: routerAddr, Internal: port + 14000, Description: "doublenat-default"})
		}
		_, _ = onRouter.AddRule(t.Context(), nat.Rule{
			Key:       nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: 6881},
			InnerPort: 20881, ExternalPort: 6881, Lifetime: time.Hour, Match: nat.MatchPorts{20881},
		})
		r := newRigWith(t, box, nil)
		var service *nat.Service
		stop := core(t, onRouter, nat.Config{Gateway: r.Gateway}, &service)
		r.Adopted()
		time.Sleep(10 * time.Minute)
		if all := box.Mappings(); len(all) != 1 || all[0].External != 6881 || len(onRouter.have()) != 1 {
			t.Errorf("after ten minutes: the box has %v, the router %v", all, onRouter.have())
		}
		time.Sleep(2 * time.Hour)
		if all := box.Mappings(); len(all) != 0 || len(onRouter.have()) != 0 {
			t.Errorf("after the mapping's time: the box has %v, the router %v", all, onRouter.have())
		}
		stop()
	})
}
