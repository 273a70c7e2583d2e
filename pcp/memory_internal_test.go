package pcp

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"
)

// What is over is forgotten, and what is not is kept, however much there is.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m, now := newMemory(nil, func(_ Protocol, port uint16) Nonce { return Nonce{byte(port), byte(port >> 8)} }), time.Now()
	keep := portKey{TCP, 1}
	if _, err := m.nonce(keep, now, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	kept := wish{portKey: keep}
	most := 0
	for i := range 20_000 {
		now = now.Add(time.Second)
		port := uint16(2 + i%60_000)
		if _, err := m.nonce(portKey{UDP, port}, now, time.Second); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			m.hold(kept, ResultNoResources, now, time.Hour)
		}
		m.hold(wish{external: port}, ResultNoResources, now, time.Second)
		most = max(most, len(m.mappings)+len(m.held))
	}
	// 120 mappings of two minutes stand at once.
	if most < 120 || most > 300 {
		t.Errorf("remembers %d mappings and refusals", most)
	}
	if m.mappings[keep] == nil {
		t.Error("forgot a mapping that stands")
	}
	if _, ok := m.refused(kept, now); !ok {
		t.Error("forgot a refusal that lasts")
	}
}

// Times are those of RFC 6887 §8.1.1, 0.9 to 1.1 of what they are, and exact without random
// numbers; a nonce that cannot be drawn is an error.
func TestRandom(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		random []byte
		want   float64
	}{{[]byte{0, 0}, 0.9}, {[]byte{0xff, 0xff}, 1.1}, {[]byte{0x80, 0}, 1}, {nil, 1}} {
		m := newMemory(bytes.NewReader(tt.random), nil)
		if got := m.spread(); got < tt.want-1e-4 || got > tt.want+1e-4 {
			t.Errorf("%x: %v, want %v", tt.random, got, tt.want)
		}
	}
	m := newMemory(bytes.NewReader(nil), nil)
	if _, err := m.nonce(portKey{TCP, 1}, time.Now(), 0); !errors.Is(err, io.EOF) {
		t.Errorf("drew a nonce from nothing: %v", err)
	}
}

// Only what has the nonce of a mapping, and another end, is news of it.
func TestMemoryKnowsNews(t *testing.T) {
	t.Parallel()
	m, now, key := newMemory(nil, func(Protocol, uint16) Nonce { return Nonce{7} }), time.Now(), portKey{TCP, 80}
	told := Response{Opcode: OpMap, Lifetime: 60, Map: Map{
		Nonce: Nonce{7}, Protocol: TCP, InternalPort: 80, ExternalPort: 8080, ExternalAddress: netip.MustParseAddr("5.6.7.8"),
	}}
	check := func(what string, want bool) {
		t.Helper()
		if m.news(told) != want {
			t.Errorf("%s: news is %v", what, !want)
		}
	}
	check("of nothing", false)
	if _, err := m.nonce(key, now, time.Minute); err != nil {
		t.Fatal(err)
	}
	check("before it was granted", false)
	m.granted(key, netip.MustParseAddrPort("5.6.7.8:8080"), now, time.Minute)
	check("as granted", false)
	told.Map.ExternalPort++
	check("another port", true)
	told.Map.Nonce[0]++
	check("another nonce", false)
	told.Map.Nonce[0]--
	told.Map.ExternalPort--
	told.Map.ExternalAddress = told.Map.ExternalAddress.Next()
	check("another address", true)
	m.ended(key)
	check("after its end", false)
}
