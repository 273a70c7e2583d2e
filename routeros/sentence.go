package routeros

import (
	"bufio"
	"errors"
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
	// DefaultSentenceWords is the highest number of words in a sentence.
	DefaultSentenceWords = 256
	// DefaultSentenceBytes is the size of all words of a sentence together.
	DefaultSentenceBytes = 1 << 20
)

// keptBytes is how much of its buffer a Reader keeps for the next sentence. An
// ordinary row of RouterOS has 300 to 800 bytes.
const keptBytes = 16 << 10

// Limits bounds what a [Reader] takes from the other side. A field that is zero
// or negative means the default.
type Limits struct {
	// WordBytes is the longest word, [DefaultWordBytes] if not set.
	WordBytes int
	// SentenceWords is the most words in a sentence, [DefaultSentenceWords] if not set.
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

// Reader reads sentences. It serves either side of a connection and is used by
// one goroutine at a time.
type Reader struct {
	br     *bufio.Reader
	limits Limits

	buf   []byte   // the words of the sentence that is being read, one after the other
	ends  []int    // where each word ends in buf
	words []string // the slice that next lends out
}

// NewReader returns a Reader on r, which it reads ahead of what is asked for.
func NewReader(r io.Reader, limits Limits) *Reader {
	return &Reader{br: bufio.NewReader(r), limits: limits.withDefaults()}
}

// ReadSentence reads the next sentence that has words; empty sentences mean
// nothing in either direction and are passed over. At the end of the stream it
// returns [io.EOF] between two sentences and [io.ErrUnexpectedEOF] within one.
// A length beyond the limits or with a reserved first byte is a
// [*ProtocolError], after which the stream cannot be read any further.
func (r *Reader) ReadSentence() (Sentence, error) {
	words, err := r.next()
	if err != nil {
		return nil, err
	}
	return slices.Clone(words), nil
}

// next is ReadSentence without the copy: the slice, not the strings in it, is
// good only until the following call.
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
	r.buf, r.ends = r.buf[:0], r.ends[:0]
	for {
		n, err := r.length()
		switch {
		case errors.Is(err, io.EOF) && len(r.ends) > 0:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case n == 0:
			return nil
		case len(r.ends) == r.limits.SentenceWords:
			return protocolErrorf("sentence of more than %d words", r.limits.SentenceWords)
		case len(r.buf)+n > r.limits.SentenceBytes:
			return protocolErrorf("sentence of more than %d bytes", r.limits.SentenceBytes)
		}
		start := len(r.buf)
		r.buf = slices.Grow(r.buf, n)[:start+n]
		if _, err := io.ReadFull(r.br, r.buf[start:]); err != nil {
			return unexpected(err)
		}
		r.ends = append(r.ends, len(r.buf))
	}
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

// length reads the length in front of a word and checks it, so that nobody
// allocates by it before.
func (r *Reader) length() (int, error) {
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
	if n > int64(r.limits.WordBytes) {
		return 0, protocolErrorf("word of %d bytes, more than %d", n, r.limits.WordBytes)
	}
	return int(n), nil
}

// unexpected turns the end of the stream into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// AppendSentence appends the sentence as it goes over the wire to dst. Empty
// words are left out, because on the wire an empty word ends the sentence. A
// word must be shorter than 4 GiB.
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
