package epoch

import (
	"testing"
	"time"
)

// A clock is the same one up to an hour later, and up to the slack and drift that a
// clock may have: at the bound itself it is.
func TestLineContinues(t *testing.T) {
	t.Parallel()
	start := time.Now()
	l := newLine(sample{epoch: 1000, at: start})
	for _, tt := range []struct {
		epoch uint32
		after time.Duration
		want  bool
	}{
		{1000 + 3600, lineMemory, true},
		{1000 + 3600, lineMemory + 1, false},
		{1000 + 128 + 3, 128 * time.Second, true}, // 2 s of slack and 1 s of drift
		{1000 + 128 - 3, 128 * time.Second, true},
		{1000 + 128 + 4, 128 * time.Second, false},
		{1000 + 128 - 4, 128 * time.Second, false},
	} {
		if got := l.continues(sample{epoch: tt.epoch, at: start.Add(tt.after)}); got != tt.want {
			t.Errorf("epoch %d after %v: %v", tt.epoch, tt.after, got)
		}
	}
}

// An epoch is trusted again after two minutes, not later, and one that was trusted for an
// hour starts with two minutes again.
func TestWatchIsPatientToTheSecond(t *testing.T) {
	t.Parallel()
	w, now, epoch := new(Watch), time.Now(), uint32(1<<30)
	w.Observe(Rule{Drift: 8}, epoch, now)
	distrusted := func() {
		t.Helper()
		for i := range patience {
			epoch -= 1 << 24
			if news := w.Observe(Rule{Drift: 8}, epoch, now); (news == Unreliable) != (i == patience-1) {
				t.Errorf("jump %d: %v", i, news)
			}
		}
	}
	steady := func(d time.Duration) {
		t.Helper()
		for _, part := range []time.Duration{d / 2, d - time.Second, d} {
			news := w.Observe(Rule{Drift: 8}, epoch+uint32(part/time.Second), now.Add(part))
			if (news == Reliable) != (part == d) {
				t.Errorf("after %v of calm: %v", part, news)
			}
		}
		epoch, now = epoch+uint32(d/time.Second), now.Add(d)
	}
	distrusted()
	steady(calm)
	distrusted()
	steady(2 * calm)
	now = now.Add(maxCalm)
	distrusted()
	steady(calm)
}

// RFC 6887 §8.5 allows a second backwards, at any time, and one part in 16 of drift in both
// directions; RFC 6886 §3.6 has one in 8 and no other bound.
func TestRules(t *testing.T) {
	t.Parallel()
	natpmp, pcp := Rule{Drift: 8}, Rule{Drift: 16, Back: time.Second}
	for _, tt := range []struct {
		after       time.Duration
		epoch       int // 1000 at the start
		natpmp, pcp News
	}{
		{0, 1000, Steady, Steady},
		{0, 999, Steady, Steady},
		{0, 998, Steady, Lost},
		{0, 997, Lost, Lost},
		{160 * time.Second, 1160, Steady, Steady},
		{160 * time.Second, 1148, Steady, Steady},
		{160 * time.Second, 1147, Steady, Lost},
		{160 * time.Second, 1138, Steady, Lost},
		{160 * time.Second, 1137, Lost, Lost},
		{150 * time.Second, 1162, Steady, Steady},
		{150 * time.Second, 1163, Steady, Ahead},
		{150 * time.Second, 1174, Ahead, Ahead},
		{time.Hour, 5, Lost, Lost},
	} {
		for rule, want := range map[Rule]News{natpmp: tt.natpmp, pcp: tt.pcp} {
			w, start := new(Watch), time.Now()
			w.Observe(rule, 1000, start)
			now := start.Add(tt.after)
			if suspect := w.Suspect(rule, uint32(tt.epoch), now); suspect != (want != Steady) {
				t.Errorf("drift 1/%d, epoch %d after %v: suspect is %v", rule.Drift, tt.epoch, tt.after, suspect)
			}
			if got := w.Observe(rule, uint32(tt.epoch), now); got != want {
				t.Errorf("drift 1/%d, epoch %d after %v: %d, want %d", rule.Drift, tt.epoch, tt.after, got, want)
			}
		}
	}
}
