package routeros

import (
	"strconv"
	"strings"
	"testing"
)

func TestAppendLength(t *testing.T) {
	t.Parallel()
	tests := map[int]string{
		0x7F:        "\x7F",
		0x80:        "\x80\x80",
		0x3FFF:      "\xBF\xFF",
		0x4000:      "\xC0\x40\x00",
		0x1FFFFF:    "\xDF\xFF\xFF",
		0x200000:    "\xE0\x20\x00\x00",
		0xFFFFFFF:   "\xEF\xFF\xFF\xFF",
		0x10000000:  "\xF0\x10\x00\x00\x00",
		0x7FFF_FFFF: "\xF0\x7F\xFF\xFF\xFF",
	}
	for n, want := range tests {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			got := string(appendLength(nil, n))
			if got != want {
				t.Errorf("got % x, want % x", got, want)
			}
			back, err := NewReader(strings.NewReader(got), Limits{}).length()
			if back != int64(n) || err != nil {
				t.Errorf("reading it back: got %d, %v", back, err)
			}
		})
	}
}
