package routeros

import (
	"strconv"
	"strings"
)

// The words of which replies are made.
const (
	replyRow   = "!re"
	replyDone  = "!done"
	replyTrap  = "!trap"
	replyFatal = "!fatal"
	tagPrefix  = ".tag="
)

// maxTraps is how many complaints about one command are kept. RouterOS sends
// one or two; what comes beyond is dropped.
const maxTraps = 16

// maxMessage is how much of the router's text about a failure is kept: errors
// live on in states and logs. RouterOS's longest texts have some 150 bytes.
const maxMessage = 1 << 10

// clip returns a copy of the text that keeps no longer text in memory.
func clip(text string) string { return strings.Clone(text[:min(len(text), maxMessage)]) }

// Row is what the router says about one item, or at the end of a command. Unset attributes
// are absent.
type Row []Attr

// Lookup returns the value of the first attribute of this name and whether there is one.
func (r Row) Lookup(name string) (string, bool) {
	for _, a := range r {
		if a.Name == name {
			return a.Value, true
		}
	}
	return "", false
}

// Value returns the value of the first attribute with this name, or "" if there is none.
// RouterOS 7.15 and later print some unset attributes as empty, so in most places the
// difference has no meaning.
func (r Row) Value(name string) string {
	value, _ := r.Lookup(name)
	return value
}

// Bool reports whether the attribute is true. RouterOS prints true and false, and leaves
// some attributes out when they are false.
func (r Row) Bool(name string) bool {
	value := r.Value(name)
	return value == "true" || value == "yes"
}

// Clone returns a copy that stays valid and holds no more memory than it needs: the
// strings of a row that [Client.Each] passes are parts of one larger string.
func (r Row) Clone() Row {
	if r == nil {
		return nil
	}
	size := 0
	for _, a := range r {
		size += len(a.Name) + len(a.Value)
	}
	var b strings.Builder
	b.Grow(size)
	for _, a := range r {
		b.WriteString(a.Name)
		b.WriteString(a.Value)
	}
	rest := b.String()
	cut := func(n int) (s string) {
		s, rest = rest[:n], rest[n:]
		return s
	}
	clone := make(Row, len(r))
	for i, a := range r {
		clone[i] = Attr{Name: cut(len(a.Name)), Value: cut(len(a.Value))}
	}
	return clone
}

// Size returns roughly how many bytes of memory a clone of the row takes.
func (r Row) Size() int {
	size := rowBytes
	for _, a := range r {
		size += len(a.Name) + len(a.Value) + attrBytes
	}
	return size
}

// rowBytes is what a row takes in memory besides its attributes.
const rowBytes = 24

// Reply is the router's answer to a command that it executed.
type Reply struct {
	// Rows are the items that a print found, in the router's order; nil if there are none,
	// and with [Client.Each].
	Rows []Row
	// Skipped counts rows that are missing because they, or one of their words, exceeded
	// [Config.Limits].
	Skipped int
	// Done are the attributes of the last sentence, for example "ret" with the .id that an
	// add made; nil if there are none.
	Done Row
}

// parseRow returns the attributes among the words after the reply word.
func parseRow(words Sentence) Row {
	n := 0
	for _, word := range words {
		if _, ok := parseAttr(word); ok {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return appendRow(make(Row, 0, n), words)
}

// appendRow appends the attributes among the words to the row. Words that are no
// attributes (the tag, or something that a later version adds) are passed over.
func appendRow(row Row, words Sentence) Row {
	for _, word := range words {
		if attr, ok := parseAttr(word); ok {
			row = append(row, attr)
		}
	}
	return row
}

// parseAttr splits "=name=value". The value may be missing or have more "=" in it.
func parseAttr(word string) (Attr, bool) {
	if len(word) < 2 || word[0] != '=' {
		return Attr{}, false
	}
	name, value, _ := strings.Cut(word[1:], "=")
	return Attr{Name: name, Value: value}, true
}

// parseTrap returns what a !trap says.
func parseTrap(words Sentence) Trap {
	trap := Trap{Message: "no reason given", Category: NoCategory}
	for _, word := range words {
		attr, ok := parseAttr(word)
		switch {
		case !ok:
		case attr.Name == "message":
			trap.Message = clip(attr.Value)
		case attr.Name == "category":
			if n, err := strconv.Atoi(attr.Value); err == nil && n >= 0 {
				trap.Category = n
			}
		}
	}
	return trap
}

// fatalReason returns what a !fatal says: it is a bare word and no attribute.
func fatalReason(words Sentence) string {
	for _, word := range words {
		if attr, ok := parseAttr(word); ok && attr.Name == "message" {
			return clip(attr.Value)
		}
		if !strings.HasPrefix(word, tagPrefix) {
			return clip(word)
		}
	}
	return "no reason given"
}

// findTag returns the tag among the words after the reply word, which may stand
// anywhere. All tags of this package are decimal numbers other than 0.
func findTag(words Sentence) (uint32, bool) {
	for _, word := range words {
		if text, ok := strings.CutPrefix(word, tagPrefix); ok {
			n, err := strconv.ParseUint(text, 10, 32)
			return uint32(n), err == nil && n != 0
		}
	}
	return 0, false
}
