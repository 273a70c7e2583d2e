package routerostest

import (
	"slices"
	"time"
)

// filterPath is the table whose rules decide what passes.
const filterPath = "/ip/firewall/filter"

// fastTrackRows are the rows that the router puts on top of its tables while a
// filter rule sends connections past them: they only count.
func fastTrackRows() map[string][]string {
	return map[string][]string{
		filterPath: {"forward"},
		manglePath: {"prerouting", "forward", "postrouting"},
		rawPath:    {"prerouting"},
	}
}

// showFastTrackLocked adds or takes away those rows, as the filter rules have it.
func (r *Router) showFastTrackLocked() {
	filter := r.tables[filterPath]
	on := slices.ContainsFunc(filter.items, func(it *item) bool {
		return it.value("action") == "fasttrack-connection" && !it.is("disabled") && !it.builtin
	})
	for path, chains := range fastTrackRows() {
		t := r.tables[path]
		if t == nil || on == slices.ContainsFunc(t.items, func(it *item) bool { return it.builtin }) {
			continue
		}
		t.items = slices.DeleteFunc(t.items, func(it *item) bool { return it.builtin })
		if !on {
			continue
		}
		for at, chain := range chains {
			it := t.newItem(time.Time{}, Row{
				"chain": chain, "action": "passthrough", "dynamic": "true", "comment": "special dummy rule to show fasttrack counters",
			})
			it.builtin = true
			t.insert(it, at)
		}
	}
}
