package check

import (
	"fmt"
	"net/netip"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
	"doublenat/natpmp"
	"doublenat/routeros"
)

// shadowed looks for a rule before a redirect that takes what clients ask first. One
// that takes a single host's requests is there for that host.
func (v *visit) shadowed([]string) []Finding {
	for _, row := range v.redirects {
		for i, f := range v.askers(row) {
			got := v.net.Redirect(f, true).Trail.DstNAT
			if got.IsZero() || got.ID() == row.Value(".id") || redirects(got.Row) {
				continue // another redirect is looked at in its turn
			}
			if i == 0 {
				return []Finding{v.behindAnother(Fail, row, got, "what clients ask")}
			}
			if s, ok := walk.ParseSpan(got.Row.Value("src-address")); !ok || s.First != s.Last {
				return []Finding{v.behindAnother(Warn, row, got, fmt.Sprintf("what some clients (%v) ask", f.Src.Addr()))}
			}
		}
	}
	return nil
}

// behindAnother is the finding for a redirect behind the rule that got the requests.
func (v *visit) behindAnother(level Level, row routeros.Row, got walk.Spot, what string) Finding {
	seen := fmt.Sprintf("the rule %s takes %s before the redirect %s", describe(got.Row), what, describe(row))
	if got.Before.Bool("dynamic") {
		return bad(level, KindShadowed, seen, "switch off what makes that rule: nothing can be moved before it")
	}
	id, before := v.entrance(row), got.Before.Value(".id")
	if got.Row.Value("chain") == row.Value("chain") {
		id, before = row.Value(".id"), got.ID()
	}
	return bad(level, KindShadowed, seen, "move it before that rule", remedy.NewCommand(natPath+"/move", "numbers", id, "destination", before))
}

// entrance returns the id of the row that has to be moved: the redirect, or the jump
// in dstnat that leads to its chain.
func (v *visit) entrance(row routeros.Row) string {
	for range maxRounds { // chains may lead in a circle
		jump, found := v.jumpTo(row.Value("chain"))
		if row.Value("chain") == "dstnat" || !found {
			break
		}
		row = jump
	}
	return row.Value(".id")
}

// jumpTo returns the row of NAT that jumps to a chain from another one.
func (v *visit) jumpTo(chain string) (routeros.Row, bool) {
	for _, row := range v.net.Rows[natPath] {
		if row.Value("action") == "jump" && row.Value("jump-target") == chain && row.Value("chain") != chain && !row.Bool("disabled") {
			return row, true
		}
	}
	return nil, false
}

// askers returns what clients for whom the redirect is ask of the router, of each kind
// of hosts one: those of the first network come first.
func (v *visit) askers(row routeros.Row) []walk.Flow {
	var flows []walk.Flow
	for _, n := range v.net.Networks() {
		if n.Interface == v.survey.InInterface || n.Prefix.Bits() > 29 || v.leadsOut(n.Interface) {
			continue
		}
		hosts, _ := v.net.Hosts(n.Prefix, maxHosts)
		for _, host := range hosts {
			p := walk.Packet{
				In: n.Interface, Protocol: "udp", DstPort: natpmp.Port, SrcPort: clientPort, Src: walk.One(host), Dst: walk.One(n.Prefix.Addr()),
				State: walk.StateNew, NATState: walk.NoNAT, Mark: walk.NoMark, RoutingMark: walk.NoMark, PacketMark: walk.NoMark, Local: true,
			}
			if v.net.Match(row, p) == always {
				flows = append(flows, walk.Flow{
					In: n.Interface, Protocol: "udp", Src: netip.AddrPortFrom(host, clientPort), Dst: netip.AddrPortFrom(n.Prefix.Addr(), natpmp.Port),
				})
			}
		}
	}
	return flows
}

// networkOf returns the first network of an interface, with the router's address
// in it; the zero Prefix if it has none.
func (v *visit) networkOf(iface string) netip.Prefix {
	for _, n := range v.net.Networks() {
		if n.Interface == iface {
			return n.Prefix
		}
	}
	return netip.Prefix{}
}
