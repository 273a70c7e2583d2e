package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doublenat/igd"
	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/routeros/routerostest"
)

// speaksUPnP is a bench on which UPnP is answered.
func speaksUPnP(profile natpmptest.Profile, environ map[string]string) lab.BenchConfig {
	cfg := lab.BenchConfig{Profile: profile, Environ: map[string]string{"UPNP": "on", "PCP": "on", "LEASE_POLICY": "client"}}
	maps.Copy(cfg.Environ, environ)
	return cfg
}

// controls returns a client of UPnP on a LAN host.
func (r *rig) controls(client netip.Addr) *igd.Client {
	r.t.Helper()
	c, err := r.ControlPoint(client)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

// console is what alice asks for.
func console() igd.Mapping {
	return igd.Mapping{Protocol: igd.UDP, External: 3074, Client: alice, Internal: 3074, Description: "a game"}
}

// wantCode fails the test unless an action was answered with the code.
func (r *rig) wantCode(err error, want igd.Code) {
	r.t.Helper()
	if failure, ok := errors.AsType[*igd.ActionError](err); !ok || failure.Code != want {
		r.t.Errorf("answered %v, want %v", err, want)
	}
}

// A program that knows nothing but UPnP gets its very port from a gateway that grants it: both
// layers stand for as long as it asked, in the shortest of leases, and go when it says so.
func TestUPnPMaps(t *testing.T) {
	t.Parallel()
	onBench(t, speaksUPnP(natpmptest.Miniupnpd(), nil), func(r *rig) {
		c := r.controls(alice)
		if addr, err := c.ExternalAddress(r.t.Context()); err != nil || addr != netip.MustParseAddr("5.6.7.8") {
			t.Fatalf("public address %v, %v", addr, err)
		}
		if err := c.Add(r.t.Context(), console()); err != nil {
			t.Fatal(err)
		}
		r.agree()
		time.Sleep(25 * time.Hour)
		r.agree()
		all := r.Daemon().Mappings()
		if len(all) != 1 || all[0].ExternalPort != 3074 || all[0].InnerPort != 3074 || all[0].By != nat.IGD || all[0].Description != "a game" {
			t.Errorf("after a day: %+v", all)
		}
		found, err := c.Find(r.t.Context(), igd.UDP, 3074)
		if err != nil || found.Client != alice || found.Internal != 3074 || found.Description != "a game" {
			t.Errorf("listed as %+v, %v", found, err)
		}
		if err := c.Delete(r.t.Context(), igd.UDP, 3074); err != nil {
			t.Error(err)
		}
		r.wantCode(c.Delete(r.t.Context(), igd.UDP, 3074), igd.CodeNoSuchEntry)
		r.empty()
	})
}

// With a gateway that gives ports of its own choice, as ProtonVPN's, who wants the very port is
// told the truth, and who takes another gets it. Nothing is left of what was tried.
func TestUPnPWithPortsOfTheGatewaysChoice(t *testing.T) {
	t.Parallel()
	onBench(t, speaksUPnP(natpmptest.Proton(), nil), func(r *rig) {
		c := r.controls(alice)
		r.wantCode(c.Add(r.t.Context(), console()), igd.CodeConflict)
		r.empty()
		port, err := c.AddAny(r.t.Context(), console())
		if err != nil || port == 3074 || port == 0 {
			t.Fatalf("granted %d, %v", port, err)
		}
		r.agree()
		if all := r.Daemon().Mappings(); len(all) != 1 || all[0].ExternalPort != port {
			t.Errorf("mappings %+v", all)
		}
		if err := c.Delete(r.t.Context(), igd.UDP, port); err != nil {
			t.Error(err)
		}
		r.empty()
	})
}

// A mapping that one protocol makes, another renews and a third ends is one mapping with one
// rule, whichever they are.
func TestOneMappingOfThreeProtocols(t *testing.T) {
	t.Parallel()
	ways := map[string]struct{ ask, end func(r *rig) }{
		"natpmp": {
			func(r *rig) { r.mapped(alice, natpmp.OpMapUDP, 3074) },
			func(r *rig) { r.send(alice, natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 3074}) },
		},
		"pcp": {
			func(r *rig) { r.pcpFor(3600) },
			func(r *rig) { r.pcpFor(0) },
		},
		"igd": {
			func(r *rig) {
				if _, err := r.controls(alice).AddAny(r.t.Context(), console()); err != nil {
					r.t.Error(err)
				}
			},
			func(r *rig) {
				all := r.Daemon().Mappings()
				if err := r.controls(alice).Delete(r.t.Context(), igd.UDP, all[0].ExternalPort); err != nil {
					r.t.Error(err)
				}
			},
		},
	}
	names := slices.Sorted(maps.Keys(ways))
	for i := range names {
		makes, renews, ends := names[i], names[(i+1)%3], names[(i+2)%3]
		t.Run(makes+", "+renews+", "+ends, func(t *testing.T) {
			t.Parallel()
			onBench(t, speaksUPnP(natpmptest.Proton(), nil), func(r *rig) {
				ways[makes].ask(r)
				r.agree()
				before := r.OurRules("default")
				time.Sleep(40 * time.Second)
				ways[renews].ask(r)
				r.agree()
				if after := r.OurRules("default"); len(after) != 1 || len(before) != 1 || after[0][".id"] != before[0][".id"] {
					t.Errorf("rules %v, then %v", before, after)
				}
				ways[ends].end(r)
				r.empty()
			})
		})
	}
}

// pcpFor asks by PCP for alice's port.
func (r *rig) pcpFor(lifetime uint32) {
	r.t.Helper()
	req := mapPCP(3074, 1)
	req.Map.Protocol, req.Lifetime = pcp.UDP, lifetime
	if got := r.askPCP(alice, req); got.Result != pcp.ResultSuccess {
		r.t.Errorf("PCP: %+v", got)
	}
}

// A host that the router no longer sees loses what is held for it after a day.
func TestUPnPClientLeaves(t *testing.T) {
	t.Parallel()
	onBench(t, speaksUPnP(natpmptest.Miniupnpd(), nil), func(r *rig) {
		id, err := r.Router.Add("/ip/arp", routerostest.Row{"address": alice.String(), "mac-address": "AA:BB:CC:00:00:01", "interface": "bridge"})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.controls(alice).Add(r.t.Context(), console()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if err := r.Router.Remove("/ip/arp", id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(23 * time.Hour)
		if n := len(r.Daemon().Mappings()); n != 1 {
			t.Errorf("%d mappings before a day is over", n)
		}
		time.Sleep(90 * time.Minute)
		r.empty()
	})
}

// The device says where it is: where it was asked, or where the router leads to it.
func TestUPnPLocation(t *testing.T) {
	t.Parallel()
	onBench(t, speaksUPnP(natpmptest.Miniupnpd(), map[string]string{"UPNP_ADDR": ":49000"}), func(r *rig) {
		at := func(want string) {
			t.Helper()
			c := r.controls(alice)
			defer c.Close()
			found, err := c.Discover(r.t.Context())
			if !strings.Contains(found.Location.String()+errorText(err), want) {
				t.Errorf("at %v, %v, want %s", found.Location, err, want)
			}
		}
		at("192.168.88.1:49000")
		leads := func(to string) (id string) {
			t.Helper()
			id, err := r.Router.Add("/ip/firewall/nat", routerostest.Row{
				"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-address": to, "dst-port": "5000",
				"to-addresses": "192.168.88.1", "to-ports": "49000",
			})
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		id := leads(routerostest.LANAddress)
		time.Sleep(6 * time.Minute)
		at("192.168.88.1:5000") // where nobody listens on this bench: the error says so
		// A rule that is bound to another of the router's addresses comes first, and this client's
		// gateway is not there.
		if err := r.Router.Remove("/ip/firewall/nat", id); err != nil {
			t.Fatal(err)
		}
		leads("172.30.254.1")
		leads(routerostest.LANAddress)
		time.Sleep(6 * time.Minute)
		at("192.168.88.1:5000")
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// BOOTID is the same for as long as nothing is lost, in whichever part of a second somebody
// looks, and grows with each loss.
func TestUPnPBoot(t *testing.T) {
	t.Parallel()
	late := func(*lab.Bench) func() {
		time.Sleep(700 * time.Millisecond) // The epoch begins within a second.
		return func() {}
	}
	onBenchWith(t, speaksUPnP(natpmptest.Miniupnpd(), nil), late, func(r *rig) {
		boot := func() int {
			t.Helper()
			c := r.controls(alice)
			defer c.Close()
			found, err := c.Discover(r.t.Context())
			id, numErr := strconv.Atoi(found.Boot)
			if err != nil || numErr != nil {
				t.Fatal(err, numErr)
			}
			return id
		}
		first := boot()
		for range 20 {
			time.Sleep(130 * time.Millisecond)
			if again := boot(); again != first {
				t.Fatalf("BOOTID %d became %d, and nothing was lost", first, again)
			}
		}
		for _, addr := range []string{"1.2.3.4", "1.2.3.5"} {
			r.Gateway.SetAddress(netip.MustParseAddr(addr))
			time.Sleep(time.Minute)
			next := boot()
			if next <= first {
				t.Errorf("BOOTID %d became %d with another public address", first, next)
			}
			first = next
		}
	})
}

// The state of the way out is as old as it is, also of one that was never up.
func TestUPnPUptime(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]bool{"up": false, "never up": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			profile := natpmptest.Miniupnpd()
			profile.Silent = silent
			onBench(t, speaksUPnP(profile, nil), func(r *rig) {
				time.Sleep(time.Minute)
				const body = `<Envelope><Body><GetStatusInfo/></Body></Envelope>`
				conn, err := r.DialControl(r.t.Context(), alice, netip.MustParseAddrPort("192.168.88.1:5351"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := fmt.Fprintf(conn, "POST /igd1/WANIPConn1 HTTP/1.1\r\nHost: 192.168.88.1\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n"+
					"SOAPACTION: \"urn:schemas-upnp-org:service:WANIPConnection:1#GetStatusInfo\"\r\nConnection: close\r\n\r\n%s", len(body), body); err != nil {
					t.Fatal(err)
				}
				answer, err := io.ReadAll(conn)
				if err != nil {
					t.Fatal(err)
				}
				_, rest, _ := strings.Cut(string(answer), "<NewUptime>")
				seconds, _, _ := strings.Cut(rest, "<")
				if n, err := strconv.Atoi(seconds); err != nil || n < 60 || n > 65 {
					t.Errorf("after 65 s of it: %s", answer)
				}
			})
		})
	}
}

// A device that cannot be served is a mistake of the operator's, told before anything is done:
// what a run before this one made stands as it did.
func TestUPnPCannotBeServed(t *testing.T) {
	t.Parallel()
	var busy atomic.Bool
	cfg := speaksUPnP(natpmptest.Proton(), nil)
	cfg.Options = func(o *daemon.Options) {
		listen := o.Network.ListenDevice
		o.Network.ListenDevice = func(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
			if busy.Load() {
				return nil, errors.New("address already in use")
			}
			return listen(ctx, at)
		}
	}
	onBench(t, cfg, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		before := r.OurRules("default")
		r.Kill()
		busy.Store(true)
		r.start(nil)
		if err := r.Stop(); err == nil || !strings.Contains(err.Error(), "opening UPNP_ADDR 192.168.88.1:5351") {
			t.Errorf("the daemon returned %v", err)
		}
		if after := r.OurRules("default"); len(after) != 1 || len(before) != 1 || after[0][".id"] != before[0][".id"] {
			t.Errorf("rules %v, then %v", before, after)
		}
	})
}

// Mappings matter more than UPnP: when its socket dies they live on, and it is opened again.
func TestUPnPDies(t *testing.T) {
	t.Parallel()
	var dead atomic.Bool
	cfg := speaksUPnP(natpmptest.Miniupnpd(), nil)
	cfg.Options = func(o *daemon.Options) {
		listen := o.Network.ListenDevice
		o.Network.ListenDevice = func(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
			if !dead.Swap(true) {
				return brokenListener{}, nil
			}
			return listen(ctx, at)
		}
	}
	onBench(t, cfg, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		time.Sleep(2 * time.Minute)
		if err := r.controls(alice).Add(r.t.Context(), console()); err != nil {
			t.Error(err)
		}
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		if err := r.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
}

// A mapping that is being made for a client that hung up ends when the client says so.
func TestUPnPEndsWhatNobodyHeardOf(t *testing.T) {
	t.Parallel()
	onBench(t, speaksUPnP(natpmptest.Miniupnpd(), nil), func(r *rig) {
		silent := func(on bool) { r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = on }) }
		silent(true)
		ctx, hangUp := context.WithTimeout(r.t.Context(), 5*time.Second)
		defer hangUp()
		if err := r.controls(alice).Add(ctx, console()); err == nil {
			t.Error("mapped without the gateway")
		}
		silent(false)
		c := r.controls(alice)
		if err := c.Delete(r.t.Context(), igd.UDP, 3074); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		r.empty()
		r.wantCode(c.Delete(r.t.Context(), igd.UDP, 3074), igd.CodeNoSuchEntry)
	})
}
