package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// misspelled returns a warning for each variable that is not ours and looks as if
// it should be, in the order of their names. Nothing else notices
// MIKROTIK_API_PASWORD or LOGLEVEL, which would do nothing at all.
func misspelled(environ map[string]string) []string {
	var known []string
	for _, v := range Reference() {
		known = append(known, v.Name)
	}
	var warnings []string
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		if slices.Contains(known, name) {
			continue
		}
		if like := nearest(name, known); like != "" {
			warnings = append(warnings, fmt.Sprintf("%s is not a variable of doublenat; did you mean %s?", name, like))
		} else if strings.HasPrefix(name, "MIKROTIK_") {
			warnings = append(warnings, name+" is not a variable of doublenat and has no effect")
		}
	}
	return warnings
}

// nearest returns the known name that is closest to name, or nothing when none
// is close enough to be meant: two slips in a name of ten characters or more,
// one in a shorter one.
func nearest(name string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		limit := 2
		if len(k) < 10 {
			limit = 1
		}
		if len(name) > len(k)+limit || len(k) > len(name)+limit {
			continue // cannot be close; and bounds the work for odd names
		}
		if d := distance(strings.ToUpper(name), k); d <= limit && d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance counts the slips of the finger between two names: a character too
// many, one missing, another one, or two neighbors swapped (the optimal string
// alignment distance).
func distance(a, b string) int {
	var before []int
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		current := make([]int, len(b)+1)
		current[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			current[j+1] = min(previous[j+1]+1, current[j]+1, previous[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				current[j+1] = min(current[j+1], before[j-1]+1)
			}
		}
		before, previous = previous, current
	}
	return previous[len(b)]
}
