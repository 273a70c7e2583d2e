package lab_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doublenat/igd/igdtest"
	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp/pcptest"
	"doublenat/routeros/routerostest"
)

// TestMain has eight tests run side by side, whatever the number of cores: most of their time
// they wait for a gateway that does not answer.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "8"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

var (
	publicOne = netip.MustParseAddr("5.6.7.8")
	portless  = netip.MustParseAddrPort("127.0.0.1:0")
)

// neighborhood counts the networks that this process has given to labs.
var neighborhood atomic.Uint32

// places returns addresses that no other lab has, on a system that has more than
// one on its loopback interface. The process id keeps test runs side by side apart.
func places(t *testing.T) lab.Places {
	t.Helper()
	p := lab.DefaultPlaces(t.Context())
	if p.Internet == p.Public {
		t.Skip("this system has one loopback address, which one lab takes")
	}
	const labs = 31 // in one street
	pid, n := os.Getpid(), int(neighborhood.Add(1))
	address := func(role int) netip.Addr {
		return netip.AddrFrom4([4]byte{127, byte(100 + (pid>>8+50*(n/labs))%100), byte(pid), byte(n%labs*8 + role)})
	}
	return lab.Places{
		Gateway:  netip.AddrPortFrom(address(0), 5351),
		Router:   netip.AddrPortFrom(address(1), 8728),
		Listen:   netip.AddrPortFrom(address(2), 5351),
		Page:     netip.AddrPortFrom(address(2), 8080),
		Client:   netip.AddrPortFrom(address(3), 8080),
		Public:   address(4),
		Tunnel:   address(5),
		Internet: address(6),
	}
}

// demo runs a demo and returns what it printed. Those who meddle see gateway and
// router before anybody runs.
func demo(t *testing.T, o lab.Options, meddle ...func(*natpmptest.Gateway, *routerostest.Router)) (string, error) {
	t.Helper()
	var out bytes.Buffer
	o.Out = &out
	if !o.Places.Public.IsValid() {
		o.Places = places(t)
	}
	l, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range meddle {
		l.Meddle(f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = l.Demo(ctx)
	return out.String(), err
}

// TestDemoNotices gives the demo daemons each of which does one thing wrong.
func TestDemoNotices(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		daemon *careless
		want   string
	}{
		{"rule forgotten", &careless{forgetsRule: true}, "the router has no rule for tcp port 20080"},
		{"rule to another port", &careless{wrongClient: true}, "and not to"},
		{"router written at a renewal", &careless{writesAtRenewal: true}, "the renewal wrote to the router 1 times"},
		{"rule kept after the deletion", &careless{keepsRule: true}, "the router still has the rule"},
		{"lease kept after the deletion", &careless{keepsLease: true}, "the gateway still has the lease"},
		{"mapping left at the end", &careless{leavesAll: true}, "left on the gateway, as lease: [udp "},
		{"rule left at the end", &careless{leavesRules: true}, "the router's NAT table is not what it was"},
		{"false address", &careless{wrongAddress: true}, "the answer is 9.9.9.9 and not the gateway's public address"},
		{"daemon that ends", &careless{ends: true}, "doublenat ended by itself: had enough"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := demo(t, lab.Options{Daemon: tt.daemon.run, Languages: lab.NATPMPAlone})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q; printed:\n%s", err, tt.want, out)
			}
			if strings.Contains(out, "went well") {
				t.Errorf("the demo praised it:\n%s", out)
			}
		})
	}
}

// TestDemoPasses shows that TestDemoNotices finds what it changes and nothing else.
func TestDemoPasses(t *testing.T) {
	t.Parallel()
	if out, err := demo(t, lab.Options{Daemon: (&careless{}).run, Languages: lab.NATPMPAlone}); err != nil {
		t.Fatalf("%v; printed:\n%s", err, out)
	}
}

// TestDemoOfDoublenat runs the demo with the real daemon and with gateways that
// grant what they are asked for, each in its own way.
func TestDemoOfDoublenat(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"proton", "proton-ext", "proton-rotate", "rfc", "miniupnpd", "split", "liar"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			out, err := demo(t, lab.Options{Daemon: doublenat, Profile: profile})
			if err != nil {
				t.Fatalf("%v; printed:\n%s", err, out)
			}
			cost := "0 s more, for 1 packet to"
			if profile == "proton-rotate" {
				cost = "0 s more, for " // The port moves, and the other protocol's lease may be asked for meanwhile.
			}
			for _, want := range []string{"Hello from a LAN host behind two NATs.", "You said: hello", cost, "All 8 steps went well"} {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in\n%s", want, out)
				}
			}
		})
	}
}

// TestDemoOfDoublenatOnBrokenLayers breaks one layer under the real daemon.
func TestDemoOfDoublenatOnBrokenLayers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(*natpmptest.Gateway, *routerostest.Router)
		want  string
	}{
		{"gateway is full", func(g *natpmptest.Gateway, _ *routerostest.Router) {
			g.Adjust(func(p *natpmptest.Profile) { p.MaxLeases, p.Companion = 1, natpmptest.CompanionAny })
		}, "step 4 (The same over UDP)"},
		{"router refuses rules", func(_ *natpmptest.Gateway, r *routerostest.Router) {
			r.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: "/ip/firewall/nat/add", Times: -1, Message: "not enough permissions (9)"})
		}, "step 2 (The client asks for its web port)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := demo(t, lab.Options{Daemon: doublenat}, tt.spoil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q; printed:\n%s", err, tt.want, out)
			}
		})
	}
}

// doublenat is the real daemon.
func doublenat(ctx context.Context, o daemon.Options) error {
	d, err := daemon.New(o)
	if err != nil {
		return err
	}
	return d.Run(ctx)
}

// TestDemoOnOneAddress has all roles on one address, as on systems whose loopback
// interface has no more.
func TestDemoOnOneAddress(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"natpmp", "pcp", "pool"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			if out, err := demo(t, lab.Options{Daemon: doublenat, Kind: kind, Places: sharedPlaces(t)}); err != nil {
				t.Errorf("%v; printed:\n%s", err, out)
			}
		})
	}
}

// sharedPlaces returns places that share an address that no other lab has.
func sharedPlaces(t *testing.T) lab.Places {
	t.Helper()
	one, shared := places(t).Public, lab.SharedPlaces()
	shared.Gateway = netip.AddrPortFrom(one, shared.Gateway.Port())
	shared.Router = netip.AddrPortFrom(one, shared.Router.Port())
	shared.Listen = netip.AddrPortFrom(one, shared.Listen.Port())
	shared.Client = netip.AddrPortFrom(one, shared.Client.Port())
	shared.Page = netip.AddrPortFrom(one, shared.Page.Port())
	shared.Public, shared.Tunnel, shared.Internet = one, one, one
	return shared
}

// TestDemoOfClosedGateways runs the demo with the real daemon and gateways that open no port,
// which is what it shows.
func TestDemoOfClosedGateways(t *testing.T) {
	t.Parallel()
	for _, kind := range lab.Kinds() {
		for _, profile := range lab.Profiles(kind) {
			if profile.Shows == "" {
				continue
			}
			t.Run(kind+" "+profile.Name, func(t *testing.T) {
				t.Parallel()
				out, err := demo(t, lab.Options{Daemon: doublenat, Kind: kind, Profile: profile.Name, Patience: time.Second})
				if err != nil {
					t.Errorf("%v; printed:\n%s", err, out)
				}
				for _, want := range []string{profile.Name + ": " + profile.Means, "as expected: " + profile.Shows, "As expected, a gateway like " + profile.Name} {
					if !strings.Contains(out, want) {
						t.Errorf("%q is not in\n%s", want, out)
					}
				}
			})
		}
	}
}

// TestClosedGatewayThatOpens has a gateway grant a port although it is one that does not.
func TestClosedGatewayThatOpens(t *testing.T) {
	t.Parallel()
	out, err := demo(t, lab.Options{Daemon: (&careless{}).run, Profile: "noaddr"}, func(g *natpmptest.Gateway, _ *routerostest.Router) {
		g.Adjust(func(p *natpmptest.Profile) { *p = natpmptest.RFC() })
	})
	if err == nil || !strings.Contains(err.Error(), "a gateway like noaddr opens no port, but this one did") {
		t.Errorf("got %v; printed:\n%s", err, out)
	}
}

// TestProfilesAreExplained holds the words to the profiles that there are.
func TestProfilesAreExplained(t *testing.T) {
	t.Parallel()
	want := map[string][]string{"pool": nil}
	for _, p := range natpmptest.Profiles() {
		want["natpmp"] = append(want["natpmp"], p.Name)
	}
	for _, p := range pcptest.Profiles() {
		want["pcp"] = append(want["pcp"], p.Name)
	}
	for _, p := range igdtest.Profiles() {
		want["igd"] = append(want["igd"], p.Name)
	}
	for _, kind := range lab.Kinds() {
		var got []string
		for _, p := range lab.Profiles(kind) {
			got = append(got, p.Name)
			if p.Means == "" {
				t.Errorf("%s %s is not explained", kind, p.Name)
			}
		}
		slices.Sort(got)
		slices.Sort(want[kind])
		if diff := cmp.Diff(want[kind], got); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
	}
}

// TestTakenPorts opens each port beforehand: the error must name the flag that helps.
func TestTakenPorts(t *testing.T) {
	t.Parallel()
	for _, moved := range []string{"gateway", "router", "listen", "client", "page"} {
		t.Run(moved, func(t *testing.T) {
			t.Parallel()
			p := places(t)
			place := map[string]netip.AddrPort{"gateway": p.Gateway, "router": p.Router, "listen": p.Listen, "client": p.Client, "page": p.Page}[moved]
			if slices.Contains([]string{"router", "client", "page"}, moved) {
				ln, err := net.Listen("tcp4", place.String())
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
			} else {
				conn, err := net.ListenPacket("udp4", place.String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
			}
			out, err := demo(t, lab.Options{Daemon: (&careless{}).run, Places: p})
			want := fmt.Sprintf("choose another one with --%s", moved)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), place.String()) {
				t.Errorf("got %v, want %q; printed:\n%s", err, want, out)
			}
		})
	}
}
