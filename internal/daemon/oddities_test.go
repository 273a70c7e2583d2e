package daemon_test

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// counted is a logger whose lines can be counted.
func counted(cfg *lab.BenchConfig) (count func(text string) int) {
	log := new(logBuffer)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	return func(text string) int { return strings.Count(log.String(), text) }
}

// TestGatewayThatRefusesPortZero: a client that leaves the port to the gateway is
// served by a gateway that does not choose ports.
func TestGatewayThatRefusesPortZero(t *testing.T) {
	t.Parallel()
	for _, code := range []natpmp.ResultCode{natpmp.ResultNotAuthorized, natpmp.ResultNetworkFailure, natpmp.ResultOutOfResources} {
		onBench(t, lab.BenchConfig{Profile: natpmptest.RefusesZero(code)}, func(r *rig) {
			before := r.requests()
			for port := range uint16(3) {
				tcp, udp := r.mapped(alice, natpmp.OpMapTCP, 6881+port), r.mapped(alice, natpmp.OpMapUDP, 6881+port)
				if tcp.ExternalPort != udp.ExternalPort {
					r.t.Errorf("told ports %d and %d", tcp.ExternalPort, udp.ExternalPort)
				}
				r.reaches(natpmp.OpMapTCP, tcp.ExternalPort, alice, 6881+port)
			}
			if n := r.requests() - before; n != 7 {
				r.t.Errorf("%d packets for six mappings, want one more than that", n)
			}
			r.agree()
		})
	}
}

// TestEpochFlips: two machines behind the gateway's address. Mappings live on with
// their ports, and neither packets nor log lines get more than at any other gateway.
func TestEpochFlips(t *testing.T) {
	t.Parallel()
	hours := int(shorter(12*time.Hour, 3*time.Hour) / time.Hour)
	for _, k := range []int{2, 3, 7, 100} {
		cfg := lab.BenchConfig{Profile: natpmptest.EpochFlipper(k), Environ: map[string]string{"LEASE_POLICY": "hold"}}
		lines := counted(&cfg)
		onBench(t, cfg, func(r *rig) {
			first := r.mapped(alice, natpmp.OpMapTCP, 6881)
			before := r.requests()
			for range 2 * hours {
				time.Sleep(30 * time.Minute)
				if got := r.mapped(alice, natpmp.OpMapTCP, 6881); got.ExternalPort != first.ExternalPort {
					r.t.Errorf("told port %d, then %d", first.ExternalPort, got.ExternalPort)
				}
				r.reaches(natpmp.OpMapTCP, first.ExternalPort, alice, 6881)
			}
			// Three looks at the address a minute, a renewal of two protocols in each half lease.
			if n := r.requests() - before; n > uint64(hours*60*(3+2*5/2)+100) {
				r.t.Errorf("one reply of %d: %d packets in %d hours", k, n, hours)
			}
			if n := lines("level=WARN"); n > 40 {
				r.t.Errorf("one reply of %d: %d warnings in %d hours", k, n, hours)
			}
			r.agree()
		})
	}
}

// TestSuspended: this machine slept while the gateway did not. Leases that ended
// meanwhile stand again within half a minute, whatever their lifetime is.
func TestSuspended(t *testing.T) {
	t.Parallel()
	for _, profile := range []natpmptest.Profile{natpmptest.RFC(), natpmptest.Proton(), natpmptest.Miniupnpd()} {
		for _, policy := range []string{"client", "hold"} {
			t.Run(profile.Name+" "+policy, func(t *testing.T) {
				t.Parallel()
				cfg := lab.BenchConfig{Profile: profile, Environ: map[string]string{"LEASE_POLICY": policy}}
				lines := counted(&cfg)
				onBench(t, cfg, func(r *rig) {
					r.mapped(alice, natpmp.OpMapTCP, 6881)
					r.mapped(bob, natpmp.OpMapUDP, 27015)
					time.Sleep(time.Second)
					r.Gateway.Skip(8 * time.Hour)
					if n := len(r.Gateway.Mappings()); n != 0 {
						r.t.Fatalf("%d leases outlived the night", n)
					}
					time.Sleep(22 * time.Second)
					if n := len(r.Gateway.Mappings()); n != 2 {
						r.t.Errorf("%d leases, want both again", n)
					}
					r.reaches(natpmp.OpMapTCP, r.mapped(alice, natpmp.OpMapTCP, 6881).ExternalPort, alice, 6881)
					r.agree()
					if lines("clock of this host stood still") != 1 || lines("lost its mappings") != 0 {
						r.t.Error("the log does not say once why")
					}
				})
			})
		}
	}
}

// TestAddressThatAgesOutIsAnnounced: when nobody is told the address any more because
// the gateway has not confirmed it for too long, and when all are told it again.
func TestAddressThatAgesOutIsAnnounced(t *testing.T) {
	t.Parallel()
	cfg, heard := announcing(lab.BenchConfig{Profile: natpmptest.RFC()})
	onBench(t, cfg, func(r *rig) {
		time.Sleep(time.Hour)
		heard.take()
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true })
		time.Sleep(time.Hour)
		if got := heard.take(); len(got) != 10 || got[9].Packet[:9] != "0080 0003" {
			r.t.Errorf("after an hour without the gateway: announced %v", got)
		}
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = false })
		time.Sleep(time.Hour)
		got := heard.take()
		if len(got) != 10 || got[0].Packet[:9] != "0080 0000" || got[0].After > 10*time.Second {
			r.t.Errorf("after its return: announced %v", got)
		}
		if now := r.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress}); now.Epoch < 3*3600 || now.Address != netip.MustParseAddr("5.6.7.8") {
			r.t.Errorf("told %+v: the same address is no new epoch", now)
		}
	})
}
