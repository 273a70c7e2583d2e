package natpmp

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"
)

// A grant of the very port that was suggested has nothing cut off.
func TestCutExternal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		wish, got uint16
		want      bool
	}{{0xff, 0xff, false}, {0x1ff, 0xff, true}, {0x1ff, 0x1ff, false}, {0x100, 0, false}, {0x101, 1, true}} {
		resp := Response{Opcode: OpMapTCP, InternalPort: 80, ExternalPort: tt.got, Lifetime: 60}
		if got := cutExternal(resp, Request{Opcode: OpMapTCP, InternalPort: 80, SuggestedExternalPort: tt.wish, Lifetime: 60}); got != tt.want {
			t.Errorf("asked for %d and got %d: %v", tt.wish, tt.got, got)
		}
	}
}

// quietLink is a link on which sending works or fails.
type quietLink struct{ err error }

func (l quietLink) Announce([]byte) error { return l.err }

// Links are looked for every 5 s only as long as copies are sent, and once more at once
// after a failure. As many as there may be are remembered, the absent ones too.
func TestAnnouncementLooks(t *testing.T) {
	t.Parallel()
	start := time.Now()
	links := make([]AnnouncementLink, maxSeries)
	for i := range links {
		links[i] = AnnouncementLink{ID: MulticastLink{Interface: i + 1}, AnnouncementSender: quietLink{}}
	}
	e := newAnnouncement(start)
	e.look(links, start)
	if e.look(links[1:], start); len(e.series) != maxSeries || !e.series[0].gone {
		t.Errorf("%d links remembered, want %d", len(e.series), maxSeries)
	}
	for _, s := range e.series {
		s.sent = announcements
	}
	for after, want := range map[time.Duration]time.Duration{announcementSpan - 1: announcementLook, announcementSpan: announcementWait} {
		now := start.Add(after)
		if e.look(links[1:], now); e.lookAt.Sub(now) != want {
			t.Errorf("after %v: next look in %v, want %v", after, e.lookAt.Sub(now), want)
		}
	}
	for _, failure := range []error{nil, net.ErrClosed} {
		looks := 0
		a, err := NewAnnouncer(AnnouncerConfig{
			Epoch: NewEpoch(), Address: func() (netip.Addr, bool) { return netip.Addr{}, false },
			Links: func() []AnnouncementLink {
				looks++
				return []AnnouncementLink{{AnnouncementSender: quietLink{failure}}}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		a.advance(t.Context(), newAnnouncement(start), start)
		if (looks == 2) != (failure != nil) {
			t.Errorf("%d looks after %v", looks, failure)
		}
	}
}

// Only what is ignored is called so.
func TestListenerSaysWhatItIgnores(t *testing.T) {
	t.Parallel()
	gateway := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	conn, err := net.ListenUDP("udp4", gateway)
	if err != nil {
		t.Fatal(err)
	}
	heard, log := make(chan struct{}), new(bytes.Buffer)
	l, err := NewListener(ListenerConfig{
		Gateway: netip.MustParseAddr("127.0.0.1"), OnAnnouncement: func(Response, time.Time) { heard <- struct{}{} },
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(t.Context(), conn) }()
	announcement := Response{Address: netip.MustParseAddr("5.6.7.8")}.Append(nil)
	for _, packet := range [][]byte{announcement, {0}, announcement} {
		if _, err := conn.WriteTo(packet, conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	<-heard
	<-heard
	_ = conn.Close()
	if err := <-ended; err == nil {
		t.Error("it outlives its connection")
	}
	if n := bytes.Count(log.Bytes(), []byte("announcement ignored")); n != 1 {
		t.Errorf("%d packets were said to be ignored, want 1:\n%s", n, log)
	}
}

// A failure says which port it is about as soon as it is long enough to.
func TestFailureOfTenBytes(t *testing.T) {
	t.Parallel()
	failure := []byte{0, 130, 0, 2, 0, 0, 0, 9, 0x1a, 0xe1}
	if resp, err := ParseResponse(failure); err != nil || resp.InternalPort != 6881 {
		t.Errorf("%+v, %v", resp, err)
	}
	if resp, err := ParseResponse(failure[:9]); err != nil || resp.InternalPort != 0 {
		t.Errorf("of nine bytes: %+v, %v", resp, err)
	}
}
