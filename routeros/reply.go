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

// Row is what the router says about one item, or at the end of a command.
// Attributes that are not set are absent.
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

// Value returns the value of the first attribute of this name, "" if there is
// none: RouterOS 7.15 and later print some unset attributes as empty ones, so
// that the difference means nothing in most places.
func (r Row) Value(name string) string {
	value, _ := r.Lookup(name)
	return value
}

// Bool reports whether the attribute says true. RouterOS prints true and false
// and leaves some of them out when they are false.
func (r Row) Bool(name string) bool {
	value := r.Value(name)
	return value == "true" || value == "yes"
}

// Reply is the router's answer to a command that it executed.
type Reply struct {
	// Rows are the items that a print found, in the router's order; nil for none.
	Rows []Row
	// Done are the attributes of the last sentence, for example "ret" with the
	// .id that an add made; nil for none.
	Done Row
}

// parseRow returns the attributes among the words after the reply word. Words
// that are no attributes (the tag, or something that a later version adds) are
// passed over.
func parseRow(words Sentence) Row {
	var row Row
	for _, word := range words {
		attr, ok := parseAttr(word)
		if !ok {
			continue
		}
		if row == nil {
			row = make(Row, 0, len(words))
		}
		row = append(row, attr)
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
			trap.Message = attr.Value
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
			return attr.Value
		}
		if !strings.HasPrefix(word, tagPrefix) {
			return word
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
