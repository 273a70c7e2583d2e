package ops_test

import (
	"strings"
	"testing"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/internal/ops"
	"doublenat/internal/remedy"
)

// asStandby is how one stands by that is well: the core and the gateway have done nothing yet.
func asStandby(active string) ops.Input {
	in := fine()
	in.Parts.Lock = ops.Lock{Role: ops.RoleStandby, Active: active, Since: in.Now.Add(-time.Hour)}
	in.Parts.Core, in.Parts.Mappings, in.Parts.Gateway = nat.Status{}, nil, gateway.Stats{}
	return in
}

func TestStandbyIsWell(t *testing.T) {
	t.Parallel()
	s := ops.Assess(asStandby("pi-attic"))
	if v := s.Verdict; v.State != ops.StateOK || !v.Ready || v.Title != "Standing by, active is pi-attic" {
		t.Errorf("verdict %+v", v)
	}
	for _, h := range s.Hops {
		want := ops.StateOK
		if h.Name == ops.HopGateway || h.Name == ops.HopAddress {
			want = ops.StateUnknown
		}
		if h.State != want {
			t.Errorf("hop %s is %s (%s), want %s", h.Name, h.State, h.Summary, want)
		}
	}
	if s.Lock.Role != ops.RoleStandby || s.Lock.Active != "pi-attic" {
		t.Errorf("lock %+v", s.Lock)
	}
	var text strings.Builder
	if err := ops.WriteText(&text, s, ops.TextOptions{}); err != nil || !strings.Contains(text.String(), "active is pi-attic") {
		t.Errorf("%v %s", err, text.String())
	}
}

// Two hosts of one name are told apart.
func TestStandbyOfTheSameName(t *testing.T) {
	t.Parallel()
	in := asStandby("raspberrypi")
	in.Parts.Lock.Name = "raspberrypi"
	if v := ops.Assess(in).Verdict; !strings.Contains(v.Title, "another doublenat called raspberrypi") || !strings.Contains(v.Detail, "LOCK_NAME") {
		t.Errorf("verdict %+v", v)
	}
}

func TestStandbyThatCannotTakeOver(t *testing.T) {
	t.Parallel()
	in := asStandby("")
	in.Parts.Router.Connected, in.Parts.Router.Ready, in.Parts.Router.LastError = false, false, longError()
	if v := ops.Assess(in).Verdict; v.State != ops.StateDegraded || v.Hop != ops.HopRouter || !strings.HasPrefix(v.Title, "Standing by, but") {
		t.Errorf("without the router: %+v", v)
	}
	in = asStandby("pi-attic")
	in.Parts.Lock.Error = "no route to host"
	if v := ops.Assess(in).Verdict; v.State != ops.StateDegraded || v.Detail != "no route to host" {
		t.Errorf("without the lock: %+v", v)
	}
	in.Parts.Lock.Error, in.Parts.LockAdvice = "an entry never goes", remedy.StuckLock("doublenat-lock-default", "192.0.2.1")
	if v := ops.Assess(in).Verdict; !strings.Contains(v.Advice(), "address-list remove [find") || strings.Contains(v.Title, "reached") {
		t.Errorf("without the lock, which somebody blocks: %+v", v)
	}
}

// The active one of several is judged as one that is alone.
func TestActiveIsJudgedAsAlways(t *testing.T) {
	t.Parallel()
	in := fine()
	alone := ops.Assess(in)
	in.Parts.Lock = ops.Lock{Role: ops.RoleActive, Active: "pi-attic", Since: in.Now, Terms: 2}
	if got := ops.Assess(in); got.Verdict.Title != alone.Verdict.Title || got.Lock.Terms != 2 {
		t.Errorf("verdict %+v, lock %+v", got.Verdict, got.Lock)
	}
}
