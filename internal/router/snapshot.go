package router

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"doublenat/internal/nat"
)

// The limits of what a look at the table remembers of rows of others.
const (
	// maxTakers is how many are remembered by name.
	maxTakers = 1000
	// maxLinks is how many rows of the administrator's own chains, and how many wide rows,
	// are looked into.
	maxLinks = 1 << 14
	// maxName is how much of a comment is told, in characters.
	maxName = 60
	// maxWord is the length of ids and names of chains, in bytes. RouterOS has no longer
	// ones; a row with one is not looked into.
	maxWord = 128
)

// view is what a read of the NAT table tells.
type view struct {
	snapshot nat.Snapshot
	// catchAll is the id of the first row of others in the dstnat chain before which a
	// rule of ours has to stand: it takes very many ports; "" for none.
	catchAll string
	// strays are the rows with a comment of ours on some other interface.
	strays named
	// orphans are the rows of others that name an interface list which was deleted.
	orphans named
	// unknown is how many rows were not looked into: a limit was met.
	unknown int
	// invalid are our rows that the router calls invalid.
	invalid []natRow
	// seen are the rows of ours, for the memory of deeds.
	seen map[string]deed
}

// named is a number of rows, of which the first are known by name.
type named struct {
	count int
	first []string
}

// add counts a row.
func (n *named) add(r natRow) {
	n.count++
	if len(n.first) < maxNamed {
		n.first = append(n.first, nameOf(r))
	}
}

// viewer makes a view of the rows of the NAT table, which it is given one by one, in
// the order in which the router looks at them.
type viewer struct {
	view

	site     *site
	instance string
	known    *deeds
	first    bool // nothing is known yet: what has our comment is from a former run
	// marks are the rows of dstnat whose effect on ours is known at the end, chains the
	// rows of other chains.
	marks  []mark
	chains map[string][]link
	links  int
	steps  int // how many links were followed
}

// link is a row of others as far as it matters at the end.
type link struct {
	claim  claim
	name   string
	target string // of a jump
}

// mark is a link in the chain dstnat.
type mark struct {
	link

	id      string
	dynamic bool
	rules   int // how many of ours stand before it
}

// newView begins a view. First says that nothing was read before.
func (s *site) newView(instance string, known *deeds, first bool) *viewer {
	b := &viewer{site: s, instance: instance, known: known, first: first, chains: make(map[string][]link)}
	b.seen = make(map[string]deed)
	b.snapshot.Used, b.snapshot.Wide = make(map[nat.Protocol]*nat.PortSet), make(map[nat.Protocol]*nat.PortSet)
	for _, p := range nat.Protocols() {
		b.snapshot.Used[p] = new(nat.PortSet)
		for _, port := range s.used[p] {
			b.snapshot.Used[p].Add(port)
		}
	}
	return b
}

// add takes in one row.
func (b *viewer) add(r natRow) {
	if max(len(r.id), len(r.chain), len(r.jumpTarget)) > maxWord {
		b.unknown++
		return
	}
	if o, alien, ok := b.ours(r); ok {
		r.id, o.instance = strings.Clone(r.id), b.instance
		rule := r.rule(o, b.site.iface)
		rule.Alien = alien
		rule.Edited = rule.Edited || b.site.exists(r.iface) && !b.site.owns(r.iface) || r.iface == ""
		b.snapshot.Rules = append(b.snapshot.Rules, rule)
		if !alien {
			b.seen[r.id] = deed{owned: o, dstPort: clip(r.dstPort)}
		}
		if r.invalid {
			b.invalid = append(b.invalid, natRow{id: r.id, comment: clip(r.comment), about: clip(r.about)})
		}
		return
	}
	if o, ok := parseComment(r.comment); ok && o.instance == b.instance {
		b.strays.add(r)
	}
	if list := strings.TrimPrefix(r.ifaceList, "!"); strings.HasPrefix(list, "*") && !r.disabled {
		b.orphans.add(r)
	}
	b.foreign(r)
}

// ours returns what the comment of the row says, or should say, if the row belongs to
// us. It does if it has a comment as we write them; but one on some other interface,
// that nobody here made, may be another doublenat's. Alien is one of that kind on an
// interface of ours.
func (b *viewer) ours(r natRow) (o owned, alien, ok bool) {
	if r.dynamic {
		return owned{}, false, false
	}
	o, ok = parseComment(r.comment)
	ok = ok && o.instance == b.instance
	if ok && b.known.knows(o) {
		return o, false, true
	}
	if was, still := b.known.still(r); still {
		return was, false, true
	}
	if !ok || b.site.exists(r.iface) && !b.site.owns(r.iface) {
		return owned{}, false, false
	}
	return o, !b.first, true
}

// foreign notes what a row of somebody else takes.
func (b *viewer) foreign(r natRow) {
	jump := r.action == "jump"
	if r.chain == "srcnat" || r.chain == "input" || r.chain == "output" || !jump && !r.takes() {
		return // Not on the way of packets that come in.
	}
	c, ok := b.site.claims(r)
	if !ok {
		return
	}
	b.snapshot.Forwards = appendForwards(b.snapshot.Forwards, r, c.protocols)
	l := link{claim: c, name: nameOf(r)}
	if jump {
		l.target = strings.Clone(r.jumpTarget)
	}
	switch {
	case r.chain == chainDstNAT && !jump && !c.wide():
		b.take(l)
	case b.links == maxLinks:
		b.unknown++
	case r.chain == chainDstNAT:
		b.links++
		b.marks = append(b.marks, mark{link: l, id: strings.Clone(r.id), dynamic: r.dynamic, rules: len(b.snapshot.Rules)})
	default:
		b.links++
		chain := strings.Clone(r.chain)
		b.chains[chain] = append(b.chains[chain], l)
	}
}

// take notes ports that are left to a row of somebody else.
func (b *viewer) take(l link) {
	for _, p := range l.claim.protocols {
		l.claim.addTo(b.snapshot.Used[p])
	}
	b.name(l, false)
}

// name remembers who takes ports.
func (b *viewer) name(l link, wide bool) {
	if len(b.snapshot.Takers) < maxTakers {
		b.snapshot.Takers = append(b.snapshot.Takers, nat.Taker{Name: l.name, Wide: wide, Takes: l.claim.of})
	}
}

// addTo puts the ports of the claim into the set.
func (c claim) addTo(set *nat.PortSet) {
	if c.all {
		set.AddRange(0, 1<<16-1)
		return
	}
	c.ports.addTo(set)
}

// clip returns a copy of the text, of maxWord bytes at most.
func clip(text string) string { return strings.Clone(text[:min(len(text), maxWord)]) }

// nameOf says to people which row it is.
func nameOf(r natRow) string {
	comment := []rune(strings.ToValidUTF8(r.comment[:min(len(r.comment), utf8.UTFMax*(maxName+1))], "?"))
	if len(comment) > maxName {
		comment = append(comment[:maxName], '…')
	}
	var said []string
	if len(comment) > 0 {
		said = append(said, plain(comment))
	}
	if r.dynamic {
		said = append(said, "dynamic")
	}
	if len(said) == 0 {
		return strings.Clone(r.id)
	}
	return r.id + " (" + strings.Join(said, ", ") + ")"
}

// plain returns text of others as it may be shown: without what a terminal obeys.
func plain(text []rune) string {
	for i, c := range text {
		if !strconv.IsPrint(c) {
			text[i] = '?'
		}
	}
	return string(text)
}
