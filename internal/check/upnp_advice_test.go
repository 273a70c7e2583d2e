package check_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"

	"doublenat/internal/lab"
	"doublenat/internal/remedy"
)

// advised is an error that knows what helps.
type advised struct{ advice remedy.Advice }

func (advised) Error() string { return "the box does not answer" }

func (e advised) Advice() remedy.Advice { return e.advice }

// TestAdviceOfABoxStays: what a box with UPnP needs is not what a gateway needs that is asked by
// NAT-PMP, though both are silent, or refuse.
func TestAdviceOfABoxStays(t *testing.T) {
	t.Parallel()
	for _, want := range []remedy.Advice{remedy.UPnPSilent(), remedy.UPnPOff()} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, lab.BenchConfig{})
			r.cfg.Ask = func(context.Context, netip.Addr) (netip.Addr, error) { return netip.Addr{}, advised{want} }
			said := 0
			for _, f := range r.check().Findings {
				if f.Probe != "gateway" || f.Advice.Kind != want.Kind {
					continue
				}
				said++
				if f.Advice.Text != want.Text {
					t.Errorf("the advice is %q, want %q", f.Advice.Text, want.Text)
				}
			}
			if said != 1 {
				t.Errorf("%d findings of the kind %q, want one", said, want.Kind)
			}
		})
	}
}
