package daemon_test

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// TestRFC6886EverybodyComesBack: after an announcement all clients come within
// 5 s, each with one request after the other; nobody may have to send a third
// copy (RFC 6886 §3.7).
func TestRFC6886EverybodyComesBack(t *testing.T) {
	t.Parallel()
	profile := natpmptest.RFC()
	profile.ReplyDelay = 30 * time.Millisecond
	cfg := lab.BenchConfig{Profile: profile, Router: routerostest.Config{Latency: 10 * time.Millisecond}}
	onBench(t, cfg, func(r *rig) {
		var clients sync.WaitGroup
		for client := range byte(50) {
			clients.Go(func() {
				from := netip.AddrFrom4([4]byte{192, 168, 88, 100 + client})
				for port := range uint16(5) {
					began := time.Now()
					r.mapped(from, natpmp.OpMapTCP, 1000+port)
					if took := time.Since(began); took >= 750*time.Millisecond {
						r.t.Errorf("%v waited %v for mapping %d", from, took, port)
					}
				}
			})
		}
		clients.Wait()
		if n := len(r.rules()); n != 250 {
			r.t.Errorf("%d rules, want 250", n)
		}
		r.agree()
	})
}

// TestRFC6886Off: who does not translate has no socket, so that clients learn it
// from ICMP at once (RFC 6886 §3.8), and leaves nothing on either layer (§3.1).
func TestRFC6886Off(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
		m := r.Daemon().Mappings()[0]
		time.Sleep(time.Second)
		began := time.Now()
		if err := r.Stop(); err != nil {
			r.t.Fatal(err)
		}
		inner := hexPort(m.InnerPort)
		if diff := cmp.Diff([]string{"00020000" + inner + "000000000000"}, r.asked(began)); diff != "" {
			r.t.Errorf("the gateway was asked (-want +got):\n%s", diff)
		}
		r.empty()

		conn, err := r.Net.Dial(netip.AddrPortFrom(alice, 0), netip.MustParseAddrPort("192.168.88.1:5351"))
		if err != nil {
			r.t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte{0, 0}); err != nil {
			r.t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 16)); !errors.Is(err, syscall.ECONNREFUSED) {
			r.t.Errorf("reading: %v, want ECONNREFUSED", err)
		}
	})
}

func hexPort(p uint16) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[p>>12], digits[p>>8&15], digits[p>>4&15], digits[p&15]})
}

// TestRFC6886Upstream: what the gateway is sent in the life of a mapping: the
// wish of the client, then always the port that was assigned, at the end a deletion
// of that mapping alone (RFC 6886 §3.3, §3.4).
func TestRFC6886Upstream(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		began := time.Now()
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Ports = natpmptest.PortsRandom })
		r.Gateway.GrantNext(0x9abc)
		r.expect(alice, mapTCP, "0082 0000 00000005 1234 9abc 00000e10")
		inner := hexPort(r.Daemon().Mappings()[0].InnerPort)
		r.expect(alice, "0002 0000 1234 0000 00001c20", "0082 0000 00000005 1234 9abc 00001c20")
		r.expect(alice, "0002 0000 1234 4321 ffffffff", "0082 0000 00000005 1234 9abc 00001c20")
		r.expect(alice, "0002 0000 1234 4321 00000000", "0082 0000 00000005 1234 0000 00000000")
		want := []string{
			"00020000" + inner + "567800000e10",
			"00020000" + inner + "9abc00001c20",
			"00020000" + inner + "9abc00001c20", // not more than RFC 6886 recommends
			"00020000" + inner + "000000000000",
		}
		if diff := cmp.Diff(want, r.asked(began)); diff != "" {
			r.t.Errorf("the gateway was asked (-want +got):\n%s", diff)
		}
		r.empty()
	})
}

// TestRFC6886Recreation: a gateway that lost its state is asked for all leases
// again with their ports, after a random wait of up to 5 s, and the next when the
// one before is acknowledged (RFC 6886 §3.7).
func TestRFC6886Recreation(t *testing.T) {
	t.Parallel()
	for _, random := range []float64{0, 0.5, 0.999} {
		t.Run(time.Duration(random*5e9).String(), func(t *testing.T) {
			t.Parallel()
			cfg := asRFC()
			cfg.Options = func(o *daemon.Options) { o.Random = func() float64 { return random } }
			onBench(t, cfg, func(r *rig) {
				time.Sleep(10 * time.Minute) // a younger gateway could not be told from a slow one
				for port := range uint16(10) {
					r.mapped(alice, natpmp.OpMapTCP, 1+port)
				}
				r.Gateway.Adjust(func(p *natpmptest.Profile) { p.ReplyDelay = 30 * time.Millisecond })
				before := r.Gateway.Mappings()
				r.Gateway.Restart(false)
				// It is noticed when the address is asked for, 20 s after the time before.
				noticed := time.Now().Add(15*time.Second + 30*time.Millisecond)
				time.Sleep(time.Minute + 6*time.Second)
				var want, got []time.Duration
				for i := range 10 {
					want = append(want, time.Duration(random*5e9)+time.Duration(i)*30*time.Millisecond)
				}
				for _, p := range r.Net.Packets(natpmptest.PacketSent) {
					if p.To == netip.MustParseAddrPort("10.2.0.1:5351") && len(p.Payload) > 2 && !p.At.Before(noticed) {
						got = append(got, p.At.Sub(noticed))
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					r.t.Errorf("requests after the loss was noticed (-want +got):\n%s", diff)
				}
				ports := func(all []natpmptest.Mapping) (ports []uint16) {
					for _, m := range all {
						ports = append(ports, m.InternalPort, m.ExternalPort)
					}
					slices.Sort(ports)
					return ports
				}
				if diff := cmp.Diff(ports(before), ports(r.Gateway.Mappings())); diff != "" {
					r.t.Errorf("leases (-before +after):\n%s", diff)
				}
				r.agree()
			})
		})
	}
}
