package router

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"doublenat/routeros"
)

// tables are the rows that tell what the router is like, besides its rules. A table that
// a version or a right may lack has no rows then.
type tables struct {
	interfaces, wireGuard, addresses, routes, services, lists, members []routeros.Row
	// told is set if the router keeps no route back.
	told bool
	// exit is the interface to the gateway as the router itself sees it, "" if it does
	// not tell.
	exit string
}

// readTables reads them side by side, so that they take one turn of the router. The error
// is the first in the order of the tables.
func (r *Router) readTables(ctx context.Context, gateway netip.Addr) (*tables, error) {
	t := new(tables)
	return t, together(
		func() (err error) {
			if t.interfaces, err = r.print(ctx, "/interface", "name", "type", "running", "disabled", "dynamic"); err != nil {
				err = fmt.Errorf("reading interfaces: %w", err)
			}
			return err
		},
		r.reader(ctx, &t.wireGuard, "/interface/wireguard", "name", "listen-port", "disabled"),
		func() (err error) { t.addresses, err = r.noteAddresses(ctx); return err },
		func() (err error) { t.routes, t.told, err = r.routesToGateway(ctx, gateway); return err },
		func() (err error) { t.exit, err = r.checkRoute(ctx, gateway); return err },
		r.reader(ctx, &t.services, "/ip/service", "port", "disabled", "invalid", "dynamic"),
		r.reader(ctx, &t.lists, "/interface/list", "name", "include", "exclude"),
		r.reader(ctx, &t.members, "/interface/list/member", "list", "interface", "disabled"),
	)
}

// reader returns what reads a table into rows, if there is such a table.
func (r *Router) reader(ctx context.Context, rows *[]routeros.Row, table string, properties ...string) func() error {
	return func() (err error) {
		*rows, err = r.printIfAny(ctx, table, properties...)
		return err
	}
}

// together calls all at the same time and waits for them. It returns the first error, in
// the order of the arguments.
func together(all ...func() error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, f := range all {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
