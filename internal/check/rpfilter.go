package check

import (
	"context"
	"fmt"
	"slices"

	"doublenat/internal/remedy"
)

// rpFilter looks whether the router drops packets from the tunnel because it would
// reach their senders by another way.
type rpFilter struct{ onRouter }

// KindRPFilter is a router whose reverse path filter drops mapped packets.
const KindRPFilter remedy.Kind = "rp-filter"

// Name implements Probe.
func (rpFilter) Name() string { return "rp-filter" }

// Run implements Probe. The strict filter asks for the way back to the sender (RFC 3704
// §2.2), which is by the main table for what marks and rules would lead elsewhere.
func (rpFilter) Run(ctx context.Context, v *visit) ([]Finding, error) {
	iface := v.survey.InInterface
	if iface == "" {
		return nil, nil
	}
	rows, err := v.rows(ctx, "/ip/settings")
	if err != nil && !refused(err) {
		return nil, err
	}
	if len(rows) == 0 || rows[0].Value("rp-filter") != "strict" {
		return nil, nil
	}
	exits, err := v.exits(ctx, mainTable)
	if err != nil {
		return nil, err
	}
	if slices.Contains(exits, iface) {
		return []Finding{good("rp-filter=strict fits: the main table leads into %s", iface)}, nil
	}
	level, does := Fail, "drops"
	if v.byMark == "" {
		level, does = Warn, "may drop" // the way back by a routing rule for the LAN's addresses counts for the kernel, one for its interface does not
	}
	return []Finding{bad(level, KindRPFilter,
		fmt.Sprintf("rp-filter=strict %s what comes from the Internet through %s: by the main table its senders are elsewhere", does, iface),
		"let the filter accept packets from senders that are reached by any way",
		remedy.NewCommand("/ip/settings/set", "rp-filter", "loose"))}, nil
}
