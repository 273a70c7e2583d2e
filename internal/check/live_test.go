package check_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// livePort is what the doctor's host listens on.
const livePort = 40001

// door is a listener in memory: whoever knocks is let in.
type door struct {
	knocks chan net.Conn
	closed chan struct{}
}

func newDoor() *door { return &door{knocks: make(chan net.Conn), closed: make(chan struct{})} }

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.knocks:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (d *door) Close() error {
	close(d.closed)
	return nil
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(routerostest.ContainerAddress), Port: livePort}
}

// knock connects and reads what is said.
func (d *door) knock() error {
	ours, theirs := net.Pipe()
	defer ours.Close()
	d.knocks <- theirs
	_, err := ours.Read(make([]byte, 64))
	return err
}

// live lets the doctor ask the daemon of the bench, as its own host would.
func (r *rig) live(try func(ctx context.Context, public netip.AddrPort) error) (listener *door) {
	listener = newDoor()
	self := netip.MustParseAddr(routerostest.ContainerAddress)
	r.cfg.Live = &check.Live{
		Ask: func(context.Context) (net.Conn, error) {
			return r.Net.Dial(netip.AddrPortFrom(self, 0), netip.MustParseAddrPort(routerostest.LANAddress+":5351"))
		},
		Listen: func(context.Context) (net.Listener, error) { return listener, nil },
		Try:    try,
	}
	return listener
}

// examine lets the doctor look, and change what a live mapping changes.
func (r *rig) examine() check.Finding {
	r.t.Helper()
	d, err := check.New(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	report, err := d.Run(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return report.Findings[len(report.Findings)-1]
}

// through connects from the Internet by the lease and the rule that stand.
func (r *rig) through(d *door, public netip.AddrPort) error {
	lease, ok := r.Gateway.Lookup(natpmp.OpMapTCP, public.Port())
	if !ok {
		return errors.New("no lease")
	}
	to, _, ok := r.Router.Match("tcp", routerostest.TunnelInterface, lease.Target.Port())
	if want := netip.AddrPortFrom(netip.MustParseAddr(routerostest.ContainerAddress), livePort); !ok || to != want {
		return fmt.Errorf("the rule leads to %v, want %v", to, want)
	}
	return d.knock()
}

func TestLive(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		prepare func(r *rig)
		try     func(r *rig, d *door) func(context.Context, netip.AddrPort) error
		want    check.Finding
		text    string
		mend    string // in the remedy
	}{
		"reached": {
			try: func(r *rig, d *door) func(context.Context, netip.AddrPort) error {
				return func(_ context.Context, public netip.AddrPort) error { return r.through(d, public) }
			},
			text: "a connection from outside to 5.6.7.8:",
		},
		"reached later": {
			try: func(r *rig, d *door) func(context.Context, netip.AddrPort) error {
				return func(_ context.Context, public netip.AddrPort) error {
					time.AfterFunc(5*time.Second, func() { _ = r.through(d, public) })
					return nil
				}
			},
			text: "came through",
		},
		"not reached": {
			try: func(*rig, *door) func(context.Context, netip.AddrPort) error {
				return func(context.Context, netip.AddrPort) error { return errors.New("no route to host") }
			},
			want: check.Finding{Level: check.Fail}, text: "no route to host",
		},
		"not tried": {
			try: func(*rig, *door) func(context.Context, netip.AddrPort) error {
				return func(context.Context, netip.AddrPort) error {
					return fmt.Errorf("wrapped: %w", &check.NotTriedError{Err: errors.New("no such host")})
				}
			},
			want: check.Finding{Level: check.Warn}, text: "nobody tried 5.6.7.8:", mend: "--from and --echo",
		},
		"tried all the same": {
			try: func(r *rig, d *door) func(context.Context, netip.AddrPort) error {
				return func(_ context.Context, public netip.AddrPort) error {
					err := r.through(d, public)
					time.Sleep(time.Second) // for the host to notice
					return errors.Join(err, &check.NotTriedError{Err: errors.New("404 Not Found")})
				}
			},
			text: "came through",
		},
		"nobody comes": {
			try: func(*rig, *door) func(context.Context, netip.AddrPort) error {
				return func(context.Context, netip.AddrPort) error { return nil }
			},
			want: check.Finding{Level: check.Fail}, text: "no connection came",
		},
		"only mapped": {text: "over TCP was mapped to port 9 here for 60 s"},
		"refused": {
			prepare: func(r *rig) {
				r.Gateway.Adjust(func(p *natpmptest.Profile) { p.MaxPorts = 0; p.MaxLeases = 1 })
				r.request()
			},
			want: check.Finding{Level: check.Fail}, text: "doublenat answered: out of resources", mend: "or raise MAX_MAPPINGS",
		},
		"not allowed": {
			prepare: func(r *rig) {
				r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "read,api,test"})
				r.Router.Disconnect() // rights are those of the login
			},
			want: check.Finding{Level: check.Fail}, text: "doublenat answered: not authorized", mend: "ALLOWED_PORTS",
		},
		"out of reach": {
			prepare: func(r *rig) {
				r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: natPath + "/add", Times: -1})
			},
			want: check.Finding{Level: check.Fail}, text: "doublenat answered: network failure", mend: "out of reach",
		},
		"not running": {
			prepare: func(r *rig) {
				if err := r.Stop(); err != nil {
					r.t.Fatal(err)
				}
			},
			want: check.Finding{Level: check.Fail}, text: "doublenat does not answer",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{})
				if err := r.Start(nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				if tt.prepare != nil {
					tt.prepare(r)
				}
				before := len(r.OurRules("default"))
				d := r.live(nil)
				if tt.try != nil {
					r.cfg.Live.Try = tt.try(r, d)
				}
				got := r.examine()
				if diff := cmp.Diff(tt.want.Level, got.Level); diff != "" || !strings.Contains(got.Seen, tt.text) {
					t.Errorf("got %v %q, want %v and %q", got.Level, got.Seen, tt.want.Level, tt.text)
				}
				if !strings.Contains(got.Advice.Text, tt.mend) {
					t.Errorf("%q is not in %q", tt.mend, got.Advice.Text)
				}
				if left := len(r.OurRules("default")); left != before {
					t.Errorf("%d rules, %d before", left, before)
				}
			})
		})
	}
}

// request lets a client map a port.
func (r *rig) request() {
	r.t.Helper()
	got, err := r.Request(netip.MustParseAddr("192.168.88.10"), natpmp.Request{
		Opcode: natpmp.OpMapTCP, InternalPort: 6881, Lifetime: 3600,
	})
	if err != nil || got.Result != natpmp.ResultSuccess {
		r.t.Fatalf("mapping: %+v, error %v", got, err)
	}
}

func TestLiveWithoutAPort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		r.live(func(context.Context, netip.AddrPort) error { return nil })
		r.cfg.Live.Listen = func(context.Context) (net.Listener, error) { return nil, errors.New("address in use") }
		if got := r.examine(); got.Level != check.Fail || !strings.Contains(got.Seen, "address in use") {
			t.Errorf("got %+v", got)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		whole := newRig(t, lab.BenchConfig{}).cfg
		for want, change := range map[string]func(*check.Config){
			"dial the gateway": func(c *check.Config) { c.DialGateway = nil },
			"no ipv4 address":  func(c *check.Config) { c.Gateway = netip.AddrPort{} },
			"live mapping":     func(c *check.Config) { c.Live = &check.Live{} },
			"user":             func(c *check.Config) { c.API.User = "" },
		} {
			cfg := whole
			change(&cfg)
			if _, err := check.New(cfg); err == nil || !strings.Contains(strings.ToLower(err.Error()), want) {
				t.Errorf("got error %v, want %q", err, want)
			}
		}
	})
}

// TestInterrupted: whoever interrupts the doctor gets no report that looks whole.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultSilence, Command: "/system/clock/print", Times: -1})
		d, err := check.New(r.cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if report, err := d.Run(ctx); !errors.Is(err, context.DeadlineExceeded) || len(report.Findings) != 3 {
			t.Errorf("got %d findings, error %v", len(report.Findings), err)
		}
	})
}
