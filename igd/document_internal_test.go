package igd

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestBounds: what is as large as may be is read, and nothing larger.
func TestBounds(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	long := func(n int) string { return "<a>" + strings.Repeat(" ", n-len("<a></a>")) + "</a>" }
	for name, tt := range map[string]struct {
		document string
		err      error
	}{
		"deep":     {nested(maxDepth), nil},
		"deeper":   {nested(maxDepth + 1), ErrTooLarge},
		"many":     {"<a>" + strings.Repeat("<b/>", maxElements-1) + "</a>", nil},
		"one more": {"<a>" + strings.Repeat("<b/>", maxElements) + "</a>", ErrTooLarge},
		"long":     {long(maxBody), nil},
		"longer":   {long(maxBody + 1), ErrTooLarge},
	} {
		if _, err := parseDocument([]byte(tt.document)); !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v, want %v", name, err, tt.err)
		}
	}
	part := strings.Repeat("x", maxText-1)
	root, err := parseDocument([]byte("<a>" + part + "<b/>" + part + "</a>"))
	if err != nil || len(root.text) != maxText {
		t.Errorf("a text of %d bytes, %v; want %d", len(root.text), err, maxText)
	}
	head := "HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1/\r\n\r\n"
	for size, want := range map[int]error{maxReply: nil, maxReply + 1: ErrTooLarge} {
		packet := head + strings.Repeat("x", size-len(head))
		if _, err := ParseSearchReply([]byte(packet), netip.MustParseAddr("192.168.1.1")); !errors.Is(err, want) {
			t.Errorf("an answer of %d bytes: %v, want %v", size, err, want)
		}
	}
}
