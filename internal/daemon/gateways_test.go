package daemon_test

import (
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// TestEveryGateway lives for a while with each gateway that there is. Whatever it
// does: a success has a port and a time, a refusal costs the router nothing, and when
// the gateway has come to its senses, layers and table agree and clients are reached.
func TestEveryGateway(t *testing.T) {
	t.Parallel()
	for _, profile := range natpmptest.Profiles() {
		for _, policy := range []string{"client", "hold"} {
			t.Run(profile.Name+" "+policy, func(t *testing.T) {
				t.Parallel()
				cfg := lab.BenchConfig{Profile: profile, Latency: time.Millisecond, Environ: map[string]string{"LEASE_POLICY": policy}}
				onBench(t, cfg, func(r *rig) {
					mark := r.Router.Mark()
					granted := 0
					for range 40 {
						for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
							got := r.ask(alice, op, 6881, 6881)
							if got.Result != natpmp.ResultSuccess {
								continue
							}
							granted++
							if got.ExternalPort == 0 || got.Lifetime == 0 || got.Lifetime > 3600 {
								r.t.Errorf("granted %+v", got)
							}
						}
						time.Sleep(20 * time.Second)
					}
					if n := r.Router.StatsSince(mark).Writes; granted == 0 && n != 0 {
						r.t.Errorf("nothing was granted, and the router written to %d times", n)
					}
					r.Gateway.Adjust(func(p *natpmptest.Profile) { *p = natpmptest.RFC() })
					r.Gateway.Refuse(false)
					time.Sleep(2 * time.Minute)
					for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
						r.reaches(op, r.mapped(alice, op, 6881).ExternalPort, alice, 6881)
					}
					r.agree()
					if err := r.Stop(); err != nil {
						r.t.Errorf("stopping: %v", err)
					}
					r.empty()
				})
			})
		}
	}
}

// A suggestion in a renewal moves nothing and doubles nothing, also at a gateway that
// would do both: Transmission suggests its own port for ever.
func TestSuggestionInARenewal(t *testing.T) {
	t.Parallel()
	for _, profile := range []natpmptest.Profile{natpmptest.Miniupnpd(), natpmptest.RFC(), natpmptest.Proton()} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: profile}, func(r *rig) {
				first := r.ask(bob, natpmp.OpMapTCP, 51413, 51413)
				second := r.ask(alice, natpmp.OpMapTCP, 51413, 51413)
				r.send(bob, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 51413}) // Now the port is free.
				for range 5 {
					time.Sleep(20 * time.Second)
					if got := r.ask(alice, natpmp.OpMapTCP, 51413, first.ExternalPort); got.ExternalPort != second.ExternalPort {
						r.t.Errorf("told port %d, want %d", got.ExternalPort, second.ExternalPort)
					}
				}
				if n := len(r.Gateway.Mappings()); n != 1 {
					r.t.Errorf("%d leases, want one", n)
				}
				r.agree()
			})
		})
	}
}

// A gateway that gives TCP and UDP of one port different external ports: each is told
// and leads to the client.
func TestProtocolsWithDifferentPorts(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.Split()}, func(r *rig) {
		tcp, udp := r.mapped(alice, natpmp.OpMapTCP, 6881), r.mapped(alice, natpmp.OpMapUDP, 6881)
		if udp.ExternalPort != tcp.ExternalPort+1 {
			r.t.Errorf("told ports %d and %d", tcp.ExternalPort, udp.ExternalPort)
		}
		r.reaches(natpmp.OpMapTCP, tcp.ExternalPort, alice, 6881)
		r.reaches(natpmp.OpMapUDP, udp.ExternalPort, alice, 6881)
		r.agree()
	})
}

// A gateway that crashed and kept its rules: the epoch says that all is lost, and the
// renewals take over what is still there.
func TestGatewayRestartsWithItsLeases(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.Miniupnpd()}, func(r *rig) {
		time.Sleep(time.Hour)
		before := r.mapped(alice, natpmp.OpMapTCP, 6881)
		r.Gateway.Restart(true)
		time.Sleep(70 * time.Second)
		r.agree()
		after := r.mapped(alice, natpmp.OpMapTCP, 6881)
		if after.ExternalPort != before.ExternalPort || after.Epoch < before.Epoch || len(r.Gateway.Mappings()) != 1 {
			r.t.Errorf("told %+v, then %+v, with leases %+v", before, after, r.Gateway.Mappings())
		}
	})
}

// Another public address is told to clients that ask, with a new epoch, and the
// mappings stand.
func TestGatewayHasAnotherAddress(t *testing.T) {
	t.Parallel()
	for _, moves := range []bool{false, true} {
		onBench(t, lab.BenchConfig{Profile: natpmptest.NewAddress(time.Hour, moves), Environ: map[string]string{"LEASE_POLICY": "hold"}}, func(r *rig) {
			before := r.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress})
			first := r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881, Lifetime: 7200})
			rule := r.onlyRule()
			time.Sleep(61 * time.Minute)
			after := r.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress})
			if after.Address == before.Address || after.Epoch > 120 {
				r.t.Errorf("told %v, then %v, in epoch %d", before.Address, after.Address, after.Epoch)
			}
			second := r.mapped(alice, natpmp.OpMapTCP, 6881)
			if moved := second.ExternalPort != first.ExternalPort; moved != moves || r.onlyRule()[".id"] != rule[".id"] {
				r.t.Errorf("port %d became %d, want moved: %v; rule %v", first.ExternalPort, second.ExternalPort, moves, r.onlyRule())
			}
			r.reaches(natpmp.OpMapTCP, second.ExternalPort, alice, 6881)
			r.agree()
		})
	}
}

// The packets that came in through a rule are known: a mapping of a running program
// that gets none for long is one that the gateway does not serve.
func TestPacketsOfAMapping(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
		port := r.mapped(alice, natpmp.OpMapTCP, 6881).ExternalPort
		for range 3 {
			r.reaches(natpmp.OpMapTCP, port, alice, 6881)
		}
		time.Sleep(61 * time.Second)
		if all := r.Daemon().Mappings(); len(all) != 1 || all[0].Packets != 3 {
			r.t.Errorf("mappings %+v, want one with three packets", all)
		}
	})
}
