package router_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
	"doublenat/internal/router"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// removeRoute removes the route to a prefix in the main table.
func removeRoute(t *testing.T, box *routerostest.Router, prefix string) {
	t.Helper()
	row, ok := box.Find("/ip/route", "dst-address", prefix)
	if !ok {
		t.Fatalf("no route to %s", prefix)
	}
	if err := box.Remove("/ip/route", row[".id"]); err != nil {
		t.Fatal(err)
	}
}

// put adds a row as the administrator would.
func put(t *testing.T, box *routerostest.Router, path string, row routerostest.Row) {
	t.Helper()
	if _, err := box.Add(path, row); err != nil {
		t.Fatal(err)
	}
}

// TestFindTunnel finds the tunnel interface on every version, in different networks.
func TestFindTunnel(t *testing.T) {
	t.Parallel()
	const gateway = routerostest.GatewayAddress + "/32"
	tests := map[string]struct {
		change func(t *testing.T, box *routerostest.Router)
		config func(cfg *router.Config)
		want   string
		err    string
	}{
		"route to the gateway": {want: "wg1"},
		"network of the tunnel": {
			change: func(t *testing.T, box *routerostest.Router) {
				t.Helper()
				removeRoute(t, box, gateway)
				put(t, box, "/ip/route", routerostest.Row{"dst-address": "10.2.0.0/24", "gateway": "wg1", "connect": "true", "dynamic": "true"})
			},
			want: "wg1",
		},
		"address only": {
			change: func(t *testing.T, box *routerostest.Router) {
				t.Helper()
				removeRoute(t, box, gateway)
				removeRoute(t, box, "0.0.0.0/0")
				put(t, box, "/ip/address", routerostest.Row{"address": "10.2.0.2/24", "network": "10.2.0.0", "interface": "wg1"})
			},
			want: "wg1",
		},
		"default route only": {
			change: func(t *testing.T, box *routerostest.Router) { t.Helper(); removeRoute(t, box, gateway) },
			err:    "only by its default route through ether1, which is no tunnel",
		},
		"no route": {
			change: func(t *testing.T, box *routerostest.Router) {
				t.Helper()
				removeRoute(t, box, gateway)
				removeRoute(t, box, "0.0.0.0/0")
			},
			err: "no route to the gateway 10.2.0.1",
		},
		"a gateway in the LAN": {
			change: func(t *testing.T, box *routerostest.Router) {
				t.Helper()
				removeRoute(t, box, gateway)
				put(t, box, "/ip/route", routerostest.Row{"dst-address": gateway, "gateway": "bridge"})
			},
			want: "bridge",
		},
		"configured": {
			config: func(cfg *router.Config) { cfg.InInterface = "bridge" },
			want:   "bridge",
		},
		"configured, with the default route": {
			config: func(cfg *router.Config) { cfg.InInterface = "ether1" },
			err:    "MIKROTIK_IN_INTERFACE=ether1 carries the router's default route, and the gateway 10.2.0.1 is not reached through it; set MIKROTIK_IN_INTERFACE to one of: wg1",
		},
		"configured, the only way": {
			change: func(t *testing.T, box *routerostest.Router) { t.Helper(); removeRoute(t, box, gateway) },
			config: func(cfg *router.Config) { cfg.InInterface = "ether1" },
			want:   "ether1",
		},
		"the WAN's network has the gateway": {
			change: func(t *testing.T, box *routerostest.Router) {
				t.Helper()
				removeRoute(t, box, gateway)
				put(t, box, "/ip/address", routerostest.Row{"address": "10.7.7.7/8", "network": "10.0.0.0", "interface": "ether1"})
				put(t, box, "/ip/route", routerostest.Row{"dst-address": "10.0.0.0/8", "gateway": "ether1", "connect": "true", "dynamic": "true"})
			},
			err: "through ether1, which is no tunnel but a line to the Internet",
		},
		"a line to the provider by L2TP": {
			change: func(t *testing.T, box *routerostest.Router) {
				t.Helper()
				removeRoute(t, box, gateway)
				removeRoute(t, box, "0.0.0.0/0")
				put(t, box, "/interface", routerostest.Row{"name": "l2tp-isp", "type": "l2tp-out"})
				put(t, box, "/ip/route", routerostest.Row{"dst-address": "0.0.0.0/0", "gateway": "l2tp-isp"})
			},
			err: "through l2tp-isp, which carries its default route: that may be the line to the Internet",
		},
		"configured and not there": {
			config: func(cfg *router.Config) { cfg.InInterface = "wg9" },
			err:    `the router has no interface "wg9"; set MIKROTIK_IN_INTERFACE to one of: wg1`,
		},
		"without the policy test": {
			change: func(t *testing.T, box *routerostest.Router) {
				t.Helper()
				if err := box.AddUser("u", "p", "read,write,api"); err != nil {
					t.Fatal(err)
				}
			},
			config: func(cfg *router.Config) { cfg.API.User, cfg.API.Password = "u", routeros.NewSecret("p") },
			want:   "wg1",
		},
	}
	for name, tt := range tests {
		for _, version := range versions() {
			t.Run(name+" "+version, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					box, err := routerostest.New(routerostest.Config{Version: version})
					if err != nil {
						t.Fatal(err)
					}
					if tt.change != nil {
						tt.change(t, box)
					}
					r := rigOn(t, box, func(cfg *router.Config) {
						if tt.config != nil {
							tt.config(cfg)
						}
					})
					_, err = r.Rules(t.Context())
					if got := r.Status().InInterface; got != tt.want {
						t.Errorf("got interface %q, want %q", got, tt.want)
					}
					if tt.err == "" {
						if err != nil {
							t.Error(err)
						}
						return
					}
					if e := natError(t, err); e.Reason != nat.ReasonUnreachable || !strings.Contains(err.Error(), tt.err) {
						t.Errorf("got error %v, want %q", err, tt.err)
					}
					if _, ok := errors.AsType[*router.InterfaceError](err); !ok {
						t.Errorf("got error %T, want an InterfaceError in it", err)
					}
					mark := r.box.Mark()
					if _, err := r.AddRule(t.Context(), wanted("192.168.88.10", 6881)); err == nil || r.box.StatsSince(mark).Writes != 0 {
						t.Errorf("a rule was made without a tunnel interface: %v", err)
					}
					time.Sleep(10 * time.Minute)
					if got := r.log.lines("router unavailable"); len(got) != 1 {
						t.Errorf("the log says it %d times, want once:\n%s", len(got), r.log)
					}
				})
			})
		}
	}
}

// TestTunnelComesLate has the router come up without its tunnel.
func TestTunnelComesLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, err := routerostest.New(routerostest.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Set("/interface", "wg1", routerostest.Row{"running": "false"}); err != nil {
			t.Fatal(err)
		}
		r := rigOn(t, box)
		if _, err := r.Rules(t.Context()); natError(t, err).Ambiguous {
			t.Errorf("got %v", err)
		}
		if err := box.Set("/interface", "wg1", routerostest.Row{"running": "true"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r.settled(t)
	})
}

// TestTunnelRenamed renames the tunnel interface while the connection stands: a rule is
// ours under whichever name.
func TestTunnelRenamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		made, other := r.add(t, wanted("192.168.88.10", 6881)), r.add(t, wanted("192.168.88.12", 6883))
		if err := r.box.Set("/interface", "wg1", routerostest.Row{"name": "vpn"}); err != nil {
			t.Fatal(err)
		}
		if err := r.RemoveRule(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if row, found := r.box.Find(natPath, ".id", other.ID); found {
			t.Errorf("success, and the rule is there: %v", row)
		}
		want := made
		want.Displaced = true
		if diff := cmp.Diff([]nat.Rule{want}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
			t.Errorf("rules before the name is known (-want +got):\n%s", diff)
		}
		// To make one tells us of the name.
		if _, err := r.AddRule(t.Context(), wanted("192.168.88.11", 6882)); err == nil {
			t.Error("a rule was made on an interface that is not there")
		}
		synctest.Wait()
		if diff := cmp.Diff([]nat.Rule{made}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		synctest.Wait()
		if len(r.log.lines("in-interface changed")) != 1 {
			t.Errorf("the log does not tell of the new name:\n%s", r.log)
		}
	})
}

// TestTunnelMoves has the gateway behind another tunnel, on the same connection and after
// a reconnect. Rules move in place.
func TestTunnelMoves(t *testing.T) {
	t.Parallel()
	for name, reconnect := range map[string]bool{"same connection": false, "reconnect": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var moves []string
				r := newRig(t, routerostest.Config{}, func(cfg *router.Config) {
					cfg.OnMove = func(from, to string) { moves = append(moves, from+" "+to) }
				}).settled(t)
				before := r.foreign()
				made := r.add(t, wanted("192.168.88.10", 6881))
				put(t, r.box, "/interface", routerostest.Row{"name": "wg2", "type": "wg"})
				removeRoute(t, r.box, routerostest.GatewayAddress+"/32")
				put(t, r.box, "/ip/route", routerostest.Row{"dst-address": routerostest.GatewayAddress + "/32", "gateway": "wg2"})
				if reconnect {
					r.box.Disconnect()
					synctest.Wait()
				}
				mark := r.box.Mark()
				time.Sleep(31 * time.Second)
				synctest.Wait()
				if got := r.Status().InInterface; got != "wg2" {
					t.Errorf("got interface %q, want wg2", got)
				}
				if n := r.box.StatsSince(mark).Writes; !reconnect && n != 1 {
					t.Errorf("%d writes, want one", n)
				}
				if row, _ := r.box.Find(natPath, ".id", made.ID); row["in-interface"] != "wg2" {
					t.Errorf("the rule is on %q, want wg2", row["in-interface"])
				}
				for range 3 {
					time.Sleep(31 * time.Second)
					if diff := cmp.Diff([]nat.Rule{made}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
						t.Errorf("rules (-want +got):\n%s", diff)
					}
				}
				synctest.Wait()
				if diff := cmp.Diff([]string{"wg1 wg2"}, moves); diff != "" || len(r.log.lines("in-interface changed")) != 1 {
					t.Errorf("told (-want +got):\n%s\n%s", diff, r.log)
				}
				if diff := cmp.Diff(before, r.foreign()); diff != "" {
					t.Errorf("rules of others (-before +after):\n%s", diff)
				}
			})
		})
	}
}

// TestMadeWhileTheTunnelMoves makes a rule whose answer comes after the others have moved
// to another interface: whoever compares is told to look once more.
func TestMadeWhileTheTunnelMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var doubts atomic.Int32
		r := newRig(t, routerostest.Config{}, func(cfg *router.Config) { cfg.OnDoubt = func() { doubts.Add(1) } }).settled(t)
		made := r.add(t, wanted("192.168.88.10", 6881))
		put(t, r.box, "/interface", routerostest.Row{"name": "wg2", "type": "wg"})
		time.Sleep(29 * time.Second)
		r.box.SetLatency(natPath+"/add", 2*time.Second)
		done := make(chan nat.Rule)
		go func() { done <- r.add(t, wanted("192.168.88.11", 6882)) }()
		synctest.Wait()
		removeRoute(t, r.box, routerostest.GatewayAddress+"/32")
		put(t, r.box, "/ip/route", routerostest.Row{"dst-address": routerostest.GatewayAddress + "/32", "gateway": "wg2"})
		time.Sleep(1500 * time.Millisecond)
		if n := doubts.Load(); n != 1 {
			t.Errorf("told %d times to look when the tunnel moved, want once", n)
		}
		late := <-done
		if n := doubts.Load(); n != 2 {
			t.Errorf("told %d times to look, want once more for the late rule", n)
		}
		for _, rule := range r.rules(t) {
			if rule.Displaced != (rule.ID == late.ID) || rule.ID != made.ID && rule.ID != late.ID {
				t.Errorf("got %+v, want the late rule alone to have to move", rule)
			}
		}
	})
}

// TestTunnelLost takes the route to the gateway away. While the interface is down nothing
// comes in through it and its rules stay; while it runs they go, once that lasts, and
// are made again when the route is back. Nobody has to read the rules for that.
func TestTunnelLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var doubts atomic.Int32
		r := newRig(t, routerostest.Config{}, func(cfg *router.Config) { cfg.OnDoubt = func() { doubts.Add(1) } }).settled(t)
		made := r.add(t, wanted("192.168.88.10", 6881))
		running := func(is string) {
			if err := r.box.Set("/interface", "wg1", routerostest.Row{"running": is}); err != nil {
				t.Fatal(err)
			}
		}
		count := func(want int) {
			t.Helper()
			time.Sleep(41 * time.Second)
			synctest.Wait() // for whoever looks
			if _, found := r.box.Find(natPath, ".id", made.ID); found != (want == 1) {
				t.Errorf("rule found: %v, want %d\n%s", found, want, r.log)
			}
		}
		running("false")
		count(1)
		running("true")
		count(1)
		removeRoute(t, r.box, routerostest.GatewayAddress+"/32")
		count(0)
		if n := doubts.Load(); n != 0 || len(r.log.lines("rules removed until it is")) != 1 {
			t.Errorf("%d doubts, want none; log:\n%s", n, r.log)
		}
		if _, err := r.Rules(t.Context()); err == nil {
			t.Error("no error")
		}
		put(t, r.box, "/ip/route", routerostest.Row{"dst-address": routerostest.GatewayAddress + "/32", "gateway": "wg1"})
		time.Sleep(31 * time.Second)
		if got := r.rules(t); len(got) != 0 {
			t.Errorf("got %v", got)
		}
		r.add(t, wanted("192.168.88.10", 6881))
	})
}

// TestPlaceBefore puts rules before the row that takes every packet.
func TestPlaceBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{})
		catchAll, err := r.box.Add(natPath, routerostest.Row{
			"chain": "dstnat", "action": "dst-nat", "in-interface": "wg1", "to-addresses": "192.168.88.99", "comment": "DMZ",
		})
		if err != nil {
			t.Fatal(err)
		}
		mark := r.box.Mark()
		hit := func(made nat.Rule) {
			t.Helper()
			if _, id, ok := r.box.Match("tcp", "wg1", made.InnerPort); !ok || id != made.ID {
				t.Errorf("a packet is taken by rule %s, %v, want %s", id, ok, made.ID)
			}
		}
		hit(r.add(t, wanted("192.168.88.10", 6881))) // reads the table once, since nobody has
		hit(r.add(t, wanted("192.168.88.11", 6882)))
		got := r.commands(mark)
		if diff := cmp.Diff([]string{"print", "add", "add"}, got[max(0, len(got)-3):]); diff != "" {
			t.Errorf("commands (-want +got):\n%s", diff)
		}

		if err := r.box.Remove(natPath, catchAll); err != nil {
			t.Fatal(err)
		}
		if _, err := r.box.Add(natPath, routerostest.Row{"chain": "dstnat", "action": "accept", "in-interface-list": "WAN"}); err != nil {
			t.Fatal(err)
		}
		mark = r.box.Mark()
		hit(r.add(t, wanted("192.168.88.12", 6883)))
		if diff := cmp.Diff([]string{"add", "print", "add"}, r.commands(mark)); diff != "" {
			t.Errorf("commands (-want +got):\n%s", diff)
		}

		disarm := r.box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: natPath + "/add", Times: -1, Message: "item referred by 'place-before' does not exist (11)"})
		mark = r.box.Mark()
		if _, err := r.AddRule(t.Context(), wanted("192.168.88.13", 6884)); natError(t, err).Ambiguous || r.box.StatsSince(mark).Commands > 10 {
			t.Errorf("got %v after %d commands, want an end and no doubt", err, r.box.StatsSince(mark).Commands)
		}
		disarm()
		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: natPath + "/add", Message: "no such item"})
		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: natPath + "/print", Message: "failure: no"})
		if _, err := r.AddRule(t.Context(), wanted("192.168.88.13", 6884)); natError(t, err).Ambiguous {
			t.Errorf("got %v, want no doubt", err)
		}
	})
}

// TestUsedPorts reads the ports that the world of the router for tests takes.
func TestUsedPorts(t *testing.T) {
	t.Parallel()
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routerostest.Config{Version: version})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				s, err := r.Rules(ctx)
				if err != nil {
					t.Fatal(err)
				}
				has := map[nat.Protocol][]uint16{
					// Rules of others; and the services www, ssh, api, winbox, api-ssl.
					nat.TCP: {2222, 80, 443, 8443, 8000, 40999, 3389, 22, 8728, 8291, 8729},
					nat.UDP: {50000, 50005, 50010, 51000},
				}
				if version != "6.49" {
					has[nat.UDP] = append(has[nat.UDP], 13231) // WireGuard listens
				}
				lacks := map[nat.Protocol][]uint16{
					nat.TCP: {25565, 32400, 23, 21, 50000},
					nat.UDP: {2222, 53, 5351, 49999, 50011},
				}
				for _, p := range nat.Protocols() {
					for _, port := range has[p] {
						if !s.Used[p].Has(port) {
							t.Errorf("%s %d does not count as used", p, port)
						}
					}
					for _, port := range lacks[p] {
						if s.Used[p].Has(port) {
							t.Errorf("%s %d counts as used", p, port)
						}
					}
				}
				if s.Rules != nil {
					t.Errorf("got rules of ours: %v", s.Rules)
				}
				found := false
				for _, f := range s.Forwards {
					found = found || f.Key.String() == "tcp 192.168.88.20:22"
				}
				if !found {
					t.Errorf("the forward to 192.168.88.20:22 is missing in %v", s.Forwards)
				}
			})
		})
	}
}
