package routeros_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
)

// wire returns the sentences as one stream.
func wire(sentences ...routeros.Sentence) []byte {
	var b []byte
	for _, s := range sentences {
		b = routeros.AppendSentence(b, s)
	}
	return b
}

// readAll reads sentences until the stream ends or fails.
func readAll(r io.Reader, limits routeros.Limits) ([]routeros.Sentence, error) {
	reader := routeros.NewReader(r, limits)
	var all []routeros.Sentence
	for {
		s, err := reader.ReadSentence()
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
}

// readShort is readAll without the sentences that are too long.
func readShort(r io.Reader, limits routeros.Limits) ([]routeros.Sentence, error) {
	reader := routeros.NewReader(r, limits)
	var all []routeros.Sentence
	for {
		s, err := reader.ReadSentence()
		if _, long := errors.AsType[*routeros.LimitError](err); long {
			continue
		}
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
}

func TestAppendSentenceWire(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   routeros.Sentence
		want string
	}{
		"none":          {nil, "\x00"},
		"words":         {routeros.Sentence{"/login", "=name=a"}, "\x06/login\x07=name=a\x00"},
		"empty word":    {routeros.Sentence{"!re", "", "x"}, "\x03!re\x01x\x00"},
		"one byte":      {routeros.Sentence{strings.Repeat("a", 0x7F)}, "\x7F" + strings.Repeat("a", 0x7F) + "\x00"},
		"two bytes":     {routeros.Sentence{strings.Repeat("a", 0x80)}, "\x80\x80" + strings.Repeat("a", 0x80) + "\x00"},
		"zero inside":   {routeros.Sentence{strings.Repeat("a", 0x100)}, "\x81\x00" + strings.Repeat("a", 0x100) + "\x00"},
		"two bytes max": {routeros.Sentence{strings.Repeat("a", 0x3FFF)}, "\xBF\xFF" + strings.Repeat("a", 0x3FFF) + "\x00"},
		"three bytes":   {routeros.Sentence{strings.Repeat("a", 0x4000)}, "\xC0\x40\x00" + strings.Repeat("a", 0x4000) + "\x00"},
		"four bytes":    {routeros.Sentence{strings.Repeat("a", 0x200000)}, "\xE0\x20\x00\x00" + strings.Repeat("a", 0x200000) + "\x00"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := string(routeros.AppendSentence(nil, tt.in)); got != tt.want {
				t.Errorf("got %.20q (%d bytes), want %.20q (%d bytes)", got, len(got), tt.want, len(tt.want))
			}
		})
	}
}

func TestReadSentence(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	tests := map[string]struct {
		in   string
		want []routeros.Sentence
	}{
		"two":              {"\x03!re\x04=a=b\x00\x05!done\x00", []routeros.Sentence{{"!re", "=a=b"}, {"!done"}}},
		"empty sentences":  {"\x00\x00\x05!done\x00\x00", []routeros.Sentence{{"!done"}}},
		"not utf-8":        {"\x04\xff\xfe=a\x00", []routeros.Sentence{{"\xff\xfe=a"}}},
		"zero in a length": {"\x81\x2c" + long + "\x00", []routeros.Sentence{{long}}},
		"long form of a small length": {
			"\xF0\x00\x00\x00\x01a\xE0\x00\x00\x01b\xC0\x00\x01c\x80\x01d\x00",
			[]routeros.Sentence{{"a", "b", "c", "d"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readAll(iotest.OneByteReader(strings.NewReader(tt.in)), routeros.Limits{})
			if !errors.Is(err, io.EOF) {
				t.Errorf("got error %v, want %v", err, io.EOF)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sentences (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadSentenceErrors(t *testing.T) {
	t.Parallel()
	small := routeros.Limits{WordBytes: 4, SentenceWords: 3, SentenceBytes: 10}
	tests := map[string]struct {
		in     string
		limits routeros.Limits
		want   error
	}{
		"nothing":          {"", small, io.EOF},
		"cut in a word":    {"\x03!r", small, io.ErrUnexpectedEOF},
		"cut before word":  {"\x03", small, io.ErrUnexpectedEOF},
		"cut after word":   {"\x03!re", small, io.ErrUnexpectedEOF},
		"cut in a length":  {"\x81", small, io.ErrUnexpectedEOF},
		"word too long":    {"\x05aaaaa\x00", small, &routeros.ProtocolError{Message: "word of 5 bytes, more than 4"}},
		"second too long":  {"\x03!re\x05aaaaa\x00", small, &routeros.LimitError{Text: "word of 5 bytes, more than 4"}},
		"too many words":   {"\x01a\x01b\x01c\x01d\x00", small, &routeros.LimitError{Text: "sentence of more than 3 words"}},
		"too many bytes":   {"\x04aaaa\x04bbbb\x03ccc\x00", small, &routeros.LimitError{Text: "sentence of more than 10 bytes"}},
		"cut in the rest":  {"\x03!re\x05aaa", small, io.ErrUnexpectedEOF},
		"cut before rest":  {"\x03!re\x05", small, io.ErrUnexpectedEOF},
		"cut in a tag":     {"\x01a\x01b\x01c\x06.tag=", small, io.ErrUnexpectedEOF},
		"cut after rest":   {"\x03!re\x05aaaaa", small, io.ErrUnexpectedEOF},
		"no end":           {"\x03!re\xE1\x00\x00\x00", small, &routeros.ProtocolError{Message: "sentence of more than 16777216 bytes"}},
		"reserved byte":    {"\xF8\x00\x00\x00\x01a\x00", small, &routeros.ProtocolError{Message: "reserved length byte 0xf8"}},
		"two GiB":          {"\xF0\x80\x00\x00\x00", routeros.Limits{}, &routeros.ProtocolError{Message: "word of 2147483648 bytes, more than 65536"}},
		"beyond four GiB":  {"\xF7\xff\xff\xff\xff", routeros.Limits{}, &routeros.ProtocolError{Message: "word of 34359738367 bytes, more than 65536"}},
		"default is 64 KB": {"\xC1\x00\x01", routeros.Limits{}, &routeros.ProtocolError{Message: "word of 65537 bytes, more than 65536"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := routeros.NewReader(strings.NewReader(tt.in), tt.limits).ReadSentence()
			if err == nil || err.Error() != tt.want.Error() {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
		})
	}
}

// TestReadSentenceAllocatesAfterCheck proves that a length is checked before
// memory is taken for it.
func TestReadSentenceAllocatesAfterCheck(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := routeros.NewReader(strings.NewReader("\xF0\x7f\xff\xff\xff"), routeros.Limits{}).ReadSentence()
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Error("a word of 2 GiB was read")
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("refusing a word of 2 GiB took %d bytes of memory", got)
	}
}

// TestReadSentenceGoesOn skips what is too long and reads what comes after it.
func TestReadSentenceGoesOn(t *testing.T) {
	t.Parallel()
	limits := routeros.Limits{WordBytes: 64 << 10, SentenceWords: 8, SentenceBytes: 80 << 10}
	reader := routeros.NewReader(iotest.HalfReader(bytes.NewReader(wire(
		routeros.Sentence{"!re", "=a=" + strings.Repeat("x", 64<<10), "=b=c"},
		routeros.Sentence{"!re", "=first=1"},
		routeros.Sentence{"!re", "1", "2", "3", "4", "5", "6", "7", ".tag=8", ".tag=9", "10"},
		routeros.Sentence{"!re", "=a=" + strings.Repeat("x", 60<<10), "=b=" + strings.Repeat("x", 60<<10)},
		routeros.Sentence{"!done"},
	))), limits)
	var got []string
	for {
		s, err := reader.ReadSentence()
		if errors.Is(err, io.EOF) {
			break
		}
		if long, ok := errors.AsType[*routeros.LimitError](err); ok {
			got = append(got, long.Error())
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join(s, " "))
	}
	want := []string{
		"word of 65539 bytes, more than 65536", "!re =first=1", "sentence of more than 8 words", "sentence of more than 81920 bytes", "!done",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sentences (-want +got):\n%s", diff)
	}
}

func FuzzReadSentence(f *testing.F) {
	f.Add(wire(routeros.Sentence{"/login", "=name=admin", "=password="}))
	f.Add(wire(routeros.Sentence{"!re", ".tag=1", "=.id=*1F"}, routeros.Sentence{"!done", ".tag=1"}))
	f.Add(wire(nil, routeros.Sentence{"!fatal", "not logged in"}))
	f.Add(wire(routeros.Sentence{strings.Repeat("a", 300)}))
	f.Add([]byte("\xF8\x00"))
	f.Add([]byte("\x03!re\x90\x00" + strings.Repeat("x", 0x1000) + "\x06.tag=1\x00\x05!done\x00"))
	f.Add([]byte("\xF0\x00\x00\x00\x01a\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		limits := routeros.Limits{WordBytes: 1 << 10, SentenceWords: 16, SentenceBytes: 4 << 10}
		first, err := readShort(bytes.NewReader(in), limits)
		if err == nil {
			t.Fatal("reading ended without an error")
		}
		second, err := readAll(bytes.NewReader(wire(first...)), limits)
		if !errors.Is(err, io.EOF) {
			t.Fatalf("reading what was appended: %v", err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("parse, append, parse (-first +second):\n%s", diff)
		}
	})
}

// natRow is a row as /ip/firewall/nat/print sends it.
func natRow() routeros.Sentence {
	return routeros.Sentence{
		"!re", ".tag=17", "=.id=*1F", "=chain=dstnat", "=action=dst-nat", "=to-addresses=192.168.88.10",
		"=to-ports=6881", "=protocol=tcp", "=in-interface=wg1", "=dst-port=20001", "=log=false", "=log-prefix=",
		"=bytes=123456", "=packets=1234", "=invalid=false", "=dynamic=false", "=disabled=false",
		"=comment=doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600",
	}
}

func BenchmarkReadSentence(b *testing.B) {
	in := wire(natRow())
	src := bytes.NewReader(nil)
	r := routeros.NewReader(src, routeros.Limits{})
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		src.Reset(in)
		if _, err := r.ReadSentence(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendSentence(b *testing.B) {
	row := natRow()
	buf := wire(row)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		buf = routeros.AppendSentence(buf[:0], row)
	}
}
