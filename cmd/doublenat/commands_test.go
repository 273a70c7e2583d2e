package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// TestCommands runs the commands as users do, each script with a router, a gateway
// and a daemon of its own on loopback.
func TestCommands(t *testing.T) {
	t.Parallel()
	probe, err := net.ListenPacket("udp4", "127.65.0.1:0")
	if err != nil {
		t.Skipf("this system has one loopback address: %v", err)
	}
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	shared, err := filepath.Abs(filepath.Join("testdata", "commands"))
	if err != nil {
		t.Fatal(err)
	}
	var labs atomic.Uint32 // they run side by side
	testscript.Run(t, testscript.Params{
		Dir: "testdata/commands", RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			o, err := openOffice()
			if err != nil {
				return err
			}
			env.Defer(func() {
				if err := o.close(); err != nil {
					t.Error(err)
				}
			})
			env.Values[officeKey{}] = o
			env.Setenv("SILENT", o.silent.LocalAddr().String())
			env.Setenv("LISTEN", o.environ["LISTEN_ADDR"])
			env.Setenv("SPARE", o.spare)
			env.Setenv("SEARCH", o.search)
			env.Setenv("SCRIPTS", shared)
			if script := filepath.Base(env.WorkDir); strings.Contains(script, "lab") || strings.Contains(script, "status") {
				lab := byte(labs.Add(1)) - 1
				for i, name := range []string{"LAB_GATEWAY", "LAB_ROUTER", "LAB_LISTEN", "LAB_CLIENT", "LAB_PUBLIC", "LAB_TUNNEL"} {
					env.Setenv(name, own(200+6*lab+byte(i)).String())
				}
			}
			for name, value := range o.environ {
				env.Setenv(name, value)
			}
			return o.await(t.Context())
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"break": breakOffice},
	})
}

// own returns an address of loopback that this process has for itself.
func own(role byte) netip.Addr {
	return netip.AddrFrom4([4]byte{127, role, byte(os.Getpid() >> 8), byte(os.Getpid())})
}

// officeKey is under what a script's office is kept.
type officeKey struct{}

// office is everything that a script has around it.
type office struct {
	router  *routerostest.Router
	gateway *natpmptest.Gateway
	silent  net.PacketConn // a host that never answers
	spare   string         // where another daemon can listen
	search  string         // where the daemon is searched for by UPnP
	environ map[string]string
	stop    context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error // of what ran, guarded by mu
	packets net.PacketConn
}

// openOffice starts router, gateway and daemon on addresses of this process alone.
func openOffice() (*office, error) {
	// The gateway is never taken for a client, so the daemon is elsewhere.
	north, south := own(65).String(), own(66).String()
	o := &office{}
	var errs [6]error
	o.packets, errs[0] = net.ListenPacket("udp4", north+":0")
	o.silent, errs[1] = net.ListenPacket("udp4", north+":0")
	api, errAPI := net.Listen("tcp4", north+":0")
	free, errFree := net.ListenPacket("udp4", south+":0")
	if err := errors.Join(errs[0], errs[1], errAPI, errFree); err != nil {
		return nil, fmt.Errorf("opening the office: %w", err)
	}
	o.environ = map[string]string{
		"VPN_GATEWAY": o.packets.LocalAddr().String(), "MIKROTIK_API_ADDRESS": api.Addr().String(),
		"MIKROTIK_API_USER": routerostest.LeastUser, "MIKROTIK_API_PASSWORD": routerostest.LeastPassword,
		"LISTEN_ADDR": free.LocalAddr().String(), "ANNOUNCE": "off",
	}
	searches, errSearch := net.ListenPacket("udp4", south+":0")
	device, errDevice := net.Listen("tcp4", south+":0")
	if err := errors.Join(errSearch, errDevice); err != nil {
		return nil, fmt.Errorf("opening the office: %w", err)
	}
	o.search = searches.LocalAddr().String()
	o.router, errs[2] = routerostest.New(routerostest.Config{})
	o.gateway, errs[3] = natpmptest.New(natpmptest.Config{Profile: natpmptest.Proton()})
	cfg, errConfig := config.Parse(o.environ, os.ReadFile)
	another, errSpare := net.ListenPacket("udp4", south+":0")
	if errSpare != nil {
		return nil, errSpare
	}
	o.spare = another.LocalAddr().String()
	if err := errors.Join(another.Close(), errs[2], errs[3], errConfig); err != nil {
		return nil, err
	}
	route, _ := o.router.Find("/ip/route", "dst-address", routerostest.GatewayAddress+"/32")
	if err := o.router.Set("/ip/route", route[".id"], routerostest.Row{"dst-address": north + "/32"}); err != nil {
		return nil, err
	}
	// All ways in are open. Scripts are not told so by the settings.
	cfg.PCP, cfg.UPnP = true, netip.MustParseAddrPort(device.Addr().String())
	d, err := daemon.New(daemon.Options{Config: cfg, Network: daemon.Network{
		// A port that is closed first may be taken by another script before it is opened again.
		Listen:         func(context.Context, netip.AddrPort) (net.PacketConn, error) { return free, nil },
		ListenSearches: func(context.Context, netip.Addr) (net.PacketConn, error) { return searches, nil },
		ListenDevice:   func(context.Context, netip.AddrPort) (net.Listener, error) { return device, nil },
	}})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	o.stop = stop
	o.run(func() error { return o.router.Serve(ctx, api) })
	o.run(func() error { return o.gateway.Serve(ctx, o.packets) })
	o.run(func() error { return d.Run(ctx) })
	return o, nil
}

// await waits until the daemon answers, with the gateway's address.
func (o *office) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	quiet := &process{stderr: io.Discard}
	for {
		err := quiet.asking(ctx, &clientFlags{gateway: o.environ["LISTEN_ADDR"], timeout: time.Second}, func(ctx context.Context, c *client) error {
			_, err := c.address(ctx)
			return err
		})
		if err == nil || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// run runs a part until the office closes.
func (o *office) run(part func() error) {
	o.running.Go(func() {
		if err := part(); err != nil {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.errs = append(o.errs, err)
		}
	})
}

// close ends everything. What the daemon could not take down, because the office
// closed with it, is no failure.
func (o *office) close() error {
	o.stop()
	o.running.Wait()
	return errors.Join(o.router.Close(), o.packets.Close(), o.silent.Close())
}

// breakOffice changes something: "break PATH NAME=VALUE PROPERTY=VALUE …" sets
// properties of the row of the router that has the value.
func breakOffice(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: break path name=value property=value …")
	}
	o, ok := ts.Value(officeKey{}).(*office)
	if !ok {
		ts.Fatalf("no office")
	}
	name, value, _ := strings.Cut(args[1], "=")
	row, ok := o.router.Find(args[0], name, value)
	if !ok {
		ts.Fatalf("no row of %s has %s", args[0], args[1])
	}
	change := make(routerostest.Row)
	for _, word := range args[2:] {
		name, value, _ := strings.Cut(word, "=")
		change[name] = value
	}
	ts.Check(o.router.Set(args[0], row[".id"], change))
	if args[0] == "/user/group" {
		o.router.Disconnect() // rights are those of the login
	}
}
