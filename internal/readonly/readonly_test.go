package readonly_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doublenat/internal/nat"
	"doublenat/internal/readonly"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// layer is a router that notes what it is told.
type layer struct{ calls []string }

func (l *layer) Rules(context.Context) (nat.Snapshot, error) {
	l.calls = append(l.calls, "rules")
	key := func(port uint16) nat.Key {
		return nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.UDP, InternalPort: port}
	}
	return nat.Snapshot{
		Rules: []nat.Rule{
			{ID: "*1", Key: key(1), InnerPort: 20001, ExternalPort: 40001},
			{ID: "*2", Key: key(2), Altered: true},
			{ID: "*3", Key: key(1)},
		},
		Forwards: []nat.Forward{{Key: key(9)}},
	}, nil
}

func (l *layer) AddRule(_ context.Context, r nat.Rule) (nat.Rule, error) {
	l.calls = append(l.calls, "add")
	return r, nil
}

func (l *layer) UpdateRule(context.Context, nat.Rule, nat.Rule) error {
	l.calls = append(l.calls, "update")
	return nil
}

func (l *layer) RemoveRule(context.Context, nat.Rule) error {
	l.calls = append(l.calls, "remove")
	return nil
}

// Whatever is done twice goes nowhere and is said once.
func TestNothingIsDone(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	n := readonly.New(slog.New(slog.NewTextHandler(&log, nil)))
	inner := new(layer)
	router, gateway, core := n.Router(inner), n.Gateway(), n.Core()
	ctx, client := t.Context(), netip.MustParseAddr("192.168.88.10")
	key := nat.Key{Client: client, Protocol: nat.TCP, InternalPort: 80}
	rule := nat.Rule{ID: "*1", Key: key, InnerPort: 20000, ExternalPort: 40000}
	for range 2 {
		if s, err := router.Rules(ctx); err != nil || len(s.Rules) != 0 || len(s.Forwards) != 1 {
			t.Errorf("reading: %v, %v, want others' rules only", s, err)
		}
		n.Hold(nat.Key{Client: client, Protocol: nat.TCP, InternalPort: 8080}, 80)
		_, add := router.AddRule(ctx, rule)
		_, lease := gateway.Lease(ctx, nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20000})
		_, grant := core.Map(ctx, nat.MapRequest{Key: key})
		refused := map[string]error{
			"add": add, "lease": lease, "map": grant,
			"unmap": core.Unmap(ctx, key), "unmap all": core.UnmapAll(ctx, client, nat.UDP),
		}
		for what, err := range refused {
			if e, ok := errors.AsType[*nat.Error](err); !ok || e.Reason != nat.ReasonDenied || e.Ambiguous {
				t.Errorf("%s: %v, want denied", what, err)
			}
		}
		err := errors.Join(router.UpdateRule(ctx, rule, rule), router.RemoveRule(ctx, rule), gateway.Release(ctx, nat.TCP, 20000))
		if err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"rules", "rules"}, inner.calls); diff != "" {
		t.Errorf("calls of the router (-want +got):\n%s", diff)
	}
	if lines := strings.Count(log.String(), "read only, nothing is done"); lines != 12 {
		t.Errorf("%d lines, want one for each of 12 changes:\n%s", lines, log.String())
	}
	for _, line := range []string{
		`would="adopt the rule and its lease, and remove both unless the client renews" client=192.168.88.10 proto=udp internal_port=1 inner_port=20001 external_port=40001 rule_id=*1`,
		`would="replace the rule, which is not as its comment says, while the client renews" client=192.168.88.10 proto=udp internal_port=2 `,
		`would="remove the rule, which is there twice" client=192.168.88.10 proto=udp internal_port=1 `,
		`would="hold a static mapping" client=192.168.88.10 proto=tcp internal_port=8080 suggested_port=80`,
	} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("%s was not said:\n%s", line, log.String())
		}
	}
}

// What is remembered is bounded, whatever clients ask for.
func TestNotebookIsBounded(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	core := readonly.New(slog.New(slog.NewTextHandler(&log, nil))).Core()
	client := netip.MustParseAddr("192.168.88.10")
	for port := range uint16(20000) {
		if _, err := core.Map(t.Context(), nat.MapRequest{Key: nat.Key{Client: client, Protocol: nat.TCP, InternalPort: port}}); err == nil {
			t.Fatal("granted")
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 4096 {
		t.Errorf("%d lines, want 4096", lines)
	}
	if _, err := readonly.New(nil).Core().Map(t.Context(), nat.MapRequest{}); err == nil {
		t.Error("granted without a log")
	}
}
