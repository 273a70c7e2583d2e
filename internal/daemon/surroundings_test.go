package daemon_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// reachedThrough returns the interface by which the router reaches the gateway, "" for none.
func reachedThrough(box *routerostest.Router) string {
	return box.Walk(routerostest.Packet{
		Protocol: "udp", Src: netip.MustParseAddrPort(routerostest.TunnelAddress + ":40000"),
		Dst: netip.AddrPortFrom(netip.MustParseAddr(routerostest.GatewayAddress), natpmp.Port),
	}).Out
}

// rulesAnywhere returns our rules, whichever interface they are on.
func rulesAnywhere(box *routerostest.Router) []routerostest.Row {
	return slices.DeleteFunc(box.Rows(natPath), func(row routerostest.Row) bool {
		return !strings.HasPrefix(row["comment"], "doublenat:default ") || strings.HasSuffix(row["comment"], "(mine)")
	})
}

// do fails the test if the router refuses what the administrator does.
func (r *rig) do(errs ...error) {
	r.t.Helper()
	for _, err := range errs {
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// reroute makes the one route to a prefix, "" for none.
func (r *rig) reroute(prefix, way string) {
	r.t.Helper()
	for _, row := range r.Router.Rows("/ip/route") {
		if row["dst-address"] == prefix && row["routing-mark"] == "" && (row["routing-table"] == "" || row["routing-table"] == "main") {
			r.do(r.Router.Remove("/ip/route", row[".id"]))
		}
	}
	if way != "" {
		_, err := r.Router.Add("/ip/route", routerostest.Row{"dst-address": prefix, "gateway": way})
		r.do(err)
	}
}

// Whatever happens to the tunnel, and whenever: a minute later no rule of ours is on an
// interface by which the gateway is not reached. Only a tunnel that is down, while nothing
// else that can be one leads to the gateway, keeps its rules.
func TestRulesLeaveWithinAMinute(t *testing.T) {
	t.Parallel()
	const gateway, internet = routerostest.GatewayAddress + "/32", "0.0.0.0/0"
	running := func(r *rig, is string) { r.do(r.Router.Set("/interface", "wg1", routerostest.Row{"running": is})) }
	for _, tt := range []struct {
		name    string
		happens func(r *rig)
		where   string // the rules go, "" for nowhere
	}{
		{"moves", func(r *rig) { r.reroute(gateway, "wg2") }, "wg2"},
		{"is down, another one leads there", func(r *rig) { running(r, "false"); r.reroute(gateway, "wg2") }, "wg2"},
		{"the Internet leads there", func(r *rig) { r.reroute(gateway, "") }, ""},
		{"the provider's line leads there", func(r *rig) { r.reroute(gateway, "ether1") }, ""},
		{"nothing leads there", func(r *rig) { r.reroute(gateway, ""); r.reroute(internet, "") }, ""},
		{"nothing leads there in any table", func(r *rig) {
			for _, row := range r.Router.Rows("/ip/route") {
				if row["dst-address"] == gateway || row["dst-address"] == internet {
					r.do(r.Router.Remove("/ip/route", row[".id"]))
				}
			}
		}, ""},
		{"is deleted", func(r *rig) {
			row, _ := r.Router.Find("/interface", "name", "wg1")
			r.do(r.Router.Remove("/interface", row[".id"]))
		}, ""},
		{"is renamed", func(r *rig) { r.do(r.Router.Set("/interface", "wg1", routerostest.Row{"name": "vpn"})) }, "vpn"},
		{"comes back without its route", func(r *rig) {
			running(r, "false")
			r.reroute(gateway, "")
			time.Sleep(2 * time.Minute)
			running(r, "true")
		}, ""},
	} {
		for _, at := range []time.Duration{0, 14 * time.Second, 29 * time.Second, 31 * time.Second, 59 * time.Second} {
			t.Run(fmt.Sprint(tt.name, " ", at), func(t *testing.T) {
				t.Parallel()
				onBench(t, lab.BenchConfig{Profile: natpmptest.RFC(), Environ: holding(), Prepare: addSecondTunnel}, func(r *rig) {
					for port := range uint16(3) {
						r.mapped(alice, natpmp.OpMapTCP, 2000+port)
					}
					time.Sleep(10*time.Minute + at)
					tt.happens(r)
					time.Sleep(time.Minute)
					rules := rulesAnywhere(r.Router)
					if want := map[bool]int{true: 3}[tt.where != ""]; len(rules) != want {
						r.t.Errorf("%d rules, want %d", len(rules), want)
					}
					for _, row := range rules {
						if in := row["in-interface"]; in != tt.where || in != reachedThrough(r.Router) {
							r.t.Errorf("a rule is on %s, want on %q; the gateway is reached through %q", in, tt.where, reachedThrough(r.Router))
						}
					}
				})
			})
		}
	}
}

// holding keeps mappings for the hour that their clients asked for.
func holding() map[string]string { return map[string]string{"LEASE_POLICY": "hold"} }

// A tunnel interface that the operator named and somebody renamed keeps its rules as long
// as the gateway is reached through it, and no longer.
func TestRulesOfARenamedInterface(t *testing.T) {
	t.Parallel()
	environ := holding()
	environ["MIKROTIK_IN_INTERFACE"] = "wg1"
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC(), Environ: environ, Prepare: addSecondTunnel}, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 2000)
		r.do(r.Router.Set("/interface", "wg1", routerostest.Row{"name": "vpn"}))
		time.Sleep(5 * time.Minute)
		if rules := rulesAnywhere(r.Router); len(rules) != 1 || rules[0]["in-interface"] != "vpn" {
			r.t.Errorf("renamed, and the rules are %v", rules)
		}
		r.reroute(routerostest.GatewayAddress+"/32", "wg2")
		time.Sleep(time.Minute)
		if rules := rulesAnywhere(r.Router); len(rules) != 0 {
			r.t.Errorf("on an interface that leads nowhere: %v", rules)
		}
	})
}

// Rules follow the tunnel however many there are, and whether the gateway answers there or
// not: the requests of each client port wait for it.
func TestRulesFollowBesideASilentGateway(t *testing.T) {
	t.Parallel()
	profile := natpmptest.RFC()
	profile.Lifetime = time.Minute
	slow := routerostest.Config{Latency: 100 * time.Millisecond}
	onBench(t, lab.BenchConfig{Profile: profile, Environ: holding(), Prepare: addSecondTunnel, Router: slow}, func(r *rig) {
		for port := range uint16(60) {
			r.mapped(alice, natpmp.OpMapTCP, 2000+port)
		}
		time.Sleep(5 * time.Minute)
		r.Net.SetFaults(natpmptest.Between(gatewayHost, tunnelHost), natpmptest.Faults{Blackhole: true})
		defer r.Net.ClearFaults()
		r.reroute(routerostest.GatewayAddress+"/32", "wg2")
		time.Sleep(time.Minute)
		rules := rulesAnywhere(r.Router)
		for _, row := range rules {
			if row["in-interface"] != "wg2" {
				r.t.Fatalf("a rule is on %s after a minute", row["in-interface"])
			}
		}
		if len(rules) != 60 {
			r.t.Errorf("%d rules, want all 60", len(rules))
		}
	})
}

// addSecondTunnel gives the router the interface wg2.
func addSecondTunnel(box *routerostest.Router) {
	for path, row := range map[string]routerostest.Row{
		"/interface":  {"name": "wg2", "type": "wg"},
		"/ip/address": {"address": "10.9.0.2/32", "network": "10.9.0.2", "interface": "wg2"},
	} {
		if _, err := box.Add(path, row); err != nil {
			panic(err)
		}
	}
}

// An interface list that the tunnel joins may make a forward of others take a port of
// ours. Half a minute later the mapping has another one.
func TestListsAreReadEveryHalfMinute(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC(), Environ: holding()}, func(r *rig) {
		_, err := r.Router.Add("/interface/list", routerostest.Row{"name": "VPN"})
		r.do(err)
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		port := r.Daemon().Mappings()[0].InnerPort
		_, err = r.Router.Add(natPath, routerostest.Row{
			"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-port": fmt.Sprint(port), "in-interface-list": "VPN", "to-addresses": "192.168.88.77",
		})
		r.do(err)
		r.AcceptOthers()
		time.Sleep(10*time.Minute + time.Second)
		if got := r.Daemon().Mappings()[0].InnerPort; got != port {
			r.t.Fatalf("moved from %d to %d although the list lacks the tunnel", port, got)
		}
		_, err = r.Router.Add("/interface/list/member", routerostest.Row{"list": "VPN", "interface": "wg1"})
		r.do(err)
		time.Sleep(31 * time.Second)
		if got := r.Daemon().Mappings()[0].InnerPort; got == port {
			r.t.Errorf("still on port %d, which leads to another host", port)
		}
		r.agree()
	})
}

// What the router has to do while nothing happens: the table and the rights of its user
// are read once a minute, its surroundings twice while rules stand, and the table no more
// often because interfaces come and go. Each is eight reads.
func TestIdleCost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mappings uint16
		want     map[string]int // in half an hour
	}{
		{0, map[string]int{natPath + "/print": 30, "/user/print": 30, "/ip/route/check": 30, "/interface/print": 30}},
		{3, map[string]int{natPath + "/print": 30, "/user/print": 30, "/ip/route/check": 60, "/interface/print": 60}},
	} {
		t.Run(fmt.Sprint(tt.mappings), func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: natpmptest.RFC(), Environ: holding()}, func(r *rig) {
				for port := range tt.mappings {
					r.mapped(alice, natpmp.OpMapTCP, 2000+port)
				}
				time.Sleep(90 * time.Second)
				mark := r.Router.Mark()
				for minute := range 30 {
					r.do(r.Router.Set("/interface", "ether2", routerostest.Row{"running": fmt.Sprint(minute%2 == 0)}))
					time.Sleep(time.Minute)
				}
				did := make(map[string]int)
				for _, command := range r.commands(mark) {
					did[command]++
				}
				total := 0
				for command, n := range did {
					total += n
					if want, known := tt.want[command]; known && (n < want-1 || n > want+1) {
						r.t.Errorf("%d times %s, want %d", n, command, want)
					}
				}
				if most := 3*31 + 8*(tt.want["/interface/print"]+1); total > most {
					r.t.Errorf("%d commands, want %d at the most: %v", total, most, did)
				}
				if n := r.Router.StatsSince(mark).Writes; n != 0 {
					r.t.Errorf("%d writes", n)
				}
				t.Logf("%d mappings: %.1f commands a minute", tt.mappings, float64(total)/30)
			})
		})
	}
}
