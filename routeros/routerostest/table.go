package routerostest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Row is one item of a table as a print shows it: property names to values. The
// ".id" is one of them. A Row is a copy: changing it changes nothing else.
type Row map[string]string

// property is one name and value of an item, as the word that a print sends. Tables
// may have hundreds of thousands of rows, so that it is kept once.
type property struct {
	word string
	// length is that of the name.
	length int
}

// newProperty makes a property.
func newProperty(name, value string) property {
	return property{word: "=" + name + "=" + value, length: len(name)}
}

// name returns the name of the property.
func (p property) name() string { return p.word[1 : 1+p.length] }

// value returns the value of the property.
func (p property) value() string { return p.word[2+p.length:] }

// item is one row of a table. Its properties are in the order in which the
// router prints them.
type item struct {
	id    string
	props []property
	// added is when the item came in; a reboot may lose young ones.
	added time.Time
	// printed is what the last print sent of the item, for the properties in
	// printedFor; nil when the item has changed since.
	printed    []string
	printedFor string
	// secret holds what is stored and never printed: a user's password.
	secret string
	// builtin is a row that the router made for itself and nobody can touch.
	builtin bool
	// settles is until when the item reads invalid without being so, zero for not at all.
	settles time.Time
	// expires is when the item goes by itself, zero for never.
	expires time.Time
}

// lookup returns the value of a property and whether the item has it.
func (it *item) lookup(name string) (string, bool) {
	if name == ".id" {
		return it.id, it.id != ""
	}
	for i := range it.props {
		if it.props[i].name() == name {
			return it.props[i].value(), true
		}
	}
	return "", false
}

// has reports whether the item has a property.
func (it *item) has(name string) bool {
	_, has := it.lookup(name)
	return has
}

// value returns the value of a property, "" when the item lacks it.
func (it *item) value(name string) string {
	v, _ := it.lookup(name)
	return v
}

// is reports whether a flag of the item is on.
func (it *item) is(flag string) bool { return isYes(it.value(flag)) }

// works reports whether a rule is evaluated. One that is about to settle is,
// though it reads invalid.
func (it *item) works() bool {
	return !it.is("disabled") && (!it.is("invalid") || !it.settles.IsZero())
}

// set gives a property a value. A new property takes its place in order.
func (it *item) set(order map[string]int, name, value string) {
	for i := range it.props {
		if it.props[i].name() == name {
			if it.props[i].value() != value {
				it.props[i], it.printed = newProperty(name, value), nil
			}
			return
		}
	}
	it.insert(order, newProperty(name, value))
}

// insert gives the item a property that it does not have yet.
func (it *item) insert(order map[string]int, p property) {
	it.printed = nil
	rank := rankOf(order, p.name())
	at := len(it.props)
	for at > 0 && rankOf(order, it.props[at-1].name()) > rank {
		at--
	}
	it.props = slices.Insert(it.props, at, p)
}

// unset takes a property away.
func (it *item) unset(name string) {
	it.printed = nil
	it.props = slices.DeleteFunc(it.props, func(p property) bool { return p.name() == name })
}

// row copies the item for the test.
func (it *item) row() Row {
	row := make(Row, len(it.props)+1)
	if it.id != "" {
		row[".id"] = it.id
	}
	for _, p := range it.props {
		row[p.name()] = p.value()
	}
	return row
}

// proplist says which properties a print sends.
type proplist struct {
	// names are the properties, nil for all.
	names []string
	// hidden is one that the user may not see, "" for none.
	hidden string
	// key is what tells this list from others.
	key string
}

// has reports whether the property is to be sent.
func (l proplist) has(name string) bool {
	return name != l.hidden && (l.names == nil || slices.Contains(l.names, name))
}

// words returns the row that a print sends of the item. The same row is used
// again until the item changes: reading the table every minute is what clients
// do most. The caller must not change it.
func (it *item) words(list proplist) []string {
	if it.printed != nil && it.printedFor == list.key {
		return it.printed
	}
	it.printed, it.printedFor = it.compose(list), list.key
	return it.printed
}

// compose makes the row that a print sends of the item.
func (it *item) compose(list proplist) []string {
	words := make([]string, 1, len(it.props)+2)
	words[0] = "!re"
	if it.id != "" && list.has(".id") {
		words = append(words, "=.id="+it.id)
	}
	for i := range it.props {
		if list.has(it.props[i].name()) {
			words = append(words, it.props[i].word)
		}
	}
	return words
}

// keepRows is how many rows a table may have for their prints to be kept.
const keepRows = 4096

// rankOf places a property: what the menu does not name comes just before the
// counters and flags with which RouterOS ends a row.
func rankOf(order map[string]int, name string) int {
	if rank, ok := order[name]; ok {
		return rank
	}
	return rankOther
}

// The ranks of properties that no menu lists, and of those that end every row.
const (
	rankOther = 1000
	rankFlags = 2000
)

// isYes reads a boolean in any of the ways in which it may be written.
func isYes(v string) bool { return v == "true" || v == "yes" }

// table is the content of a menu.
type table struct {
	menu *menu
	// items are in the router's order, which for rules is the order of evaluation.
	items []*item
	// lastID is the number of the newest id.
	lastID uint32
	// freed is the id that the next item gets again, "" for a new one.
	freed string
	// restless is set while there may be items that settle or expire.
	restless bool
}

// find returns the position of the item that a client names, -1 for none.
func (t *table) find(ref string) int {
	return slices.IndexFunc(t.items, func(it *item) bool {
		return it.id == ref && ref != "" || t.menu.named && ref != "" && it.value("name") == ref
	})
}

// findAll returns the items that a client names: one by its id, all by a name. Nil
// is none.
func (t *table) findAll(ref string) []*item {
	var found []*item
	for _, it := range t.items {
		switch {
		case ref == "":
		case it.id == ref:
			return []*item{it}
		case t.menu.named && it.value("name") == ref:
			found = append(found, it)
		}
	}
	return found
}

// newID hands out the next id.
func (t *table) newID() string {
	if t.freed != "" {
		return t.freed
	}
	t.lastID++
	return formatID(t.lastID)
}

// formatID writes an id as RouterOS does.
func formatID(n uint32) string { return "*" + strings.ToUpper(strconv.FormatUint(uint64(n), 16)) }

// parseID reads an id, 0 when it is none.
func parseID(id string) uint32 {
	n, err := strconv.ParseUint(strings.TrimPrefix(id, "*"), 16, 32)
	if err != nil || !strings.HasPrefix(id, "*") {
		return 0
	}
	return uint32(n)
}

// newItem makes an item with the menu's defaults under the given properties.
func (t *table) newItem(now time.Time, props Row) *item {
	it := &item{added: now, props: make([]property, 0, len(t.menu.defaults)+len(props))}
	for _, d := range t.menu.defaults {
		if _, given := props[d.name()]; !given && !it.has(d.name()) {
			it.insert(t.menu.order, d)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(props)) {
		if name == ".id" || name == "place-before" {
			continue
		}
		if name == t.menu.secret {
			it.secret = props[name]
			continue
		}
		it.set(t.menu.order, name, t.menu.normalize(name, props[name]))
	}
	return it
}

// insert puts an item at a position, -1 for the end, and gives it an id unless
// the menu has none.
func (t *table) insert(it *item, at int) {
	if !t.menu.singleton && it.id == "" {
		it.id = t.newID()
	}
	t.freed = ""
	if at < 0 {
		at = len(t.items)
	}
	t.items = slices.Insert(t.items, at, it)
}

// belowDynamic returns the position nearest to the given one that a client's item
// may take: those that the router made itself stay on top.
func (t *table) belowDynamic(at int) int {
	for at >= 0 && at < len(t.items) && t.items[at].is("dynamic") {
		at++
	}
	return at
}

// refresh brings what changes by itself up to date.
func (t *table) refresh(r *Router) {
	if t.restless {
		t.settle(r, time.Now())
	}
	if t.menu.sync != nil {
		t.menu.sync(r, t)
	}
	if t.menu.refresh == nil {
		return
	}
	for _, it := range t.items {
		t.menu.refresh(r, it)
	}
}

// rows copies the whole table for the test.
func (t *table) rows() []Row {
	rows := make([]Row, len(t.items))
	for i, it := range t.items {
		rows[i] = it.row()
	}
	return rows
}
