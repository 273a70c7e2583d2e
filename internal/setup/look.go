package setup

import (
	"context"
	"errors"
	"slices"

	"doublenat/routeros"
)

// Commander sends commands to a router: [routeros.Client] does.
type Commander interface {
	// Do sends the command and waits for its reply, see [routeros.Client.Do].
	Do(ctx context.Context, cmd routeros.Command) (*routeros.Reply, error)
}

// Found is what a router says of itself.
type Found struct {
	// Version is the router's.
	Version Version
	// Architecture is the router's architecture-name, "arm64" for example; empty if it does not say.
	Architecture string
	// Lists are its interface lists, and Bridges its bridges; nil for none.
	Lists, Bridges []string
	// Flash is set on a router whose files are in memory, but for a folder flash.
	Flash bool
}

// Look asks a router for what the set-up depends on. It only reads. The error is what
// the commander returned, or that the router does not tell its version; what a router
// refuses to tell otherwise is left out.
func Look(ctx context.Context, to Commander) (Found, error) {
	var f Found
	resource, err := to.Do(ctx, routeros.Command{Path: "/system/resource/print", Properties: []string{"version", "architecture-name"}})
	if err != nil {
		return f, err
	}
	for _, version := range values(resource.Rows, "version") {
		if f.Version, err = ParseVersion(version); err != nil {
			return f, err
		}
	}
	if f.Version.IsZero() {
		return f, errors.New("the router does not tell its version")
	}
	for _, name := range values(resource.Rows, "architecture-name") {
		f.Architecture = name
	}
	lists, err := ask(ctx, to, routeros.Command{Path: "/interface/list/print", Properties: []string{"name"}})
	if err != nil {
		return f, err
	}
	interfaces, err := ask(ctx, to, routeros.Command{Path: "/interface/print", Properties: []string{"name", "type"}})
	if err != nil {
		return f, err
	}
	files, err := ask(ctx, to, routeros.Command{Path: "/file/print", Properties: []string{"name", "type"}, Queries: []string{routeros.Equal("name", flash)}})
	if err != nil {
		return f, err
	}
	f.Lists = values(lists, "name")
	// A router may not know the queries, so that both are looked at again.
	f.Bridges = values(slices.DeleteFunc(interfaces, func(r routeros.Row) bool { return r.Value("type") != "bridge" }), "name")
	f.Flash = slices.Contains(values(files, "name"), flash)
	return f, nil
}

// flash is the folder that outlives a reboot on small routers.
const flash = "flash"

// ask returns the rows of a table, none if the router refuses.
func ask(ctx context.Context, to Commander, cmd routeros.Command) ([]routeros.Row, error) {
	reply, err := to.Do(ctx, cmd)
	if _, refused := errors.AsType[*routeros.TrapError](err); refused {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return reply.Rows, nil
}

// values returns a property of all rows that have it.
func values(rows []routeros.Row, property string) []string {
	var all []string
	for _, r := range rows {
		if v := r.Value(property); v != "" {
			all = append(all, v)
		}
	}
	return all
}

// LAN returns where the clients are most likely: in the list of the default
// configuration, or else behind the first bridge. Both empty: the router has neither.
func (f Found) LAN() LAN {
	switch {
	case slices.Contains(f.Lists, DefaultLAN):
		return LAN{List: DefaultLAN}
	case len(f.Bridges) > 0:
		return LAN{Interface: f.Bridges[0]}
	default:
		return LAN{}
	}
}

// DefaultLAN is the interface list of the LAN in the default configuration.
const DefaultLAN = "LAN"

// Disk returns where files of a container outlive a reboot, empty for anywhere.
func (f Found) Disk() string {
	if f.Flash {
		return flash
	}
	return ""
}
