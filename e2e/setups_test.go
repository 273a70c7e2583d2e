//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"doublenat/routeros/routerostest"
)

// setup is a way to set a router up that people publish. Most swallow something that
// doublenat needs (routeros-field A1, A5, A6).
type setup struct {
	name string
	// tables has what the administrator configured besides the world's default.
	tables func(*routerostest.Router) error
	// found are words that `doublenat check` has to say of it; nil if all is well.
	found []string
	// blind is a set-up that keeps doublenat from the API too: check cannot read
	// what it is, and can only name what it may be.
	blind bool
}

// setups returns all of them.
func setups() []setup {
	return []setup{
		{name: "lan_by_source_rule", tables: both(withoutMend, rows("/routing/rule", "action=lookup src-address=192.168.88.0/24 table=vpn")), found: []string{"routing rule"}},
		{name: "lan_by_interface_rule", tables: both(withoutMend, rows("/routing/rule", "action=lookup-only-in-table interface=bridge table=vpn")), found: []string{"routing rule"}},
		{name: "lan_by_mark", tables: rows(manglePath, "chain=prerouting action=mark-routing in-interface=bridge new-routing-mark=vpn passthrough=false"), found: []string{"mangle"}},
		{name: "forward_drops_all_else", tables: rows(filterPath,
			"chain=forward action=accept in-interface-list=LAN out-interface-list=WAN",
			"chain=forward action=accept connection-nat-state=dstnat in-interface-list=WAN",
			"chain=forward action=drop"), found: []string{"filter"}},
		{name: "forward_drops_private", tables: both(
			rows("/ip/firewall/address-list", privateNetworks()...),
			rows(filterPath, "chain=forward action=drop dst-address-list=not_in_internet in-interface=bridge out-interface=!bridge",
				"chain=forward action=drop dst-address-list=not_in_internet in-interface=veth1 out-interface=!bridge")), found: []string{"filter"}},
		{name: "raw_drops_gateway", tables: both(
			rows(rawPath, "chain=prerouting action=accept in-interface=veth1"), advancedRaw()), found: []string{"raw"}},
		{name: "raw_drops_api", tables: advancedRaw(), found: []string{"raw"}, blind: true},
		{name: "main_route", tables: func(router *routerostest.Router) error {
			row, _ := router.Find("/ip/route", "dst-address", "0.0.0.0/0")
			return router.Set("/ip/route", row[".id"], routerostest.Row{"gateway": "wg1"})
		}},
		{name: "lists_of_100000_rows", tables: both(blocklist(100_000), rows(rawPath,
			"chain=prerouting action=drop src-address-list=blocked in-interface-list=WAN",
			"chain=prerouting action=drop dst-address-list=blocked in-interface-list=LAN"))},
		{name: "no_list_lan", tables: withoutList("LAN", "bridge")},
	}
}

// rows adds rows to a table.
func rows(path string, rows ...string) func(*routerostest.Router) error {
	return func(router *routerostest.Router) (err error) {
		for _, words := range rows {
			row := make(routerostest.Row)
			for word := range strings.FieldsSeq(words) {
				name, value, _ := strings.Cut(word, "=")
				row[name] = value
			}
			_, failed := router.Add(path, row)
			err = errors.Join(err, failed)
		}
		return err
	}
}

// withoutMend takes away what the world's administrator has typed already for the
// host with a rule of its own.
func withoutMend(router *routerostest.Router) error {
	row, ok := router.Find("/routing/rule", "dst-address", "172.30.254.2/32")
	if !ok {
		return nil
	}
	return router.Remove("/routing/rule", row[".id"])
}

// both does one after the other.
func both(all ...func(*routerostest.Router) error) func(*routerostest.Router) error {
	return func(router *routerostest.Router) (err error) {
		for _, f := range all {
			err = errors.Join(err, f(router))
		}
		return err
	}
}

// blocklist makes a list of hosts that nobody talks to.
func blocklist(size int) func(*routerostest.Router) error {
	return func(router *routerostest.Router) error {
		return router.AddAll("/ip/firewall/address-list", func(yield func(routerostest.Row) bool) {
			for i := range size {
				host := netip.AddrFrom4([4]byte{60, byte(i >> 16), byte(i >> 8), byte(i)})
				if !yield(routerostest.Row{"list": "blocked", "address": host.String()}) {
					return
				}
			}
		})
	}
}

// withoutList has an interface where the rules of a router with its default
// configuration have a list.
func withoutList(list, iface string) func(*routerostest.Router) error {
	return func(router *routerostest.Router) (err error) {
		for _, path := range []string{rawPath, manglePath, natPath, filterPath} {
			for _, row := range router.Rows(path) {
				for _, direction := range []string{"in", "out"} {
					not, named := "", strings.TrimPrefix(row[direction+"-interface-list"], "!")
					if named != list {
						continue
					}
					if named != row[direction+"-interface-list"] {
						not = "!"
					}
					err = errors.Join(err, router.Set(path, row[".id"], routerostest.Row{direction + "-interface-list": "", direction + "-interface": not + iface}))
				}
			}
		}
		row, _ := router.Find("/interface/list", "name", list)
		return errors.Join(err, router.Remove("/interface/list", row[".id"]))
	}
}

// privateNetworks are the members of the list that "drop tries to reach not public
// addresses from LAN" has in the vendor's manual.
func privateNetworks() []string {
	var rows []string
	for _, network := range []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"} {
		rows = append(rows, "list=not_in_internet address="+network)
	}
	return rows
}

// advancedRaw is the raw table of the vendor's "advanced firewall", without its
// rules against odd TCP flags and ICMP.
func advancedRaw() func(*routerostest.Router) error {
	return both(
		rows("/ip/firewall/address-list",
			"list=bad_ipv4 address=127.0.0.0/8", "list=bad_ipv4 address=192.0.0.0/24", "list=bad_ipv4 address=192.0.2.0/24",
			"list=bad_ipv4 address=198.51.100.0/24", "list=bad_ipv4 address=203.0.113.0/24", "list=bad_ipv4 address=240.0.0.0/4",
			"list=not_global_ipv4 address=0.0.0.0/8", "list=not_global_ipv4 address=10.0.0.0/8", "list=not_global_ipv4 address=100.64.0.0/10",
			"list=not_global_ipv4 address=169.254.0.0/16", "list=not_global_ipv4 address=172.16.0.0/12", "list=not_global_ipv4 address=192.168.0.0/16",
			"list=bad_src_ipv4 address=224.0.0.0/4", "list=bad_dst_ipv4 address=224.0.0.0/4"),
		rows(rawPath,
			"chain=prerouting action=drop src-address-list=bad_ipv4",
			"chain=prerouting action=drop src-address-list=bad_src_ipv4",
			"chain=prerouting action=drop dst-address-list=bad_dst_ipv4",
			"chain=prerouting action=drop src-address-list=not_global_ipv4 in-interface-list=WAN",
			"chain=prerouting action=drop dst-address=192.168.88.0/24 in-interface-list=WAN",
			"chain=prerouting action=drop src-address=!192.168.88.0/24 in-interface-list=LAN",
			"chain=prerouting action=accept in-interface-list=LAN",
			"chain=prerouting action=accept in-interface-list=WAN",
			"chain=prerouting action=drop"))
}

// TestSetUps puts doublenat behind each router. Before the mend no request is
// answered and `check` names what swallows it; after typing what check printed,
// check is content and mappings carry bytes. Where nothing is swallowed they do at once.
func TestSetUps(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	for _, s := range setups() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			ctx, w := newWorld(t, site{gateway: startMiniupnpd})
			ctx, cancel := context.WithTimeout(ctx, flowTimeout)
			defer cancel()
			if err := errors.Join(w.mend(ctx, s), w.close(ctx)); err != nil {
				t.Error(err)
			}
		})
	}
}

// mend tells the story of one set-up.
func (w *world) mend(ctx context.Context, s setup) error {
	if err := errors.Join(s.tables(w.office.Router), w.office.follow(ctx)); err != nil {
		return err
	}
	w.strangers = w.office.strangers()
	w.doublenat.start(ctx)
	if s.found != nil {
		if err := w.repair(ctx, s); err != nil {
			return err
		}
	}
	if report, err := w.doublenat.check(ctx); err != nil {
		return fmt.Errorf("after typing what check printed, if anything: %w:\n%s", err, report)
	}
	return w.worksForAll(ctx)
}

// repair fails unless nothing works, check says why, and what it prints can be typed.
func (w *world) repair(ctx context.Context, s setup) error {
	if err := w.unanswered(ctx); err != nil {
		return err
	}
	report, err := w.doublenat.check(ctx)
	if err == nil {
		return fmt.Errorf("check finds nothing wrong:\n%s", report)
	}
	if missing := lacks(report, s.found); missing != "" {
		return fmt.Errorf("check does not name %q:\n%s", missing, report)
	}
	if err := w.paste(ctx, report); err != nil {
		return err
	}
	if s.blind { // what it may be is the best that can be said; now the rest can be seen
		report, _ = w.doublenat.check(ctx)
		return w.paste(ctx, report)
	}
	return nil
}

// lacks returns the first of the words that the text has not, "" if it has all.
func lacks(text string, words []string) string {
	i := slices.IndexFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	if i < 0 {
		return ""
	}
	return words[i]
}

// unanswered returns nil if alice gets no mapping for some seconds.
func (w *world) unanswered(ctx context.Context) error {
	pause(ctx, 2*time.Second)
	m, err := w.alice.request("tcp", 8080, 0, anHour)
	if err == nil {
		return fmt.Errorf("alice was granted port %d: this set-up swallows nothing", m.external)
	}
	return nil
}

// worksForAll maps both protocols and says a line through them.
func (w *world) worksForAll(ctx context.Context) error {
	for i, protocol := range []string{"tcp", "udp"} {
		w.alice.serve(ctx, w.t, protocol, 8080)
		var m mapping
		err := eventually(ctx, 40*time.Second, func() (err error) {
			m, err = w.alice.request(protocol, 8080, 0, anHour)
			return err
		})
		if err != nil {
			return err
		}
		if err := errors.Join(w.reach(ctx, m, w.alice), w.layers(ctx, i+1)); err != nil {
			return err
		}
	}
	return nil
}

// check runs the doctor in doublenat's place. The error is that not all is well.
func (d *doublenat) check(ctx context.Context) (report string, err error) {
	cmd := d.ns.command(ctx, doublenatPath, "check")
	cmd.Env = d.environ
	return output(cmd)
}

// paste pastes the commands of a report at the router's console, and has the kernel
// follow.
func (w *world) paste(ctx context.Context, report string) error {
	var commands strings.Builder
	for line := range strings.Lines(report) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "/") || strings.HasPrefix(line, ":") {
			commands.WriteString(line + "\n")
		}
	}
	if commands.Len() == 0 {
		return fmt.Errorf("the report has no command:\n%s", report)
	}
	for _, typed := range w.office.Console(routerostest.AdminUser).Paste(commands.String()) {
		if typed.Err != nil {
			return fmt.Errorf("typing %s: %w", typed.Text, typed.Err)
		}
		if typed.Idle {
			return fmt.Errorf("typing %s does nothing", typed.Text)
		}
	}
	w.strangers = w.office.strangers()
	return w.office.follow(ctx)
}
