package walk_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"doublenat/internal/walk"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// The words of which random rows are made. An empty word is none.
var (
	matchers = []string{
		"", "", "in-interface=bridge", "in-interface=veth1", "in-interface=wg1", "in-interface=!wg1", "in-interface=ether1", "in-interface=all-ethernet",
		"in-interface-list=LAN", "in-interface-list=WAN", "in-interface-list=!LAN", "in-interface-list=BOTH",
		"src-address=192.168.88.0/24", "src-address=192.168.88.10", "src-address=!192.168.88.0/24", "src-address=172.30.254.2", "src-address=10.2.0.1",
		"src-address=23.0.0.0/8", "src-address=192.168.88.5-192.168.88.20", "dst-address=192.168.88.0/24", "dst-address=172.30.254.0/30",
		"dst-address=10.0.0.0/8", "dst-address=!10.0.0.0/8", "dst-address=192.168.88.1", "dst-address-type=local", "dst-address-type=!local",
		"src-address-list=some", "src-address-list=!some", "dst-address-list=some", "dst-address-list=gone", "src-address-list=names",
		"protocol=udp", "protocol=tcp", "protocol=!tcp", "protocol=icmp", "protocol=udp dst-port=5351", "protocol=udp src-port=5351",
		"protocol=tcp dst-port=1-1024,8728", "protocol=udp port=5351", "protocol=tcp tcp-flags=syn,!ack", "protocol=tcp tcp-flags=!fin,!syn,!rst,!ack",
		"ipsec-policy=in,none", "time=8h-16h,mon", "src-mac-address=02:00:00:00:00:01", "content=x", "psd=21,3s,3,1",
	}
	stateful = []string{
		"", "", "connection-state=new", "connection-state=established,related", "connection-state=invalid", "connection-state=untracked",
		"connection-nat-state=dstnat", "connection-nat-state=!dstnat", "connection-nat-state=srcnat", "connection-mark=a", "connection-mark=!a",
		"connection-mark=no-mark", "connection-mark=b", "packet-mark=p",
	}
	leaving  = []string{"", "", "out-interface=wg1", "out-interface=veth1", "out-interface=!bridge", "out-interface-list=WAN", "out-interface-list=!WAN"}
	rawActs  = []string{"accept", "drop", "notrack", "log", "jump jump-target=x", "return"}
	markActs = []string{
		"accept", "mark-connection new-connection-mark=a", "mark-connection new-connection-mark=b passthrough=false", "mark-packet new-packet-mark=p",
		"mark-routing new-routing-mark=vpn", "mark-routing new-routing-mark=vpn passthrough=false", "mark-routing new-routing-mark=empty",
		"mark-routing new-routing-mark=main", "jump jump-target=x", "return", "change-mss new-mss=1360", "passthrough",
	}
	dstActs = []string{"accept", "dst-nat to-addresses=172.30.254.2", "dst-nat to-addresses=192.168.88.20 to-ports=80", "redirect to-ports=53", "jump jump-target=x", "return", "log"}
	srcActs = []string{"accept", "masquerade", "src-nat to-addresses=10.2.0.2", "return"}
	fltActs = []string{"accept", "accept", "drop", "reject", "jump jump-target=x", "return", "fasttrack-connection", "log"}
	ruleMat = []string{
		"", "src-address=192.168.88.0/24", "src-address=172.30.254.0/30", "dst-address=172.30.254.2/32", "dst-address=192.168.88.0/24", "dst-address=10.2.0.1/32",
		"interface=bridge", "interface=veth1", "routing-mark=vpn", "src-address=10.0.0.0/8", "dst-address=23.0.0.0/8",
	}
	ruleActs = []string{
		"lookup table=main", "lookup table=vpn", "lookup-only-in-table table=main", "lookup-only-in-table table=vpn", "lookup table=empty",
		"lookup-only-in-table table=empty", "drop", "unreachable", "lookup table=main min-prefix=0", "lookup-only-in-table table=main min-prefix=0",
	}
)

// draw makes a router at random.
type draw struct {
	t      *testing.T
	rng    *rand.Rand
	router *routerostest.Router
	told   []string
}

// one returns one of the words.
func (d *draw) one(words []string) string { return words[d.rng.IntN(len(words))] }

// add adds a row given as words.
func (d *draw) add(path string, words ...string) {
	d.t.Helper()
	line := strings.Join(strings.Fields(strings.Join(words, " ")), " ")
	d.told = append(d.told, path+" "+line)
	row := make(routerostest.Row)
	for word := range strings.FieldsSeq(line) {
		name, value, _ := strings.Cut(word, "=")
		row[name] = value
	}
	if _, err := d.router.Add(path, row); err != nil {
		d.t.Fatal(err)
	}
}

// chains adds some rows to a table, half of them in a chain of their own.
func (d *draw) chains(path string, most int, actions, extra []string, names ...string) {
	d.t.Helper()
	for range d.rng.IntN(most + 1) {
		chain := d.one(append(names, names...))
		if d.rng.IntN(4) == 0 {
			chain = "x"
		}
		action := d.one(actions)
		if chain == "x" && strings.HasPrefix(action, "jump") {
			action = "return"
		}
		d.add(path, "chain="+chain, "action="+action, d.one(matchers), d.one(extra))
	}
}

// furnish draws the tables.
func (d *draw) furnish() {
	d.t.Helper()
	for _, path := range []string{walk.PathRaw, walk.PathMangle, walk.PathFilter, walk.PathRule, walk.PathNAT} {
		for _, row := range d.router.Rows(path) {
			if d.rng.IntN(3) > 0 || path == walk.PathNAT && row["chain"] == "dstnat" {
				if err := d.router.Remove(path, row[".id"]); err != nil {
					d.t.Fatal(err)
				}
			}
		}
	}
	d.add("/interface/list", "name=BOTH include=LAN,WAN")
	d.add(walk.PathAddresses, "list=some address=192.168.88.0/28")
	d.add(walk.PathAddresses, "list=some address=10.0.0.0/8")
	d.add(walk.PathAddresses, "list=names address=host.example.com")
	d.add("/routing/table", "name=empty fib=")
	if d.rng.IntN(4) == 0 {
		d.add(walk.PathVRF, "name=vpn interfaces="+d.one([]string{"bridge", "veth1", "ether3"}))
	}
	d.chains(walk.PathRaw, 3, rawActs, []string{""}, "prerouting", "output")
	d.chains(walk.PathMangle, 5, markActs, append(stateful, leaving...), "prerouting", "prerouting", "forward", "input", "output", "postrouting")
	d.chains(walk.PathNAT, 2, dstActs, []string{""}, "dstnat")
	d.add(walk.PathNAT, "chain=dstnat action=dst-nat protocol=udp dst-port=5351 dst-address-type=local to-addresses=172.30.254.2")
	d.add(walk.PathNAT, "chain=dstnat action=dst-nat in-interface=wg1 protocol=tcp dst-port=50413 to-addresses=192.168.88.10")
	d.chains(walk.PathNAT, 2, srcActs, leaving, "srcnat")
	d.add(walk.PathNAT, "chain=srcnat action=masquerade out-interface-list=WAN")
	d.chains(walk.PathFilter, 4, fltActs, append(stateful, leaving...), "forward", "input", "output")
	for range d.rng.IntN(4) {
		d.add(walk.PathRule, "action="+d.one(ruleActs), d.one(ruleMat))
	}
}

// copied returns the tables of the test router.
func copied(router *routerostest.Router) *walk.Tables {
	w := &walk.Tables{Rows: make(map[string][]routeros.Row)}
	for _, path := range append(walk.Paths(), walk.PathRoute, walk.PathAddresses) {
		for _, from := range router.Rows(path) {
			var row routeros.Row
			for _, name := range slices.Sorted(maps.Keys(from)) {
				row = append(row, routeros.Attr{Name: name, Value: from[name]})
			}
			w.Rows[path] = append(w.Rows[path], row)
		}
	}
	return w
}

// TestWalkAgreesWithTheRouter draws rules at random and compares every verdict with
// the test router's own walk, which was written without a look at this one. Being unsure
// is allowed where the router passed over a row that it does not understand, and
// where a row asks for what nobody can know.
func TestWalkAgreesWithTheRouter(t *testing.T) {
	t.Parallel()
	flows := []walk.Flow{request, api, upward, mapped}
	flows[3].To = netip.AddrPort{} // a rule is there
	rounds := 1000
	if testing.Short() {
		rounds = 300
	}
	counts := make(map[walk.How]int)
	for seed := range rounds {
		compareAll(t, seed, flows, counts)
	}
	for _, seed := range []int{14259, 24202} { // differed once
		compareAll(t, seed, flows, counts)
	}
	t.Logf("%v", counts)
	for _, how := range []walk.How{walk.Lost, walk.Arrives} {
		if counts[how] < rounds {
			t.Errorf("only %d of %d packets: %v", counts[how], 8*rounds, how)
		}
	}
}

// compareAll draws a router and compares what becomes of packets in it, and of the
// answers to them. It counts the verdicts.
func compareAll(t *testing.T, seed int, flows []walk.Flow, counts map[walk.How]int) {
	t.Helper()
	router, err := routerostest.New(routerostest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := router.Close(); err != nil {
			t.Error(err)
		}
	}()
	d := &draw{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 1)), router: router}
	d.furnish()
	w := copied(router)
	for _, f := range flows {
		trip := w.Walk(f)
		counts[trip.There.How]++
		counts[trip.Back.How]++
		way := router.Walk(routerostest.Packet{Protocol: f.Protocol, In: f.In, Src: f.Src, Dst: f.Dst})
		problem := compare(trip.There, way)
		if problem == "" && trip.There.How == walk.Arrives {
			back := router.WalkBack(way)
			if back.Src != f.Dst { // whoever asked takes it for no answer
				back.Fate = routerostest.Lost
			}
			if problem = compare(trip.Back, back); problem != "" {
				problem = "back: " + problem + "\n" + router.WalkBack(way).String()
			}
		}
		if problem != "" {
			t.Fatalf("seed %d, %+v: %s\n%s\n%s", seed, f, problem, way, strings.Join(d.told, "\n"))
		}
	}
}

// compare returns what is wrong with a verdict, "" for nothing.
func compare(got walk.Leg, way routerostest.Path) string {
	lost := way.Fate == routerostest.Lost || way.Fate == routerostest.Beside
	switch {
	case got.How == walk.Unsure || len(way.Unsure) > 0 && got.How == walk.Lost == lost:
		return ""
	case (got.How == walk.Lost) != lost:
		return fmt.Sprintf("verdict %s, the router says %v", brief(got), way.Fate)
	case lost:
		return ""
	case got.Local != (way.Fate == routerostest.Arrived) || got.Out != way.Out || got.Src != way.Src || got.Dst != way.Dst:
		return fmt.Sprintf("verdict %s, the router says %v>%v@%s %v", brief(got), way.Src, way.Dst, way.Out, way.Fate)
	default:
		return ""
	}
}
