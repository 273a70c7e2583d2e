package check

import (
	"strings"
	"testing"

	"doublenat/routeros"
)

// rowOf reads "name=value" words.
func rowOf(words string) routeros.Row {
	var row routeros.Row
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		row = append(row, routeros.Attr{Name: name, Value: value})
	}
	return row
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain":                  "plain",
		"caf\xe9\x1b[31m":        "caf??[31m",
		strings.Repeat("x", 100): strings.Repeat("x", 60) + "…",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := describe(rowOf(".id=*1F")); got != "*1F" {
		t.Errorf("got %q", got)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	var got []string
	for l := range Level(4) {
		got = append(got, l.String())
	}
	if want := "ok warn fail level(3)"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
