package router

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// addressRow is a row of /ip/address.
func addressRow(address, iface, actual, disabled string) routeros.Row {
	return routeros.Row{{Name: "address", Value: address}, {Name: "interface", Value: iface}, {Name: "actual-interface", Value: actual}, {Name: "disabled", Value: disabled}}
}

// A network has an address of its own and one for all hosts, unless it has two addresses
// or one (RFC 3021).
func TestGroupAddresses(t *testing.T) {
	t.Parallel()
	for network, want := range map[string]string{
		"192.168.88.1/24": "192.168.88.0 192.168.88.255", "192.168.88.1/30": "192.168.88.0 192.168.88.3",
		"192.168.88.1/31": "", "192.168.88.1/32": "", "fd00::1/64": "", "nonsense": "",
	} {
		known, groups := parseAddressRows([]routeros.Row{addressRow(network, "bridge", "", "")}), make(map[netip.Addr]struct{})
		for text := range strings.FieldsSeq(want) {
			groups[netip.MustParseAddr(text)] = struct{}{}
		}
		if diff := cmp.Diff(groups, known.groups, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", network, diff)
		}
	}
}

// The addresses of an interface are those that it has by its own name, or by that of
// what it is made of, and that are switched on.
func TestAddressesOn(t *testing.T) {
	t.Parallel()
	rows := []routeros.Row{
		addressRow("10.2.0.2/32", "wg1", "wg1", ""), addressRow("10.2.0.3/32", "wg1", "", ""), addressRow("10.2.0.4/32", "group", "wg1", ""),
		addressRow("10.2.0.5/32", "wg1", "", "true"), addressRow("10.2.0.6/32", "wg2", "wg2", ""), addressRow("10.2.0.2/24", "wg1", "", ""),
		addressRow("nonsense", "wg1", "", ""), addressRow("10.2.0.7/32", "", "", ""),
	}
	want := []string{"10.2.0.2", "10.2.0.3", "10.2.0.4"}
	var got []string
	for _, a := range addressesOn(rows, "wg1") {
		got = append(got, a.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := addressesOn(rows, ""); len(got) != 0 {
		t.Errorf("on no interface: %v", got)
	}
}

// A rule counts as invalid after as long as a change may take, to the moment.
func TestInvalidAfterAWhile(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := &Router{ailing: map[string]ailment{"*1": {rule: InvalidRule{ID: "*1", Since: now}}}}
	if got := r.invalidLocked(now.Add(confirmAfter - 1)); len(got) != 0 {
		t.Errorf("too early: %v", got)
	}
	if got := r.invalidLocked(now.Add(confirmAfter)); len(got) != 1 {
		t.Errorf("not told: %v", got)
	}
}

// Strays and rows that name a deleted list are told of when there are some, and other
// than before.
func TestTellStrays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		strays, orphans             int
		straysBefore, orphansBefore int
		lines                       int
	}{
		{0, 0, 0, 0, 0},
		{0, 0, 3, 3, 0},
		{1, 0, 0, 0, 1},
		{1, 1, 1, 1, 0},
		{0, 1, 0, 0, 1},
		{2, 3, 1, 1, 2},
	} {
		log := new(bytes.Buffer)
		r := &Router{log: slog.New(slog.NewTextHandler(log, nil))}
		var v view
		for range tt.strays {
			v.strays.add(natRow{id: "*1"})
		}
		for range tt.orphans {
			v.orphans.add(natRow{id: "*2"})
		}
		r.tellStrays(t.Context(), testSite(), v, layout{strays: tt.straysBefore, orphans: tt.orphansBefore})
		if n := strings.Count(log.String(), "level="); n != tt.lines {
			t.Errorf("%+v: %d lines:\n%s", tt, n, log)
		}
	}
}

// A name may have every letter and digit of ASCII, the first and the last too, and up to
// 32 of them.
func TestValidInstance(t *testing.T) {
	t.Parallel()
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	for c := range 256 {
		if got := validInstance(string([]byte{byte(c)})); got != strings.Contains(letters, string(rune(c))) {
			t.Errorf("a name of %q: %v", rune(c), got)
		}
	}
	for n, want := range map[int]bool{0: false, 1: true, maxInstance: true, maxInstance + 1: false} {
		if got := validInstance(strings.Repeat("z", n)); got != want {
			t.Errorf("a name of %d letters: %v", n, got)
		}
	}
}

// What a look did not show is forgotten, unless it was noted after the look had begun: a
// rule that is made meanwhile may be missing in what the look shows. Its comment is
// remembered for ten looks more.
func TestDeedsForget(t *testing.T) {
	t.Parallel()
	of := func(port uint16) owned {
		return owned{key: nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: port}}
	}
	d := newDeeds()
	if number, first := d.look(); number != 1 || !first {
		t.Errorf("look %d, first: %v", number, first)
	}
	d.seen(1, map[string]deed{"*1": {owned: of(1)}, "*2": {owned: of(2)}})
	number, first := d.look()
	if number != 2 || first {
		t.Errorf("look %d, first: %v", number, first)
	}
	d.did("*3", of(3), nat.MatchPorts{3}) // while the look goes on
	d.seen(number, map[string]deed{"*1": {owned: of(1), dstPort: "1"}, "*3": {owned: of(4)}})
	for id, want := range map[string]bool{"*1": true, "*2": false, "*3": true} {
		if _, ok := d.rows[id]; ok != want {
			t.Errorf("%s is remembered: %v", id, ok)
		}
	}
	if d.rows["*1"].dstPort != "1" || d.rows["*3"].owned != of(3) {
		t.Errorf("what was seen does not count, or what was made since does not: %+v", d.rows)
	}
	for range keepMade - 1 {
		number, _ = d.look()
		d.seen(number, nil)
	}
	if !d.knows(of(2)) {
		t.Error("a comment is forgotten too early")
	}
	number, _ = d.look()
	if d.seen(number, nil); d.knows(of(2)) || !d.knows(of(3)) {
		t.Error("a comment is remembered too long, or another too short")
	}
}

// Ranges that touch or overlap are one, a range of one port is one, and each port counts once.
func TestPortsCount(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct{ ports, ranges int }{
		"80":              {1, 1},
		"80-80":           {1, 1},
		"80,81":           {2, 1},
		"80,82":           {2, 2},
		"80-90,85-95,90":  {16, 1},
		"80-90,91-95":     {16, 1},
		"80-90,92-95":     {15, 2},
		"0-65535":         {65536, 1},
		"!80":             {65535, 2},
		"!0":              {65535, 1},
		"!65535":          {65535, 1},
		"!0-65535":        {0, 0},
		"!80-90,91-100":   {65515, 2},
		"!80-90,92-100":   {65516, 3},
		"1000-2000,80,81": {1003, 2},
	} {
		p, ok := parsePorts(text)
		if got := len(p.plain().ranges); !ok || p.count() != want.ports || got != want.ranges {
			t.Errorf("%s: %d ports in %d ranges, want %+v", text, p.count(), got, want)
		}
	}
	for _, text := range []string{"90-80", "65536", "1-65536", "", "a", "1-"} {
		if p, ok := parsePorts(text); ok {
			t.Errorf("%q is read as %+v", text, p)
		}
	}
}
