package ops

import (
	"strings"
	"testing"
)

func TestLockMetrics(t *testing.T) {
	t.Parallel()
	m, err := NewMonitor(MonitorConfig{Parts: func() Parts { return Parts{Lock: Lock{Role: RoleStandby, Active: "pi-attic"}} }})
	if err != nil {
		t.Fatal(err)
	}
	m.BecameActive("pi-attic")
	if events := m.Status().Events; len(events) != 1 || events[0].Kind != kindLock || !strings.Contains(events[0].Text, "took over from pi-attic") {
		t.Errorf("events %+v", events)
	}
	text := string(m.metrics.text())
	for _, want := range []string{
		`doublenat_lock_role{role="active"} 0`, `doublenat_lock_role{role="standby"} 1`, "doublenat_lock_reachable 1", "doublenat_lock_terms_total 0",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
}
