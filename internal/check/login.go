package check

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// onRouter is embedded in probes of the router.
type onRouter struct{}

// Hop returns the router.
func (onRouter) Hop() nat.Hop { return nat.HopRouter }

// login looks whether the API lets us in.
type login struct{ onRouter }

// Name implements Probe.
func (login) Name() string { return "login" }

// Run implements Probe.
func (login) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if err := v.enter(ctx); err != nil {
		return nil, v.unreached(err)
	}
	how := "without TLS"
	if v.cfg.API.TLS != nil {
		how = "with TLS"
	}
	return []Finding{good("logged in at %s as %q, %s", v.cfg.Router, v.cfg.API.User, how)}, nil
}

// unreachedError is an API that did not answer a host whose address is known.
type unreachedError struct {
	error

	host netip.Addr
	port uint16
}

// Unwrap returns why there is no connection.
func (e *unreachedError) Unwrap() error { return e.error }

// Advice says which tables of the firewall may drop the connection. None of them can
// be read without it, so the commands let the host through both.
func (e *unreachedError) Advice() remedy.Advice { return remedy.UnreachableFrom(e.host, e.port) }

// unreached adds to a connection that could not be made what lets this host through.
func (v *visit) unreached(err error) error {
	advice, known := remedy.For(err)
	if _, answered := errors.AsType[*routeros.FatalError](err); answered {
		return err // it was reached
	}
	if !known || advice.Kind != remedy.KindConnection || !v.cfg.Service.IsValid() || len(v.cfg.Self) == 0 {
		return err
	}
	return &unreachedError{error: err, host: v.cfg.Self[0], port: v.cfg.Service.Port()}
}

// version looks what router this is.
type version struct{ onRouter }

// Name implements Probe.
func (version) Name() string { return "version" }

// Run implements Probe.
func (version) Run(ctx context.Context, v *visit) ([]Finding, error) {
	rows, err := v.rows(ctx, "/system/resource")
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	seen := "RouterOS " + rows[0].Value("version")
	if board := rows[0].Value("board-name"); board != "" {
		seen += " on " + printable(board)
	}
	identity, err := v.rows(ctx, "/system/identity")
	if len(identity) > 0 {
		seen += ", called " + printable(identity[0].Value("name"))
	}
	return []Finding{good("%s", seen)}, err
}

// refused reports whether the router answered that it will not.
func refused(err error) bool {
	_, ok := errors.AsType[*routeros.TrapError](err)
	return ok
}

// fields splits a list of RouterOS, which has no blanks.
func fields(list string) []string { return strings.Split(list, ",") }
