package daemon_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
	"doublenat/stun/stuntest"
)

var (
	stunServer = netip.MustParseAddrPort("203.0.113.1:3478")
	vpnAddress = netip.MustParseAddr("9.8.7.6") // that of the tunnel's provider
)

// stunRig is a bench with a STUN server on the Internet.
type stunRig struct {
	*rig

	server *stuntest.Server
}

// fromContainer is a socket of doublenat's that the router masquerades.
type fromContainer struct {
	net.Conn

	local netip.AddrPort
}

// LocalAddr returns the end that doublenat sees.
func (c fromContainer) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// onSTUN runs a test with a daemon that has a pool at the tunnel, and a STUN server to which
// its questions go by way of the router's tables.
func onSTUN(t *testing.T, box routerostest.Config, test func(r *stunRig)) {
	t.Helper()
	var bench *lab.Bench
	var port atomic.Uint32
	s := &stunRig{server: stuntest.New()}
	s.server.Answer(func(request []byte, from netip.AddrPort) [][]byte {
		if from.Addr().String() == routerostest.TunnelAddress {
			from = netip.AddrPortFrom(vpnAddress, from.Port())
		}
		return stuntest.Claim(from)(request, from)
	})
	cfg := lab.BenchConfig{
		Router: box,
		// On RouterOS 6 the tunnel is one by L2TP, which may be a line too.
		Prepare: func(box *routerostest.Router) {
			if err := box.Set("/ip/cloud", "", routerostest.Row{"public-address": ""}); err != nil {
				t.Error(err)
			}
		},
		Environ: map[string]string{"VPN_GATEWAY": "pool:1000-1009%wg1", "STUN_SERVER": stunServer.Addr().String()},
		Options: func(o *daemon.Options) {
			o.Network.DialSTUN = func(_ context.Context, to string) (net.Conn, error) {
				local := netip.AddrPortFrom(netip.MustParseAddr(routerostest.ContainerAddress), uint16(40000+port.Add(1)))
				path := bench.Router.Follow(routerostest.Packet{Protocol: "udp", In: "veth1", Src: local, Dst: netip.MustParseAddrPort(to)}, true)
				conn, err := bench.Net.Dial(path.Src, path.Dst)
				return fromContainer{conn, local}, err
			}
		},
	}
	onBenchWith(t, cfg, func(b *lab.Bench) func() {
		bench = b
		conn, err := b.Net.Listen(stunServer)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- s.server.Serve(conn) }()
		return func() {
			if err := <-done; err != nil { // the network is closed by now
				t.Errorf("the STUN server: %v", err)
			}
		}
	}, func(r *rig) {
		s.rig = r
		test(s)
		if n := r.requests(); n > 0 {
			r.t.Errorf("%d packets for a gateway", n)
		}
	})
}

// tells fails the test unless clients are told the address, "" for none, and the page says
// where it comes from.
func (s *stunRig) tells(when, want string) {
	s.t.Helper()
	got := s.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress})
	told := ""
	if got.Result == natpmp.ResultSuccess {
		told = got.Address.String()
	}
	if told != want || want == "" && got.Result != natpmp.ResultNetworkFailure {
		s.t.Errorf("%s: told %+v, want %q", when, got, want)
	}
	if shown := s.hop("address"); want != "" && !strings.Contains(shown, want+", by STUN (203.0.113.1:3478)") {
		s.t.Errorf("%s: shown as %q", when, shown)
	}
}

// intoTheTunnel leads what goes to the server into the tunnel.
func (s *stunRig) intoTheTunnel() {
	s.t.Helper()
	for _, refused := range routerostest.Refused(s.Router.Console(routerostest.AdminUser).Paste(`/ip route add dst-address=203.0.113.1/32 gateway=wg1 comment="STUN of doublenat"`)) {
		s.t.Error(refused)
	}
}

// A question that leaves by another line than the pool's is not believed, mappings work, and
// after the command that the log gives its answer is told.
func TestSTUN(t *testing.T) {
	t.Parallel()
	for name, box := range map[string]routerostest.Config{"7.22": {}, "6.49": {Version: "6.49"}, "port columns": {PortColumns: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onSTUN(t, box, func(s *stunRig) {
				s.tells("by the wrong line", "")
				s.mapped(alice, natpmp.OpMapTCP, 80)
				s.intoTheTunnel()
				time.Sleep(time.Minute)
				s.tells("by the tunnel", vpnAddress.String())
				if _, from := s.server.Asked(); from.Addr().String() != routerostest.TunnelAddress {
					s.t.Errorf("asked from %v", from)
				}
			})
		})
	}
}

// The server is asked seldom, and at once when the interface has another address; what it
// said counts for a while when it is silent.
func TestSTUNIsAskedSeldom(t *testing.T) {
	t.Parallel()
	onSTUN(t, routerostest.Config{}, func(s *stunRig) {
		s.intoTheTunnel()
		time.Sleep(time.Minute)
		s.tells("at first", vpnAddress.String())
		before, _ := s.server.Asked()
		time.Sleep(time.Hour)
		if n, _ := s.server.Asked(); n < before+5 || n > before+6 {
			s.t.Errorf("asked %d times in an hour", n-before)
		}
		before, _ = s.server.Asked()
		for _, row := range s.Router.Rows("/ip/address") {
			if row["interface"] == "wg1" {
				if err := s.Router.Set("/ip/address", row[".id"], routerostest.Row{"address": "10.2.0.9/32", "network": "10.2.0.9"}); err != nil {
					s.t.Fatal(err)
				}
			}
		}
		second := netip.MustParseAddr("9.8.7.7")
		s.server.Answer(stuntest.Claim(netip.AddrPortFrom(second, 1)))
		time.Sleep(2 * time.Minute)
		if n, _ := s.server.Asked(); n != before+1 {
			s.t.Errorf("asked %d times after the interface got another address", n-before)
		}
		s.tells("with another address", second.String())
		s.server.Answer(stuntest.Silence)
		time.Sleep(15 * time.Minute)
		s.tells("silent for five minutes", second.String())
		time.Sleep(15 * time.Minute)
		s.tells("silent for long", "")
		s.server.Answer(stuntest.Claim(netip.AddrPortFrom(vpnAddress, 1)))
		time.Sleep(11 * time.Minute)
		s.tells("again", vpnAddress.String())
	})
}

// What no answer may do: private addresses, refusals, forgeries.
func TestSTUNAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	forged := func(request []byte, from netip.AddrPort) [][]byte {
		b := stuntest.Claim(netip.MustParseAddrPort("1.2.3.4:1"))(request, from)[0]
		b[19] ^= 1
		return [][]byte{b}
	}
	for name, answer := range map[string]func([]byte, netip.AddrPort) [][]byte{
		"private": stuntest.Claim(netip.MustParseAddrPort("10.1.2.3:4")), "IPv6": stuntest.Claim(netip.MustParseAddrPort("[2001:db8::1]:4")),
		"forged": forged, "empty": func(request []byte, _ netip.AddrPort) [][]byte { return [][]byte{stuntest.Response(request)} },
		"silent": stuntest.Silence,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onSTUN(t, routerostest.Config{}, func(s *stunRig) {
				s.server.Answer(answer)
				s.intoTheTunnel()
				time.Sleep(2 * time.Minute)
				s.tells(name, "")
				s.mapped(alice, natpmp.OpMapTCP, 80)
			})
		})
	}
}

// Nobody is asked while the router knows the address, or without the setting.
func TestSTUNIsNotAsked(t *testing.T) {
	t.Parallel()
	for _, environ := range []map[string]string{
		{"VPN_GATEWAY": "pool:1000%" + routerostest.WANInterface},
		{"PUBLIC_ADDRESS": "9.8.7.6"},
		{"STUN_SERVER": ""},
	} {
		onSTUN(t, routerostest.Config{}, func(s *stunRig) {
			if err := s.Stop(); err != nil {
				s.t.Error(err)
			}
			before, _ := s.server.Asked()
			s.start(environ)
			time.Sleep(time.Hour)
			if n, _ := s.server.Asked(); n != before {
				s.t.Errorf("%v: asked %d times", environ, n-before)
			}
		})
	}
}

// The log says once why an answer is not believed, and what to type.
func TestSTUNWarning(t *testing.T) {
	t.Parallel()
	answer := daemon.AnswerThrough(routerostest.ContainerAddress, stunServer, vpnAddress)
	own := []netip.Addr{netip.MustParseAddr(routerostest.TunnelAddress)}
	for from, want := range map[string][]string{
		routerostest.TunnelAddress:    nil,
		routerostest.WANAddress:       {"left from 198.51.100.2, which is not the router's address on wg1", "/ip route add dst-address=203.0.113.1/32 gateway=wg1"},
		routerostest.ContainerAddress: {"doublenat's own address 172.30.254.2, which is not masqueraded", "action=masquerade out-interface=wg1"},
		"":                            {"not certain that the question left by wg1", "/ip route add dst-address=203.0.113.1/32 gateway=wg1"},
	} {
		why, advice := daemon.JudgeSTUN(answer, daemon.DepartedFrom(from), own, "wg1")
		if (why == "") != (want == nil) || slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(why+"\n"+advice.String(), w) }) {
			t.Errorf("from %q: %q, %v", from, why, advice)
		}
	}
}
