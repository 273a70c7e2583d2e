package routerostest

import (
	"testing"

	"pgregory.net/rapid"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	row := &item{id: "*1"}
	for name, value := range map[string]string{"a": "1", "b": "2", "c": "", "s": "x=y", "n": "10", "neg": "-5"} {
		row.set(nil, name, value)
	}
	tests := []struct {
		words   []string
		pass    bool
		invalid bool
	}{
		{words: nil, pass: true},
		{words: []string{"?a"}, pass: true},
		{words: []string{"?c"}, pass: true},
		{words: []string{"?x"}},
		{words: []string{"?-x"}, pass: true},
		{words: []string{"?-a"}},
		{words: []string{"?a=1"}, pass: true},
		{words: []string{"?=a=1"}, pass: true},
		{words: []string{"?a=2"}},
		{words: []string{"?s=x=y"}, pass: true},
		{words: []string{"?c="}, pass: true},
		{words: []string{"?x="}},
		{words: []string{"?.id=*1"}, pass: true},
		{words: []string{"?<a=2"}, pass: true},
		{words: []string{"?<n=9"}},
		{words: []string{"?>n=9"}, pass: true},
		{words: []string{"?<neg=0"}, pass: true},
		{words: []string{"?>s=x"}, pass: true},
		{words: []string{"?<x=9"}},
		{words: []string{"?=x"}}, // has no property x
		// Several words are joined by AND.
		{words: []string{"?a=1", "?b=2"}, pass: true},
		{words: []string{"?a=1", "?b=1"}},
		// Operators.
		{words: []string{"?a=9", "?b=2", "?#|"}, pass: true},
		{words: []string{"?a=9", "?b=9", "?#|"}},
		{words: []string{"?a=9", "?b=2", "?#&"}},
		{words: []string{"?a=9", "?#!"}, pass: true},
		{words: []string{"?a=9", "?#!!"}},
		{words: []string{"?a=1", "?#.&"}, pass: true},
		{words: []string{"?a=9", "?b=2", "?n=10", "?#||"}, pass: true},
		{words: []string{"?a=1", "?b=9", "?#!&"}, pass: true},
		{words: []string{"?a=1", "?b=9", "?#|!"}},
		// 0 is the top; at the end of the word it replaces the whole stack.
		{words: []string{"?a=9", "?b=2", "?#0"}, pass: true},
		{words: []string{"?a=9", "?b=2", "?#1"}},
		// With something behind it, it pushes a copy: here 9, 2, 9 → 9, (2|9).
		{words: []string{"?a=9", "?b=2", "?#1|"}},
		{words: []string{"?a=1", "?b=9", "?#1|"}, pass: true},
		{words: []string{"?a=1", "?#0&"}, pass: true},
		// What does not fit the stack.
		{words: []string{"?#"}, pass: true},
		{words: []string{"?#!"}, invalid: true},
		{words: []string{"?#."}, invalid: true},
		{words: []string{"?a", "?#&"}, invalid: true},
		{words: []string{"?a", "?#|"}, invalid: true},
		{words: []string{"?a", "?#1"}, invalid: true},
		{words: []string{"?a", "?#99999999999999999999"}, invalid: true},
		{words: []string{"?a", "?#x"}, invalid: true},
	}
	for _, tt := range tests {
		var q query
		for _, word := range tt.words {
			q = append(q, parseQueryWord(word))
		}
		if pass, ok := q.passes(row); pass != tt.pass || ok == tt.invalid {
			t.Errorf("%q: pass %v, ok %v, want pass %v, invalid %v", tt.words, pass, ok, tt.pass, tt.invalid)
		}
	}
}

// TestQueryStackIsBounded has more words than the stack takes.
func TestQueryStackIsBounded(t *testing.T) {
	t.Parallel()
	q := make(query, maxQueryStack+1)
	if _, ok := q.passes(&item{}); ok {
		t.Error("too many comparisons were taken")
	}
	dots := query{{op: queryHas}, {op: queryOperators, name: string(make([]byte, 0, 1))}}
	for range maxQueryStack {
		dots[1].name += "."
	}
	if _, ok := dots.passes(&item{}); ok {
		t.Error("too many copies were taken")
	}
}

// TestQueryOfComparisons compares the stack machine with plain logic: comparisons
// joined pairwise by the same operator.
func TestQueryOfComparisons(t *testing.T) {
	t.Parallel()
	row := &item{}
	row.set(nil, "a", "1")
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Bool(), 1, 20).Draw(t, "values")
		or := rapid.Bool().Draw(t, "or")
		operator, want := "?#&", true
		if or {
			operator, want = "?#|", false
		}
		var q query
		for i, value := range values {
			word := "?a=2"
			if value {
				word = "?a=1"
			}
			q = append(q, parseQueryWord(word))
			if i > 0 {
				q = append(q, parseQueryWord(operator))
			}
			if or {
				want = want || value
			} else {
				want = want && value
			}
		}
		if pass, ok := q.passes(row); !ok || pass != want {
			t.Fatalf("%v joined by %s: %v, %v", values, operator, pass, ok)
		}
	})
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0s": "0s", "5": "5s", "1w2d3h4m5s": "1w2d3h4m5s", "90s": "1m30s", "1d": "1d", "": "", "s": "", "5x": "", "1w-1d": "",
		"999999999999999999s": "", "9999w": "",
	} {
		got := ""
		if d, ok := parseDuration(text); ok {
			got = formatUptime(d)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
