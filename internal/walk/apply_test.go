package walk_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/walk"
	"doublenat/routeros"
)

// TestApply does to the tables what commands do to a router.
func TestApply(t *testing.T) {
	t.Parallel()
	const table = `
/ip/firewall/filter chain=forward action=accept comment=a
/ip/firewall/filter chain=forward action=drop comment=b disabled=true
/ip/firewall/filter chain=forward action=drop comment=c`
	for _, tt := range []struct{ command, words, want string }{
		{"add", "chain=forward action=accept comment=n", "a -b c n"},
		{"add", "chain=forward action=accept comment=n place-before=*2", "a n -b c"},
		{"add", "chain=forward place-before=*9", `walk: no row "*9" in /ip/firewall/filter`},
		{"set", "numbers=*1 comment=z", "z -b c"},
		{"unset", "numbers=*1 value-name=comment", " -b c"},
		{"enable", "numbers=*2", "a b c"},
		{"disable", "numbers=*3", "a -b -c"},
		{"remove", "numbers=*1", "-b c"},
		{"move", "numbers=*3 destination=*1", "c a -b"},
		{"move", "numbers=*3 destination=*7", `walk: no row "*7" in /ip/firewall/filter`},
		{"remove", "numbers=*7", `walk: no row "*7" in /ip/firewall/filter`},
		{"remove", "", `walk: no row "" in /ip/firewall/filter`},
		{"export", "numbers=*1", `walk: no command "/ip/firewall/filter/export"`},
	} {
		w := tables(t, table)
		copied := w.Clone()
		var got string
		if err := copied.Apply("/ip/firewall/filter/"+tt.command, rowOf(tt.words)); err != nil {
			got = err.Error()
		} else {
			got = comments(copied.Rows[walk.PathFilter])
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.command, tt.words, diff)
		}
		if diff := cmp.Diff("a -b c", comments(w.Rows[walk.PathFilter])); diff != "" {
			t.Errorf("%s %s changed the original (-want +got):\n%s", tt.command, tt.words, diff)
		}
	}
	w := tables(t, table)
	if err := w.Apply("/container/start", nil); err != nil {
		t.Errorf("a command that decides about no packet: %v", err)
	}
	if err := w.Apply("quit", nil); err == nil {
		t.Error("a word that is no command was taken")
	}
}

// comments returns the comments of rows, with a hyphen before those that are disabled.
func comments(rows []routeros.Row) string {
	var all []string
	for _, row := range rows {
		comment := row.Value("comment")
		if row.Bool("disabled") {
			comment = "-" + comment
		}
		all = append(all, comment)
	}
	return strings.Join(all, " ")
}

// TestApplyAddress has an address bring the route to its network.
func TestApplyAddress(t *testing.T) {
	t.Parallel()
	w := tables(t, home)
	to := netip.MustParseAddr("172.31.0.2")
	if got := w.Exits(walk.MainTable, to); !cmp.Equal(got, []string{"ether1"}) {
		t.Errorf("before: %v", got)
	}
	if err := w.Apply("/ip/address/add", rowOf("address=172.31.0.1/30 interface=veth1")); err != nil {
		t.Fatal(err)
	}
	if got := w.Exits(walk.MainTable, to); !cmp.Equal(got, []string{"veth1"}) {
		t.Errorf("after: %v", got)
	}
}

// TestHosts has one host for each part of a network that rows tell apart.
func TestHosts(t *testing.T) {
	t.Parallel()
	network := netip.MustParsePrefix("192.168.88.1/24")
	for _, tt := range []struct {
		name, rows string
		limit      int
		want       string
		whole      bool
	}{
		{"nothing to tell", "", 9, "192.168.88.2", true},
		{"one host", "/ip/firewall/filter chain=forward src-address=192.168.88.100", 9, "192.168.88.101 192.168.88.2 192.168.88.100", true},
		{"negated", "/ip/firewall/raw chain=prerouting src-address=!192.168.88.128/25", 9, "192.168.88.128 192.168.88.2", true},
		{"a range from outside", "/routing/rule src-address=192.168.80.0-192.168.88.9", 9, "192.168.88.10 192.168.88.2", true},
		{"a list", "/ip/firewall/address-list list=x address=192.168.88.200", 9, "192.168.88.2 192.168.88.201 192.168.88.200", true},
		{"a disabled row", "/ip/firewall/filter chain=forward src-address=192.168.88.100 disabled=true", 9, "192.168.88.2", true},
		{"elsewhere", "/ip/firewall/filter chain=forward src-address=10.0.0.0/8", 9, "192.168.88.2", true},
		{"too many", "/ip/firewall/filter chain=forward src-address=192.168.88.100", 2, "192.168.88.101 192.168.88.2", false},
	} {
		hosts, whole := tables(t, "/ip/address address=192.168.88.1/24 interface=bridge", tt.rows).Hosts(network, tt.limit)
		got := strings.Trim(fmt.Sprint(hosts), "[]")
		if got != tt.want || whole != tt.whole {
			t.Errorf("%s: got %s, whole %v; want %s", tt.name, got, whole, tt.want)
		}
	}
}

// TestTooManyDoubts has more rows that may or may not match than can be tried: the
// walk ends, and is not sure.
func TestTooManyDoubts(t *testing.T) {
	t.Parallel()
	var rows strings.Builder
	for i := range 40 {
		fmt.Fprintf(&rows, "/ip/firewall/mangle chain=prerouting action=mark-packet new-packet-mark=p%d time=8h-16h,mon\n", i)
	}
	trip := tables(t, home, rows.String()).Walk(request)
	if trip.There.How != walk.Unsure || trip.There.Spot.IsZero() {
		t.Errorf("got %+v", trip.There)
	}
}

// TestWords has the names of everything.
func TestWords(t *testing.T) {
	t.Parallel()
	var got []string
	for s := range walk.StageLink + 2 {
		got = append(got, s.String())
	}
	for h := range walk.Arrives + 2 {
		got = append(got, h.String())
	}
	for f := range walk.Always + 2 {
		got = append(got, f.String())
	}
	const want = "none raw mangle dst-nat routing filter src-nat link stage(8) unsure lost arrives how(3) never perhaps partly always fate(4)"
	if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

// FuzzParseSpan holds that what is a span has its addresses in order.
func FuzzParseSpan(f *testing.F) {
	for _, seed := range []string{"192.168.88.1", "192.168.88.0/24", "10.0.0.1-10.0.0.9", "10.0.0.9-10.0.0.1", "::1", "0.0.0.0/0", "a-b", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := walk.ParseSpan(text)
		if ok && (!s.IsValid() || s.Last.Less(s.First) || !s.Contains(s.First) || !s.Contains(s.Last)) {
			t.Errorf("%q is %v", text, s)
		}
	})
}
