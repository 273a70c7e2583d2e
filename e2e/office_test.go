//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"doublenat/routeros/routerostest"
)

const natPath = "/ip/firewall/nat"

// officeNAT is the router before RouterOS has said anything: what leaves by the
// tunnel or the WAN is masqueraded, and what comes in there is dropped unless a
// rule forwards it, as with MikroTik's default configuration.
const officeNAT = `
table ip routeros {
	chain dstnat { }
	chain prerouting { type nat hook prerouting priority -100; jump dstnat; }
	chain postrouting { type nat hook postrouting priority 100; oifname { "wg1", "ether1" } masquerade; }
	chain forward {
		type filter hook forward priority 0;
		ct state established,related accept;
		iifname { "wg1", "ether1" } ct status dnat accept;
		iifname { "wg1", "ether1" } drop;
	}
}`

// office is the router: a RouterOS for tests behind the API, and the kernel's NAT
// that does what its rules say.
type office struct {
	*routerostest.Router

	ns *namespace

	mu    sync.Mutex // guards what follows
	fault error      // why the kernel does not do what the rules say
}

// newOffice starts the router's API.
func newOffice(ctx context.Context, t *testing.T, ns *namespace) *office {
	t.Helper()
	router, err := routerostest.New(routerostest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	o := &office{Router: router, ns: ns}
	if err := errors.Join(ns.nft(ctx, officeNAT), o.follow(ctx)); err != nil {
		t.Fatal(err)
	}
	// The client hears of a change when the kernel has it.
	router.OnChange(func() {
		err := o.follow(ctx)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.fault = errors.Join(o.fault, err)
	})
	ln, err := ns.listenTCP(ctx, netip.MustParseAddrPort("0.0.0.0:8728"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- router.Serve(ctx, ln) }()
	t.Cleanup(func() {
		if err := errors.Join(router.Close(), <-served); err != nil {
			t.Errorf("router: %v", err)
		}
	})
	return o
}

// trouble returns why the kernel's NAT is not what the rules say, or nil.
func (o *office) trouble() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fault
}

// follow makes the kernel's NAT what the rules say, at once.
func (o *office) follow(ctx context.Context) error {
	script := []string{"flush chain ip routeros dstnat"}
	for _, row := range o.Rows(natPath) {
		rule, ok := o.translate(row)
		if ok {
			script = append(script, "add rule ip routeros dstnat "+rule)
		} else if ours(row) {
			return fmt.Errorf("no translation for the rule %v", row)
		}
	}
	return o.ns.nft(ctx, strings.Join(script, "\n"))
}

// translate returns the rule in the language of nftables, or false if it takes no
// packets here: it is for srcnat, off, or by an address list.
func (o *office) translate(row routerostest.Row) (rule string, ok bool) {
	if row["chain"] != "dstnat" || row["disabled"] == "true" || row["invalid"] == "true" || row["dst-address-list"] != "" {
		return "", false
	}
	var words []string
	match := func(what, value string, write func(string) string) {
		operator := ""
		if positive, negated := strings.CutPrefix(value, "!"); negated {
			operator, value = "!= ", positive
		}
		words = append(words, what, operator+write(value))
	}
	plain := func(value string) string { return value }
	if list := row["in-interface-list"]; list != "" {
		match("iifname", list, o.members)
	}
	if name := row["in-interface"]; name != "" {
		match("iifname", name, strconv.Quote)
	}
	if address := row["dst-address"]; address != "" {
		match("ip daddr", address, plain)
	}
	if kind := row["dst-address-type"]; kind != "" {
		match("fib daddr type", kind, plain)
	}
	if ports := row["dst-port"]; ports != "" {
		match(row["protocol"]+" dport", ports, set)
	}
	switch row["action"] {
	case "dst-nat":
		words = append(words, "dnat to "+strings.TrimSuffix(row["to-addresses"]+":"+row["to-ports"], ":"))
	case "redirect":
		words = append(words, "redirect to :"+row["to-ports"])
	default:
		return "", false
	}
	return strings.Join(words, " "), true
}

// members returns the interfaces of a list as a set of nftables.
func (o *office) members(list string) string {
	var names []string
	for _, row := range o.Rows("/interface/list/member") {
		if row["list"] == list {
			names = append(names, strconv.Quote(row["interface"]))
		}
	}
	return set(strings.Join(names, ", "))
}

// set writes a list as a set of nftables.
func set(list string) string { return "{ " + list + " }" }

// rules returns how many rules doublenat has on the router.
func (o *office) rules() int {
	n := 0
	for _, row := range o.Rows(natPath) {
		if ours(row) {
			n++
		}
	}
	return n
}

// strangers returns everybody else's rules, in a form that shows every change.
func (o *office) strangers() string { return string(o.Fingerprint(natPath, ours)) }

// ours says whether doublenat made the rule.
func ours(row routerostest.Row) bool {
	return strings.HasPrefix(row["comment"], "doublenat:"+instance+" ")
}
