package daemon_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// TestRFC6886Packets: what each kind of packet is answered with (RFC 6886 §3, §3.5).
func TestRFC6886Packets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, packet, want string }{
		{"address", "0000", "0080 0000 00000005 05060708"},
		{"address with a tail", "0000 ffff", "0080 0000 00000005 05060708"},
		{"map UDP", "0001 0000 1234 5678 00000304", "0081 0000 00000005 1234 5678 00000304"},
		{"map TCP", "0002 0000 1234 5678 00000304", "0082 0000 00000005 1234 5678 00000304"},
		{"reserved field", "0002 ffff 1234 5678 00000304", "0082 0000 00000005 1234 5678 00000304"},
		{"map with a tail", "0002 0000 1234 5678 00000304 ff", "0082 0000 00000005 1234 5678 00000304"},
		{"internal port 0", "0001 0000 0000 5678 0000003c", "0081 0002 00000005 0000 0000 00000000"},
		{"version 1", "0100", "0080 0001 00000005"},
		{"version 255", "ff00 0000", "0080 0001 00000005"},
		{"PCP announce", "0200 0000 00000000" + strings.Repeat("00", 16), "0080 0001 00000005"},
		{"PCP map", "0201 0000 00001c20" + strings.Repeat("00", 52), "0081 0001 00000005"},
		{"opcode 3", "0003", "0083 0005 00000005"},
		{"opcode 3 with a body", "0003 0102030405060708090a", "0083 0005 03040506 0708090a"},
		{"opcode 127", "007f 01", "00ff 0005 00000005"},
		{"longest packet", "0000" + strings.Repeat("00", 1098), "0080 0000 00000005 05060708"},
	} {
		for mode, cfg := range beside(asRFC()) {
			if mode != "" && !strings.HasPrefix(tt.packet, "00") {
				continue // PCP answers it ([TestVersionsOnOneSocket]).
			}
			t.Run(tt.name+mode, func(t *testing.T) {
				t.Parallel()
				onBench(t, cfg, func(r *rig) {
					began := time.Now()
					r.expect(alice, tt.packet, tt.want)
					mapped := 0
					if strings.HasPrefix(tt.name, "map") || tt.name == "reserved field" {
						mapped = 1
					}
					if n, m := len(r.asked(began)), len(r.rules()); n != mapped || m != mapped {
						r.t.Errorf("%d packets to the gateway and %d rules, want %d of each", n, m, mapped)
					}
				})
			})
		}
	}
}

// TestRFC6886Silence: what is no request is not answered, and leaves no trace.
func TestRFC6886Silence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, packet string }{
		{"nothing", ""},
		{"one byte", "00"},
		{"map of eleven bytes", "0001 0000 1234 5678 000003"},
		{"response", "0080"},
		{"map response", "0081 0000 00000005 1234 5678 00000304"},
		{"response of opcode 127", "00ff"},
		{"PCP response", "0281" + strings.Repeat("00", 22)},
		{"too long", "0000" + strings.Repeat("00", 1099)},
		{"far too long", "0001 0000 1234 5678 00000304" + strings.Repeat("00", 1988)},
	} {
		for mode, cfg := range beside(asRFC()) {
			t.Run(tt.name+mode, func(t *testing.T) {
				t.Parallel()
				onBench(t, cfg, func(r *rig) {
					r.expect(alice, tt.packet, "")
					r.empty()
				})
			})
		}
	}
}

// TestRFC6886Failures: every request of opcode 0, 1 and 2 that fails is answered
// in its own form, in time, with the ports and times of RFC 6886 §3.5.
func TestRFC6886Failures(t *testing.T) {
	t.Parallel()
	adjust := func(change func(*natpmptest.Profile)) func(*lab.Bench) {
		return func(b *lab.Bench) { b.Gateway.Adjust(change) }
	}
	inject := func(f routerostest.Fault) func(*lab.Bench) {
		f.Command, f.Times = natAdd, -1
		return func(b *lab.Bench) { b.Router.Inject(f) }
	}
	for _, tt := range []struct {
		name string
		harm func(*lab.Bench)
		want string // after the opcode; the epoch says how long it took
	}{
		{"gateway says 2", result(natpmp.ResultNotAuthorized), "0002 00000005"},
		{"gateway says 3", result(natpmp.ResultNetworkFailure), "0003 0000000d"},
		{"gateway says 4", result(natpmp.ResultOutOfResources), "0004 00000005"},
		{"gateway says 77", result(77), "0003 00000005"},
		{"gateway is silent", adjust(func(p *natpmptest.Profile) { p.Silent = true }), "0003 0000000d"},
		{"gateway refuses", func(b *lab.Bench) { b.Gateway.Refuse(true) }, "0003 0000000d"},
		{"gateway is full", adjust(func(p *natpmptest.Profile) { p.MaxLeases = 1 }), "0004 00000005"},
		{"gateway grants for no time", adjust(func(p *natpmptest.Profile) { p.Lifetime, p.FixedLifetime = 0, true }), "0003 00000005"},
		{"router is silent", inject(routerostest.Fault{Kind: routerostest.FaultSilence}), "0003 0000000d"},
		{"router says no", inject(routerostest.Fault{
			Kind: routerostest.FaultTrap, Message: "not enough permissions (9)",
		}), "0002 00000005"},
		{"router is down", func(b *lab.Bench) {
			b.Router.Reboot(routerostest.Reboot{Down: time.Minute})
		}, "0003 0000000d"},
	} {
		for _, op := range []string{"01", "02"} {
			for mode, cfg := range beside(asRFC()) {
				t.Run(tt.name+"/opcode "+op+mode, func(t *testing.T) {
					t.Parallel()
					onBench(t, cfg, func(r *rig) {
						r.expect(bob, "0001 0000 0009 9999 00000304", "0081 0000 00000005 0009 9999 00000304")
						tt.harm(r.Bench)
						got := r.say(alice, "00"+op+" 0000 1234 5678 00000304")
						if want := "008" + op[1:] + " " + tt.want + " 1234 0000 00000000"; got != want {
							t.Errorf("\n got %q\nwant %q", got, want)
						}
						r.mend()
						if diff := cmp.Diff([]string{"udp → 192.168.88.11:9"}, r.rules()); diff != "" {
							t.Errorf("rules afterwards (-want +got):\n%s", diff)
						}
						r.agree()
					})
				})
			}
		}
	}
	t.Run("opcode 0", func(t *testing.T) {
		t.Parallel()
		for name, profile := range map[string]natpmptest.Profile{
			"no address": natpmptest.NoAddress(),
			"denied":     natpmptest.Unauthorized(),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				onBench(t, lab.BenchConfig{Profile: profile}, func(r *rig) {
					r.expect(alice, "0000", "0080 0003 00000005 00000000")
				})
			})
		}
	})
}

// TestRFC6886GatewayThatIsNotThereYet: until the gateway has answered once, for ten minutes at
// most, requests that depend on it get silence, in which programs repeat them (D13). Then
// they are answered as if it had gone away.
func TestRFC6886GatewayThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.Profile{Name: "silent", Silent: true}}, func(r *rig) {
		r.expect(alice, "0000", "")
		r.expect(alice, "0001 0000 1234 5678 00000304", "")
		r.expect(bob, "0200", "0080 0001 00000023") // What needs no gateway is answered.
		time.Sleep(10 * time.Minute)
		r.expect(alice, "0000", "0080 0003 0000027b 00000000")
		if got := r.say(alice, "0001 0000 1234 5678 00000304"); !strings.HasPrefix(got, "0081 0003") {
			t.Errorf("a map request was answered with %q, want result 3", got)
		}
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = false })
		time.Sleep(5 * time.Minute) // what may have been granted is given back
		r.empty()
	})
}
