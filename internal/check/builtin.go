package check

import (
	"context"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// builtin looks whether the router's own NAT-PMP server is on.
type builtin struct{ onRouter }

// KindBuiltin is a router that answers NAT-PMP itself.
const KindBuiltin remedy.Kind = "built-in nat-pmp"

// Name implements Probe.
func (builtin) Name() string { return "nat-pmp" }

// Run implements Probe.
func (builtin) Run(ctx context.Context, v *visit) ([]Finding, error) {
	rows, err := v.rows(ctx, "/ip/nat-pmp")
	switch {
	case err != nil && !refused(err):
		return nil, err
	case len(rows) > 0 && isOn(rows[0]):
		return []Finding{bad(Warn, KindBuiltin, "the router's own NAT-PMP server is enabled, on the same port",
			"disable it", remedy.NewCommand("/ip/nat-pmp/set", "enabled", "no"))}, nil
	default:
		return []Finding{good("the router does not answer NAT-PMP itself")}, nil
	}
}

// isOn reports whether a service of the router is enabled.
func isOn(row routeros.Row) bool { return row.Bool("enabled") || row.Value("enabled") == "yes" }

// version is the router's, the zero Version before it was asked.
func (v *visit) version() remedy.Version {
	for _, row := range v.tables["/system/resource"] {
		return remedy.VersionOf(row.Value("version"))
	}
	return remedy.Version{}
}
