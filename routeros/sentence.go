package routeros

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Sentence is the unit of the protocol: words of bytes, no charset, none of
// them empty. The first word is a command ("/ip/route/print") or the kind of a
// reply ("!re").
type Sentence []string

// The limits that a zero field of [Limits] stands for.
const (
	// DefaultWordBytes is the longest word.
	DefaultWordBytes = 64 << 10
	// DefaultSentenceWords is the maximum number of words in a sentence.
	DefaultSentenceWords = 256
	// DefaultSentenceBytes is the size of all words of a sentence together.
	DefaultSentenceBytes = 256 << 10
)

// maxSkipped is how much of a sentence beyond the limits is read and dropped. The
// largest values that RouterOS has, scripts and files, are smaller; beyond it
// the length is more likely garbage.
const maxSkipped = 16 << 20

// maxTag is the longest tag word that is looked for in a sentence beyond the limits.
const maxTag = 32

// keptBytes is how much of its buffer a Reader keeps for the next sentence. An
// ordinary row of RouterOS has 300 to 800 bytes.
const keptBytes = 16 << 10

// Limits limits what a [Reader] accepts from the other side. A field that is zero or
// negative means the default.
type Limits struct {
	// WordBytes is the longest word, [DefaultWordBytes] if not set.
	WordBytes int
	// SentenceWords is the maximum number of words in a sentence, [DefaultSentenceWords]
	// if not set.
	SentenceWords int
	// SentenceBytes is the size of all words of a sentence, [DefaultSentenceBytes] if not set.
	SentenceBytes int
}

// withDefaults returns the limits with every unset field filled.
func (l Limits) withDefaults() Limits {
	if l.WordBytes <= 0 {
		l.WordBytes = DefaultWordBytes
	}
	if l.SentenceWords <= 0 {
		l.SentenceWords = DefaultSentenceWords
	}
	if l.SentenceBytes <= 0 {
		l.SentenceBytes = DefaultSentenceBytes
	}
	return l
}

// Reader reads sentences. It works for either side of a connection; only one goroutine may
// use it at a time.
type Reader struct {
	br     *bufio.Reader
	limits Limits

	buf   []byte      // the words of the sentence that is being read, one after the other
	ends  []int       // where each word ends in buf
	words []string    // the slice that next lends out
	long  *LimitError // why words of the sentence were dropped, nil if none were
}

// NewReader returns a Reader on r. It reads ahead.
func NewReader(r io.Reader, limits Limits) *Reader {
	return &Reader{br: bufio.NewReader(r), limits: limits.withDefaults()}
}

// ReadSentence reads the next sentence that has words; empty sentences have no meaning in
// either direction and are skipped. At the end of the stream it returns [io.EOF] between
// two sentences and [io.ErrUnexpectedEOF] within one.
//
// If a sentence exceeds the limits, it is read to its end and dropped: the error is then a
// [*LimitError], and the next call reads the next sentence. A length with a reserved first
// byte, or one that no RouterOS sends, is a [*ProtocolError]; after that the stream cannot
// be read any further.
func (r *Reader) ReadSentence() (Sentence, error) {
	words, err := r.next()
	if err != nil {
		return nil, err
	}
	if r.long != nil {
		return nil, r.long
	}
	return slices.Clone(words), nil
}

// next is ReadSentence without the copy: the slice, not the strings in it, is
// good only until the following call. Of a sentence beyond the limits it
// returns the words before the first one that did not fit, and the tag; r.long
// is then set.
func (r *Reader) next() (Sentence, error) {
	for {
		if err := r.fill(); err != nil {
			return nil, err
		}
		if len(r.ends) > 0 {
			return r.split(), nil
		}
	}
}

// fill reads the words up to the zero-length one into buf and ends.
func (r *Reader) fill() error {
	if cap(r.buf) > keptBytes {
		r.buf = nil
	}
	r.buf, r.ends, r.long = r.buf[:0], r.ends[:0], nil
	for {
		n, err := r.length()
		switch {
		case errors.Is(err, io.EOF) && len(r.ends) > 0:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case n == 0:
			return nil
		}
		if text := r.beyond(n); text != "" {
			if len(r.ends) == 0 {
				return protocolErrorf("%s", text) // No command and no reply has such a first word.
			}
			r.long = &LimitError{Text: text}
			return r.skip(n)
		}
		if err := r.word(int(n)); err != nil {
			return err
		}
	}
}

// word reads a word of n bytes.
func (r *Reader) word(n int) error {
	start := len(r.buf)
	r.buf = slices.Grow(r.buf, n)[:start+n]
	if _, err := io.ReadFull(r.br, r.buf[start:]); err != nil {
		return unexpected(err)
	}
	r.ends = append(r.ends, len(r.buf))
	return nil
}

// beyond returns which limit a further word of n bytes exceeds, "" for none.
func (r *Reader) beyond(n int64) string {
	switch {
	case n > int64(r.limits.WordBytes):
		return fmt.Sprintf("word of %d bytes, more than %d", n, r.limits.WordBytes)
	case len(r.ends) == r.limits.SentenceWords:
		return fmt.Sprintf("sentence of more than %d words", r.limits.SentenceWords)
	case int64(len(r.buf))+n > int64(r.limits.SentenceBytes):
		return fmt.Sprintf("sentence of more than %d bytes", r.limits.SentenceBytes)
	default:
		return ""
	}
}

// skip drops the rest of the sentence, from a word of n bytes on. It keeps a tag,
// by which the client knows whose row was lost: tags may stand anywhere.
func (r *Reader) skip(n int64) error {
	tagged := false
	for left := int64(maxSkipped); n != 0; {
		if left -= n + 1; left < 0 {
			return protocolErrorf("sentence of more than %d bytes", maxSkipped)
		}
		if n <= maxTag && !tagged {
			word, err := r.br.Peek(int(n))
			if err != nil {
				return unexpected(err)
			}
			if tagged = bytes.HasPrefix(word, []byte(tagPrefix)); tagged {
				r.buf = append(r.buf, word...)
				r.ends = append(r.ends, len(r.buf))
			}
		}
		if _, err := r.br.Discard(int(n)); err != nil {
			return unexpected(err)
		}
		var err error
		if n, err = r.length(); err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// split cuts one string out of buf into the words: one allocation a sentence.
func (r *Reader) split() Sentence {
	all, start := string(r.buf), 0
	r.words = r.words[:0]
	for _, end := range r.ends {
		r.words = append(r.words, all[start:end])
		start = end
	}
	return r.words
}

// length reads the length in front of a word. Nobody may allocate by it before
// beyond was asked.
func (r *Reader) length() (int64, error) {
	first, err := r.br.ReadByte()
	if err != nil {
		return 0, err
	}
	var n int64
	var more int
	switch {
	case first < 0x80:
		n = int64(first)
	case first < 0xC0:
		n, more = int64(first&0x3F), 1
	case first < 0xE0:
		n, more = int64(first&0x1F), 2
	case first < 0xF0:
		n, more = int64(first&0x0F), 3
	case first < 0xF8:
		n, more = int64(first&0x07), 4
	default:
		return 0, protocolErrorf("reserved length byte %#02x", first)
	}
	for range more {
		b, err := r.br.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		n = n<<8 | int64(b)
	}
	return n, nil
}

// unexpected turns the end of the stream into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// AppendSentence appends the sentence to dst in its wire format. It leaves out empty
// words, because on the wire an empty word ends the sentence. A word must be shorter than
// 4 GiB.
func AppendSentence(dst []byte, s Sentence) []byte {
	for _, word := range s {
		dst = AppendWord(dst, word)
	}
	return append(dst, 0)
}

// AppendWord appends one word to dst, length first; nothing if it is empty.
func AppendWord(dst []byte, word string) []byte {
	if word == "" {
		return dst
	}
	return append(appendLength(dst, len(word)), word...)
}

// appendLength appends n in the shortest of the five forms. The protocol has no
// form for 4 GiB and more.
func appendLength(dst []byte, n int) []byte {
	b0, b1, b2, b3 := byte(n>>24), byte(n>>16), byte(n>>8), byte(n) //nolint:gosec // the low byte of each is meant
	switch {
	case n < 1<<7:
		return append(dst, b3)
	case n < 1<<14:
		return append(dst, 0x80|b2, b3)
	case n < 1<<21:
		return append(dst, 0xC0|b1, b2, b3)
	case n < 1<<28:
		return append(dst, 0xE0|b0, b1, b2, b3)
	default:
		return append(dst, 0xF0, b0, b1, b2, b3)
	}
}
