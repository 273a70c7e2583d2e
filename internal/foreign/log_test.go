package foreign_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/foreign"
)

// broken panics when it is asked for its text, as a nil pointer may.
type broken struct{ text string }

func (b *broken) Error() string { return b.text }

func TestAttr(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		in, want any
	}{
		{"a\nb", `a\nb`},
		{errors.New("no\x1b[Asuch"), `no\x1b[Asuch`},
		{errors.Join(io.EOF, io.ErrClosedPipe), `EOF\nio: read/write on closed pipe`},
		{netip.MustParseAddr("10.2.0.1"), "10.2.0.1"},
		{[]byte("a\xff"), `a\xff`},
		{[]string{"a", "b\n"}, `["a" "b\n"]`},
		{7, int64(7)},
		{when, when},
		{time.Second, time.Second},
		{slog.LevelWarn, slog.LevelWarn},
		{nil, nil},
		{(*broken)(nil), (*broken)(nil)},
	} {
		got := foreign.Attr(nil, slog.Any("key", tt.in))
		if got.Key != "key" || !got.Value.Equal(slog.AnyValue(tt.want)) {
			t.Errorf("%#v became %v, want %#v", tt.in, got, tt.want)
		}
	}
}

// TestAttrInAHandler shows that a log has no line but its own.
func TestAttrInAHandler(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: foreign.Attr}))
	log.With("a", "x\u202e").WithGroup("g").Error("refused", "error", errors.New("one\ntime=now level=INFO msg=forged"), slog.Group("h", "b", "\xff"))
	_, line, _ := bytes.Cut(out.Bytes(), []byte("level="))
	const want = `ERROR msg=refused a=x\u202e g.error="one\\ntime=now level=INFO msg=forged" g.h.b=\xff` + "\n"
	if diff := cmp.Diff(want, string(line)); diff != "" {
		t.Errorf("the line (-want +got):\n%s", diff)
	}
}
