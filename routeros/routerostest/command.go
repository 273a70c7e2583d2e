package routerostest

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"doublenat/routeros"
)

// command is one sentence from a client, taken apart.
type command struct {
	// path is the whole first word, menu and action its two parts.
	path, menu, action string
	// words are all words after the first, as they came.
	words routeros.Sentence
	// args are the attributes in the order in which they came.
	args  []argumentValue
	query query
	// tag is the .tag of the client; tagged tells an empty one from none.
	tag    string
	tagged bool
	// proplist names the properties of a print, "" for all.
	proplist string
}

// argumentValue is one attribute word.
type argumentValue struct{ name, value string }

// way returns how long the command is on its way if it is sent now, less than the
// limit and more than 0 unless that is 0. The tag is left out: which command gets which
// is up to the scheduler.
func (c *command) way(seed uint64, limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	h := fnv.New64a()
	// Writing to a hash never fails.
	_ = binary.Write(h, binary.BigEndian, []uint64{seed, uint64(time.Now().UnixNano())})
	for _, word := range append(routeros.Sentence{c.path}, c.words...) {
		if !strings.HasPrefix(word, ".tag=") {
			_, _ = h.Write(append([]byte(word), 0))
		}
	}
	return 1 + time.Duration(h.Sum64()%uint64(limit)) //nolint:gosec // less than a duration
}

// parseCommand takes a sentence apart. Every sentence has a meaning, if only an
// unknown parameter: a bare word is an argument without a value.
func parseCommand(s routeros.Sentence) *command {
	c := &command{path: s[0], words: s[1:]}
	if !strings.HasPrefix(c.path, "/") {
		c.path = "/" + c.path
	}
	at := strings.LastIndexByte(c.path, '/')
	c.menu, c.action = c.path[:at], c.path[at+1:]
	for _, word := range c.words {
		switch {
		case strings.HasPrefix(word, ".tag="):
			c.tag, c.tagged = word[len(".tag="):], true
		case strings.HasPrefix(word, "."):
			// Another attribute of the API itself; none is known that matters here.
		case strings.HasPrefix(word, "?"):
			c.query = append(c.query, parseQueryWord(word))
		default:
			name, value, _ := strings.Cut(strings.TrimPrefix(word, "="), "=")
			if name == ".proplist" || name == "proplist" {
				c.proplist = value
				continue
			}
			c.args = append(c.args, argumentValue{name, value})
		}
	}
	return c
}

// arg returns the value of an argument and whether it was given.
func (c *command) arg(name string) (string, bool) {
	for _, a := range c.args {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

// outcome is what comes of a command.
type outcome struct {
	// rows are the sentences before the !done, without tags.
	rows []routeros.Sentence
	// done is the !done, nil for a command that does not end (yet).
	done routeros.Sentence
	// traps are the refusals among the rows.
	traps traps
	// repeat is after what time the command is carried out again, 0 for not; limit is
	// how long that goes on, 0 for ever.
	repeat, limit time.Duration
	// listen keeps the command open for changes of its table.
	listen *table
	// wrote is set when something was stored, changed when something in memory was.
	wrote, changed bool
	// restart reboots the router once the reply is on its way.
	restart bool
	// fatal is the reason of a !fatal, after which the connection ends.
	fatal string
}

// failed makes the outcome of a refused command.
func failed(reasons traps) outcome {
	o := outcome{done: routeros.Sentence{"!done"}, traps: reasons}
	for _, t := range reasons {
		o.rows = append(o.rows, t.sentence())
	}
	return o
}

// done makes the outcome of a command that succeeded, with a value or without.
func done(ret ...string) outcome {
	s := routeros.Sentence{"!done"}
	for _, v := range ret {
		s = append(s, "=ret="+v)
	}
	return outcome{done: s}
}

// executeLocked carries out a command of somebody.
func (r *Router) executeLocked(who actor, c *command) outcome {
	t := r.tables[c.menu]
	if t == nil && c.menu != "" {
		return failed(r.behavior.refuseCommand(c.menu[strings.LastIndexByte(c.menu, '/')+1:]))
	}
	if t == nil || !slices.Contains(t.menu.commands, c.action) {
		return failed(r.behavior.refuseCommand(c.action))
	}
	for _, policy := range t.menu.policies(c.action) {
		if !who.may(policy) {
			return failed(refusePermission())
		}
	}
	t.refresh(r)
	switch kindOf(c.action) {
	case reads:
		return r.readLocked(who, t, c)
	case tests:
		if refused := r.extraLocked(t, c); refused != nil {
			return failed(refused)
		}
		return r.routeCheckLocked(c)
	default:
		return r.writeLocked(t, c)
	}
}

// commandKind says what a command does to the router.
type commandKind uint8

const (
	// reads looks at a table, tests looks at the network, writes changes a table.
	reads commandKind = iota
	tests
	writes
)

// kindOf tells the kind of a command by its last word.
func kindOf(action string) commandKind {
	switch action {
	case "print", "getall", "listen", "find", "get":
		return reads
	case "check":
		return tests
	default:
		return writes
	}
}

// policies are what a user needs for a command of the menu.
func (m *menu) policies(action string) []string {
	switch kindOf(action) {
	case reads:
		return []string{"read"}
	case tests:
		return []string{"test"}
	default:
		if m.policy != "" {
			return []string{"write", m.policy}
		}
		return []string{"write"}
	}
}

// readLocked carries out the commands that change nothing.
func (r *Router) readLocked(who actor, t *table, c *command) outcome {
	switch c.action {
	case "find":
		return r.findLocked(t)
	case "get":
		return r.getLocked(t, c)
	}
	for _, a := range c.args {
		if !t.menu.printsBy(r.version, a.name) {
			return failed(r.behavior.refuseParameter(a.name))
		}
	}
	if o, special := r.listenVariant(t, c); special {
		return o
	}
	if c.action == "listen" {
		return outcome{listen: t}
	}
	o := done()
	if c.query == nil {
		o.rows = make([]routeros.Sentence, 0, len(t.items)+2)
	}
	count := 0
	_, countOnly := c.arg("count-only")
	list := proplistOf(who, t, c)
	for _, it := range t.items {
		pass, ok := c.query.passes(it)
		switch {
		case !ok:
			return failed(refuse(noCategory, "failure: invalid query"))
		case !pass:
			continue
		}
		count++
		if !countOnly {
			o.rows = append(o.rows, t.row(it, list))
		}
	}
	switch {
	case countOnly:
		return done(formatInt(count))
	case count == 0 && r.behavior.emptyReply:
		o.rows = append(o.rows, routeros.Sentence{"!empty"})
	}
	return o
}

// proplistOf returns the properties that somebody asked for and may see.
func proplistOf(who actor, t *table, c *command) proplist {
	list := proplist{key: "all"}
	if c.proplist != "" {
		list.names, list.key = strings.Split(c.proplist, ","), "only "+c.proplist
	}
	if t.menu.sensitive != "" && !who.may("sensitive") {
		list.hidden = t.menu.sensitive
		list.key = "hidden " + list.key
	}
	return list
}

// findLocked lists all ids.
func (r *Router) findLocked(t *table) outcome {
	ids := make([]string, len(t.items))
	for i, it := range t.items {
		ids[i] = it.id
	}
	return done(strings.Join(ids, ";"))
}

// getLocked returns one property of one item.
func (r *Router) getLocked(t *table, c *command) outcome {
	at, refused := r.targetsLocked(t, c)
	if refused != nil {
		return failed(refused)
	}
	name, named := c.arg("value-name")
	if !named || len(at) != 1 {
		return failed(refuseMissing("value-name"))
	}
	return done(at[0].value(name))
}

// row returns the row that a print sends of an item.
func (t *table) row(it *item, list proplist) []string {
	if len(t.items) > keepRows {
		return it.compose(list)
	}
	return it.words(list)
}

// ret returns the value of a command that succeeded, "" for none.
func (o outcome) ret() string {
	if len(o.done) < 2 {
		return ""
	}
	return strings.TrimPrefix(o.done[1], "=ret=")
}

// targetsLocked finds the items that a command names.
func (r *Router) targetsLocked(t *table, c *command) ([]*item, traps) {
	if t.menu.singleton {
		return t.items, nil
	}
	refs, given := c.arg(".id")
	if !given {
		refs, given = c.arg(t.menu.handle(r.version, c.action))
	}
	if !given || refs == "" {
		return nil, refuseMissing(t.menu.handle(r.version, c.action))
	}
	var found []*item
	for ref := range strings.SplitSeq(refs, ",") {
		items := t.findAll(ref)
		if items == nil {
			return nil, r.behavior.refuseItem()
		}
		found = append(found, items...)
	}
	return found, nil
}
