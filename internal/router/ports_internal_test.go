package router

import (
	"testing"

	"doublenat/internal/nat"
)

func TestParsePorts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		has, lacks []uint16
		size       int
	}{
		"80":               {has: []uint16{80}, lacks: []uint16{79, 81}, size: 1},
		"80,443,1000-2000": {has: []uint16{80, 443, 1000, 1500, 2000}, lacks: []uint16{999, 2001}, size: 1003},
		"0-65535":          {has: []uint16{0, 65535}, size: 65536},
		"!22":              {has: []uint16{0, 21, 23, 65535}, lacks: []uint16{22}, size: 65535},
		"!20-30,40":        {has: []uint16{19, 31, 41}, lacks: []uint16{20, 25, 30, 40}, size: 65524},
	}
	for text, tt := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			list, ok := parsePorts(text)
			if !ok {
				t.Fatal("it was not understood")
			}
			var set nat.PortSet
			list.addTo(&set)
			for _, p := range tt.has {
				if !set.Has(p) {
					t.Errorf("port %d is missing", p)
				}
			}
			for _, p := range tt.lacks {
				if set.Has(p) {
					t.Errorf("port %d is in it", p)
				}
			}
			if got := set.Len(); got != tt.size {
				t.Errorf("got %d ports, want %d", got, tt.size)
			}
		})
	}
	for _, text := range []string{"", "!", "80,", "80-", "-80", "a", "70000", "90-80", "80 443", "1-2-3", "!!80"} {
		if list, ok := parsePorts(text); ok {
			t.Errorf("%q was read as %+v", text, list)
		}
	}
}

func FuzzParsePorts(f *testing.F) {
	for _, seed := range []string{"80", "80,443,1000-2000", "!22", "", "0-65535", "1-2-3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, ok := parsePorts(text)
		if !ok {
			return
		}
		var set, other nat.PortSet
		list.addTo(&set)
		list.negated = !list.negated
		list.addTo(&other)
		if set.Len()+other.Len() != 1<<16 {
			t.Errorf("%q: %d ports, and %d in its negation", text, set.Len(), other.Len())
		}
		list.negated = false
		count := 0
		if list.each(1000, func(uint16) { count++ }) && count > 1000 {
			t.Errorf("%q: listed %d ports, want 1000 at most", text, count)
		}
	})
}
