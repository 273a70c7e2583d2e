package nat

import (
	"fmt"
	"slices"
	"time"
)

// ChangeKind is what has to happen to a rule.
type ChangeKind uint8

// The kinds of changes, in the order in which they are applied: what is too much
// goes before something new is added, so that a port is never matched twice.
const (
	// RemoveRule takes Found away: nothing stands behind it, or it is one too many.
	RemoveRule ChangeKind = iota + 1
	// UpdateRule changes Found in place to Want.
	UpdateRule
	// AddRule makes Want, which is missing.
	AddRule
	// TrackRule changes nothing on the router: the rule of Want is now known there as Found.
	TrackRule
)

// String returns "remove", "update", "add" or "track".
func (k ChangeKind) String() string {
	switch k {
	case RemoveRule:
		return "remove"
	case UpdateRule:
		return "update"
	case AddRule:
		return "add"
	case TrackRule:
		return "track"
	default:
		return fmt.Sprintf("change(%d)", uint8(k))
	}
}

// Change is one step from the rules that the router has to those it should have.
type Change struct {
	// Kind says which of the fields below count.
	Kind ChangeKind
	// Found is the rule on the router; zero for AddRule.
	Found Rule
	// Want is the rule as it should be; zero for RemoveRule.
	Want Rule
}

// CommentOnly says whether an update changes nothing that a packet could notice,
// nor the next start, so that it may wait (design decision 3: the router's flash wears).
func (c Change) CommentOnly() bool {
	return c.Kind == UpdateRule && !c.Found.Edited && sameEffect(c.Found, c.Want) && !forgets(c.Found, c.Want)
}

// sameEffect says whether packets cannot tell one rule of a mapping from another.
func sameEffect(a, b Rule) bool {
	return a.Match == b.Match && a.Remote == b.Remote && a.Target() == b.Target() && a.Displaced == b.Displaced
}

// Plan compares the rules that should be there with those that are, and returns
// the changes that make them equal, removals first. It is a pure function.
//
// Wanted rules have different keys. Of several rules found for one key the one
// whose ID is known is kept, else the first that is in order. A rule that was
// altered is replaced; one that is displaced or edited is updated. The requested lifetime in a
// comment is history and no reason for a change, unless a client of [IGD] relies on a longer one.
func Plan(want, found []Rule) []Change {
	wanted := make(map[Key]Rule, len(want))
	for _, w := range want {
		wanted[w.Key] = w
	}
	keep := keepers(wanted, found)

	var removes, updates, adds, tracks []Change
	for i, f := range found {
		if k, ok := keep[f.Key]; !ok || k != i {
			removes = append(removes, Change{Kind: RemoveRule, Found: f})
		}
	}
	for _, w := range want {
		i, ok := keep[w.Key]
		switch {
		case !ok:
			w.ID = ""
			adds = append(adds, Change{Kind: AddRule, Want: w})
		case needsUpdate(found[i], w):
			updates = append(updates, Change{Kind: UpdateRule, Found: found[i], Want: w})
		default:
			tracks = append(tracks, Change{Kind: TrackRule, Found: found[i], Want: w})
		}
	}
	return slices.Concat(removes, updates, adds, tracks)
}

// needsUpdate says whether a rule that stays is not quite as it should be.
func needsUpdate(found, want Rule) bool {
	return found.Match != want.Match || found.Remote != want.Remote || found.ExternalPort != want.ExternalPort ||
		found.By != want.By || found.Displaced || found.Edited || forgets(found, want)
}

// forgets says whether the next start would not hold a mapping for as long as its client was
// told by [IGD]: that one does not ask again.
func forgets(found, want Rule) bool {
	return want.By == IGD && (found.By != IGD || found.Lifetime < want.Lifetime.Truncate(time.Second)) // A comment says it in whole seconds.
}

// keepers chooses, for each wanted key, the index of the found rule that stays.
func keepers(wanted map[Key]Rule, found []Rule) map[Key]int {
	keep := make(map[Key]int, len(wanted))
	for i, f := range found {
		w, ok := wanted[f.Key]
		if !ok || f.Altered || f.InnerPort != w.InnerPort {
			continue
		}
		if _, have := keep[f.Key]; !have || f.ID == w.ID {
			keep[f.Key] = i
		}
	}
	return keep
}
