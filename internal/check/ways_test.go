package check_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/internal/setup"
	"doublenat/routeros/routerostest"
)

var (
	lanHost   = netip.MustParseAddr("192.168.88.10")
	container = netip.MustParseAddr(routerostest.ContainerAddress)
	ownRouter = netip.MustParseAddr(routerostest.LANAddress)
)

// neighbors are devices on the clients' network, and who asks them.
type neighbors struct {
	*rig
	from      netip.Addr // who asks
	mu        sync.Mutex // guards what follows
	listeners map[netip.AddrPort]*igdtest.Listener
}

// withWays tells the doctor of ways in, and that it asks from an address.
func withWays(r *rig, from netip.Addr, pcp bool, upnp uint16) *neighbors {
	n := &neighbors{rig: r, from: from, listeners: make(map[netip.AddrPort]*igdtest.Listener)}
	r.cfg.Ways = &check.Ways{
		PCP: pcp, UPnP: upnp, Home: netip.MustParseAddrPort("192.168.88.1:5351"), Dial: n.dial,
		Search: func(context.Context) (net.PacketConn, error) { return r.Net.Listen(netip.AddrPortFrom(n.from, 0)) },
	}
	return n
}

func (n *neighbors) dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	if network == "udp" {
		return n.Net.Dial(netip.AddrPortFrom(n.from, 0), to)
	}
	n.mu.Lock()
	l := n.listeners[to]
	n.mu.Unlock()
	if l == nil && n.Daemon() != nil {
		return n.DialControl(ctx, n.from, to)
	}
	if l == nil {
		return nil, errors.New("connection refused")
	}
	return l.Dial(ctx, netip.AddrPortFrom(n.from, 0))
}

// device puts a gateway on the network until the test ends: its model, where its description is,
// and where searches reach it.
func (n *neighbors) device(model string, at netip.AddrPort, searched ...netip.AddrPort) *igdtest.Gateway {
	n.t.Helper()
	profile := igdtest.IGD2()
	profile.Description = func() []byte {
		return fmt.Appendf(nil, "<root><device><friendlyName>x</friendlyName><manufacturer>Acmé\u202e</manufacturer><modelName>%s</modelName><serviceList><service>"+
			"<serviceType>urn:schemas-upnp-org:service:WANIPConnection:2</serviceType><controlURL>/ctl/IPConn</controlURL></service></serviceList></device></root>", model)
	}
	if model == "television" {
		profile.Description = func() []byte {
			return []byte("<root><device><friendlyName>x</friendlyName><modelName>television</modelName></device></root>")
		}
	}
	g := igdtest.New(igdtest.Config{Profile: profile})
	l := igdtest.Listen(at)
	n.mu.Lock()
	n.listeners[at] = l
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := g.Serve(ctx, l); err != nil {
			n.t.Error(err)
		}
	})
	synctest.Wait() // it knows its address
	for _, s := range searched {
		conn, err := n.Net.Listen(s)
		if err != nil {
			n.t.Fatal(err)
		}
		serving.Go(func() {
			if err := g.ServeSearch(ctx, conn); err != nil {
				n.t.Error(err)
			}
			_ = conn.Close()
		})
	}
	n.t.Cleanup(func() { cancel(); serving.Wait() })
	return g
}

// onBridge makes the container a port of the clients' bridge, and types what setup prints for
// UPnP.
func (n *neighbors) onBridge() {
	n.t.Helper()
	n.type1(`/ip address remove [find interface=veth1]
/interface bridge port add bridge=bridge interface=veth1
/ip address add address=172.30.254.1/30 interface=bridge
`)
	n.printed(setup.LinkBridge, "bridge")
}

// printed types what setup prints for UPnP.
func (n *neighbors) printed(link setup.Link, bridge string) {
	n.t.Helper()
	steps, err := setup.New(setup.Config{
		Version: setup.Version{Major: 7, Minor: 22}, Host: container, Container: netip.PrefixFrom(container, 30), User: "doublenat", APIPort: 8728,
		LAN: setup.LAN{List: "LAN"}, VPN: netip.MustParseAddrPort("10.2.0.1:5351"), Link: link, Bridge: bridge, UPnP: 5351,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, s := range steps {
		if strings.HasPrefix(s.Title, "UPnP ") {
			n.obey(s.Commands)
		}
	}
}

// type1 types lines into the router's terminal.
func (n *neighbors) type1(lines string) {
	n.t.Helper()
	if refused := routerostest.Refused(n.Router.Console(routerostest.AdminUser).Paste(lines)); refused != nil {
		n.t.Fatalf("refused: %q", refused)
	}
}

// said returns what the probes of the ways in say.
func (n *neighbors) said() (all []string, report check.Report) {
	n.t.Helper()
	report = n.check()
	for _, f := range report.Findings {
		switch f.Probe {
		case "pcp", "upnp", "search":
			all = append(all, fmt.Sprintf("%s %v: %s", f.Probe, f.Level, f.Seen))
		default:
			if f.Level != check.OK && f.Probe != "redirect" {
				n.t.Errorf("%s: %v: %s (%s)", f.Probe, f.Level, f.Seen, f.Advice)
			}
		}
	}
	return all, report
}

// TestWaysOff has ways in that are off: a line each, and nobody is asked.
func TestWaysOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		r.cfg.Ways = &check.Ways{}
		got, _ := (&neighbors{rig: r}).said()
		want := []string{
			"upnp ok: UPnP is off: UPNP=on is for consoles, Plex, Monero, I2P and games, which speak nothing else",
			"pcp ok: PCP is off: programs ask by NAT-PMP. PCP=on would tell Apple devices of a changed port at once, and NetBird its true port",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
	})
	for _, w := range []*check.Ways{{PCP: true}, {UPnP: 5351, Dial: func(context.Context, string, netip.AddrPort) (net.Conn, error) { return nil, errors.ErrUnsupported }}} {
		if _, err := check.New(check.Config{Ways: w}); err == nil || !strings.Contains(err.Error(), "as a client does") {
			t.Errorf("error %v", err)
		}
	}
}

// liar is a connection that takes itself to be at another address: behind it there is a NAT.
type liar struct{ net.Conn }

func (liar) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.168.1.77:40000"))
}

// TestPCPAsked asks a daemon by PCP: one that answers it, one that does not, none, and one of
// which a NAT keeps the client's address.
func TestPCPAsked(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ map[string]string // nil: no daemon
		change  func(n *neighbors)
		want    string
		text    string // in the remedy
	}{
		"answered":     {map[string]string{"PCP": "on"}, nil, "ok: doublenat at 192.168.88.1:5351 answers PCP", ""},
		"from the LAN": {map[string]string{"PCP": "on"}, elsewhere, "ok: doublenat, asked at the router's 192.168.88.1:5351, answers PCP", ""},
		"not set":      {map[string]string{}, nil, "fail: doublenat at 192.168.88.1:5351 answers NAT-PMP alone", "set it where doublenat runs too"},
		"none":         {nil, nil, "warn: doublenat at 192.168.88.1:5351 does not answer PCP: ", "start doublenat"},
		"behind Docker": {
			map[string]string{"PCP": "on"},
			behindNAT,
			"fail: doublenat at 192.168.88.1:5351 sees requests come from another address than this host's: ADDRESS_MISMATCH", "network_mode: host",
		},
		"masqueraded": {
			map[string]string{"PCP": "on"},
			func(n *neighbors) { elsewhere(n); behindNAT(n) },
			"fail: doublenat, asked at the router's 192.168.88.1:5351, sees requests come from another address than this host's: ADDRESS_MISMATCH", "masquerade",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{Environ: tt.environ})
				if tt.environ != nil {
					r.serve()
				}
				n := withWays(r, lanHost, true, 0)
				if tt.change != nil {
					tt.change(n)
				}
				_, report := n.said()
				for _, f := range report.Findings {
					got := f.Level.String() + ": " + f.Seen
					if f.Probe == "pcp" && (!strings.HasPrefix(got, tt.want) || !strings.Contains(f.Advice.String(), tt.text)) {
						t.Errorf("%s (%s), want %q, %q", got, f.Advice, tt.want, tt.text)
					}
					if f.Probe == "pcp" && name == "masqueraded" {
						r.obey(f.Advice.Commands)
						if len(f.Advice.Commands) != 1 {
							t.Errorf("commands: %v", f.Advice.Commands)
						}
					}
				}
			})
		})
	}
}

// elsewhere makes the doctor one that runs on a LAN host.
func elsewhere(n *neighbors) { n.cfg.Self = []netip.Addr{n.from} }

// behindNAT puts a NAT between the doctor and doublenat.
func behindNAT(n *neighbors) {
	dial := n.cfg.Ways.Dial
	n.cfg.Ways.Dial = func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
		conn, err := dial(ctx, network, to)
		if err != nil {
			return nil, err
		}
		return liar{conn}, nil
	}
}

// TestSearch has doublenat in each layout, other devices, and what can be wrong with the
// router. Each command that is printed is typed, and mends what it was printed for.
func TestSearch(t *testing.T) {
	t.Parallel()
	group, own := igd.MulticastAddress(), netip.AddrPortFrom(ownRouter, igd.SearchPort)
	ours := netip.AddrPortFrom(ownRouter, 5351)
	const (
		wellFound = "search ok: doublenat is found by multicast and a search at 192.168.88.1 at http://192.168.88.1:5351/rootDesc.xml: Connected, public address 5.6.7.8"
		wellLed   = "upnp ok: UPnP that is sent to the router reaches doublenat, and searches by multicast do on bridge"
		unicast   = "upnp warn: searches by multicast stay on bridge, and doublenat is behind veth1: consoles, Plex and games do not find it"
	)
	for name, tt := range map[string]struct {
		bridge  bool
		provoke func(n *neighbors)
		want    []string
		after   []string // what is said once the commands were typed; nil: the same
	}{
		"on the bridge": {bridge: true, provoke: func(n *neighbors) { n.device("doublenat", ours, group, own) }, want: []string{wellLed, wellFound}},
		"a veth apart": {
			provoke: func(n *neighbors) { n.printed(setup.LinkRouted, ""); n.device("doublenat", ours, own) },
			want:    []string{unicast, strings.Replace(wellFound, "multicast and ", "", 1)},
		},
		"nothing redirected": {
			provoke: func(n *neighbors) { n.device("doublenat", ours, own) },
			want: []string{
				"upnp fail: udp port 1900 of the router is not redirected: clients that ask the router do not reach doublenat",
				"upnp fail: tcp port 5351 of the router is not redirected: clients that ask the router do not reach doublenat",
				unicast, strings.Replace(wellFound, "multicast and ", "", 1),
			},
			after: []string{unicast, strings.Replace(wellFound, "multicast and ", "", 1)},
		},
		"dropped": {
			provoke: func(n *neighbors) {
				n.printed(setup.LinkRouted, "")
				n.type1("/ip firewall filter remove [find comment~\"UPnP\"]\n")
				n.add(filterPath, "chain=forward action=drop in-interface=bridge protocol=tcp dst-port=5351", n.id(filterPath, "chain", "forward"))
				n.device("doublenat", ours, own)
			},
			want:  []string{"upnp fail: the filter rule *C drops actions of UPnP", unicast, strings.Replace(wellFound, "multicast and ", "", 1)},
			after: []string{unicast, strings.Replace(wellFound, "multicast and ", "", 1)},
		},
		"the router's own": {
			bridge: true,
			provoke: func(n *neighbors) {
				n.type1("/ip upnp set enabled=yes\n")
				n.device("doublenat", ours, group)
				n.device("RouterBOARD", netip.MustParseAddrPort("192.168.88.1:2828"), group, own)
			},
			want: []string{
				"upnp fail: the router's own UPnP is enabled, on the same port: clients map ports there that no gateway beyond knows",
				`search warn: another gateway answers searches by multicast and a search at 192.168.88.1: "Acm?? RouterBOARD" at 192.168.88.1`,
				strings.Replace(wellFound, " and a search at 192.168.88.1", "", 1),
			},
		},
		"send-redirects": {
			bridge: true,
			provoke: func(n *neighbors) {
				n.type1("/ip settings set send-redirects=yes\n")
				n.device("doublenat", ours, group, own)
			},
			want: []string{
				"upnp fail: the router sends ICMP redirects: the container shares a bridge with its clients, and answers them directly, from an address that they did not ask",
				wellFound,
			},
			after: []string{wellLed, wellFound},
		},
		"nobody": {
			bridge: true, provoke: func(*neighbors) {},
			want: []string{wellLed, "search fail: nobody answers a search for UPnP gateways, by multicast or at 192.168.88.1"},
		},
		"another box and a television": {
			bridge: true,
			provoke: func(n *neighbors) {
				n.device("television", netip.MustParseAddrPort("192.168.88.40:80"), group)
				n.device("Fritz", netip.MustParseAddrPort("192.168.88.254:49000"), group)
			},
			want: []string{
				wellLed, `search warn: another gateway answers searches by multicast: "Acm?? Fritz" at 192.168.88.254`,
				"search fail: doublenat does not answer a search, by multicast or at 192.168.88.1",
			},
		},
		"another location": {
			bridge: true,
			provoke: func(n *neighbors) {
				elsewhere(n)
				n.device("doublenat", netip.MustParseAddrPort("172.30.254.2:5351"), group, own)
			},
			want: []string{
				wellLed, strings.Replace(wellFound, "192.168.88.1:5351", "172.30.254.2:5351", 1),
				"search warn: doublenat's description is at 172.30.254.2, which is not this host's gateway: programs that compare both refuse it",
			},
		},
		"at the router, seen from doublenat's host": {
			bridge: true,
			provoke: func(n *neighbors) {
				n.from, n.cfg.Ways.Home = container, netip.AddrPortFrom(container, 5351)
				n.device("doublenat", netip.AddrPortFrom(container, 5351), group, netip.AddrPortFrom(container, igd.SearchPort)).
					Adjust(func(p *igdtest.Profile) { p.Location = "http://192.168.88.1:5351/rootDesc.xml" })
			},
			want: []string{wellLed, strings.Replace(wellFound, "search at 192.168.88.1", "search at 172.30.254.2", 1)},
		},
		"no way to the description": {
			bridge: true,
			provoke: func(n *neighbors) {
				n.device("doublenat", ours, group, own)
				delete(n.listeners, ours)
			},
			want: []string{
				wellLed,
				"search warn: who answers a search by multicast and a search at 192.168.88.1 names http://192.168.88.1:5351/rootDesc.xml, where no description can be read: " +
					"finding the gateway's UPnP device: http://192.168.88.1:5351/rootDesc.xml: asking 192.168.88.1:5351: Get \"http://192.168.88.1:5351/rootDesc.xml\": connection refused",
				"search fail: doublenat does not answer a search, by multicast or at 192.168.88.1",
			},
		},
		"actions that fail": {
			bridge: true,
			provoke: func(n *neighbors) {
				n.device("doublenat", ours, group, own).Adjust(func(p *igdtest.Profile) { p.Unknown = []string{"GetExternalIPAddress"} })
			},
			want: []string{
				wellLed, "search fail: doublenat is found by multicast and a search at 192.168.88.1 at http://192.168.88.1:5351/rootDesc.xml, " +
					"and does not do what it is asked: GetExternalIPAddress: 401 InvalidAction",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := withWays(newRig(t, lab.BenchConfig{}), lanHost, false, 5351)
				if tt.bridge {
					n.onBridge()
				}
				tt.provoke(n)
				got, report := n.said()
				pcp := len(got) - 1 // PCP is off
				for i, line := range got {
					if strings.HasPrefix(line, "pcp ") {
						pcp = i
					}
				}
				if diff := cmp.Diff(tt.want, append(got[:pcp:pcp], got[pcp+1:]...)); diff != "" {
					t.Errorf("findings (-want +got):\n%s", diff)
				}
				if tt.after == nil {
					return
				}
				for _, f := range wrong(report) {
					n.obey(f.Advice.Commands)
				}
				time.Sleep(time.Minute)
				got, _ = n.said()
				for i, line := range got {
					if strings.HasPrefix(line, "pcp ") {
						got = append(got[:i:i], got[i+1:]...)
						break
					}
				}
				if diff := cmp.Diff(tt.after, got); diff != "" {
					t.Errorf("after (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestContainerOnTheBridge has a rule that drops what such a container sends. The exception is
// for it alone, and not for all that comes in by the bridge.
func TestContainerOnTheBridge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := withWays(newRig(t, lab.BenchConfig{}), lanHost, false, 0)
		n.onBridge()
		n.add("/ip/firewall/raw", "chain=prerouting action=drop in-interface=bridge src-address=172.30.254.2", "")
		report := n.check()
		var got []string
		for _, f := range wrong(report) {
			for _, c := range f.Advice.Commands {
				got = append(got, c.String())
			}
			n.obey(f.Advice.Commands)
		}
		want := `/ip firewall raw add chain=prerouting action=accept src-address=172.30.254.2 place-before=`
		if len(got) == 0 || !strings.HasPrefix(got[0], want) {
			t.Errorf("commands %q, want %q", got, want)
		}
		for _, f := range wrong(n.check()) {
			t.Errorf("still: %s: %s", f.Probe, f.Seen)
		}
	})
}

// TestSearchOfTheDaemon has the real daemon found, and asked.
func TestSearchOfTheDaemon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{Environ: map[string]string{"UPNP": "on", "PCP": "on"}})
		r.serve()
		n := withWays(r, lanHost, true, 5351)
		n.onBridge()
		got, _ := n.said()
		want := []string{
			"upnp ok: UPnP that is sent to the router reaches doublenat, and searches by multicast do on bridge",
			"pcp ok: doublenat at 192.168.88.1:5351 answers PCP",
		}
		if diff := cmp.Diff(want, got[:min(len(got), 2)]); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
		const found = "search ok: doublenat is found by a search at 192.168.88.1 at http://192.168.88.1:5351/"
		if len(got) != 3 || !strings.HasPrefix(got[2], found) || !strings.HasSuffix(got[2], ": Connected, public address 5.6.7.8") {
			t.Errorf("found %q, want %q", got[min(2, len(got)):], found)
		}
	})
}
