package foreign_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/foreign"
)

func TestText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"plain", "no such item (4): wg-home", "no such item (4): wg-home"},
		{"other languages", "Büro, 東京, עברית, é, 🏠", "Büro, 東京, עברית, é, 🏠"},
		{"line ends", "a\r\nb\tc", `a\r\nb\tc`},
		{"terminal commands", "\x1b[2J\x1b]0;title\x07", `\x1b[2J\x1b]0;title\x07`},
		{"C1 commands", "\u009b31m\u0085", `\u009b31m\u0085`},
		{"NUL and DEL", "\x00\x7f", `\x00\x7f`},
		{"overrides", "pay\u202egnp.exe\u2066x\u2069", `pay\u202egnp.exe\u2066x\u2069`},
		{"marks of direction", "a\u200eb\u200fc\u061cd", `a\u200eb\u200fc\u061cd`},
		{"no width", "a\u200bb\u200dc\ufeffd\u2060", `a\u200bb\u200dc\ufeffd\u2060`},
		{"line and paragraph", "a\u2028b\u2029", `a\u2028b\u2029`},
		{"other spaces", "a\u00a0b\u3000", `a\u00a0b\u3000`},
		{"blanks that are letters", "\u3164\u115f\uffa0\u2800", `\u3164\u115f\uffa0\u2800`},
		{"selectors", "☎\ufe0e\U000e0100", `☎\ufe0e\U000e0100`},
		{"tags", "\U000e0041", `\U000e0041`},
		{"not UTF-8", "caf\xe9\xff\xc0\x80", `caf\xe9\xff\xc0\x80`},
		{"surrogate", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"cut off", "\xe2\x82", `\xe2\x82`},
		{"the replacement character", "a\ufffdb", "a\ufffdb"},
		{"the replacement character and more", "\ufffd\n", "\ufffd" + `\n`},
		{"a backslash", `C:\new`, `C:\new`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := foreign.Text(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	if got, want := foreign.Lines("a\tb\n\x1b[A\r\n\u202ec"), "a\tb\n"+`\x1b[A\r`+"\n"+`\u202ec`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMax(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"äöüß", 3, "äö…"},
		{"a\nb", 4, `a\nb`},
		{"a\nbc", 4, `a\n…`},
		{strings.Repeat("\xff", 1<<20), 5, `\xff…`},
		{strings.Repeat("x", 1<<20), 5, "xxxx…"},
		{"abc", 0, ""},
		{"abc", -7, ""},
	} {
		if got := foreign.Max(tt.in, tt.n); got != tt.want {
			t.Errorf("Max(%.10q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func TestWriter(t *testing.T) {
	t.Parallel()
	const in = "one\ttwo\n\x1b[31mred €\u202e 東\xff京\n"
	for size := 1; size <= len(in); size++ {
		var out bytes.Buffer
		w := foreign.NewWriter(&out)
		for rest := in; rest != ""; {
			part := rest[:min(size, len(rest))]
			rest = rest[len(part):]
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatalf("wrote %d of %d: %v", n, len(part), err)
			}
		}
		if diff := cmp.Diff("one\ttwo\n"+`\x1b[31mred €\u202e 東\xff京`+"\n", out.String()); diff != "" {
			t.Errorf("in pieces of %d (-want +got):\n%s", size, diff)
		}
	}
}

// FuzzText holds what everybody relies on: nothing that a terminal or a log could
// take for more than text is left, and the text of a text is the same.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[2J\n", "\xff\xed\xa0\x80", "\u202e\u2066", "a\ufffd\\x1b"} {
		f.Add(s, 7)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		got := foreign.Text(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		for _, r := range got {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff {
				t.Errorf("%q has %U left", got, r)
			}
		}
		if again := foreign.Text(got); again != got {
			t.Errorf("the text of %q is %q", got, again)
		}
		if lines := foreign.Lines(s); foreign.Text(lines) != got {
			t.Errorf("lines %q, text %q", lines, got)
		}
		if short := foreign.Max(s, n%100); utf8.RuneCountInString(short) > max(0, n%100) || foreign.Text(short) != short {
			t.Errorf("Max(%q, %d) = %q", s, n%100, short)
		}
	})
}
