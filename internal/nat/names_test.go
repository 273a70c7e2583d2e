package nat_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]fmt.Stringer{
		"udp": nat.UDP, "tcp": nat.TCP, "protocol(9)": nat.Protocol(9),
		"doublenat": nat.HopNone, "gateway": nat.HopGateway, "router": nat.HopRouter, "hop(9)": nat.Hop(9),
		"unreachable": nat.ReasonUnreachable, "denied": nat.ReasonDenied, "out of resources": nat.ReasonResources, "another port": nat.ReasonPort, "reason(9)": nat.Reason(9),
		"remove": nat.RemoveRule, "update": nat.UpdateRule, "add": nat.AddRule, "track": nat.TrackRule, "change(9)": nat.ChangeKind(9),
		"internal": nat.DeliverInternal, "external": nat.DeliverExternal, "both": nat.DeliverBoth, "delivery(9)": nat.Delivery(9),
		"client": nat.PolicyClient, "hold": nat.PolicyHold, "policy(9)": nat.LeasePolicy(9),
		"created": nat.EventCreated, "adopted": nat.EventAdopted, "deleted": nat.EventDeleted, "expired": nat.EventExpired,
		"lost": nat.EventLost, "port_changed": nat.EventPortChanged, "rule_restored": nat.EventRuleRestored, "evicted": nat.EventEvicted,
		"shutdown": nat.EventShutdown, "event(0)": nat.EventKind(0), "event(10)": nat.EventShutdown + 1, "event(99)": nat.EventKind(99),
		"tcp 192.168.88.10:80": tcp(alice, 80),
	} {
		if got := v.String(); got != want {
			t.Errorf("%#v: %q, want %q", v, got, want)
		}
	}
	if diff := cmp.Diff([2]nat.Protocol{nat.TCP, nat.UDP}, nat.Protocols()); diff != "" {
		t.Error(diff)
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("no route")
	err := error(&nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable, Ambiguous: true, Err: cause})
	if want := "gateway unreachable (outcome unknown): no route"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if got := (&nat.Error{Reason: nat.ReasonDenied}).Error(); got != "doublenat denied" {
		t.Errorf("got %q", got)
	}
}

func TestPortSet(t *testing.T) {
	t.Parallel()
	defer inTime(t)()
	var s nat.PortSet
	s.Add(0)
	s.AddRange(65534, 65535)
	s.AddRange(100, 100)
	s.AddRange(9, 8)
	if s.Len() != 4 {
		t.Errorf("%d ports, want 4", s.Len())
	}
	for port, want := range map[uint16]bool{0: true, 1: false, 8: false, 9: false, 99: false, 100: true, 101: false, 65533: false, 65535: true} {
		if s.Has(port) != want {
			t.Errorf("has %d: %v, want %v", port, s.Has(port), want)
		}
	}
	if none := (*nat.PortSet)(nil); none.Has(1) || none.Len() != 0 {
		t.Error("a nil set is not empty")
	}
}
