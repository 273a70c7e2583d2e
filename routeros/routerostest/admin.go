package routerostest

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rows returns a copy of a table ("/ip/firewall/nat") in the router's order, nil
// for a path that this version has not. What a user may not see is missing: passwords.
func (r *Router) Rows(path string) []Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tables[path]
	if t == nil {
		return nil
	}
	t.refresh(r)
	return t.rows()
}

// Find returns the first row whose property has the value, and whether there is one.
func (r *Router) Find(path, name, value string) (Row, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tables[path]; t != nil {
		for _, it := range t.items {
			if v, has := it.lookup(name); has && v == value {
				return it.row(), true
			}
		}
	}
	return nil, false
}

// Fingerprint returns all rows of a table but those that except picks (nil for
// none) as bytes that are equal exactly if the rows, their order, their ids and
// every property but the counters of packets are: the proof that somebody
// else's rules were not touched.
func (r *Router) Fingerprint(path string, except func(Row) bool) []byte {
	var b []byte
	for _, row := range r.Rows(path) {
		if except != nil && except(row) {
			continue
		}
		names := make([]string, 0, len(row))
		for name := range row {
			if name != "bytes" && name != "packets" {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			b = fmt.Appendf(b, "%q=%q ", name, row[name])
		}
		b = append(b, '\n')
	}
	return b
}

// The methods below change the router as its administrator, or its own software,
// would: nothing is checked but what the table itself needs, dynamic and built-in
// rows can be changed too, and the journal and the counters do not mention it.

// Add puts a row into a table and returns its id. The properties are those that
// a print shows; "place-before" names the row before which it goes.
func (r *Router) Add(path string, row Row) (id string, err error) {
	err = r.administer(path, func(t *table) error {
		at := -1
		if before, ordered := row["place-before"]; ordered {
			if at = t.find(before); at < 0 {
				return fmt.Errorf("no item %q to place before", before)
			}
		}
		it := t.newItem(time.Now(), row)
		t.insert(it, at)
		id = it.id
		r.storedLocked(t, it)
		return nil
	})
	return id, err
}

// AddAll puts many rows at the end of a table, as [Router.Add] does one: a world with a
// hundred thousand of them takes a second. The hook of OnChange runs once.
func (r *Router) AddAll(path string, rows iter.Seq[Row]) error {
	return r.administer(path, func(t *table) error {
		now := time.Now()
		for row := range rows {
			t.insert(t.newItem(now, row), -1)
		}
		r.touchedLocked(t)
		return nil
	})
}

// Set changes properties of a row, named by id or, where the table has names, by
// name. A singleton (/system/identity) is named by "". An interface that is
// renamed keeps its rules, addresses and lists.
func (r *Router) Set(path, ref string, row Row) error {
	return r.administerItem(path, ref, func(t *table, it *item) {
		old := it.value("name")
		t.change(it, row, false)
		if name := it.value("name"); path == "/interface" && name != old {
			r.renameInterfaceLocked(old, name)
		}
		r.storedLocked(t, it)
	})
}

// Unset takes properties away from a row.
func (r *Router) Unset(path, ref string, names ...string) error {
	return r.administerItem(path, ref, func(t *table, it *item) {
		for _, name := range names {
			it.unset(name)
		}
		r.storedLocked(t, it)
	})
}

// Remove takes a row away. Rules that use a removed interface stay and become invalid.
func (r *Router) Remove(path, ref string) error {
	return r.administerItem(path, ref, func(t *table, it *item) {
		r.droppedLocked(t, it)
	})
}

// Enable and Disable switch a row on and off.
func (r *Router) Enable(path, ref string) error { return r.Set(path, ref, Row{"disabled": "false"}) }

// Disable switches a row off.
func (r *Router) Disable(path, ref string) error { return r.Set(path, ref, Row{"disabled": "true"}) }

// Move puts a row before another one, or at the end if before is "".
func (r *Router) Move(path, ref, before string) error {
	return r.administerItem(path, ref, func(t *table, it *item) {
		c := &command{}
		if before != "" {
			c.args = []argumentValue{{"destination", before}}
		}
		_ = r.moveLocked(t, c, []*item{it})
	})
}

// AddUser makes a user with a password in a group of the given policies, for
// example "read,write,api,test"; the group is called as the user is.
func (r *Router) AddUser(name, password, policy string) error {
	if _, err := r.Add("/user/group", Row{"name": name, "policy": policy}); err != nil {
		return err
	}
	_, err := r.Add("/user", Row{"name": name, "group": name, "password": password})
	return err
}

// administer runs a change of a table and then the hook of OnChange.
func (r *Router) administer(path string, change func(*table) error) error {
	r.mu.Lock()
	t := r.tables[path]
	err := fmt.Errorf("RouterOS %s has no %s", r.release, path)
	if t != nil {
		if err = change(t); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	r.mu.Unlock()
	r.changed()
	return err
}

// administerItem runs a change of one item.
func (r *Router) administerItem(path, ref string, change func(*table, *item)) error {
	return r.administer(path, func(t *table) error {
		at := t.find(ref)
		if t.menu.singleton && ref == "" && len(t.items) > 0 {
			at = 0
		}
		if at < 0 {
			return fmt.Errorf("no item %q", ref)
		}
		change(t, t.items[at])
		return nil
	})
}

// The properties that name an interface, in any table.
const interfaceProperties = "in-interface out-interface interface actual-interface gateway"

// renameInterfaceLocked writes the new name wherever the old one is used.
func (r *Router) renameInterfaceLocked(old, name string) {
	for _, t := range r.tables {
		for _, it := range t.items {
			for prop := range strings.FieldsSeq(interfaceProperties) {
				switch it.value(prop) {
				case old:
					it.set(t.menu.order, prop, name)
				case "!" + old:
					it.set(t.menu.order, prop, "!"+name)
				}
			}
			if t.menu.path == "/interface/wireguard" && it.value("name") == old {
				it.set(t.menu.order, "name", name)
			}
		}
	}
	r.natChanges++
	r.refreshRoutesLocked()
}

// orphanInterface marks what used a removed interface: rules and addresses
// become invalid and show the interface's id; memberships of lists end.
func orphanInterface(r *Router, gone *item) {
	name := gone.value("name")
	for path, t := range r.tables {
		switch path {
		case "/interface":
			continue
		case "/interface/list/member", "/interface/wireguard", "/interface/veth":
			t.items = slices.DeleteFunc(t.items, func(it *item) bool {
				return it.value("interface") == name || it.value("name") == name
			})
			continue
		}
		for _, it := range t.items {
			for prop := range strings.FieldsSeq(interfaceProperties) {
				if value := it.value(prop); value == name || value == "!"+name {
					it.set(t.menu.order, prop, strings.Replace(value, name, gone.id, 1))
					r.invalidate(t, it, "no such interface")
				}
			}
		}
	}
	r.natChanges++
	r.refreshRoutesLocked()
}

// invalidate marks an item as one that does not work, with the reason where the
// version tells it.
func (r *Router) invalidate(t *table, it *item, about string) {
	if !it.has("invalid") {
		return
	}
	it.settles = time.Time{}
	it.set(t.menu.order, "invalid", strconv.FormatBool(true))
	if r.behavior.about {
		it.set(t.menu.order, ".about", about)
	}
}

// listIDs is where the ids begin by which rules show interface lists that are gone.
const listIDs = 0x2000000

// orphanList lets rules show the id of a removed interface list. They stay valid.
func orphanList(r *Router, gone *item) {
	name, id := gone.value("name"), formatID(listIDs+parseID(gone.id))
	for path, t := range r.tables {
		if path == "/interface/list/member" {
			t.items = slices.DeleteFunc(t.items, func(it *item) bool { return it.value("list") == name })
			continue
		}
		for _, it := range t.items {
			for _, prop := range []string{"in-interface-list", "out-interface-list"} {
				if value := it.value(prop); value == name || value == "!"+name {
					it.set(t.menu.order, prop, strings.Replace(value, name, id, 1))
				}
			}
		}
	}
	r.natChanges++
}
