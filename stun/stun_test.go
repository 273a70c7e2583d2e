package stun_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp/natpmptest"
	"doublenat/stun"
	"doublenat/stun/stuntest"
)

var (
	mapped = netip.MustParseAddrPort("203.0.113.9:40000")
	other  = netip.MustParseAddrPort("198.51.100.7:40001")
	six    = netip.MustParseAddrPort("[2001:db8::9]:40000")
	id     = stun.TransactionID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
)

// The vectors of RFC 5769 §2.2 and §2.3, without the integrity that nobody checks here.
func TestVectors(t *testing.T) {
	t.Parallel()
	id := stun.TransactionID{0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae}
	header := append([]byte{0x01, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42}, id[:]...)
	software := stuntest.Attribute(0x8022, []byte("test vector"))
	for want, value := range map[string][]byte{
		"192.0.2.1:32853": {0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43},
		"[2001:db8:1234:5678:11:2233:4455:6677]:32853": {
			0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
		},
	} {
		packet := append(append(append([]byte(nil), header...), software...), stuntest.Attribute(0x0020, value)...)
		packet[3] = byte(len(packet) - 20)
		if got, err := stun.ParseResponse(packet, id); err != nil || got.String() != want {
			t.Errorf("got %v, %v, want %s", got, err, want)
		}
	}
}

// What is an address, what ends the transaction, and what is no answer.
func TestParseResponse(t *testing.T) {
	t.Parallel()
	request := stun.AppendRequest(nil, id)
	xored, plain := stuntest.Attribute(0x0020, stuntest.XORed(mapped, request)), stuntest.Attribute(0x0001, stuntest.Plain(other))
	good := func() []byte { return stuntest.Response(request, xored) }
	change := func(at int, to byte) []byte { b := good(); b[at] = to; return b }
	refusal := func(code byte) []byte {
		b := stuntest.Response(request, stuntest.Attribute(0x0009, append([]byte{0, 0, 4, code}, "no"...)))
		b[1] = 0x11
		return b
	}
	for name, tt := range map[string]struct {
		packet []byte
		want   netip.AddrPort
		over   bool // the transaction has ended without one
	}{
		"xored":                  {packet: good(), want: mapped},
		"both":                   {packet: stuntest.Response(request, plain, xored), want: mapped},
		"plain":                  {packet: stuntest.Response(request, plain), want: other},
		"IPv6":                   {packet: stuntest.Response(request, stuntest.Attribute(0x0020, stuntest.XORed(six, request))), want: six},
		"the first counts":       {packet: stuntest.Response(request, xored, stuntest.Attribute(0x0020, stuntest.XORed(other, request))), want: mapped},
		"of an old server":       {packet: stuntest.Response(request, stuntest.Attribute(0x0004, stuntest.Plain(other)), plain), want: other},
		"with what is optional":  {packet: stuntest.Response(request, stuntest.Attribute(0x8022, []byte("who")), xored), want: mapped},
		"with what is not":       {packet: stuntest.Response(request, stuntest.Attribute(0x7fff, nil), xored), over: true},
		"without an address":     {packet: stuntest.Response(request), over: true},
		"of an unknown family":   {packet: stuntest.Response(request, stuntest.Attribute(0x0020, []byte{0, 3, 1, 2, 3, 4, 5, 6})), over: true},
		"IPv4 of 16 bytes":       {packet: stuntest.Response(request, stuntest.Attribute(0x0020, append([]byte{0, 1}, stuntest.Plain(six)[2:]...))), over: true},
		"a refusal":              {packet: refusal(20), over: true},
		"another id":             {packet: change(19, 0)},
		"another cookie":         {packet: change(4, 0)},
		"a request":              {packet: request},
		"an indication":          {packet: change(1, 0x11&^1|0x10)},
		"another method":         {packet: change(0, 3)},
		"a length of no words":   {packet: change(3, 11)},
		"a length that is less":  {packet: change(3, 8)},
		"a length that is more":  {packet: change(3, 16)},
		"an attribute too long":  {packet: change(23, 12)},
		"a header that is short": {packet: good()[:19]},
		"nothing":                {},
	} {
		got, err := stun.ParseResponse(tt.packet, id)
		_, refused := errors.AsType[*stun.Error](err)
		over := refused || errors.Is(err, stun.ErrNoAddress)
		if got != tt.want || over != tt.over || (err == nil) != tt.want.IsValid() {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if _, err := stun.ParseResponse(refusal(20), id); err == nil || err.Error() != `stun: the server refuses with code 420: "no"` {
		t.Errorf("a refusal is %v", err)
	}
}

// onServer runs a test with a server on a network in memory.
func onServer(t *testing.T, test func(t *testing.T, s *stuntest.Server, ask func(context.Context) (stun.Answer, error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
		at := netip.MustParseAddrPort("203.0.113.1:3478")
		conn, err := network.Listen(at)
		if err != nil {
			t.Fatal(err)
		}
		s, done := stuntest.New(), make(chan error, 1)
		go func() { done <- s.Serve(conn) }()
		test(t, s, func(ctx context.Context) (stun.Answer, error) {
			return stun.Ask(ctx, func(context.Context) (net.Conn, error) { return network.Dial(mapped, at) })
		})
		if err := errors.Join(conn.Close(), <-done, network.Close()); err != nil {
			t.Error(err)
		}
	})
}

// A server is asked from the address that it tells; each question has an id of its own.
func TestAsk(t *testing.T) {
	t.Parallel()
	onServer(t, func(t *testing.T, s *stuntest.Server, ask func(context.Context) (stun.Answer, error)) {
		t.Helper()
		ids := make(map[stun.TransactionID]bool)
		s.Answer(func(request []byte, from netip.AddrPort) [][]byte {
			ids[stun.TransactionID(request[8:20])] = true
			return stuntest.Truth(request, from)
		})
		for range 3 {
			got, err := ask(t.Context())
			if want := (stun.Answer{Mapped: mapped, Local: mapped, Server: netip.MustParseAddrPort("203.0.113.1:3478")}); err != nil || got != want {
				t.Fatalf("got %+v, %v, want %+v", got, err, want)
			}
		}
		synctest.Wait()
		if len(ids) != 3 {
			t.Errorf("%d ids in three questions", len(ids))
		}
	})
}

// A question is repeated as RFC 8489 §6.2.1 has it, and answers to others are ignored.
func TestAskAgain(t *testing.T) {
	t.Parallel()
	onServer(t, func(t *testing.T, s *stuntest.Server, ask func(context.Context) (stun.Answer, error)) {
		t.Helper()
		var times []time.Duration
		start := time.Now()
		s.Answer(func([]byte, netip.AddrPort) [][]byte { times = append(times, time.Since(start)); return nil })
		if _, err := ask(t.Context()); !errors.Is(err, stun.ErrSilent) || time.Since(start) != 39500*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		synctest.Wait()
		want := []int64{0, 500, 1500, 3500, 7500, 15500, 31500}
		for i, at := range times {
			if len(times) != len(want) || at.Milliseconds() != want[i] {
				t.Fatalf("asked at %v", times)
			}
		}
		start = time.Now()
		s.Answer(func(request []byte, from netip.AddrPort) [][]byte {
			forged := stuntest.Claim(other)(request, from)[0]
			forged[8] ^= 1
			replies := [][]byte{forged, {}, make([]byte, 1400)}
			if time.Since(start) >= time.Second {
				replies = append(replies, stuntest.Truth(request, from)...)
			}
			return replies
		})
		if got, err := ask(t.Context()); err != nil || got.Mapped != mapped || time.Since(start) != 1500*time.Millisecond {
			t.Errorf("got %v, %v after %v", got, err, time.Since(start))
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		s.Answer(stuntest.Silence)
		start = time.Now()
		if _, err := ask(ctx); !errors.Is(err, stun.ErrSilent) || time.Since(start) != 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// A socket that cannot be opened is an error that says so.
func TestAskWithoutASocket(t *testing.T) {
	t.Parallel()
	broken := errors.New("no network")
	if _, err := stun.Ask(t.Context(), func(context.Context) (net.Conn, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// Whatever comes, it is an address, the end or no answer; an address that is made into an
// answer comes out as it was.
func FuzzParseResponse(f *testing.F) {
	request := stun.AppendRequest(nil, id)
	f.Add(stuntest.Claim(mapped)(request, mapped)[0])
	f.Add(stuntest.Claim(six)(request, six)[0])
	f.Add(stuntest.Response(request, stuntest.Attribute(0x0001, stuntest.Plain(other))))
	f.Add(stuntest.Response(request, stuntest.Attribute(0x0009, []byte{0, 0, 4, 20, 'n', 'o'})))
	f.Fuzz(func(t *testing.T, packet []byte) {
		got, err := stun.ParseResponse(packet, id)
		if (err == nil) != got.IsValid() {
			t.Fatalf("got %v, %v", got, err)
		}
		if err != nil {
			return
		}
		again, err := stun.ParseResponse(stuntest.Claim(got)(request, got)[0], id)
		if err != nil || again != got {
			t.Errorf("%v became %v, %v", got, again, err)
		}
	})
}
