package sample

import (
	"testing"
	"time"
)

func TestClamp(t *testing.T) {
	if clamp(-9) != 2 || clamp(5) != 11 {
		t.Error(clamp(-9), clamp(5))
	}
}

func TestWait(t *testing.T) {
	if got := wait(2); got != 50*time.Millisecond+255 {
		t.Error(got)
	}
}
