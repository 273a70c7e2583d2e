//go:build linux

package igd_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doublenat/igd"
)

const miniupnpdRules = `
table inet filter
delete table inet filter
table inet filter {
	chain miniupnpd { }
	chain prerouting_miniupnpd { }
	chain postrouting_miniupnpd { }
	chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
	chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; }
}`

// startMiniupnpd starts Debian's server on the neighbor, without mappings, and returns what
// stops it.
func startMiniupnpd(t *testing.T, box *neighbor) (stop func()) {
	t.Helper()
	box.must("ip link show wan0 >/dev/null 2>&1 || ip link add wan0 type veth peer name wan1", "ip link set wan1 up",
		"ip addr replace 5.6.7.8/24 dev wan0", "ip link set wan0 up")
	nft := box.command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(miniupnpdRules)
	must(t, nft)
	dir := t.TempDir()
	config := filepath.Join(dir, "miniupnpd.conf")
	text := strings.Join([]string{
		"ext_ifname=wan0", "ext_ip=5.6.7.8", "listening_ip=lan0", "http_port=0", "enable_upnp=yes", "enable_natpmp=no", "secure_mode=yes",
		"uuid=6a1b2c3d-0000-4000-8000-000000000001", "upnp_table_name=filter", "upnp_nat_table_name=filter",
		"upnp_forward_chain=miniupnpd", "upnp_nat_chain=prerouting_miniupnpd", "upnp_nat_postrouting_chain=postrouting_miniupnpd",
		"allow 1024-65535 0.0.0.0/0 1024-65535", "",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := box.command("miniupnpd", "-d", "-f", config, "-P", filepath.Join(dir, "pid"))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			// As a power cut does: asked to end, it sometimes takes half a minute.
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("miniupnpd said\n%s", said.String())
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

// TestMiniupnpd: the client against the server that most boxes have.
func TestMiniupnpd(t *testing.T) {
	t.Parallel()
	needs(t, "miniupnpd", "nft")
	if !alone(t) {
		return
	}
	boxAt, self, second := netip.MustParseAddr("192.168.77.1"), netip.MustParseAddr("192.168.77.2"), netip.MustParseAddr("192.168.77.3")
	box := newNeighbor(t, self.String(), boxAt.String())
	stop := startMiniupnpd(t, box)

	c, err := igd.NewClient(igd.Config{Gateway: boxAt})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	device := discover(ctx, t, c)
	t.Logf("found %s %s, %s at %s, boot %s", device.Manufacturer, device.Model, device.Service, device.Service.Control, device.Boot)
	if a, err := c.ExternalAddress(ctx); err != nil || a != netip.MustParseAddr("5.6.7.8") {
		t.Errorf("address %v, %v", a, err)
	}
	want := igd.Mapping{Protocol: igd.UDP, External: 20000, Client: self, Internal: 20000, Lease: time.Hour, Description: "doublenat-default"}
	for range 2 {
		if err := c.Add(ctx, want); err != nil {
			t.Fatal(err)
		}
	}
	for name, find := range map[string]func() (igd.Mapping, error){
		"Find":  func() (igd.Mapping, error) { return c.Find(ctx, igd.UDP, 20000) },
		"Entry": func() (igd.Mapping, error) { return c.Entry(ctx, 0) },
	} {
		got, err := find()
		if want.Lease-got.Lease > time.Minute || want.Lease < got.Lease {
			t.Errorf("%s: lease %v", name, got.Lease)
		}
		if got.Lease = want.Lease; err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	if _, err := c.Entry(ctx, 1); igd.CodeOf(err) != igd.CodeInvalidIndex {
		t.Errorf("a second mapping: %v", err)
	}
	conflicts(ctx, t, c, want, second)
	foreign := want
	foreign.External, foreign.Client = 20007, second
	if err := c.Add(ctx, foreign); igd.CodeOf(err) != igd.CodeNotAuthorized && igd.CodeOf(err) != igd.CodeConflict {
		t.Errorf("for another host: %v", err)
	}
	if err := c.Delete(ctx, igd.UDP, 20000); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, err := c.Find(ctx, igd.UDP, 20000); igd.CodeOf(err) != igd.CodeNoSuchEntry {
		t.Errorf("Find after Delete: %v", err)
	}
	// This one calls it a success.
	if err := c.Delete(ctx, igd.UDP, 20000); err != nil && igd.CodeOf(err) != igd.CodeNoSuchEntry {
		t.Errorf("Delete of nothing: %v", err)
	}

	stop()
	err = c.Add(ctx, want)
	if failed, ok := errors.AsType[*igd.CallError](err); !ok || failed.Ambiguous {
		t.Errorf("without the server: %v", err)
	}
	startMiniupnpd(t, box)
	again := discover(ctx, t, c)
	if again.Location == device.Location { // Its BOOTID is the second of its start, which may be the same.
		t.Errorf("after a restart it is at %v, boot %s", again.Location, again.Boot)
	}
	if err := c.Add(ctx, want); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

// conflicts takes a port from another address and asks for it.
func conflicts(ctx context.Context, t *testing.T, c *igd.Client, want igd.Mapping, second netip.Addr) {
	t.Helper()
	d, _ := c.Known()
	other, err := igd.NewClient(igd.Config{
		Description: d.Location.String(),
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: second.AsSlice()}}
			return dialer.DialContext(ctx, "tcp4", to.String())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	must(t, exec.Command("ip", "addr", "add", second.String()+"/24", "dev", "lan0"))
	taken := want
	taken.External, taken.Client = 20005, second
	if err := other.Add(ctx, taken); err != nil {
		t.Fatal(err)
	}
	taken.Client = want.Client
	if err := c.Add(ctx, taken); igd.CodeOf(err) != igd.CodeConflict {
		t.Errorf("a taken port: %v", err)
	}
	port, err := c.AddAny(ctx, taken)
	switch {
	case d.Service.Version < 2 && igd.CodeOf(err) == igd.CodeInvalidAction:
	case err != nil || port == 20005 || port == 0:
		t.Errorf("any port: %d, %v", port, err)
	default:
		if err := c.Delete(ctx, igd.UDP, port); err != nil {
			t.Error(err)
		}
	}
}

// discover finds a server that is starting.
func discover(ctx context.Context, t *testing.T, c *igd.Client) igd.Device {
	t.Helper()
	for {
		d, err := c.Discover(ctx)
		if err == nil {
			return d
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
