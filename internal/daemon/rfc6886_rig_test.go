package daemon_test

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// The tests of files rfc6886_*.go ask a whole daemon, byte by byte, for what
// docs/rfc6886.md says that it does. Time is virtual: five seconds after its start
// the daemon's epoch is exactly 5.

// asRFC is a bench whose gateway does what RFC 6886 says, so that a port that is
// suggested is granted and replies can be written down beforehand.
func asRFC() lab.BenchConfig { return lab.BenchConfig{Profile: natpmptest.RFC(), Capture: 4096} }

// beside returns the bench of a test that asks by NAT-PMP, with PCP off and with PCP on: the
// answers are the same but for those to other versions.
func beside(cfg lab.BenchConfig) map[string]lab.BenchConfig {
	on := cfg
	on.Environ = map[string]string{"PCP": "on"}
	return map[string]lab.BenchConfig{"": cfg, ", beside PCP": on}
}

// unhex reads a packet; blanks between its fields are for people.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// fields writes a reply with blanks between its fields.
func fields(b []byte) string {
	cuts := []int{2, 4, 8, 10, 12} // header, result, epoch, ports
	if len(b) == 12 {
		cuts = []int{2, 4, 8} // header, result, epoch, address
	}
	var parts []string
	begin := 0
	for _, cut := range append(cuts, len(b)) {
		if end := min(cut, len(b)); end > begin {
			parts = append(parts, hex.EncodeToString(b[begin:end]))
			begin = end
		}
	}
	return strings.Join(parts, " ")
}

// say sends a packet from a new port and returns the reply, "" if none comes
// within 15 s, which is longer than anything takes.
func (r *rig) say(client netip.Addr, packet string) string {
	r.t.Helper()
	return fields(r.Ask(client, unhex(r.t, packet), 15*time.Second))
}

// expect sends a packet and fails the test unless the reply is this one.
func (r *rig) expect(client netip.Addr, packet, want string) {
	r.t.Helper()
	if got := r.say(client, packet); got != want {
		r.t.Errorf("%v sends %q\n got %q\nwant %q", client, packet, got, want)
	}
}

// mouth is a socket of a client, which keeps its port.
type mouth struct {
	t    *testing.T
	conn net.Conn
}

// mouth opens a socket that the test closes.
func (r *rig) mouth(client netip.Addr) *mouth {
	r.t.Helper()
	conn, err := r.Net.Dial(netip.AddrPortFrom(client, 0), netip.MustParseAddrPort("192.168.88.1:5351"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return &mouth{t: r.t, conn: conn}
}

func (m *mouth) send(packet string) {
	m.t.Helper()
	if _, err := m.conn.Write(unhex(m.t, packet)); err != nil {
		m.t.Fatal(err)
	}
}

// packets returns what has come since the last call.
func (m *mouth) packets() [][]byte {
	m.t.Helper()
	synctest.Wait()
	if err := m.conn.SetReadDeadline(time.Now().Add(time.Nanosecond)); err != nil {
		m.t.Fatal(err)
	}
	var got [][]byte
	buf := make([]byte, 2048)
	for {
		n, err := m.conn.Read(buf)
		if err != nil {
			return got
		}
		got = append(got, bytes.Clone(buf[:n]))
	}
}

// replies is packets in hexadecimal.
func (m *mouth) replies() []string {
	m.t.Helper()
	var got []string
	for _, p := range m.packets() {
		got = append(got, fields(p))
	}
	return got
}

// crash kills the daemon and waits until its socket is free.
func (r *rig) crash() {
	r.Kill()
	time.Sleep(10 * time.Second)
}

// mend ends whatever is wrong with gateway and router, and waits until the daemon
// has paid what it owed them meanwhile.
func (r *rig) mend() {
	r.Gateway.Refuse(false)
	r.Gateway.Adjust(func(p *natpmptest.Profile) { *p = natpmptest.RFC() })
	r.Router.ClearFaults()
	time.Sleep(2 * time.Minute)
}

// rules returns the daemon's rules on the router: "tcp → 192.168.88.10:80".
func (r *rig) rules() []string {
	var all []string
	for _, row := range r.OurRules("default") {
		all = append(all, row["protocol"]+" → "+row["to-addresses"]+":"+row["to-ports"])
	}
	slices.Sort(all)
	return all
}

// asked returns what the gateway was sent since the mark, without address requests.
func (r *rig) asked(since time.Time) []string {
	var all []string
	for _, p := range r.Net.Packets(natpmptest.PacketSent) {
		if p.To == netip.MustParseAddrPort("10.2.0.1:5351") && !p.At.Before(since) && len(p.Payload) > 2 {
			all = append(all, hex.EncodeToString(p.Payload))
		}
	}
	return all
}

// announcement is one packet as it left, and when: after the moment the test chose.
type announcement struct {
	After  time.Duration
	Packet string
}

// loudspeaker stands for the LAN links on which announcements are sent.
type loudspeaker struct {
	mu   sync.Mutex
	from time.Time      // guarded by mu; the zero time is the first announcement's
	sent []announcement // guarded by mu
}

func (l *loudspeaker) Announce(packet []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from.IsZero() {
		l.from = time.Now()
	}
	l.sent = append(l.sent, announcement{time.Since(l.from), fields(packet)})
	return nil
}

// take returns what was announced since the last call, and counts time from now.
func (l *loudspeaker) take() []announcement {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := l.sent
	l.sent, l.from = nil, time.Now()
	return sent
}

// announcing lets the bench's daemons announce to the loudspeaker.
func announcing(cfg lab.BenchConfig) (lab.BenchConfig, *loudspeaker) {
	l := new(loudspeaker)
	cfg.Options = func(o *daemon.Options) {
		o.Random = func() float64 { return 0 } // nothing waits longer than it has to
		o.Network.Announcements = func(net.PacketConn, config.Config) (natpmp.AnnouncementSender, string) {
			return l, "on the bench"
		}
	}
	return cfg, l
}
