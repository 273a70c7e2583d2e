package router_test

import (
	"context"
	"errors"
	"strings"
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
			err:    "only by its default route through ether1, which is no tunnel; set MIKROTIK_IN_INTERFACE to one of: wg1",
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
			config: func(cfg *router.Config) { cfg.InInterface = "ether1" },
			want:   "ether1",
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

// TestTunnelRenamed renames the tunnel interface while the connection stands.
func TestTunnelRenamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		made := r.add(t, wanted("192.168.88.10", 6881))
		if err := r.box.Set("/interface", "wg1", routerostest.Row{"name": "vpn"}); err != nil {
			t.Fatal(err)
		}
		if got := r.rules(t); len(got) != 0 {
			t.Errorf("got rules %v of an interface that has another name now", got)
		}
		if len(r.log.lines("left alone")) != 1 {
			t.Errorf("the log does not tell of rules elsewhere:\n%s", r.log)
		}
		// The core misses the rule and makes it anew, which tells us of the name.
		if _, err := r.AddRule(t.Context(), wanted("192.168.88.11", 6882)); err == nil {
			t.Error("a rule was made on an interface that is not there")
		}
		synctest.Wait()
		if diff := cmp.Diff([]nat.Rule{made}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		if len(r.log.lines("tunnel interface changed")) != 1 {
			t.Errorf("the log does not tell of the new name:\n%s", r.log)
		}
	})
}

// TestTunnelMoves has the gateway behind another tunnel after a reconnect.
func TestTunnelMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		before := r.foreign()
		made := r.add(t, wanted("192.168.88.10", 6881))
		put(t, r.box, "/interface", routerostest.Row{"name": "wg2", "type": "wg"})
		removeRoute(t, r.box, routerostest.GatewayAddress+"/32")
		put(t, r.box, "/ip/route", routerostest.Row{"dst-address": routerostest.GatewayAddress + "/32", "gateway": "wg2"})
		r.box.Disconnect()
		synctest.Wait()
		want := made
		want.Altered = true
		if diff := cmp.Diff([]nat.Rule{want}, r.rules(t), cmp.Comparer(sameRule)); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		if got := r.Status().InInterface; got != "wg2" {
			t.Errorf("got interface %q, want wg2", got)
		}
		if err := r.RemoveRule(t.Context(), made); err != nil {
			t.Fatal(err)
		}
		again := r.add(t, wanted("192.168.88.10", 6881))
		if row, _ := r.box.Find(natPath, ".id", again.ID); row["in-interface"] != "wg2" {
			t.Errorf("the new rule is on %q, want wg2", row["in-interface"])
		}
		if diff := cmp.Diff(before, r.foreign()); diff != "" {
			t.Errorf("rules of others (-before +after):\n%s", diff)
		}
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
