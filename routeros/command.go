package routeros

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Attr is a name and its value, in a command or a reply.
type Attr struct {
	// Name is the attribute's name, for example "to-ports" or ".id".
	Name string
	// Value may be empty and may contain any bytes.
	Value string
}

// Command is a command for the router.
type Command struct {
	// Path is the command, for example "/ip/firewall/nat/print".
	Path string
	// Args are its arguments, sent in this order.
	Args []Attr
	// Properties limits what a print returns for each row; nil means everything.
	Properties []string
	// Queries are the query words of a print, each with its leading "?". They select rows
	// that satisfy all of them, unless they contain operators ("?#|").
	Queries []string
	// Timeout is how long to wait once there is a connection: for the end of the reply
	// with [Client.Do], for the next row or the end with [Client.Each]. Zero means
	// [Config.CommandTimeout].
	Timeout time.Duration
	// Proves is set for a read that works only if all is well, for example of the table
	// that the caller depends on: its success ends the backoff, see [Client.Run].
	Proves bool
	// Connection is the only connection over which the command may be sent, see
	// [Client.Connection]: an id that was read on one may be another item's on the next, for
	// a router may hand out its ids anew when it is restarted. On any other connection, and
	// without one, the command fails with [ErrOtherConnection] and is not sent. 0 is whichever
	// there is.
	Connection uint64
	// Endless is set for a command that runs until it is canceled, for example
	// "/ip/route/check" without "once". It has no timeout; when its context ends, the
	// client cancels it on the router.
	Endless bool
}

// Equal returns the query word for rows whose attribute has exactly this value.
func Equal(name, value string) string { return "?" + name + "=" + value }

// check reports why the command cannot be sent. The limits are those which this
// package imposes on the other side too.
func (c Command) check() error {
	if len(c.Path) < 2 || c.Path[0] != '/' {
		return fmt.Errorf("routeros: command %.40q does not begin with a slash", c.Path)
	}
	if n := len(c.Args) + len(c.Queries) + 3; n > DefaultSentenceWords {
		return fmt.Errorf("routeros: %s: command of %d words", c.Path, n)
	}
	for _, a := range c.Args {
		if a.Name == "" || strings.ContainsRune(a.Name, '=') {
			return fmt.Errorf("routeros: %s: bad argument name %.40q", c.Path, a.Name)
		}
		if len(a.Name)+len(a.Value)+2 > DefaultWordBytes {
			return fmt.Errorf("routeros: %s: value of %s has %d bytes", c.Path, a.Name, len(a.Value))
		}
	}
	for _, q := range c.Queries {
		if len(q) < 2 || q[0] != '?' || len(q) > DefaultWordBytes {
			return fmt.Errorf("routeros: %s: bad query %.40q", c.Path, q)
		}
	}
	if c.Timeout < 0 {
		return errors.New("routeros: " + c.Path + ": negative timeout")
	}
	return nil
}

// append appends the command as it goes over the wire. Queries come last,
// because their order matters and nothing may come between them.
func (c Command) append(dst []byte, tag uint32) []byte {
	dst = AppendWord(dst, c.Path)
	for _, a := range c.Args {
		dst = appendLength(dst, len(a.Name)+len(a.Value)+2)
		dst = append(dst, '=')
		dst = append(dst, a.Name...)
		dst = append(dst, '=')
		dst = append(dst, a.Value...)
	}
	if len(c.Properties) > 0 {
		dst = AppendWord(dst, "=.proplist="+strings.Join(c.Properties, ","))
	}
	if tag != 0 {
		dst = AppendWord(dst, tagPrefix+strconv.FormatUint(uint64(tag), 10))
	}
	for _, q := range c.Queries {
		dst = AppendWord(dst, q)
	}
	return append(dst, 0)
}

// String returns the command in one line, with dots for passwords and keys.
func (c Command) String() string {
	var b strings.Builder
	b.WriteString(c.Path)
	for _, a := range c.Args {
		b.WriteString(" " + a.Name + "=")
		if secretName(a.Name) {
			b.WriteString(dots)
		} else {
			b.WriteString(a.Value)
		}
	}
	for _, q := range c.Queries {
		b.WriteString(" " + q)
	}
	return b.String()
}

// LogValue returns String, computed only if the record is written.
func (c Command) LogValue() slog.Value { return slog.StringValue(c.String()) }

// secretName reports whether a value of this name must not be shown.
func secretName(name string) bool {
	for _, part := range [...]string{"password", "passphrase", "secret", "response", "key"} {
		if strings.Contains(strings.ToLower(name), part) {
			return true
		}
	}
	return false
}
