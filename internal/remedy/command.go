package remedy

import (
	"slices"
	"strings"

	"doublenat/routeros"
)

// Command is a command for the router's administrator. It is never sent by
// doublenat itself. It is data, in the words of RouterOS 7: String writes it for the
// terminal, and For turns it into the words of another version.
type Command struct {
	// Path is the command, for example "/ip/firewall/nat/set".
	Path string
	// Args are its arguments in this order. "numbers" names the item to change, by
	// its id or its name.
	Args []routeros.Attr
	// Find is the condition for the items to change or print, where neither id nor name does:
	// "name=api and !dynamic". Empty for none.
	Find string
	// Place says where an added item goes. The zero value is the end of the table, or
	// what the argument place-before says.
	Place Place
}

// Place is where an item is added: nowhere in particular, or before others. A number
// does not do: the terminal numbers what it printed last, an empty table has no row
// 0, and nothing can be placed before the built-in row that FastTrack puts on top.
type Place struct {
	// First asks for the place before all items that meet Where. Without any the item
	// goes to the end.
	First bool
	// Where is the condition, "chain=input !dynamic" for example; empty for all items.
	Where string
}

// NewCommand returns a command with the arguments given as name and value in
// turn. A name without a value has the empty value.
func NewCommand(path string, words ...string) Command {
	c := Command{Path: path}
	for i := 0; i < len(words); i += 2 {
		a := routeros.Attr{Name: words[i]}
		if i+1 < len(words) {
			a.Value = words[i+1]
		}
		c.Args = append(c.Args, a)
	}
	return c
}

// Before returns the command with the item placed before all that meet the
// condition, which is empty for all items of the table.
func (c Command) Before(where string) Command {
	c.Place = Place{First: true, Where: where}
	return c
}

// Found returns the command for the items that meet the condition.
func (c Command) Found(condition string) Command {
	c.Find = condition
	return c
}

// With returns the command with one more argument.
func (c Command) With(name, value string) Command {
	c.Args = append(slices.Clone(c.Args), routeros.Attr{Name: name, Value: value})
	return c
}

// String returns the command as it is typed on the router's terminal, in one line.
// The words of a path are separated by blanks: version 6 knows nothing else, and
// version 7 takes both.
func (c Command) String() string {
	if !c.Place.First {
		return c.typed("")
	}
	// An item that exists is named by what find returns: see Place.
	menu, _ := c.split()
	find := "find"
	if c.Place.Where != "" {
		find += " where " + c.Place.Where
	}
	return ":local r [" + menu + " " + find + "]; :if ([:len $r]>0) do={" + c.typed(" place-before=($r->0)") +
		"} else={" + c.typed("") + "}"
}

// split returns the menu and the verb of the command, as they are typed.
func (c Command) split() (menu, verb string) {
	words := strings.Split(strings.TrimPrefix(c.Path, "/"), "/")
	last := len(words) - 1
	return "/" + strings.Join(words[:last], " "), words[last]
}

// typed returns the command without its place, and with an expression at its end.
func (c Command) typed(end string) string {
	menu, verb := c.split()
	var b strings.Builder
	b.WriteString(menu)
	if menu != "/" {
		b.WriteByte(' ')
	}
	b.WriteString(verb)
	switch {
	case c.Find == "":
	case verb == "print":
		end += " where " + c.Find
	default:
		b.WriteString(" [find " + c.Find + "]")
	}
	for _, a := range c.Args {
		b.WriteByte(' ')
		if a.Value == "" && isFlag(a.Name) {
			b.WriteString(a.Name)
			continue
		}
		if a.Name != numbers {
			b.WriteString(a.Name)
			b.WriteByte('=')
		}
		b.WriteString(quote(a.Value))
	}
	b.WriteString(end)
	return b.String()
}

// isFlag reports whether an argument has no value, as opposed to an empty one.
func isFlag(name string) bool { return name == "fib" || name == "detail" || name == "count-only" }

// numbers is the argument that names the item to change.
const numbers = "numbers"

// MarshalText returns what String returns, so that JSON shows the command too.
func (c Command) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// bare has the characters that RouterOS takes without quotes.
const bare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,:/*!@+%"

// quote returns the value as the terminal reads it: in quotes where it has
// characters with a meaning of their own.
func quote(value string) string {
	special := func(r rune) bool { return !strings.ContainsRune(bare, r) }
	if value != "" && !strings.ContainsFunc(value, special) {
		return value
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(value) {
		switch c := value[i]; {
		case c == '"' || c == '\\' || c == '$':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'\\', digits[c>>4], digits[c&15]})
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
