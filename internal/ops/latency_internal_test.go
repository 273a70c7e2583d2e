package ops

import (
	"testing"
	"time"
)

// One slow answer among others does not show, and one alone not for long.
func TestUsualLatency(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var l latency
	if got := l.usual(noon); got != 0 {
		t.Errorf("before the first answer: %v", got)
	}
	at := func(minutes float64) time.Time { return noon.Add(time.Duration(minutes * float64(time.Minute))) }
	l.note(noon, 67*time.Millisecond)
	for _, tt := range []struct {
		minutes float64
		took    time.Duration // what is observed then, 0 for nothing
		want    time.Duration
	}{
		{minutes: 4.9, want: 67 * time.Millisecond},
		{minutes: 5, want: 0},
		{minutes: 60, want: 0},
		{minutes: 61, took: 20 * time.Millisecond, want: 20 * time.Millisecond},
		{minutes: 62, took: 900 * time.Millisecond, want: 20 * time.Millisecond},
		{minutes: 63, took: 22 * time.Millisecond, want: 22 * time.Millisecond},
		{minutes: 64, took: 24 * time.Millisecond, want: 22 * time.Millisecond},
	} {
		if tt.took > 0 {
			l.note(at(tt.minutes), tt.took)
		}
		if got := l.usual(at(tt.minutes)); got != tt.want {
			t.Errorf("after %v minutes: %v, want %v", tt.minutes, got, tt.want)
		}
	}
	for i := range 2 * recentCount { // what is slow for long shows
		l.note(at(65+float64(i)/100), time.Second)
	}
	if got := l.usual(at(66)); got != time.Second {
		t.Errorf("where all are slow: %v", got)
	}
}
