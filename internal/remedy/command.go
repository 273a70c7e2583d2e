package remedy

import (
	"strings"

	"doublenat/routeros"
)

// Command is a command for the router's administrator. It is never sent by
// doublenat itself.
type Command struct {
	// Path is the command, for example "/ip/firewall/nat/set".
	Path string
	// Args are its arguments in this order. "numbers" names the item to change, by
	// its id, its name, or as "[find …]".
	Args []routeros.Attr
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

// String returns the command as it is typed on the router's terminal.
func (c Command) String() string {
	var b strings.Builder
	b.WriteString(c.Path)
	for _, a := range c.Args {
		b.WriteByte(' ')
		if a.Name == "fib" && a.Value == "" {
			b.WriteString(a.Name) // the one flag without a value
			continue
		}
		if a.Name != "numbers" {
			b.WriteString(a.Name)
			b.WriteByte('=')
		}
		b.WriteString(quote(a.Value))
	}
	return b.String()
}

// MarshalText returns what String returns, so that JSON shows the command too.
func (c Command) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// bare has the characters that RouterOS takes without quotes.
const bare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,:/*!@+%"

// quote returns the value as the terminal reads it: in quotes where it has
// characters with a meaning of their own. An expression in brackets is one that we
// made, and stays.
func quote(value string) string {
	if strings.HasPrefix(value, "[find ") {
		return value
	}
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
