package daemon_test

import (
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// The times that the daemon has for what changes on the router.
const (
	// noticed is by when a rule must have left an interface: a minute, as seen at every
	// watchful.
	noticed, watchful = time.Minute - watchful, 5 * time.Second
	// known is by when a rule of others must be known: the table is read once a minute.
	known = 61 * time.Second
)

// TestAnyRouter runs a daemon on routers of any kind, whose interfaces, routes, lists and
// NAT rules change while it runs. No rule of ours stays on an interface by which the
// gateway is not reached, and no client is told of success for a port on which a rule of
// somebody else comes first. The test router's own walk is the judge.
//
// Two kinds of rules may stay: those on an interface that the operator named, who knows
// better; and those on a tunnel that is down while nothing leads to the gateway that rules
// may move to. Nothing comes in through it, and it is what comes back mostly.
//
// More of them: go test ./internal/daemon -run TestAnyRouter -routers 10000.
func TestAnyRouter(t *testing.T) {
	t.Parallel()
	// The property library ends a check after a day, of virtual time too: some 120 routers.
	for left := *routers; left > 0; left -= 100 {
		synctest.Test(t, anyRouters)
	}
}

// routers is how many routers there are, in hundreds.
var routers = flag.Int("routers", 100, "how many random routers TestAnyRouter makes")

// anyRouters checks a hundred of them.
func anyRouters(t *testing.T) {
	rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
		named := rapid.SampledFrom([]string{"", "", "", "wg1", "ether1"}).Draw(rt, "named")
		version := rapid.SampledFrom([]string{"7.22", "7.12", "7.18", "6.49"}).Draw(rt, "version")
		w := &anyWorld{rt: rt, log: new(book), named: named, wrong: make(map[string]time.Time), tunnels: []string{"wg1", "wg2"}}
		bench, err := lab.NewBench(lab.BenchConfig{
			Profile: natpmptest.RFC(), Router: routerostest.Config{Version: version}, Environ: map[string]string{"MIKROTIK_IN_INTERFACE": named},
			Logger: slog.New(slog.NewTextHandler(w.log, nil)),
			Prepare: func(box *routerostest.Router) {
				w.box = box
				w.furnish()
			},
		})
		if err != nil {
			rt.Fatal(err)
		}
		w.bench = bench
		defer func() {
			if err := bench.Close(); err != nil && !strings.Contains(err.Error(), "tunnel interface unknown") {
				rt.Errorf("closing: %v", err)
			}
		}()
		synctest.Wait()
		if err := bench.Start(nil); err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(4, 24).Draw(rt, "steps") {
			w.step()
		}
		w.pass(150 * time.Second)
		w.askAll()
	})
}

// anyWorld is one such router.
type anyWorld struct {
	rt    *rapid.T
	box   *routerostest.Router
	bench *lab.Bench
	log   *book
	named string
	kind  string // of the tunnels
	// tunnels are the present names of two interfaces; forwards the rules of others.
	tunnels  []string
	forwards []string
	lines    int
	// changed is when the router was changed last, wrong since when a rule is where it must
	// not be.
	changed time.Time
	wrong   map[string]time.Time
	holds   []held
}

// held is a mapping that a client asked for.
type held struct {
	client netip.Addr
	op     natpmp.Opcode
	port   uint16
}

func (w *anyWorld) must(err error) {
	w.rt.Helper()
	if err != nil {
		w.rt.Fatal(err)
	}
}

func (w *anyWorld) add(path string, row routerostest.Row) string {
	w.rt.Helper()
	id, err := w.box.Add(path, row)
	w.must(err)
	return id
}

// furnish makes what there is beside the default world.
func (w *anyWorld) furnish() {
	kind := "wg"
	if row, _ := w.box.Find("/interface", "name", "wg1"); row["type"] != "wg" {
		kind = "l2tp-out"
	}
	w.kind = kind
	w.add("/interface", routerostest.Row{"name": "wg2", "type": kind})
	w.add("/interface", routerostest.Row{"name": "l2tp-isp", "type": "l2tp-out"})
	w.add("/interface/list", routerostest.Row{"name": "VPN"})
	w.add("/interface/list", routerostest.Row{"name": "BOTH", "include": "VPN,LAN"})
	w.add("/interface/list", routerostest.Row{"name": "REST", "include": "all", "exclude": "VPN"})
	w.add("/ip/address", routerostest.Row{"address": "10.9.0.2/32", "network": "10.9.0.2", "interface": "wg2"})
	for range rapid.IntRange(0, 4).Draw(w.rt, "changes before") {
		w.change()
	}
}

// step does one thing and lets time pass.
func (w *anyWorld) step() {
	switch rapid.IntRange(0, 4).Draw(w.rt, "what") {
	case 0, 1:
		w.change()
	case 2, 3:
		w.ask(held{
			client: rapid.SampledFrom([]netip.Addr{alice, bob}).Draw(w.rt, "client"),
			op:     rapid.SampledFrom([]natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP}).Draw(w.rt, "protocol"),
			port:   uint16(rapid.IntRange(1000, 1002).Draw(w.rt, "port")),
		})
	case 4:
		w.askAll()
	}
	w.pass(time.Duration(rapid.SampledFrom([]int{1, 10, 40, 70, 140}).Draw(w.rt, "seconds")) * time.Second)
}

// change changes the router in one way.
func (w *anyWorld) change() {
	w.changed = time.Now()
	tunnel := rapid.IntRange(0, 1).Draw(w.rt, "tunnel")
	name := w.tunnels[tunnel]
	what := rapid.IntRange(0, 11).Draw(w.rt, "change")
	if row, exists := w.box.Find("/interface", "name", name); what == 11 && exists {
		w.must(w.box.Remove("/interface", row[".id"]))
		return
	} else if !exists {
		w.add("/interface", routerostest.Row{"name": name, "type": w.kind})
	}
	switch what {
	case 0:
		w.route(routerostest.GatewayAddress+"/32", rapid.SampledFrom([]string{w.tunnels[0], w.tunnels[1], "", "l2tp-isp", "ether1"}).Draw(w.rt, "way"))
	case 1:
		w.route("0.0.0.0/0", rapid.SampledFrom([]string{"198.51.100.1", "l2tp-isp", name, ""}).Draw(w.rt, "default"))
	case 2:
		w.route("10.0.0.0/8", rapid.SampledFrom([]string{"ether1", "l2tp-isp", "bridge", ""}).Draw(w.rt, "network"))
	case 3:
		w.must(w.box.Set("/interface", name, routerostest.Row{"running": rapid.SampledFrom([]string{"true", "false"}).Draw(w.rt, "running")}))
	case 4:
		next := map[string]string{"wg1": "vpn1", "vpn1": "wg1", "wg2": "vpn2", "vpn2": "wg2"}[name]
		w.must(w.box.Set("/interface", name, routerostest.Row{"name": next}))
		w.tunnels[tunnel] = next
	case 5:
		w.member(name)
	case 6, 7, 8:
		w.forward()
	case 9:
		if n := len(w.forwards); n > 0 {
			i := rapid.IntRange(0, n-1).Draw(w.rt, "forward")
			w.must(w.box.Remove("/ip/firewall/nat", w.forwards[i]))
			w.forwards = append(w.forwards[:i:i], w.forwards[i+1:]...)
		}
	case 10:
		w.box.Disconnect()
	}
}

// route makes the one route of the main table to a prefix, "" for none.
func (w *anyWorld) route(prefix, gateway string) {
	for _, row := range w.box.Rows("/ip/route") {
		if table := row["routing-table"]; row["dst-address"] == prefix && row["routing-mark"] == "" && (table == "" || table == "main") {
			w.must(w.box.Remove("/ip/route", row[".id"]))
		}
	}
	if gateway != "" {
		w.add("/ip/route", routerostest.Row{"dst-address": prefix, "gateway": gateway})
	}
}

// member puts an interface into a list, or takes it out.
func (w *anyWorld) member(name string) {
	list := rapid.SampledFrom([]string{"WAN", "LAN", "VPN"}).Draw(w.rt, "list")
	for _, row := range w.box.Rows("/interface/list/member") {
		if row["list"] == list && row["interface"] == name {
			w.must(w.box.Remove("/interface/list/member", row[".id"]))
			return
		}
	}
	w.add("/interface/list/member", routerostest.Row{"list": list, "interface": name})
}

// forward adds a NAT rule as people have them, at the end or on top.
func (w *anyWorld) forward() {
	draw := func(name string, values ...string) string { return rapid.SampledFrom(values).Draw(w.rt, name) }
	w.lines++
	row := routerostest.Row{"chain": draw("chain", "dstnat", "dstnat", "dstnat", "games"), "comment": fmt.Sprint("line ", w.lines)}
	set := func(name, value string) {
		if value != "" {
			row[name] = value
		}
	}
	inner := 25000
	if d := w.bench; d != nil && d.Daemon() != nil && len(d.Daemon().Mappings()) > 0 {
		inner = int(d.Daemon().Mappings()[0].InnerPort)
	}
	set("protocol", draw("protocol", "tcp", "udp", "tcp"))
	set("dst-port", draw("ports", "", "1-65535", "!22", "22", fmt.Sprint(inner), fmt.Sprintf("%d-%d", inner-5, inner+5), "20000-29999", "10000-60000", "1-24999"))
	set("in-interface", draw("in", "", "", w.tunnels[0], w.tunnels[1], "ether1", "!ether1", "!"+w.tunnels[0]))
	if row["in-interface"] == "" {
		set("in-interface-list", draw("list", "", "WAN", "LAN", "VPN", "BOTH", "REST", "!WAN", "!LAN", "!VPN", "all"))
	}
	set("dst-address", draw("to", "", "", routerostest.WANAddress, routerostest.TunnelAddress, "10.2.0.0/24", "!"+routerostest.WANAddress, "10.9.0.2"))
	set("src-address", draw("from", "", "", "", "192.168.88.0/24", "203.0.113.0/24", "!192.168.88.0/24"))
	if row["dst-port"] == "" && draw("any protocol", "yes", "no") == "yes" {
		delete(row, "protocol")
	}
	switch row["action"] = draw("action", "dst-nat", "dst-nat", "accept", "jump", "redirect", "log", "return"); row["action"] {
	case "dst-nat":
		row["to-addresses"] = "192.168.88.77"
	case "jump":
		row["chain"], row["jump-target"] = "dstnat", "games"
	}
	set("dynamic", draw("dynamic", "", "", "", "", "true"))
	id := w.add("/ip/firewall/nat", row)
	w.forwards = append(w.forwards, id)
	if row["dynamic"] == "true" || draw("place", "end", "top") == "top" {
		for _, first := range w.box.Rows("/ip/firewall/nat") {
			if first["dynamic"] == "true" && row["dynamic"] != "true" || first[".id"] == id {
				continue
			}
			w.must(w.box.Move("/ip/firewall/nat", id, first[".id"]))
			break
		}
	}
}

// reached returns the interface by which the gateway is reached, "" for none.
func (w *anyWorld) reached() string {
	at := netip.AddrPortFrom(netip.MustParseAddr(routerostest.GatewayAddress), natpmp.Port)
	path := w.box.Walk(routerostest.Packet{Protocol: "udp", Src: netip.AddrPortFrom(netip.MustParseAddr(routerostest.TunnelAddress), 40000), Dst: at})
	return path.Out
}

// line returns the interface of the main default route, "" for none. An operator may name
// another one than that by which the gateway is reached, but not this one.
func (w *anyWorld) line() string {
	for _, row := range w.box.Rows("/ip/route") {
		if table := row["routing-table"]; row["dst-address"] == "0.0.0.0/0" && row["routing-mark"] == "" && (table == "" || table == "main") {
			return strings.Replace(row["gateway"], "198.51.100.1", "ether1", 1)
		}
	}
	return ""
}

// pass lets time pass and watches where our rules are.
func (w *anyWorld) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(watchful, time.Until(end)))
		now, reached := time.Now(), w.reached()
		for _, row := range w.box.Rows("/ip/firewall/nat") {
			if !strings.HasPrefix(row["comment"], "doublenat:default ") || strings.HasSuffix(row["comment"], "(mine)") || row["disabled"] == "true" {
				continue
			}
			if w.mayStand(row["in-interface"], reached) {
				delete(w.wrong, row[".id"])
				continue
			}
			if since, known := w.wrong[row[".id"]]; !known {
				w.wrong[row[".id"]] = now
			} else if now.Sub(since) > noticed {
				w.rt.Fatalf("a rule is on %s for %v, the gateway is reached through %q:\n%v\n%v", row["in-interface"], now.Sub(since), reached, row, w.table())
			}
		}
	}
}

// mayStand reports whether a rule may be on the interface, given that by which the gateway
// is reached.
func (w *anyWorld) mayStand(on, reached string) bool {
	iface, exists := w.box.Find("/interface", "name", on)
	down := exists && iface["running"] == "false"
	return on == reached || on == w.named && w.line() != w.named || down && (w.named != "" || reached == "" || reached == w.line())
}

// askAll asks for all mappings once more.
func (w *anyWorld) askAll() {
	for _, h := range w.holds {
		w.ask(h)
	}
}

// ask asks for a mapping. Where the router was left alone for a while and the daemon
// says that it is open, it has to be.
func (w *anyWorld) ask(h held) {
	resp, err := w.bench.Request(h.client, natpmp.Request{Opcode: h.op, InternalPort: h.port, Lifetime: 3600})
	if err != nil || resp.Result != natpmp.ResultSuccess {
		return
	}
	if !slices.Contains(w.holds, h) {
		w.holds = append(w.holds, h)
	}
	if time.Since(w.changed) < known {
		return
	}
	for _, m := range w.bench.Daemon().Mappings() {
		if m.Key.Client != h.client || m.Key.InternalPort != h.port || natpmp.Opcode(m.Key.Protocol) != h.op {
			continue
		}
		prefix, in := fmt.Sprintf("doublenat:default %v inner=%d ", m.Key, m.InnerPort), ""
		for _, row := range w.box.Rows("/ip/firewall/nat") {
			if strings.HasPrefix(row["comment"], prefix) {
				in = row["in-interface"]
			}
		}
		if in == "" {
			w.rt.Fatalf("success for %v, which has no rule:\n%v", m.Key, w.table())
		}
		path := w.box.Walk(routerostest.Packet{
			Protocol: m.Key.Protocol.String(), In: in,
			Src: netip.MustParseAddrPort("203.0.113.7:40000"), Dst: netip.AddrPortFrom(w.addressOn(in), m.InnerPort),
		})
		if path.Dst != netip.AddrPortFrom(h.client, h.port) && len(path.Unsure) == 0 {
			w.rt.Fatalf("success for %v, whose packets go otherwise:\n%v\n%v", m.Key, path, w.table())
		}
	}
}

// addressOn returns the router's address on an interface: a lease leads to it.
func (w *anyWorld) addressOn(name string) netip.Addr {
	for _, row := range w.box.Rows("/ip/address") {
		if prefix, err := netip.ParsePrefix(row["address"]); err == nil && row["interface"] == name {
			return prefix.Addr()
		}
	}
	return netip.MustParseAddr(routerostest.TunnelAddress)
}

// table returns the log and the NAT table in words.
func (w *anyWorld) table() string {
	var b strings.Builder
	for _, line := range w.log.lines("") {
		b.WriteString(line)
	}
	for _, row := range w.box.Rows("/ip/firewall/nat") {
		if row["chain"] != "srcnat" {
			fmt.Fprintln(&b, row)
		}
	}
	return b.String()
}
