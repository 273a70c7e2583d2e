package lab

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"doublenat/internal/nat"
	"doublenat/routeros/routerostest"
)

// OurRules returns the router's rules that carry the mark of the given instance.
func (b *Bench) OurRules(instance string) []routerostest.Row {
	return slices.DeleteFunc(b.Router.Rows("/ip/firewall/nat"), func(r routerostest.Row) bool { return !b.ours(r, instance) })
}

// ours says whether a row carries our mark. It knows the mark's form by itself, so
// that a mistake of the daemon's in it shows.
func (b *Bench) ours(r routerostest.Row, instance string) bool {
	rest, ok := strings.CutPrefix(r["comment"], "doublenat:"+instance+" ")
	return ok && ownMark.MatchString(rest) && r["in-interface"] == b.spot.in
}

var ownMark = regexp.MustCompile(`^(tcp|udp) [0-9.]+:[0-9]+ inner=[0-9]+ ext=[0-9]+ life=[0-9]+( from=[0-9./:]+)?( by=igd)?$`)

// OtherRules returns all lasting rules that are not the daemon's, in bytes that can
// be compared.
func (b *Bench) OtherRules() []byte {
	return b.Router.Fingerprint("/ip/firewall/nat", func(r routerostest.Row) bool {
		defaced := strings.Contains(r["comment"], "doublenat:default ") // it is ours still, and will be put right
		return b.ours(r, "default") || defaced || r["dynamic"] == "true"
	})
}

// AcceptOthers takes other people's rules as they are now for what they should be,
// after the test itself has changed them.
func (b *Bench) AcceptOthers() { b.others = b.OtherRules() }

// OthersUntouched says whether other people's rules are what they were.
func (b *Bench) OthersUntouched() bool { return bytes.Equal(b.OtherRules(), b.others) }

// Disagreements compares the daemon's table with the rules on the router and the
// leases on the gateway, and other people's rules with what they were. It returns
// what does not fit, nothing if all does. Mappings that are being closed do not count.
func (b *Bench) Disagreements() []string {
	var wrong []string
	rules, leases := make(map[string]bool), b.leases()
	for _, r := range b.OurRules("default") {
		rule := fmt.Sprintf("%s %s:%s inner %s", r["protocol"], r["to-addresses"], r["to-ports"], r["dst-port"])
		if rules[rule] {
			wrong = append(wrong, "two rules "+rule)
		}
		rules[rule] = true
	}
	for _, m := range b.mappings() {
		to := netip.AddrPortFrom(m.Key.Client, nat.Rule{Key: m.Key, ExternalPort: m.ExternalPort}.Target())
		rule := fmt.Sprintf("%s %s inner %d", m.Key.Protocol, to, m.InnerPort)
		lease := fmt.Sprintf("%s inner %d external %d", m.Key.Protocol, m.InnerPort, m.ExternalPort)
		if !rules[rule] {
			wrong = append(wrong, "no rule "+rule)
		}
		if !leases[lease] {
			wrong = append(wrong, "no lease "+lease)
		}
		delete(rules, rule)
		delete(leases, lease)
	}
	for _, rule := range slices.Sorted(maps.Keys(rules)) {
		wrong = append(wrong, "rule without mapping: "+rule)
	}
	if b.cfg.Beyond.PoolDir != "" {
		clear(leases) // What is forwarded is so for nobody, too.
	}
	for _, lease := range slices.Sorted(maps.Keys(leases)) {
		wrong = append(wrong, "lease without mapping: "+lease)
	}
	if !b.OthersUntouched() {
		wrong = append(wrong, "other people's rules were changed")
	}
	return wrong
}

// leases returns what the gateway has granted to the router.
func (b *Bench) leases() map[string]bool {
	all := make(map[string]bool)
	add := func(protocol nat.Protocol, inner, external uint16) {
		all[fmt.Sprintf("%s inner %d external %d", protocol, inner, external)] = true
	}
	if up := b.spot.upstream; up != nil {
		for _, m := range up.mappings() {
			if m.Key.Client == b.spot.self {
				add(m.Key.Protocol, m.Key.InternalPort, m.ExternalPort)
			}
		}
		return all
	}
	for _, p := range b.Passes() {
		add(p.Protocol, p.Inner, p.External)
	}
	return all
}

// mappings returns the daemon's table, nothing while none runs.
func (b *Bench) mappings() []nat.Mapping {
	if d := b.Daemon(); d != nil {
		return d.Mappings()
	}
	return nil
}
