package router

import "doublenat/internal/nat"

// The limits of how far the administrator's chains are followed. Beyond them a jump
// counts as taking all that reaches it.
const (
	// maxDepth is how deep chains that jump into chains are looked into.
	maxDepth = 8
	// maxSteps is how many rows are visited for all jumps together: chains that jump
	// into chains several times each have a number of ways that grows exponentially.
	maxSteps = 1 << 16
)

// finish returns the view. A rule of ours behind a wide row that takes its packets does
// nothing: it counts as altered, and is made again before that row. Nothing can be put
// before a dynamic row, for RouterOS keeps those on top: its ports are left to it.
func (b *viewer) finish() view {
	passed := 0
	for _, m := range b.marks {
		b.shadow(passed, m.rules)
		passed = m.rules
		if known := b.follow(m.link, maxDepth, func(l link) { b.meet(m, l) }); !known {
			b.meet(m, m.link)
		}
	}
	b.shadow(passed, len(b.snapshot.Rules))
	b.marks, b.chains = nil, nil
	return b.view
}

// shadow marks those of the rules from first up to end that a wide row met so far takes
// packets from.
func (b *viewer) shadow(first, end int) {
	for i := first; i < end; i++ {
		r := &b.snapshot.Rules[i]
		for _, port := range r.Match {
			r.Altered = r.Altered || port != 0 && b.snapshot.Wide[r.Key.Protocol].Has(port)
		}
	}
}

// meet notes what a link does to which a mark leads.
func (b *viewer) meet(m mark, l link) {
	if m.dynamic || !l.claim.wide() {
		b.take(l)
		return
	}
	if b.catchAll == "" {
		b.catchAll = m.id
	}
	for _, p := range l.claim.protocols {
		if b.snapshot.Wide[p] == nil {
			b.snapshot.Wide[p] = new(nat.PortSet) // few tables have a wide row, and a set takes 8 KiB
		}
		l.claim.addTo(b.snapshot.Wide[p])
	}
	b.name(l, true)
}

// follow calls f with the link, or, if it is a jump, with the rows of its chain as far
// as packets of the jump reach them. It reports false if it met a limit on the way.
func (b *viewer) follow(l link, depth int, f func(link)) bool {
	if l.target == "" {
		f(l)
		return true
	}
	if depth == 0 {
		return false
	}
	for _, next := range b.chains[l.target] {
		if b.steps++; b.steps > maxSteps {
			return false
		}
		next.claim = next.claim.within(l.claim)
		if next.claim.empty() {
			continue
		}
		if !b.follow(next, depth-1, f) {
			return false
		}
	}
	return true
}
