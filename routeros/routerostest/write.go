package routerostest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// formatInt writes a number.
func formatInt(n int) string { return strconv.Itoa(n) }

// writeLocked carries out the commands that change a table.
func (r *Router) writeLocked(t *table, c *command) outcome {
	if refused := r.extraLocked(t, c); refused != nil {
		return failed(refused)
	}
	switch c.action {
	case "add":
		return r.addLocked(t, c)
	case "reset-counters-all":
		for _, it := range t.items {
			resetCounters(t, it)
		}
		return done()
	}
	if do := t.menu.does[c.action]; do != nil {
		return do(r, t, c)
	}
	return r.changeLocked(t, c)
}

// changeLocked carries out the commands that change items that there are.
func (r *Router) changeLocked(t *table, c *command) outcome {
	items, refused := r.targetsLocked(t, c)
	if refused != nil {
		if c.action == "set" && t.menu.path == addressListPath && r.config.Lists.SetsGone {
			return done()
		}
		return failed(refused)
	}
	if c.action == "reset-counters" {
		for _, it := range items {
			resetCounters(t, it)
		}
		return done()
	}
	stored := slices.ContainsFunc(items, t.stored)
	if refused := r.changeItemsLocked(t, c, items); refused != nil {
		return failed(refused)
	}
	o := done()
	o.changed, o.wrote = true, stored || t.menu.singleton || slices.ContainsFunc(items, t.stored)
	return o
}

// changeItemsLocked does to items what a command says.
func (r *Router) changeItemsLocked(t *table, c *command, items []*item) traps {
	switch c.action {
	case "set", "comment":
		return r.setLocked(t, c, items)
	case "enable", "disable":
		return r.switchLocked(t, items, c.action == "disable")
	case "remove":
		return r.removeLocked(t, items)
	case "unset":
		return r.unsetLocked(t, c, items)
	case "move":
		return r.moveLocked(t, c, items)
	default:
		return nil
	}
}

// addLocked makes an item.
func (r *Router) addLocked(t *table, c *command) outcome {
	props := make(Row, len(c.args))
	position := -1
	for _, a := range c.args {
		switch {
		case a.name == "place-before" && t.menu.ordered():
			if position = t.find(a.value); position < 0 {
				return failed(refuse(noCategory, "item referred by 'place-before' does not exist (11)"))
			}
			if t.items[position].builtin {
				return failed(refuse(noCategory, "failure: cannot move builtin"))
			}
			continue
		case a.name == "copy-from" && t.menu.argument(r.version, a.name) == nil:
			at := t.find(a.value)
			if at < 0 {
				return failed(r.behavior.refuseItem())
			}
			copySettings(t.menu, r.version, t.items[at], props)
			continue
		}
		if refused := r.checkArgumentLocked(t, a); refused != nil {
			return failed(refused)
		}
		props[a.name] = a.value
	}
	if refused := r.checkRowLocked(t, nil, props); refused != nil {
		return failed(refused)
	}
	for _, mark := range t.menu.marks {
		if _, given := props[mark.name()]; !given {
			props[mark.name()] = mark.value()
		}
	}
	it := t.newItem(time.Now(), props)
	t.insert(it, t.belowDynamic(position))
	if t.menu.added != nil {
		t.menu.added(r, it)
	}
	r.storedLocked(t, it)
	o := done(it.id)
	o.changed, o.wrote = true, t.stored(it)
	return o
}

// copySettings adds what can be set on an item to props, where it is not there yet.
func copySettings(m *menu, v version, from *item, props Row) {
	for _, p := range from.props {
		if _, given := props[p.name()]; !given && p.value() != "" && m.argument(v, p.name()) != nil {
			props[p.name()] = p.value()
		}
	}
}

// checkArgumentLocked judges one argument of add or set.
func (r *Router) checkArgumentLocked(t *table, a argumentValue) traps {
	arg := t.menu.argument(r.version, a.name)
	if arg == nil {
		return r.behavior.refuseParameter(a.name)
	}
	if arg.check == nil {
		return nil
	}
	return arg.check(r, a.name, a.value)
}

// checkRowLocked judges the properties together: what is required, what must be
// unique, what needs something else. Changed is the item that they change, nil
// for a new one.
func (r *Router) checkRowLocked(t *table, changed *item, props Row) traps {
	get := func(name string) string {
		if v, ok := props[name]; ok || changed == nil {
			return v
		}
		return changed.value(name)
	}
	if changed == nil {
		if missing := t.menu.missing(r.version, props); missing != "" {
			return refuseMissing(missing)
		}
	}
	if t.menu.args != nil && t.menu.argument(r.version, "dst-port") != nil {
		return r.checkPortsNeedProtocol(get)
	}
	if len(t.menu.unique) == 0 || t.menu.path == addressListPath && r.config.Lists.Twice {
		return nil
	}
	for _, it := range t.items {
		same := func(name string) bool { return it.value(name) == get(name) }
		if it != changed && !slices.ContainsFunc(t.menu.unique, func(name string) bool { return !same(name) }) {
			return refuse(noCategory, "failure: %s", t.menu.already)
		}
	}
	return nil
}

// missing names the required arguments of version v that are not given.
func (m *menu) missing(v version, props Row) string {
	var names []string
	for _, a := range m.args {
		if _, given := props[a.name]; a.required && a.span.has(v) && !given {
			names = append(names, a.name)
		}
	}
	return strings.Join(names, ",")
}

// setLocked changes properties of the items, of all or of none.
func (r *Router) setLocked(t *table, c *command, items []*item) traps {
	props := make(Row, len(c.args))
	for _, a := range c.args {
		if a.name == ".id" || a.name == "numbers" {
			continue
		}
		if refused := r.checkArgumentLocked(t, a); refused != nil {
			return refused
		}
		props[a.name] = a.value
	}
	for _, it := range items {
		if refused := t.menu.refuseRow(it, "change"); refused != nil {
			return refused
		}
		if refused := r.config.Lists.refuseSet(t, it, props); refused != nil {
			return refused
		}
		if refused := r.checkRowLocked(t, it, props); refused != nil {
			return refused
		}
	}
	if t.menu.path == addressListPath && r.config.Lists.Timeouts == TimeoutsIgnored {
		delete(props, "timeout")
	}
	for _, it := range items {
		t.change(it, props, true)
		if props["in-interface"] != "" && it.is("invalid") {
			it.set(t.menu.order, "invalid", "false")
			it.unset(".about")
		}
		if t.menu.changed != nil {
			t.menu.changed(r, it)
		}
		r.storedLocked(t, it)
	}
	return nil
}

// change writes properties into an item. An empty comment takes it away, as the
// router does. Merge is for what a client sets: policies are added to those that
// there are.
func (t *table) change(it *item, props Row, merge bool) {
	for _, name := range slices.Sorted(maps.Keys(props)) {
		switch value := props[name]; {
		case name == t.menu.secret:
			it.secret = value
		case name == "comment" && value == "":
			it.unset(name)
		case name == "policy" && t.menu.path == groupPath && merge:
			it.set(t.menu.order, name, mergePolicies(it.value(name), value))
		default:
			it.set(t.menu.order, name, t.menu.normalize(name, value))
		}
	}
}

// switchLocked enables or disables the items.
func (r *Router) switchLocked(t *table, items []*item, disabled bool) traps {
	for _, it := range items {
		if refused := t.menu.refuseRow(it, "change"); refused != nil {
			return refused
		}
	}
	for _, it := range items {
		it.set(t.menu.order, "disabled", strconv.FormatBool(disabled))
		r.storedLocked(t, it)
	}
	return nil
}

// refuseRow refuses to touch a row that is the router's own, nil for any other. Verb
// says what was to be done to it.
func (m *menu) refuseRow(it *item, verb string) traps {
	switch {
	case m.path == servicePath && it.is("dynamic"):
		return refuse(noCategory, "this is configured elsewhere")
	case it.builtin || it.is("builtin"):
		return refuse(noCategory, "failure: cannot %s builtin", verb)
	case it.is("dynamic") && !m.volatile:
		return refuse(noCategory, "failure: cannot %s dynamic", verb)
	default:
		return nil
	}
}

// removeLocked removes the items, all or none.
func (r *Router) removeLocked(t *table, items []*item) traps {
	for _, it := range items {
		if refused := t.menu.refuseRow(it, "remove"); refused != nil {
			return refused
		}
	}
	for _, it := range items {
		r.droppedLocked(t, it)
	}
	return nil
}

// unsetLocked takes a property away from the items.
func (r *Router) unsetLocked(t *table, c *command, items []*item) traps {
	name, given := c.arg("value-name")
	switch arg := t.menu.argument(r.version, name); {
	case !given:
		return refuseMissing("value-name")
	case arg == nil:
		return refuseChoice("value-name")
	case arg.required:
		return refuse(noCategory, "failure: %s cannot be unset", name)
	}
	for _, it := range items {
		if refused := t.menu.refuseRow(it, "change"); refused != nil {
			return refused
		}
		if refused := r.checkRowLocked(t, it, Row{name: ""}); refused != nil {
			return refused
		}
	}
	for _, it := range items {
		it.unset(name)
		r.storedLocked(t, it)
	}
	return nil
}

// moveLocked puts the items before another one, or at the end.
func (r *Router) moveLocked(t *table, c *command, items []*item) traps {
	for _, it := range items {
		if refused := t.menu.refuseRow(it, "move"); refused != nil {
			return refused
		}
	}
	destination, given := c.arg("destination")
	if given && t.find(destination) < 0 {
		return r.behavior.refuseItem()
	}
	if given && t.items[t.find(destination)].builtin {
		return refuse(noCategory, "failure: cannot move builtin")
	}
	if given && slices.Contains(items, t.items[t.find(destination)]) {
		return nil
	}
	t.items = slices.DeleteFunc(t.items, func(it *item) bool { return slices.Contains(items, it) })
	at := len(t.items)
	if given {
		at = t.belowDynamic(t.find(destination))
	}
	t.items = slices.Insert(t.items, at, items...)
	for _, it := range items {
		r.storedLocked(t, it)
	}
	return nil
}

// resetCounters sets the counters of a rule to zero; that is no write to flash.
func resetCounters(t *table, it *item) {
	for _, name := range []string{"bytes", "packets"} {
		if _, has := it.lookup(name); has {
			it.set(t.menu.order, name, "0")
		}
	}
}
