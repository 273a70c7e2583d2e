package frontend_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/internal/frontend"
	"doublenat/internal/nat"
)

// byIGD is how a connection of clientA came in.
func byIGD() igd.Arrival {
	return igd.Arrival{Client: netip.AddrPortFrom(clientA, 50000), At: time.Now()}
}

// game is a mapping that a program asks for by UPnP.
func game() igd.Mapping {
	return igd.Mapping{Protocol: igd.UDP, External: 3074, Client: clientA, Internal: 3074, Description: "a game"}
}

// code returns the error code of an answer, 0 for success.
func code(t *testing.T, err error) igd.Code {
	t.Helper()
	if err == nil {
		return 0
	}
	failure, ok := errors.AsType[*igd.ActionError](err)
	if !ok {
		t.Fatalf("%v is no answer to an action", err)
	}
	return failure.Code
}

// requests is a core that notes the requests for a mapping whole.
type requests struct {
	fakeCore

	maps []nat.MapRequest
}

func (c *requests) Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error) {
	req.Arrived = time.Time{}
	c.maps = append(c.maps, req)
	return c.fakeCore.Map(ctx, req)
}

// What a program asks for by UPnP is asked for with nothing less than its port, unless it takes
// another, and for as long as mappings are held where it names no end.
func TestIGDAsks(t *testing.T) {
	t.Parallel()
	key := nat.Key{Client: clientA, Protocol: nat.UDP, InternalPort: 3074}
	for name, tt := range map[string]struct {
		choice igd.Choice
		change func(*igd.Mapping)
		want   nat.MapRequest
	}{
		"exact": {want: nat.MapRequest{Key: key, SuggestedPort: 3074, Exact: true, Lifetime: nat.MaxHeld, By: nat.IGD, Description: "a game"}},
		"any":   {choice: igd.Any, want: nat.MapRequest{Key: key, SuggestedPort: 3074, Lifetime: nat.MaxHeld, By: nat.IGD, Description: "a game"}},
		"lease": {change: func(m *igd.Mapping) { m.Lease = time.Hour }, want: nat.MapRequest{
			Key: key, SuggestedPort: 3074, Exact: true, Lifetime: time.Hour, By: nat.IGD, Description: "a game",
		}},
		"no port": {choice: igd.Any, change: func(m *igd.Mapping) { m.External = 0 }, want: nat.MapRequest{
			Key: key, Lifetime: nat.MaxHeld, By: nat.IGD, Description: "a game",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := &requests{fakeCore: fakeCore{grant: grant4001()}}
			onPCP(t, &core.fakeCore, func(cfg *frontend.Config) { cfg.Core = core }, func(f pcpRig) {
				m := game()
				if tt.change != nil {
					tt.change(&m)
				}
				port, err := f.AddPortMapping(f.t.Context(), byIGD(), m, tt.choice)
				if err != nil || port != 4001 {
					f.t.Errorf("got %d, %v", port, err)
				}
				if diff := cmp.Diff([]nat.MapRequest{tt.want}, core.maps, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					f.t.Errorf("requests (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Each failure has the code that the standard gives it, is counted, and never becomes a success.
func TestIGDFailures(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want igd.Code
	}{
		"another port": {&nat.Error{Reason: nat.ReasonPort, Err: errors.New("another")}, igd.CodeConflict},
		"denied":       {&nat.Error{Reason: nat.ReasonDenied, Err: errors.New("no")}, igd.CodeNotAuthorized},
		"full":         {&nat.Error{Reason: nat.ReasonResources, Err: nat.ErrClientFull}, igd.CodeNoPortsLeft},
		"no port":      {&nat.Error{Reason: nat.ReasonResources, Err: errors.New("none")}, igd.CodeNoPortsLeft},
		"unreachable":  {&nat.Error{Reason: nat.ReasonUnreachable, Err: errors.New("down")}, igd.CodeActionFailed},
		"a bug":        {errors.New("of nobody's"), igd.CodeActionFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said bytes.Buffer
			onPCP(t, &fakeCore{err: tt.err}, func(cfg *frontend.Config) { cfg.Logger = slog.New(slog.NewTextHandler(&said, nil)) }, func(f pcpRig) {
				_, err := f.AddPortMapping(f.t.Context(), byIGD(), game(), igd.Exact)
				if got := code(f.t, err); got != tt.want {
					f.t.Errorf("got %v, want %v", got, tt.want)
				}
				if got := f.Stats().IGD[tt.want]; got != 1 {
					f.t.Errorf("counted %d", got)
				}
				if told := strings.Contains(said.String(), "very external port"); told != (tt.want == igd.CodeConflict) {
					f.t.Errorf("the log says %q", said.String())
				}
			})
		})
	}
}

// having has the frontend know of mappings.
func having(list ...nat.Mapping) func(*frontend.Config) {
	return func(cfg *frontend.Config) { cfg.Mappings = func() []nat.Mapping { return list } }
}

// stands is a mapping of a client for UDP.
func stands(client netip.Addr, internal, external uint16, by nat.Way) nat.Mapping {
	return nat.Mapping{
		Key: nat.Key{Client: client, Protocol: nat.UDP, InternalPort: internal}, ExternalPort: external, By: by,
		Until: time.Now().Add(time.Hour),
	}
}

// A client ends its own mapping, whoever made it, and nobody else's.
func TestIGDEnds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		has   []nat.Mapping
		want  igd.Code
		calls []string
	}{
		"its own":                  {has: []nat.Mapping{stands(clientA, 80, 4001, nat.NATPMP)}, calls: []string{"unmap udp 192.168.88.10:80"}},
		"another's":                {has: []nat.Mapping{stands(clientB, 80, 4001, nat.IGD)}, want: igd.CodeNoSuchEntry},
		"of another external port": {has: []nat.Mapping{stands(clientA, 4001, 80, nat.IGD)}, want: igd.CodeNoSuchEntry},
		"that ended":               {has: []nat.Mapping{func() nat.Mapping { m := stands(clientA, 80, 4001, nat.IGD); m.Closing = true; return m }()}, want: igd.CodeNoSuchEntry},
		"none":                     {want: igd.CodeNoSuchEntry},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := &fakeCore{}
			onPCP(t, core, having(tt.has...), func(f pcpRig) {
				if got := code(f.t, f.DeletePortMapping(f.t.Context(), byIGD(), igd.UDP, 4001)); got != tt.want {
					f.t.Errorf("got %v, want %v", got, tt.want)
				}
				if diff := cmp.Diff(tt.calls, core.asked()); diff != "" {
					f.t.Errorf("the core (-want +got):\n%s", diff)
				}
				if got := f.Stats().IGD[tt.want]; got != 1 {
					f.t.Errorf("counted %d", got)
				}
			})
		})
	}
}

// An external port that leads to another port of the same client leads to the one that it asks
// for now. One who takes any port leaves it as it is.
func TestIGDMovesItsOwnPort(t *testing.T) {
	t.Parallel()
	for choice, want := range map[igd.Choice][]string{
		igd.Exact: {"unmap udp 192.168.88.10:80", "map udp 192.168.88.10:3074 for 168h0m0s"},
		igd.Any:   {"map udp 192.168.88.10:3074 for 168h0m0s"},
	} {
		core := &fakeCore{grant: nat.Grant{ExternalPort: 3074, Lifetime: time.Minute}}
		onPCP(t, core, having(stands(clientA, 80, 3074, nat.IGD)), func(f pcpRig) {
			if _, err := f.AddPortMapping(f.t.Context(), byIGD(), game(), choice); err != nil {
				f.t.Error(err)
			}
			if diff := cmp.Diff(want, core.asked()); diff != "" {
				f.t.Errorf("the core (-want +got):\n%s", diff)
			}
		})
	}
}

// lacking is a core that makes no mapping for a key.
type lacking struct {
	fakeCore

	key nat.Key
}

func (c *lacking) Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error) {
	grant, err := c.fakeCore.Map(ctx, req)
	if req.Key == c.key {
		return nat.Grant{}, &nat.Error{Hop: nat.HopRouter, Reason: nat.ReasonUnreachable, Err: errors.New("down")}
	}
	return grant, err
}

// A port that cannot lead to where its client wants it leads to where it did: what is known
// before ends nothing, and what fails after that is made good.
func TestIGDKeepsWhatItCannotMove(t *testing.T) {
	t.Parallel()
	old := stands(clientA, 80, 3074, nat.NATPMP)
	old.Description = "a server"
	taken := stands(clientA, 3074, 4001, nat.IGD)
	for name, tt := range map[string]struct {
		change func(*frontend.Config)
		before func(f pcpRig) // what the frontend went through
		has    []nat.Mapping
		fails  bool // the core makes no mapping
		want   igd.Code
		calls  []string
	}{
		"not allowed":             {change: func(cfg *frontend.Config) { cfg.Ports = func(port uint16) bool { return port == 80 } }, want: igd.CodeNotAuthorized},
		"has another public port": {has: []nat.Mapping{taken}, want: igd.CodeConflict},
		"the gateway chooses": {before: func(f pcpRig) {
			other := game()
			other.External, other.Internal = 7777, 7777
			_, _ = f.AddPortMapping(f.t.Context(), byIGD(), other, igd.Any) // another one was granted
		}, want: igd.CodeConflict, calls: []string{"map udp 192.168.88.10:7777 for 168h0m0s"}},
		"too many ask": {
			change: func(cfg *frontend.Config) { cfg.CreateRate, cfg.CreateRateBurst = 1, 1 },
			before: func(f pcpRig) { f.Observe(nat.Event{Kind: nat.EventCreated}) },
			want:   igd.CodeActionFailed,
		},
		"the router is away": {fails: true, want: igd.CodeActionFailed, calls: []string{
			"unmap udp 192.168.88.10:80", "map udp 192.168.88.10:3074 for 168h0m0s", "map udp 192.168.88.10:80 for 1h0m0s from everybody",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := &lacking{fakeCore: fakeCore{grant: nat.Grant{ExternalPort: 3074, Lifetime: time.Minute}}}
			if tt.fails {
				core.key = nat.Key{Client: clientA, Protocol: nat.UDP, InternalPort: 3074}
			}
			onPCP(t, &core.fakeCore, func(cfg *frontend.Config) {
				cfg.Core = core
				old := old
				old.Until = time.Now().Add(time.Hour)
				having(append(tt.has, old)...)(cfg)
				if tt.change != nil {
					tt.change(cfg)
				}
			}, func(f pcpRig) {
				if tt.before != nil {
					tt.before(f)
				}
				_, err := f.AddPortMapping(f.t.Context(), byIGD(), game(), igd.Exact)
				if got := code(f.t, err); got != tt.want {
					f.t.Errorf("got %v, want %v", got, tt.want)
				}
				if diff := cmp.Diff(tt.calls, core.asked()); diff != "" {
					f.t.Errorf("the core (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A client that hangs up before it hears of its mapping gets it all the same, and may not have
// more of them than one that waits.
func TestIGDHangUpsAreBounded(t *testing.T) {
	t.Parallel()
	core := &fakeCore{takes: time.Second, err: &nat.Error{Reason: nat.ReasonUnreachable, Err: context.Canceled}}
	onPCP(t, core, func(cfg *frontend.Config) { cfg.CreateBurst = 3 }, func(f pcpRig) {
		for range 10 {
			ctx, hangUp := context.WithTimeout(f.t.Context(), 100*time.Millisecond)
			_, _ = f.AddPortMapping(ctx, byIGD(), game(), igd.Any)
			hangUp()
		}
		if got := len(core.asked()); got != 3 {
			f.t.Errorf("%d mappings were asked for, want 3", got)
		}
	})
}

// A list has the client's own mappings, whoever made them, and says so where nobody said more.
func TestIGDLists(t *testing.T) {
	t.Parallel()
	described := stands(clientA, 81, 4002, nat.IGD)
	described.Description = "a game"
	zero := stands(clientA, 0, 4003, nat.NATPMP)
	over := stands(clientA, 83, 4004, nat.NATPMP)
	over.Closing = true
	onPCP(t, &fakeCore{}, having(stands(clientA, 80, 4001, nat.PCP), described, zero, over, stands(clientB, 80, 4005, nat.IGD), stands(clientA, 84, 4006, 0)), func(f pcpRig) {
		got := f.PortMappings(byIGD())
		for i := range got {
			got[i].Lease = 0 // The clock of a bubble is not that of the mappings.
		}
		want := []igd.Mapping{
			{Protocol: igd.UDP, External: 4001, Client: clientA, Internal: 80, Description: "doublenat pcp"},
			{Protocol: igd.UDP, External: 4002, Client: clientA, Internal: 81, Description: "a game"},
			{Protocol: igd.UDP, External: 4003, Client: clientA, Internal: 4003, Description: "doublenat natpmp"},
			{Protocol: igd.UDP, External: 4006, Client: clientA, Internal: 84, Description: "doublenat"},
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			f.t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// The state of the way out is that of the public address, and what became of the last port that
// was asked for tells whether very ports are to be had.
func TestIGDConnection(t *testing.T) {
	t.Parallel()
	known := true
	settled := make(chan struct{})
	began := time.Now()
	core := &fakeCore{grant: nat.Grant{ExternalPort: 3074, Lifetime: time.Minute}}
	onPCP(t, core, func(cfg *frontend.Config) {
		cfg.External = func() (netip.Addr, bool) { return publicAddr, known }
		cfg.Settled, began = settled, time.Now()
		cfg.Since = func() time.Time { return began }
	}, func(f pcpRig) {
		time.Sleep(time.Minute)
		if got := f.Connection(); got != (igd.Connection{Status: igd.Connected, Address: publicAddr, Uptime: time.Minute}) {
			f.t.Errorf("known: %+v", got)
		}
		known = false
		if got := f.Connection().Status; got != igd.Connecting {
			f.t.Errorf("at first: %v", got)
		}
		close(settled)
		if got := f.Connection().Status; got != igd.Disconnected {
			f.t.Errorf("unknown: %v", got)
		}
		exact := func(want bool, when string) {
			f.t.Helper()
			if _, err := f.AddPortMapping(f.t.Context(), byIGD(), game(), igd.Any); err != nil {
				f.t.Fatal(err)
			}
			if f.Exact() != want {
				f.t.Errorf("%s: exact %v", when, !want)
			}
		}
		if !f.Exact() {
			f.t.Error("nothing is known, and exact ports are thought not to be had")
		}
		exact(true, "the very port")
		core.grant.ExternalPort = 4001
		exact(false, "another port")
	})
}

// choosy is a core that grants no mapping for port 3074.
type choosy struct{ fakeCore }

func (c *choosy) Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error) {
	grant, err := c.fakeCore.Map(ctx, req)
	if req.Key.InternalPort == 3074 {
		return nat.Grant{}, &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonResources, Err: errors.New("none left")}
	}
	return grant, err
}

// To end a mapping for another one that cannot be had, and to make it again, costs the router
// writes as a new one does: a client gets as many of them, and none while all make too many.
func TestIGDMovesAreBounded(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*frontend.Config){
		"of one client": func(cfg *frontend.Config) { cfg.CreateBurst = 4 },
		"of all": func(cfg *frontend.Config) {
			cfg.CreateRate, cfg.CreateRateBurst = 1, 4
			cfg.Holds = func(netip.Addr) bool { return true }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := &choosy{fakeCore{grant: nat.Grant{ExternalPort: 3074, Lifetime: time.Hour}}}
			onPCP(t, &core.fakeCore, func(cfg *frontend.Config) {
				cfg.Core = core
				having(stands(clientA, 80, 3074, nat.IGD))(cfg)
				change(cfg)
			}, func(f pcpRig) {
				n := 0
				for range 20 {
					before := len(core.asked())
					if _, err := f.AddPortMapping(f.t.Context(), byIGD(), game(), igd.Exact); err == nil {
						f.t.Error("told of a mapping")
					}
					if len(core.asked()) > before {
						n++
						f.Observe(nat.Event{Kind: nat.EventCreated}) // It was made again.
					}
				}
				if n != 4 {
					f.t.Errorf("a mapping was ended %d times, want 4", n)
				}
			})
		})
	}
}
