package daemon_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

const (
	mapTCP  = "0002 0000 1234 5678 00000e10"
	renewal = "0002 0000 1234 0000 00000e10"
)

// TestRFC6886Address: the address is the outermost one, known beforehand and
// answered from memory (RFC 6886 §3.2).
func TestRFC6886Address(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		r.Gateway.SetAddress(netip.MustParseAddr("1.2.3.4"))
		time.Sleep(time.Minute)
		r.expect(alice, "0000", "0080 0000 0000002d 01020304") // a new address is a new epoch

		// The gateway goes away. The address is answered at once, without asking,
		// for the ten minutes that it is good for, and then not any more.
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true })
		time.Sleep(8 * time.Minute)
		before, began := r.requests(), time.Now()
		for range 100 {
			r.expect(alice, "0000", "0080 0000 0000020d 01020304")
		}
		if took := time.Since(began); took != 0 || r.requests() != before {
			r.t.Errorf("100 answers took %v and %d packets to the gateway", took, r.requests()-before)
		}
		time.Sleep(4 * time.Minute)
		r.expect(alice, "0000", "0080 0003 000002fd 00000000")

		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = false })
		time.Sleep(time.Minute)
		r.expect(alice, "0000", "0080 0000 00000339 01020304")
		r.Gateway.SetAddress(netip.Addr{})
		time.Sleep(time.Minute)
		r.expect(alice, "0000", "0080 0003 00000375 00000000")
	})
}

// TestRFC6886Epoch: one count for all kinds of replies, of this daemon's own, which
// goes on whatever the gateway's does (RFC 6886 §3.6).
func TestRFC6886Epoch(t *testing.T) {
	t.Parallel()
	onBench(t, asRFC(), func(r *rig) {
		all := func(epoch string) {
			r.t.Helper()
			r.expect(alice, "0000", "0080 0000 "+epoch+" 05060708")
			r.expect(alice, mapTCP, "0082 0000 "+epoch+" 1234 5678 00000e10")
			r.expect(alice, "0001 0000 0000 0000 00000e10", "0081 0002 "+epoch+" 0000 0000 00000000")
			r.expect(alice, "0001 0000 0001 0000 00000000", "0081 0000 "+epoch+" 0001 0000 00000000")
			r.expect(alice, "0003", "0083 0005 "+epoch)
			r.expect(alice, "0200", "0080 0001 "+epoch)
		}
		all("00000005")
		time.Sleep(5 * time.Second)
		all("0000000a")
		time.Sleep(4*time.Hour - 5*time.Second)
		all("00003845")

		// The gateway restarts; with the same ports again nothing changed for clients.
		r.Gateway.Restart(false)
		time.Sleep(2 * time.Minute)
		all("000038bd")
		r.agree()

		// A new daemon is a new epoch, although it knows the mappings still.
		r.crash()
		r.start(nil)
		all("00000005")
	})
}

// series returns what one series of announcements is, if the first one leaves at
// the given time and the epoch is then what is given.
func series(start, epoch time.Duration, format string) []announcement {
	var all []announcement
	gap := 250 * time.Millisecond
	for at := time.Duration(0); len(all) < 10; at, gap = at+gap, gap*2 {
		all = append(all, announcement{start + at, fmt.Sprintf(format, int((epoch+at)/time.Second))})
	}
	return all
}

const (
	withoutAddress = "0080 0003 %08x 00000000"
	withAddress    = "0080 0000 %08x 05060708"
	otherAddress   = "0080 0000 %08x 05060709"
)

// TestRFC6886AnnouncesStart: ten copies with doubling gaps on the start, and again
// when the address becomes known (RFC 6886 §3.2.1).
func TestRFC6886AnnouncesStart(t *testing.T) {
	t.Parallel()
	profile := natpmptest.RFC()
	profile.ReplyDelay = 400 * time.Millisecond
	cfg, heard := announcing(lab.BenchConfig{Profile: profile})
	onBench(t, cfg, func(r *rig) {
		time.Sleep(time.Hour)
		first := series(0, 0, withoutAddress)[:2] // the address comes before the third
		want := slices.Concat(first, series(400*time.Millisecond, 400*time.Millisecond, withAddress))
		if diff := cmp.Diff(want, heard.take()); diff != "" {
			r.t.Errorf("announcements (-want +got):\n%s", diff)
		}
	})
}

// TestRFC6886AnnouncesWithoutAddress: clients learn of a start even from a gateway
// that has no address, and of the address when it comes.
func TestRFC6886AnnouncesWithoutAddress(t *testing.T) {
	t.Parallel()
	cfg, heard := announcing(lab.BenchConfig{Profile: natpmptest.NoAddress()})
	onBench(t, cfg, func(r *rig) {
		time.Sleep(time.Hour - 5*time.Second)
		if diff := cmp.Diff(series(0, 0, withoutAddress), heard.take()); diff != "" {
			r.t.Errorf("announcements (-want +got):\n%s", diff)
		}
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Result = natpmp.ResultSuccess })
		time.Sleep(time.Hour)
		got := heard.take()
		if len(got) == 0 || got[0].After > 30*time.Second {
			r.t.Fatalf("announcements %v, want the first within half a minute", got)
		}
		want := series(got[0].After, time.Hour+got[0].After, withAddress)
		if diff := cmp.Diff(want, got); diff != "" {
			r.t.Errorf("announcements of the address (-want +got):\n%s", diff)
		}
	})
}

// TestRFC6886AnnouncesAddressChange: a changed address is a new epoch, and a new
// event ends the series that goes on.
func TestRFC6886AnnouncesAddressChange(t *testing.T) {
	t.Parallel()
	cfg, heard := announcing(asRFC())
	onBench(t, cfg, func(r *rig) {
		time.Sleep(time.Hour)
		heard.take()
		r.Gateway.SetAddress(netip.MustParseAddr("5.6.7.9"))
		time.Sleep(59 * time.Second) // it is noticed within 20 s, here after 15
		r.Gateway.SetAddress(netip.MustParseAddr("5.6.7.8"))
		time.Sleep(time.Hour)
		const first = 15 * time.Second
		want := slices.Concat(series(first, 0, otherAddress)[:8], series(first+time.Minute, 0, withAddress))
		if diff := cmp.Diff(want, heard.take()); diff != "" {
			r.t.Errorf("announcements (-want +got):\n%s", diff)
		}
	})
}

// TestRFC6886AnnouncesAddressChangeInSteps: an address that goes away and comes
// back as another one has changed; one that comes back as it was has not.
func TestRFC6886AnnouncesAddressChangeInSteps(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, address, format string
		epoch                 time.Duration
	}{
		{"the same", "5.6.7.8", withAddress, time.Hour + 15*time.Minute},
		{"another", "5.6.7.9", otherAddress, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, heard := announcing(asRFC())
			onBench(t, cfg, func(r *rig) {
				time.Sleep(time.Hour - 5*time.Second)
				heard.take()
				r.Gateway.SetAddress(netip.Addr{})
				time.Sleep(15 * time.Minute)
				if got := heard.take(); len(got) != 10 || got[9].Packet[:9] != "0080 0003" {
					r.t.Errorf("announcements of the loss: %v", got)
				}
				r.Gateway.SetAddress(netip.MustParseAddr(tt.address))
				time.Sleep(time.Hour)
				got := heard.take()
				if len(got) != 10 {
					r.t.Fatalf("announcements of the return: %v", got)
				}
				epoch := tt.epoch
				if epoch != 0 {
					epoch += got[0].After
				}
				if diff := cmp.Diff(series(got[0].After, epoch, tt.format), got); diff != "" {
					r.t.Errorf("announcements of the return (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestRFC6886AnnouncesStateLoss: a gateway that lost its leases is nothing to tell
// clients of when each comes back on its port, and a new epoch when not.
func TestRFC6886AnnouncesStateLoss(t *testing.T) {
	t.Parallel()
	for _, changed := range []bool{false, true} {
		t.Run(fmt.Sprintf("port changed %t", changed), func(t *testing.T) {
			t.Parallel()
			cfg, heard := announcing(asRFC())
			onBench(t, cfg, func(r *rig) {
				time.Sleep(10 * time.Minute)
				r.expect(alice, mapTCP, "0082 0000 0000025d 1234 5678 00000e10")
				heard.take()
				r.Gateway.Restart(false)
				if changed {
					r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Ports = natpmptest.PortsRandom })
					r.Gateway.GrantNext(0x9abc)
				}
				time.Sleep(10 * time.Minute)
				got := heard.take()
				if !changed {
					if len(got) != 0 {
						r.t.Errorf("announcements %v, want none", got)
					}
					r.expect(alice, renewal, "0082 0000 000004b5 1234 5678 00000e10")
					return
				}
				if len(got) == 0 || got[0].After > time.Minute {
					r.t.Fatalf("announcements %v, want the first within a minute", got)
				}
				if diff := cmp.Diff(series(got[0].After, 0, withAddress), got); diff != "" {
					r.t.Errorf("announcements (-want +got):\n%s", diff)
				}
				epoch := fmt.Sprintf("%08x", int((10*time.Minute-got[0].After)/time.Second))
				r.expect(alice, renewal, "0082 0000 "+epoch+" 1234 9abc 00000e10")
				r.agree()
			})
		})
	}
}

// TestRFC6886AnnouncesLostMapping: a mapping that the gateway does not give again
// is state that was lost, whoever lost it (RFC 6886 §3.6).
func TestRFC6886AnnouncesLostMapping(t *testing.T) {
	t.Parallel()
	cfg, heard := announcing(asRFC())
	cfg.Environ = map[string]string{"LEASE_POLICY": "client"}
	onBench(t, cfg, func(r *rig) {
		r.expect(alice, mapTCP, "0082 0000 00000005 1234 5678 00000e10")
		r.crash()
		r.Gateway.Refuse(true)
		r.start(nil)
		time.Sleep(4*time.Minute + 55*time.Second)
		heard.take()
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Result = natpmp.ResultOutOfResources })
		r.Gateway.Refuse(false)
		time.Sleep(10 * time.Minute)
		if n := len(r.Daemon().Mappings()); n != 0 {
			r.t.Fatalf("%d mappings left", n)
		}
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Result = natpmp.ResultSuccess })
		got := heard.take()
		if len(got) == 0 {
			r.t.Fatal("no announcements")
		}
		if diff := cmp.Diff(series(got[0].After, 0, withoutAddress), got); diff != "" {
			r.t.Errorf("announcements (-want +got):\n%s", diff)
		}
	})
}

// TestRFC6886AnnouncementsEnd with the daemon: who does not translate does not
// announce (RFC 6886 §3.8).
func TestRFC6886AnnouncementsEnd(t *testing.T) {
	t.Parallel()
	cfg, heard := announcing(asRFC())
	onBench(t, cfg, func(r *rig) {
		heard.take()
		if err := r.Stop(); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := heard.take(); len(got) != 0 {
			r.t.Errorf("announcements after the end: %v", got)
		}
	})
}

// TestRFC6886AnnounceLog: that nobody is told of changes is said, and is a warning
// where announcements were asked for.
func TestRFC6886AnnounceLog(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"auto": `level=INFO msg="announcements are off, clients learn of changes when they renew" reason="the socket cannot send multicast"`,
		"on":   `level=WARN msg="announcements are off, clients learn of changes when they renew" reason="the socket cannot send multicast"`,
		"off":  `level=INFO msg="announcements are off, clients learn of changes when they renew" reason="switched off"`,
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer // one writer, and the bubble's end orders the accesses
			cfg := lab.BenchConfig{
				Environ: map[string]string{"ANNOUNCE": mode},
				Logger:  slog.New(slog.NewTextHandler(&log, nil)),
				Options: func(o *daemon.Options) { o.Network.Announcements = nil }, // the host's own way
			}
			onBench(t, cfg, func(*rig) {})
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("%d lines %s in\n%s", n, want, log.String())
			}
		})
	}
}
