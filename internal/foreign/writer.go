package foreign

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"unicode/utf8"
)

// Writer passes text on with everything but line feeds and tabs made visible, see
// [Lines]. A character that is split over two writes is put together again. Its
// methods may be called from any goroutine.
type Writer struct {
	mu   sync.Mutex // held across the writes below, which have to keep their order
	to   io.Writer
	rest []byte // the beginning of a character whose end has not come yet
}

// NewWriter returns a writer before w. What has to reach w as it is, such as the
// colors of our own, is written to w itself.
func NewWriter(w io.Writer) *Writer { return &Writer{to: w} }

// Write writes the text. It reports all of p as written, or an error of the writer below.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := p
	if len(w.rest) > 0 {
		text = slices.Concat(w.rest, p)
	}
	whole := len(text) - partial(text)
	safe := Lines(string(text[:whole]))
	w.rest = bytes.Clone(text[whole:])
	if safe == "" {
		return len(p), nil
	}
	if _, err := io.WriteString(w.to, safe); err != nil {
		return 0, err
	}
	return len(p), nil
}

// partial returns how many bytes at the end of b begin a character without its end.
func partial(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if last := b[len(b)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}
