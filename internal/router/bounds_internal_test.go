package router

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// A rule of others that takes a thousand ports was written for a range, and ours stand before
// it; one that takes fewer was meant for these, and is left its ports.
func TestWideRules(t *testing.T) {
	t.Parallel()
	const to = "chain=dstnat action=dst-nat protocol=tcp in-interface=wg1 to-addresses=192.168.88.20 "
	for ports, want := range map[string]string{"2000-2998": "2000-2998", "2000-2999": "+2000-2999"} {
		if got := words(viewOf(attrs(".id=*1 " + to + "dst-port=" + ports))).TCP; got != want {
			t.Errorf("%s: taken %s, want %s", ports, got, want)
		}
	}
}

// A rule for packets of the LAN alone takes none from the tunnel, unless the gateway's own
// address is among those that it is for: it may put that into the packets.
func TestRulesForSources(t *testing.T) {
	t.Parallel()
	const to = "chain=dstnat action=dst-nat protocol=tcp dst-port=22 to-addresses=192.168.88.20 "
	for source, want := range map[string]string{
		"10.2.0.0-10.2.0.0": "", "10.2.0.0-10.2.0.1": "22", "10.2.0.1-10.2.0.9": "22", "10.2.0.2-10.2.0.9": "", "10.2.0.1": "22", "8.8.8.8": "22",
	} {
		if got := words(viewOf(attrs(".id=*1 " + to + "src-address=" + source))).TCP; got != want {
			t.Errorf("from %s: taken %q, want %q", source, got, want)
		}
	}
}

// A range of addresses may have one in it, and none if it is turned around.
func TestParseAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.0.0.5": "10.0.0.5 10.0.0.5", "10.0.0.5-10.0.0.5": "10.0.0.5 10.0.0.5", "10.0.0.5-10.0.0.9": "10.0.0.5 10.0.0.9", "10.0.0.9-10.0.0.5": "",
		"10.0.0.5/30": "10.0.0.4 10.0.0.7", "10.0.0.5/0": "0.0.0.0 255.255.255.255", "10.0.0.5-fd00::1": "", "fd00::1": "", "": "",
	} {
		got := ""
		if first, last, ok := parseAddresses(text); ok {
			got = first.String() + " " + last.String()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Of lists that exclude each other nobody can say what is in them, and the question has an end.
func TestListsThatExcludeEachOther(t *testing.T) {
	t.Parallel()
	lists := []routeros.Row{attrs("name=A include=all exclude=B"), attrs("name=B include=all exclude=A"), attrs("name=C include=all exclude=D"), attrs("name=D")}
	want := map[string]membership{"all": listHas, "none": listLacks, "A": listUnknown, "B": listUnknown, "C": listHas, "D": listLacks}
	if diff := cmp.Diff(want, memberships(lists, nil, "wg1", false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A row of others is named to people by its id, and by its comment as far as that is short.
func TestNameOf(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", maxName)
	for want, row := range map[string]natRow{
		"*1":                          {id: "*1"},
		"*1 (dynamic)":                {id: "*1", dynamic: true},
		"*1 (web)":                    {id: "*1", comment: "web"},
		"*1 (web, dynamic)":           {id: "*1", comment: "web", dynamic: true},
		"*1 (" + long + ")":           {id: "*1", comment: long},
		"*1 (" + long + "…)":          {id: "*1", comment: long + "ä"},
		"*1 (a?b)":                    {id: "*1", comment: "a\nb"},
		"*1 (" + long + "…, dynamic)": {id: "*1", comment: long + "äöü", dynamic: true},
	} {
		if got := nameOf(row); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Rows are looked into as long as the memory for them lasts; how many are not is told. An id
// may have 128 bytes.
func TestRowsThatAreNotLookedInto(t *testing.T) {
	t.Parallel()
	row := func(id, chain string) natRow {
		return natRow{id: id, chain: chain, action: "dst-nat", protocol: "tcp", dstPort: "22", iface: "wg1"}
	}
	b := testSite().newView("default", newDeeds(), true)
	b.add(row(strings.Repeat("*", maxWord), "dstnat"))
	if b.unknown != 0 || !b.snapshot.Used[nat.TCP].Has(22) {
		t.Errorf("%d rows not looked into, want all to be", b.unknown)
	}
	b.add(row(strings.Repeat("*", maxWord+1), "dstnat"))
	if b.unknown != 1 {
		t.Errorf("%d rows not looked into, want the one with the long id", b.unknown)
	}
	wide := row("*2", "dstnat")
	wide.dstPort = ""
	for range maxLinks / 2 {
		b.add(wide)
	}
	for range maxLinks/2 + 3 {
		b.add(row("*3", "mine"))
	}
	if b.unknown != 1+3 || len(b.marks) != maxLinks/2 || len(b.chains["mine"]) != maxLinks/2 {
		t.Errorf("%d rows not looked into, %d and %d remembered", b.unknown, len(b.marks), len(b.chains["mine"]))
	}
}

// So many interfaces are named in an error, and the number of the others if there are some.
func TestInterfaceErrorNamesSome(t *testing.T) {
	t.Parallel()
	names := strings.Split("a b c d e f g h i", " ")
	for n, want := range map[int]string{
		0: "in-interface unknown: why; set MIKROTIK_IN_INTERFACE",
		1: "in-interface unknown: why; set MIKROTIK_IN_INTERFACE to one of: a",
		8: "in-interface unknown: why; set MIKROTIK_IN_INTERFACE to one of: a, b, c, d, e, f, g, h",
		9: "in-interface unknown: why; set MIKROTIK_IN_INTERFACE to one of: a, b, c, d, e, f, g, h (and 1 more)",
	} {
		if got := (&InterfaceError{Reason: "why", Candidates: names[:n]}).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Of a router without tunnels any interface may be meant.
func TestCandidates(t *testing.T) {
	t.Parallel()
	for want, all := range map[string]interfaces{
		"a b": {names: []string{"a", "b"}},
		"b":   {names: []string{"a", "b"}, tunnels: []string{"b"}},
	} {
		if got := strings.Join(all.candidates(), " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
