package walk

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"doublenat/routeros"
)

// Apply does to the tables what a command does to the router, as far as packets are
// concerned: add, set, unset, move, enable, disable and remove. The error says that
// the command is not understood, or names a row that does not exist.
func (t *Tables) Apply(command string, args []routeros.Attr) error {
	cut := strings.LastIndexByte(command, '/')
	if cut < 1 {
		return fmt.Errorf("walk: no command %q", command)
	}
	path, verb := command[:cut], command[cut+1:]
	if !slices.Contains(append(Paths(), PathRoute, PathAddresses), path) {
		return nil // no packet is decided about there
	}
	t.chains, t.networks = nil, nil
	given := routeros.Row(args)
	if verb == "add" {
		return t.add(path, given)
	}
	i := t.find(path, given.Value("numbers"))
	if i < 0 {
		return fmt.Errorf("walk: no row %q in %s", given.Value("numbers"), path)
	}
	rows := slices.Clone(t.Rows[path])
	switch verb {
	case "set":
		for _, a := range args {
			if a.Name != "numbers" {
				rows[i] = with(rows[i], a.Name, a.Value)
			}
		}
	case "unset":
		rows[i] = with(rows[i], given.Value("value-name"), "")
	case "enable":
		rows[i] = with(rows[i], "disabled", "false")
	case "disable":
		rows[i] = with(rows[i], "disabled", "true")
	case "remove":
		rows = slices.Delete(rows, i, i+1)
	case "move":
		row := rows[i]
		rows = slices.Delete(rows, i, i+1)
		to := slices.IndexFunc(rows, func(r routeros.Row) bool { return r.Value(".id") == given.Value("destination") })
		if to < 0 {
			return fmt.Errorf("walk: no row %q in %s", given.Value("destination"), path)
		}
		rows = slices.Insert(rows, to, row)
	default:
		return fmt.Errorf("walk: no command %q", command)
	}
	t.Rows[path] = rows
	return nil
}

// find returns the index of a row by its id or name, -1 if there is none.
func (t *Tables) find(path, number string) int {
	return slices.IndexFunc(t.Rows[path], func(r routeros.Row) bool {
		return number != "" && (r.Value(".id") == number || r.Value("name") == number)
	})
}

// with returns a row in which an attribute has a value.
func with(row routeros.Row, name, value string) routeros.Row {
	row = slices.DeleteFunc(slices.Clone(row), func(a routeros.Attr) bool { return a.Name == name })
	return append(row, routeros.Attr{Name: name, Value: value})
}

// add puts a row into a table.
func (t *Tables) add(path string, given routeros.Row) error {
	row := routeros.Row{{Name: ".id", Value: "+" + strconv.Itoa(len(t.Rows[path]))}} // no id of the router's looks so
	at := len(t.Rows[path])
	for _, a := range given {
		if a.Name != "place-before" {
			row = append(row, a)
			continue
		}
		if at = t.find(path, a.Value); at < 0 {
			return fmt.Errorf("walk: no row %q in %s", a.Value, path)
		}
	}
	if path == PathRoute {
		row = append(row, routeros.Attr{Name: "active", Value: "true"})
	}
	t.Rows[path] = slices.Insert(slices.Clone(t.Rows[path]), at, row)
	if path == PathAddress {
		t.connect(row)
	}
	return nil
}

// connect adds the route that comes with an address.
func (t *Tables) connect(row routeros.Row) {
	prefix, err := netip.ParsePrefix(row.Value("address"))
	if err != nil {
		return
	}
	t.Rows[PathRoute] = append(slices.Clone(t.Rows[PathRoute]), routeros.Row{
		{Name: "dst-address", Value: prefix.Masked().String()},
		{Name: "gateway", Value: row.Value("interface")},
		{Name: "distance", Value: "0"},
		{Name: "active", Value: "true"},
	})
}
