package igd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/igd/igdtest"
)

// TestGather has devices that answer a search by multicast, others that answer nonsense, and
// one that is told twice.
func TestGather(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		group, err := r.network.Listen(igd.MulticastAddress())
		if err != nil {
			t.Fatal(err)
		}
		defer group.Close()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			buf := make([]byte, 2048)
			for n := 0; ; n++ {
				_, from, err := group.ReadFrom(buf)
				if err != nil {
					return
				}
				sender, ok := from.(*net.UDPAddr)
				if !ok {
					return
				}
				to := sender.AddrPort()
				for _, location := range []string{"http://192.168.1.9:80/a.xml", "http://box.local/a.xml", "gopher://192.168.1.1/"} {
					r.network.Inject(netip.MustParseAddrPort("192.168.1.9:1900"), to,
						fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: %s\r\n\r\n", location))
				}
				r.network.Inject(netip.MustParseAddrPort("192.168.1.9:1900"), to, []byte("\x00nonsense"))
				if n == 3 { // the second round: the first may get lost
					r.network.Inject(netip.MustParseAddrPort("192.168.1.1:1900"), to,
						[]byte("HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"))
				}
			}
		}()
		conn, err := r.place.ListenSearch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		started := time.Now()
		all, err := igd.Gather(t.Context(), conn, igd.MulticastAddress(), 2*time.Second)
		var got []string
		for _, a := range all {
			got = append(got, fmt.Sprintf("%v at %v", a.From.Addr(), a.Location))
		}
		if diff := cmp.Diff([]string{"192.168.1.9 at http://192.168.1.9:80/a.xml", "192.168.1.1 at http://192.168.1.1:5000/rootDesc.xml"}, got); diff != "" || err != nil {
			t.Errorf("error %v, answers (-want +got):\n%s", err, diff)
		}
		if took := time.Since(started); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(nil)
		again, err := r.place.ListenSearch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if _, err := igd.Gather(ctx, again, igd.MulticastAddress(), time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("ended by %v", err)
		}
		_ = group.Close()
		<-answered
	})
}

// TestStatus asks a box for the state of its connection.
func TestStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		if status, err := r.Status(within(t, time.Minute)); status != "Connected" || err != nil {
			t.Errorf("%q, %v", status, err)
		}
		r.box.Adjust(func(p *igdtest.Profile) { p.Unknown = []string{"GetStatusInfo"} })
		if _, err := r.Status(within(t, time.Minute)); igd.CodeOf(err) != igd.CodeInvalidAction {
			t.Errorf("error %v", err)
		}
	})
}
