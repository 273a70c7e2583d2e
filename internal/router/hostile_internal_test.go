package router

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
)

// hall returns chains that jump into each other: rooms of them, each with that many
// doors to the next one, and a rule for port 22 in the last.
func hall(rooms, doors int) []routeros.Row {
	rows := []routeros.Row{attrs(".id=*1 chain=dstnat protocol=tcp action=jump jump-target=room1")}
	for room := 1; room < rooms; room++ {
		door := attrs(fmt.Sprintf(".id=*2 chain=room%d action=jump jump-target=room%d", room, room+1))
		rows = append(rows, slices.Repeat([]routeros.Row{door}, doors)...)
	}
	return append(rows, attrs(fmt.Sprintf(".id=*3 chain=room%d protocol=tcp dst-port=22 action=accept", rooms)))
}

// TestJumps has chains that jump into chains. Where they are not followed to the end a
// jump counts as taking all that reaches it.
func TestJumps(t *testing.T) {
	t.Parallel()
	all := seen{TCP: "+0-65535", CatchAll: "*1"}
	for name, tt := range map[string]struct {
		rows []routeros.Row
		want seen
	}{
		"one chain":                 {hall(1, 0), seen{TCP: "22"}},
		"seven chains":              {hall(7, 2), seen{TCP: "22"}},
		"too deep":                  {hall(9, 1), all},
		"ways beyond number":        {hall(8, 60), seen{TCP: "22+0-65535", CatchAll: "*1"}},
		"ways that lead to nothing": {hall(8, 60)[:1+7*60], all},
		"a chain that jumps to itself": {[]routeros.Row{
			attrs(".id=*1 chain=dstnat protocol=tcp action=jump jump-target=loop"), attrs(".id=*2 chain=loop action=jump jump-target=loop"),
		}, all},
		"the same, for one port": {[]routeros.Row{
			attrs(".id=*1 chain=dstnat protocol=tcp dst-port=80 action=jump jump-target=loop"), attrs(".id=*2 chain=loop action=jump jump-target=loop"),
		}, seen{TCP: "80"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, words(viewOf(tt.rows...))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestManyJumps has very many jumps into a chain of very many rows, and rules of ours
// behind all of them. The steps of all jumps together are bounded.
func TestManyJumps(t *testing.T) {
	t.Parallel()
	b := testSite().newView("default", newDeeds(), true)
	const each = maxLinks / 2
	for range each {
		b.add(natRow{id: "*1", chain: chainDstNAT, action: "jump", jumpTarget: "shops", protocol: "tcp"})
	}
	for i := range each {
		b.add(natRow{id: "*2", chain: "shops", action: "accept", protocol: "tcp", dstPort: fmt.Sprint(i)})
	}
	for i := range 1000 {
		comment := fmt.Sprintf("doublenat:default tcp 192.168.88.10:%d inner=%d ext=40000 life=3600", 1000+i, 20000+i)
		b.add(natRow{
			id: fmt.Sprintf("*A%d", i), chain: chainDstNAT, action: actionDstNAT, protocol: "tcp", dstPort: fmt.Sprint(20000 + i), iface: "wg1",
			toAddresses: "192.168.88.10", toPorts: fmt.Sprint(1000 + i), comment: comment,
		})
	}
	v := b.finish()
	// Those that wait for their turn when the limit is met take one step each at most.
	if b.steps > maxSteps+each {
		t.Errorf("took %d steps, want %d at most", b.steps, maxSteps+each)
	}
	if v.catchAll != "*1" || len(v.snapshot.Rules) != 1000 {
		t.Fatalf("got %d rules, to be put before %q", len(v.snapshot.Rules), v.catchAll)
	}
	for _, r := range v.snapshot.Rules {
		if !r.Altered {
			t.Fatalf("%+v is behind what takes its packets", r)
		}
	}
}

// TestLongMatchers has a matcher with more ports than RouterOS takes.
func TestLongMatchers(t *testing.T) {
	t.Parallel()
	ports := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprint(2*i+1))
		}
		return strings.Join(list, ",")
	}
	for n, want := range map[int]seen{
		maxItems:     {TCP: ports(maxItems)},
		maxItems + 1: {TCP: "+0-65535", CatchAll: "*1"},
		20_000:       {TCP: "+0-65535", CatchAll: "*1"},
	} {
		row := routeros.Row{{Name: ".id", Value: "*1"}, {Name: "chain", Value: "dstnat"}, {Name: "action", Value: "accept"}, {Name: "protocol", Value: "tcp"}, {Name: "dst-port", Value: ports(n)}}
		if diff := cmp.Diff(want, words(viewOf(row))); diff != "" {
			t.Errorf("%d ports (-want +got):\n%s", n, diff)
		}
	}
}

// TestHostileTable has very many rows that are told of, ids and names as no router has
// them, and more chains than are looked into. What is kept of all that is bounded, and
// what was passed over is counted.
func TestHostileTable(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 60_000)
	const many = 100_000
	b := testSite().newView("default", newDeeds(), true)
	for range many {
		b.add(natRow{id: "*1", chain: chainDstNAT, iface: "ether1", comment: "doublenat:default tcp 192.168.88.10:1 inner=20001 ext=1 life=60", action: actionDstNAT})
		b.add(natRow{id: "*2", chain: chainDstNAT, ifaceList: "*2000010", comment: long, action: "accept", protocol: "tcp", dstPort: "1"})
	}
	for range 100 {
		b.add(natRow{id: "*" + long, chain: chainDstNAT, action: "accept"})
		b.add(natRow{id: "*3", chain: long, action: "accept"})
		b.add(natRow{id: "*4", chain: chainDstNAT, action: "jump", jumpTarget: long})
	}
	for range maxLinks + 50 {
		b.add(natRow{id: "*5", chain: "games", action: "accept"})
	}
	kept := len(b.marks)
	for _, links := range b.chains {
		kept += len(links)
	}
	v := b.finish()
	got := []int{v.strays.count, len(v.strays.first), v.orphans.count, len(v.orphans.first), v.unknown, kept, len(v.snapshot.Takers)}
	if diff := cmp.Diff([]int{many, maxNamed, many, maxNamed, 350, maxLinks, maxTakers}, got); diff != "" {
		t.Errorf("strays, named, orphans, named, unknown, kept, takers (-want +got):\n%s", diff)
	}
	if name := v.orphans.first[0]; len(name) > 100 {
		t.Errorf("a name of %d bytes", len(name))
	}
}

// TestIntersect compares with what each port by itself says.
func TestIntersect(t *testing.T) {
	t.Parallel()
	lists := []string{"80", "!80", "1-10,5-20,30", "!1-10,30", "0-65535", "9,10,11,12,29-31", "!0-65535"}
	for _, a := range lists {
		for _, b := range lists {
			x, _ := parsePorts(a)
			y, _ := parsePorts(b)
			both := x.intersect(y)
			for port := range 1 << 16 {
				p := uint16(port)
				if both.has(p) != (x.has(p) && y.has(p)) {
					t.Fatalf("%s and %s: port %d", a, b, p)
				}
			}
		}
	}
}
