package lab_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doublenat/igd/igdtest"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

// TestDemoOfEachKind runs the demo with the real daemon and with each kind of gateway, in
// profiles that grant what they are asked for.
func TestDemoOfEachKind(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind     string
		profiles []string
		want     []string
	}{
		{"natpmp", []string{""}, []string{
			"to NAT-PMP clients", "NAT-PMP at 127.", "like proton", "doublenat → gateway    lease tcp", " → lease → ", "for 1 packet to the gateway",
			"no lease and no rule is left",
		}},
		{"pcp", []string{"", "miniupnpd", "short", "liar", "flip"}, []string{
			"whoever asks by PCP.", "PCP at 127.", "VPN_GATEWAY=pcp://127.", "doublenat → gateway    are you there?", "gateway   → doublenat  yes",
			"doublenat → gateway    lease tcp", ", at 5.6.7.8", " → mapping → ", "to the gateway and no change", "no mapping and no rule is left",
		}},
		{"igd", []string{"", "igd2", "ppp", "both", "permanent", "402", "forgets", "full"}, []string{
			"public ports for UPnP clients", "UPnP, searched for at 127.", "VPN_GATEWAY=igd://127.", "doublenat → gateway    GetExternalIPAddress", "gateway   → doublenat  5.6.7.8",
			"PortMapping: tcp 2", "doublenat → gateway    DeletePortMapping: udp ", " → mapping → ", "of the box and no change", "no mapping and no rule is left",
		}},
		{"pool", []string{""}, []string{
			"which forwards some ports to the router for good;", "forwards ports 20001 to 20003 to the router's ports 30001 to 30003",
			"VPN_GATEWAY=pool:20001-20003:30001-30003%wg1", "5.6.7.8:20001 → forward → 127.", "3600 s more, for no word to the provider and no change",
			"no rule is left, public port 20001 refuses over UDP too",
		}},
	}
	for _, tt := range tests {
		for _, profile := range tt.profiles {
			t.Run(tt.kind+" "+profile, func(t *testing.T) {
				t.Parallel()
				out, err := demo(t, lab.Options{Daemon: doublenat, Kind: tt.kind, Profile: profile})
				if err != nil {
					t.Fatalf("%v; printed:\n%s", err, out)
				}
				common := []string{"The gateway is of the kind " + tt.kind + ": ", "Hello from a LAN host behind two NATs.", "You said: hello", "All 8 steps went well"}
				for _, want := range append(common, tt.want...) {
					if !strings.Contains(out, want) {
						t.Errorf("%q is not in\n%s", want, out)
					}
				}
			})
		}
	}
}

// TestDemoOfEachKindFails breaks a layer under the real daemon, once for each kind.
func TestDemoOfEachKindFails(t *testing.T) {
	t.Parallel()
	keepsRules := func(l *lab.Lab) {
		l.MeddleWithRouter(func(r *routerostest.Router) {
			r.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: "/ip/firewall/nat/remove", Times: -1, Message: "not enough permissions (9)"})
		})
	}
	tests := []struct {
		name, kind, profile string
		spoil               func(*lab.Lab)
		want                string
	}{
		{"router keeps the rule", "pool", "", keepsRules, "step 6 (The client gives its web port back)"},
		{"router keeps the rule", "igd", "", keepsRules, "step 6 (The client gives its web port back)"},
		{"box keeps the mapping", "igd", "", func(l *lab.Lab) {
			l.MeddleWithBox(func(g *igdtest.Gateway) {
				g.Adjust(func(p *igdtest.Profile) { p.Unknown = []string{"DeletePortMapping"} })
			})
		}, "step 6 (The client gives its web port back)"},
		{"box maps nothing", "igd", "", func(l *lab.Lab) {
			l.MeddleWithBox(func(g *igdtest.Gateway) { g.Adjust(func(p *igdtest.Profile) { p.Empty = true }) })
		}, "the gateway has no mapping for tcp port 2"},
	}
	for _, tt := range tests {
		t.Run(tt.kind+" "+tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			l, err := lab.New(lab.Options{Daemon: doublenat, Out: &out, Places: places(t), Kind: tt.kind, Profile: tt.profile, Patience: 3 * time.Second, Languages: lab.NATPMPAlone})
			if err != nil {
				t.Fatal(err)
			}
			tt.spoil(l)
			err = l.Demo(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q; printed:\n%s", err, tt.want, &out)
			}
		})
	}
}

// TestBoxPortTaken opens the port at which a box is described, which is not the one at
// which it is searched for.
func TestBoxPortTaken(t *testing.T) {
	t.Parallel()
	p := places(t)
	ln, err := net.Listen("tcp4", p.Gateway.String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	out, err := demo(t, lab.Options{Daemon: doublenat, Places: p, Kind: "igd"})
	if err == nil || !strings.Contains(err.Error(), "choose another one with --gateway") {
		t.Errorf("got %v; printed:\n%s", err, out)
	}
}

// TestDemoNoticesWithPCP has a daemon that forgets the lease of a gateway that speaks PCP, too.
func TestDemoNoticesWithPCP(t *testing.T) {
	t.Parallel()
	const want = "the gateway still has the mapping for tcp port"
	out, err := demo(t, lab.Options{Daemon: (&careless{keepsLease: true}).run, Kind: "pcp", Profile: "miniupnpd", Languages: lab.NATPMPAlone})
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q; printed:\n%s", err, want, out)
	}
}

// TestRunOfEachKind lets the lab run and maps a port as a visitor: it shows that it came
// and went, and a hint that fits.
func TestRunOfEachKind(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ hint, came string }{
		"pcp":  {"VPN_GATEWAY=pcp://127.", "→ 127.0.0.1:9000"},
		"igd":  {"upnpc -u http://127.", "→ 127.0.0.1:9000"},
		"pool": {"map 3 ports of yours: the provider forwards 3", "+ tcp 20002, which is 127."},
	}
	for kind, tt := range tests {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			out, p := newScreen(), places(t)
			l, err := lab.New(lab.Options{Daemon: doublenat, Out: out, Places: p, Kind: kind})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			defer launch(ctx, t, l, out)()
			out.wait(ctx, t, "doublenat check")
			out.wait(ctx, t, tt.hint)
			visit(ctx, t, p, func(visitor *natpmp.Client) {
				if _, err := visitor.Map(ctx, natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: 9000, Lifetime: 600}); err != nil {
					t.Error(err)
					return
				}
				out.wait(ctx, t, tt.came)
				if err := visitor.Unmap(ctx, natpmp.OpMapTCP, 9000); err != nil {
					t.Error(err)
					return
				}
				out.wait(ctx, t, "  - tcp ")
			})
		})
	}
}

// visit calls a function with a client of the lab's doublenat.
func visit(ctx context.Context, t *testing.T, p lab.Places, with func(*natpmp.Client)) {
	t.Helper()
	visitor, err := natpmp.NewClient(natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", p.Listen.String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(ctx)
	var visiting sync.WaitGroup
	visiting.Go(func() { _ = visitor.Run(ctx) })
	defer visiting.Wait()
	defer leave()
	with(visitor)
}

// TestBoxForgets shows that a lease that ended without a word is a port that is closed.
func TestBoxForgets(t *testing.T) {
	t.Parallel()
	out, p := newScreen(), places(t)
	l, err := lab.New(lab.Options{Daemon: doublenat, Out: out, Places: p, Kind: "igd"})
	if err != nil {
		t.Fatal(err)
	}
	var box *igdtest.Gateway
	l.MeddleWithBox(func(g *igdtest.Gateway) { box = g })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	defer launch(ctx, t, l, out)()
	out.wait(ctx, t, "doublenat check")
	visit(ctx, t, p, func(visitor *natpmp.Client) {
		m, err := visitor.Map(ctx, natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: 9000, Lifetime: 600})
		if err != nil {
			t.Error(err)
			return
		}
		out.wait(ctx, t, "→ 127.0.0.1:9000")
		for _, known := range box.Mappings() {
			if known.External == m.ExternalPort {
				box.Forget(known.Protocol, known.External)
			}
		}
		out.wait(ctx, t, "  - tcp ")
		conn, err := net.Dial("tcp4", netip.AddrPortFrom(p.Public, m.ExternalPort).String())
		if err == nil {
			_ = conn.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the forgotten port: %v", err)
		}
	})
}
