package ops_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/foreign"
	"doublenat/internal/gateway"
	"doublenat/internal/ops"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
)

// What routers and gateways say is text on the page, in its JSON, its table and
// /readyz, and nothing else; what others share of a picture is not changed.
func TestForeignTextInAPicture(t *testing.T) {
	t.Parallel()
	const forgery = "x\x1b[2J\r\nFORGED \u202e\xff"
	in := fine()
	in.About.Router, in.About.Instance, in.About.Version = forgery, forgery, forgery
	in.Parts.Router = router.Status{LastError: errors.New(forgery), Version: forgery, Board: forgery, InInterface: forgery}
	in.Parts.Gateway = gateway.Stats{State: gateway.StateSilent, Advice: remedy.Advice{Text: forgery, Commands: []remedy.Command{remedy.NewCommand("/ip/" + forgery)}}}
	in.Events = []ops.Event{{ID: 2, Kind: "hop", Text: "plain"}, {ID: 1, Kind: "hop", Text: forgery}}
	s := ops.Assess(in)
	if in.Events[1].Text != forgery {
		t.Error("the events, which pictures share, were changed")
	}
	var shown []string
	shown = append(shown, s.Version, s.Instance, s.Verdict.Title, s.Verdict.Detail, s.Verdict.Advice())
	for _, h := range s.Hops {
		shown = append(shown, h.Title, h.Summary, h.Detail, h.Error, h.Advice())
	}
	for _, e := range s.Events {
		shown = append(shown, e.Text)
	}
	seen := 0
	for _, text := range shown {
		if diff := cmp.Diff(foreign.Text(text), text); diff != "" {
			t.Errorf("(-visible +shown):\n%s", diff)
		}
		seen += strings.Count(text, `x\x1b[2J\r\nFORGED \u202e\xff`)
	}
	if seen < 5 {
		t.Errorf("the forgery is in %d places: this test looked at too little: %q", seen, shown)
	}
	var out strings.Builder
	if err := ops.WriteText(&out, s, ops.TextOptions{Events: 9}); err != nil || strings.Contains(out.String(), "\nFORGED") {
		t.Errorf("%v: %s", err, out.String())
	}
}
