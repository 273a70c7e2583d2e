package ops_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/ops"
	"doublenat/internal/router"
)

// The page says which rule is not well, and what to do about it.
func TestRulesThatAil(t *testing.T) {
	t.Parallel()
	invalid := router.InvalidRule{ID: "*1F", Comment: "doublenat:default tcp 192.168.88.10:1", About: "in-interface not ready"}
	const connected = "hAP ax^3, RouterOS 7.22 (stable), rules on wg1"
	const taken = "give the NAT rule *7 (everything, dynamic) an in-interface or dst-address that the gateway's packets do not match, or fewer ports; " +
		"if it is dynamic, switch off what makes it, such as UPnP"
	for name, tt := range map[string]struct {
		change                  func(*ops.Input)
		summary, detail, remedy string
	}{
		"invalid": {
			func(in *ops.Input) { in.Parts.Router.Invalid = []router.InvalidRule{invalid} },
			"a rule is invalid", "*1F: doublenat:default tcp 192.168.88.10:1 (in-interface not ready)",
			`the router says "in-interface not ready"; fix that, then remove the rule: doublenat makes it again: /ip firewall nat remove *1F`,
		},
		"invalid without a reason": {
			func(in *ops.Input) {
				in.Parts.Router.Invalid = []router.InvalidRule{{ID: "*1F", Comment: "c"}, invalid}
			},
			"2 rules are invalid", "*1F: c",
			"check what the router says about the rule, and remove it: doublenat makes it again: /ip firewall nat remove *1F",
		},
		"ports taken": {
			func(in *ops.Input) { in.Parts.Core.TakenBy = "*7 (everything, dynamic)" },
			"another rule takes the ports", connected, taken,
		},
		"well": {func(*ops.Input) {}, "rules can be made", connected, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := fine()
			tt.change(&in)
			hop := ops.Assess(in).Hops[1]
			if (hop.State == ops.StateDegraded) != (name != "well") {
				t.Errorf("state %v", hop.State)
			}
			if diff := cmp.Diff([]string{tt.summary, tt.detail, tt.remedy}, []string{hop.Summary, hop.Detail, hop.Advice()}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
