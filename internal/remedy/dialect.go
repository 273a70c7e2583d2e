package remedy

import (
	"net/netip"
	"path"
	"slices"
	"strings"

	"doublenat/routeros"
)

// For returns the advice in the words of a version of RouterOS. What the version
// does not need is left out; a version that is not known changes nothing.
func (a Advice) For(v Version) Advice {
	if v.IsZero() || a.Commands == nil {
		return a
	}
	a.Commands = Translate(v, a.Commands)
	return a
}

// Translate returns the commands in the words of a version of RouterOS.
func Translate(v Version, commands []Command) []Command {
	var all []Command
	for _, c := range commands {
		if v.Major == 6 && path.Dir(c.Path) == "/routing/table" {
			continue // there, a table exists as soon as a route names it
		}
		all = append(all, c.For(v))
	}
	return all
}

// For returns the command in the words of a version of RouterOS. A version that is
// not known changes nothing.
func (c Command) For(v Version) Command {
	c.Args = slices.Clone(c.Args)
	switch {
	case v.AtLeast(19) && path.Dir(c.Path) == "/ip/service":
		return c.amongConnections()
	case v.Major == 6:
		return c.forSix()
	default:
		return c
	}
}

// amongConnections names a service so that only the service itself is meant: from
// 7.19 each connection is a row of its name, which cannot be changed.
func (c Command) amongConnections() Command {
	i := slices.IndexFunc(c.Args, isNumbers)
	if i < 0 || strings.HasPrefix(c.Args[i].Value, "*") {
		return c
	}
	c.Find = "name=" + quote(c.Args[i].Value) + " and !dynamic"
	c.Args = slices.Delete(c.Args, i, i+1)
	return c
}

// forSix returns the command in the words of version 6.
func (c Command) forSix() Command {
	if verb, ok := strings.CutPrefix(c.Path, "/routing/rule/"); ok {
		c.Path = "/ip/route/rule/" + verb
	}
	for i, a := range c.Args {
		switch {
		case path.Dir(c.Path) == "/ip/route" && a.Name == "routing-table":
			c.Args[i].Name = "routing-mark"
		case c.Path == "/system/ntp/client/set" && a.Name == "servers":
			c.Args[i].Name = "server-dns-names"
			if _, err := netip.ParseAddr(a.Value); err == nil {
				c.Args[i].Name = "primary-ntp"
			}
		}
	}
	return c
}

// isNumbers reports whether an argument names the item to change.
func isNumbers(a routeros.Attr) bool { return a.Name == numbers }
