package router

import (
	"strings"

	"doublenat/routeros"
)

// membership says whether an interface list has the tunnel interface in it.
type membership uint8

// The memberships. A list that is not known may have been made a moment ago, or
// deleted under the rule that names it.
const (
	listUnknown membership = iota
	listHas
	listLacks
)

// maxNesting is how deep lists of lists are looked into.
const maxNesting = 8

// memberships returns which interface lists have the interface. Dynamic says that the
// router made the interface by itself.
func memberships(lists, members []routeros.Row, iface string, dynamic bool) map[string]membership {
	known := make(map[string]routeros.Row, len(lists))
	for _, row := range lists {
		known[row.Value("name")] = row
	}
	direct := make(map[string]bool)
	for _, row := range members {
		if row.Value("interface") == iface && !row.Bool("disabled") {
			direct[row.Value("list")] = true
		}
	}
	c := composition{lists: known, direct: direct, dynamic: dynamic}
	m := map[string]membership{"all": listHas, "none": listLacks}
	for name := range known {
		m[name] = c.member(name, maxNesting)
	}
	return m
}

// composition is the interface lists with what they are made of.
type composition struct {
	lists   map[string]routeros.Row
	direct  map[string]bool // lists that have the interface among their members
	dynamic bool
}

// member reports whether the list has the interface: what it includes, without what it
// excludes, and its own members.
func (c composition) member(name string, depth int) membership {
	row, known := c.lists[name]
	switch {
	case strings.EqualFold(name, "all"):
		return listHas
	case strings.EqualFold(name, "none"):
		return listLacks
	case strings.EqualFold(name, "dynamic"):
		return either(c.dynamic)
	case strings.EqualFold(name, "static"):
		return either(!c.dynamic)
	case c.direct[name]:
		return listHas
	case !known || depth == 0:
		return listUnknown
	}
	included := c.any(row.Value("include"), depth-1)
	switch c.any(row.Value("exclude"), depth-1) {
	case listHas:
		return listLacks
	case listLacks:
		return included
	default:
		if included == listLacks {
			return listLacks
		}
		return listUnknown
	}
}

// any reports whether one of the lists has the interface.
func (c composition) any(names string, depth int) membership {
	found := listLacks
	for name := range strings.SplitSeq(names, ",") {
		if name == "" {
			continue
		}
		switch c.member(name, depth) {
		case listHas:
			return listHas
		case listUnknown:
			found = listUnknown
		case listLacks:
		}
	}
	return found
}

// either turns an answer into a membership.
func either(has bool) membership {
	if has {
		return listHas
	}
	return listLacks
}
