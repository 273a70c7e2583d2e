package foreign

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with everything visible: control characters (line ends and tabs
// among them), characters that set the direction of text, characters without a glyph,
// and bytes that are not UTF-8 are written as Go escapes, such as \n, \x1b, \u202e. A
// backslash stays as it is, so that Text(Text(s)) is Text(s). The empty text stays empty.
func Text(s string) string { return escape(s, "") }

// Lines is [Text] for text of several lines: line feeds and tabs stay. It is for what
// this program has laid out itself; the foreign parts in it went through Text before.
func Lines(s string) string { return escape(s, "\n\t") }

// Max is [Text] cut to at most n characters, the last of which is then an ellipsis.
// It is for text that has no bound of its own. With n below 1 nothing is left.
func Max(s string, n int) string {
	// Nothing needs more than four bytes for one character of the result.
	const longest = utf8.UTFMax
	cut := len(s) > longest*max(n, 0)+longest
	if cut {
		s = s[:longest*max(n, 0)+longest]
	}
	runes := []rune(Text(s))
	switch {
	case n < 1:
		return ""
	case len(runes) > n, cut:
		return string(runes[:min(n-1, len(runes))]) + "…"
	default:
		return string(runes)
	}
}

// escape escapes what is not visible, except for the characters in keep.
func escape(s, keep string) string {
	first := unsafe(s, keep)
	if first < 0 {
		return s // nearly always
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	b.WriteString(s[:first])
	for i := first; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case visible(r) || strings.ContainsRune(keep, r):
			b.WriteString(s[i : i+size])
		default:
			writeEscape(&b, r)
		}
		i += size
	}
	return b.String()
}

// unsafe returns where the first character is that must not be shown as it is, -1
// for nowhere.
func unsafe(s, keep string) int {
	for i, r := range s {
		if r == utf8.RuneError || !visible(r) && !strings.ContainsRune(keep, r) {
			return i // U+FFFD itself is looked at again
		}
	}
	return -1
}

// visible reports whether a character is a letter, mark, number, sign, symbol or the
// plain space, and has a glyph. Of the characters without one that Unicode does not
// count as formats: fillers that look like a space, and selectors that vary the
// character before them and may carry hidden data.
func visible(r rune) bool {
	switch {
	case r == '\u034f', // COMBINING GRAPHEME JOINER
		r == '\u115f', r == '\u1160', r == '\u3164', r == '\uffa0', // Hangul fillers
		r == '\u17b4', r == '\u17b5', // Khmer inherent vowels
		r == '\u2800', // BRAILLE PATTERN BLANK
		unicode.Is(unicode.Variation_Selector, r):
		return false
	default:
		return unicode.IsPrint(r)
	}
}

// writeEscape writes a character as a Go string has it.
func writeEscape(b *strings.Builder, r rune) {
	switch {
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\r':
		b.WriteString(`\r`)
	case r == '\t':
		b.WriteString(`\t`)
	case r < utf8.RuneSelf:
		fmt.Fprintf(b, `\x%02x`, r)
	case r <= 0xffff:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}
