package routeros

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
)

// After the caller has left, no row that was on its way to it is handed over.
func TestHandAfterLeaving(t *testing.T) {
	t.Parallel()
	failed := errors.New("told")
	k := &call{turn: make(chan struct{}, 1), each: func(Row) error { return failed }}
	if err := k.hand(Row{}); !errors.Is(err, failed) {
		t.Errorf("error %v, want that of the caller's function", err)
	}
	k.leave()
	if err := k.hand(Row{}); err != nil {
		t.Errorf("the caller's function was called: %v", err)
	}
}

// A command may have as many words, and as long ones, as the limits say, and no more.
func TestCommandLimits(t *testing.T) {
	t.Parallel()
	args := func(n int) []Attr { return make([]Attr, n) }
	named := func(all []Attr) []Attr {
		for i := range all {
			all[i].Name = "a"
		}
		return all
	}
	queries := func(n int) (all []string) {
		for range n {
			all = append(all, "?a")
		}
		return all
	}
	const most = DefaultSentenceWords - 3 // path, .proplist and tag
	for name, tt := range map[string]struct {
		cmd Command
		ok  bool
	}{
		"shortest path":       {Command{Path: "/a"}, true},
		"no path":             {Command{Path: "/"}, false},
		"no slash":            {Command{Path: "ab"}, false},
		"all arguments":       {Command{Path: "/a", Args: named(args(most))}, true},
		"an argument more":    {Command{Path: "/a", Args: named(args(most + 1))}, false},
		"all queries":         {Command{Path: "/a", Queries: queries(most)}, true},
		"a query more":        {Command{Path: "/a", Queries: queries(most + 1)}, false},
		"too many of both":    {Command{Path: "/a", Args: named(args(most / 2)), Queries: queries(most/2 + 2)}, false},
		"longest value":       {Command{Path: "/a", Args: []Attr{{"a", strings.Repeat("x", DefaultWordBytes-3)}}}, true},
		"longer value":        {Command{Path: "/a", Args: []Attr{{"a", strings.Repeat("x", DefaultWordBytes-2)}}}, false},
		"argument of no name": {Command{Path: "/a", Args: args(1)}, false},
		"shortest query":      {Command{Path: "/a", Queries: []string{"?a"}}, true},
		"empty query":         {Command{Path: "/a", Queries: []string{"?"}}, false},
		"longest query":       {Command{Path: "/a", Queries: []string{"?" + strings.Repeat("x", DefaultWordBytes-1)}}, true},
		"longer query":        {Command{Path: "/a", Queries: []string{"?" + strings.Repeat("x", DefaultWordBytes)}}, false},
		"no time":             {Command{Path: "/a", Timeout: -1}, false},
	} {
		if err := tt.cmd.check(); (err == nil) != tt.ok {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// What is told of a peer, of a certificate and of a row does not stop one short.
func TestToTheLast(t *testing.T) {
	t.Parallel()
	for first, want := range map[string]Peer{"~~~~~": PeerText, "     ": PeerText, "\x7f~~~~": PeerUnknown, "\x1f~~~~": PeerUnknown, "~~~~": PeerUnknown} {
		if got := findPeer([]byte(first)); got != want {
			t.Errorf("%q is of %v, want %v", first, got, want)
		}
	}
	if row := parseRow(Sentence{"=a", "=", "=b="}); len(row) != 2 || row[0] != (Attr{Name: "a"}) || row[1] != (Attr{Name: "b"}) {
		t.Errorf("row %q", row)
	}
	for n, want := range map[int]string{maxNames - 1: "host", maxNames: "host", maxNames + 1: "1 more", maxNames + 5: "5 more"} {
		cert := &x509.Certificate{}
		for range n {
			cert.DNSNames = append(cert.DNSNames, "host")
		}
		if names := namesOf(cert); names[len(names)-1] != want || len(names) > maxNames+1 {
			t.Errorf("of %d names: %q", n, names)
		}
	}
}

// Replies may hold as much together as the limit says.
func TestHoldToTheLimit(t *testing.T) {
	t.Parallel()
	words := Sentence{"!re", "=a=" + strings.Repeat("x", 100)}
	size := 3*attrBytes + len(words[0]) + len(words[1])
	for limit, ok := range map[int]bool{size - 1: false, size: true} {
		s := &session{client: &Client{cfg: Config{MaxReplyBytes: limit}}}
		if err := s.holdLocked(&call{}, words); (err == nil) != ok || (s.held == size) != ok {
			t.Errorf("of %d bytes with a limit of %d: error %v, %d held", size, limit, err, s.held)
		}
	}
}

// A sentence that is too long is skipped up to a bound, with its last tag-sized word looked at.
func TestSkipToTheLimit(t *testing.T) {
	t.Parallel()
	for size, ok := range map[int]bool{maxSkipped - 1: true, maxSkipped: false} {
		word := AppendSentence(nil, Sentence{"!re", strings.Repeat("x", size)})
		r := NewReader(bytes.NewReader(word), Limits{})
		if _, err := r.next(); (err == nil) != ok {
			t.Errorf("a word of %d bytes: error %v", size, err)
		}
	}
	tag := tagPrefix + strings.Repeat("1", maxTag-len(tagPrefix))
	r := NewReader(bytes.NewReader(AppendSentence(nil, Sentence{"!re", strings.Repeat("x", DefaultWordBytes+1), tag})), Limits{})
	if words, err := r.next(); err != nil || words[len(words)-1] != tag {
		t.Errorf("the longest tag was lost: %.40q, %v", words, err)
	}
}

// A long sentence leaves no large buffer behind.
func TestBufferIsLetGo(t *testing.T) {
	t.Parallel()
	long, short := AppendSentence(nil, Sentence{strings.Repeat("x", keptBytes+1)}), AppendSentence(nil, Sentence{"!done"})
	r := NewReader(bytes.NewReader(append(long, short...)), Limits{WordBytes: 2 * keptBytes, SentenceBytes: 2 * keptBytes})
	for range 2 {
		if _, err := r.next(); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.buf) > keptBytes {
		t.Errorf("a buffer of %d bytes is kept, want %d at most", cap(r.buf), keptBytes)
	}
}
