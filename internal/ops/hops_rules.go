package ops

import (
	"fmt"
	"time"

	"doublenat/internal/remedy"
	"doublenat/internal/router"
)

// rulesAil says whether something is wrong with rules on the router that does not pass by
// itself.
func rulesAil(in Input) bool {
	core := in.Parts.Core
	return !core.ContestedSince.IsZero() || core.TakenBy != "" || len(in.Parts.Router.Invalid) > 0
}

// withAilingRules is the router hop then.
func (h HopStatus) withAilingRules(in Input) HopStatus {
	core := in.Parts.Core
	switch invalid := in.Parts.Router.Invalid; {
	case !core.ContestedSince.IsZero():
		return h.contested(in)
	case len(invalid) > 0:
		return h.invalid(invalid)
	default:
		return h.is(StateDegraded, "another rule takes the ports").while(remedy.PortsPartly).advised(remedy.Taken(core.TakenBy))
	}
}

// contested is the router hop while something else keeps changing doublenat's rules.
func (h HopStatus) contested(in Input) HopStatus {
	h = h.is(StateDegraded, "something else keeps changing doublenat's rules").while(remedy.PortsPartly)
	since := in.Now.Sub(in.Parts.Core.ContestedSince).Truncate(time.Minute)
	h.Detail = fmt.Sprintf("again and again for %s: doublenat repairs them less often meanwhile", since)
	return h.advised(remedy.Contested(in.About.Instance))
}

// invalid is the router hop with rules of ours that take no packets.
func (h HopStatus) invalid(rules []router.InvalidRule) HopStatus {
	h = h.is(StateDegraded, "a rule is invalid").while(remedy.PortsPartly)
	if n := len(rules); n > 1 {
		h.Summary = fmt.Sprintf("%d rules are invalid", n)
	}
	h.Detail = rules[0].ID + ": " + rules[0].Comment
	if rules[0].About != "" {
		h.Detail += " (" + rules[0].About + ")"
	}
	return h.advised(rules[0].Advice())
}
