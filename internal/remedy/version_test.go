package remedy_test

import (
	"testing"

	"doublenat/internal/remedy"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]remedy.Version{
		"7.21": {7, 21}, "7.21.3": {7, 21}, "7.20.8 (long-term)": {7, 20}, "7.24beta2 (development)": {7, 24},
		"6.49.18 (long-term)": {6, 49}, " 7.1rc4 ": {7, 1},
	} {
		if got, err := remedy.ParseVersion(text); err != nil || got != want {
			t.Errorf("%q: got %v, error %v", text, got, err)
		}
	}
	for _, text := range []string{"", "7", "7.", "seven.1", "x7.1", "-7.1", "7.99999", "999.1"} {
		if got, err := remedy.ParseVersion(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
	if v := remedy.VersionOf("7.20.8 (long-term)"); v != (remedy.Version{7, 20}) || v.IsZero() {
		t.Errorf("got %v", v)
	}
	if v := remedy.VersionOf("of today"); !v.IsZero() || v.AtLeast(0) {
		t.Errorf("got %v", v)
	}
	for _, tt := range []struct {
		v    remedy.Version
		want bool
	}{{remedy.Version{6, 99}, false}, {remedy.Version{7, 19}, false}, {remedy.Version{7, 20}, true}, {remedy.Version{8, 0}, true}} {
		if got := tt.v.AtLeast(20); got != tt.want {
			t.Errorf("%v at least 7.20: %v", tt.v, got)
		}
	}
}
