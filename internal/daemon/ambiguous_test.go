package daemon_test

import (
	"net/netip"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// lostReplies are the faults after which the router has done what it was told and
// the daemon cannot know.
func lostReplies() []routerostest.FaultKind {
	return []routerostest.FaultKind{
		routerostest.FaultCloseReply, routerostest.FaultResetReply, routerostest.FaultHalfSentence,
		routerostest.FaultSilenceReply, routerostest.FaultReservedLength, routerostest.FaultHugeLength,
	}
}

// An add whose reply got lost is looked up and not made again.
func TestAddedAndReplyLost(t *testing.T) {
	t.Parallel()
	for _, kind := range lostReplies() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{}, func(r *rig) {
				mark := r.Router.Mark()
				r.Router.Inject(routerostest.Fault{Kind: kind, Command: natAdd})
				r.mapped(alice, natpmp.OpMapTCP, 6881)
				if did := r.wrote(mark); len(did) != 1 {
					r.t.Errorf("the router was told %v, want one add", did)
				}
				r.agree()
			})
		})
	}
}

// A removal whose reply got lost is a removal.
func TestRemovedAndReplyLost(t *testing.T) {
	t.Parallel()
	for _, kind := range lostReplies() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{}, func(r *rig) {
				r.mapped(alice, natpmp.OpMapTCP, 6881)
				r.Router.Inject(routerostest.Fault{Kind: kind, Command: natRemove})
				if got := r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881}); got.Result != natpmp.ResultSuccess {
					r.t.Errorf("deleting: %+v", got)
				}
				r.empty()
				r.mapped(alice, natpmp.OpMapTCP, 6881)
				r.agree()
			})
		})
	}
}

// A lease whose grant got lost is taken over by the next try, or given back when
// there is none.
func TestGrantedAndReplyLost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		lost   time.Duration
		result natpmp.ResultCode
	}{
		{"one reply", 100 * time.Millisecond, natpmp.ResultSuccess},
		{"some replies", 3 * time.Second, natpmp.ResultSuccess},
		{"all replies", 20 * time.Second, natpmp.ResultNetworkFailure},
	} {
		for _, profile := range []natpmptest.Profile{natpmptest.Proton(), natpmptest.RFC()} {
			t.Run(tt.name+"/"+profile.Name, func(t *testing.T) {
				t.Parallel()
				onBench(t, lab.BenchConfig{Profile: profile}, func(r *rig) {
					way := natpmptest.Between(netip.MustParseAddr(routerostest.GatewayAddress), netip.MustParseAddr(routerostest.TunnelAddress))
					r.Net.SetFaults(way, natpmptest.Faults{Blackhole: true})
					heal := time.AfterFunc(tt.lost, r.Net.ClearFaults)
					defer heal.Stop()
					if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != tt.result {
						r.t.Errorf("answered %v, want %v", got.Result, tt.result)
					}
					if tt.result == natpmp.ResultSuccess {
						r.agree()
						return
					}
					time.Sleep(time.Minute)
					r.empty()
				})
			})
		}
	}
}

// Both layers fail while a create is undone: what is left is owed, and paid when they
// are back.
func TestUndoFailsOnBothLayers(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
		// The rule is made, and from then on nobody answers.
		r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultVanish, Command: natPrint, Times: -1})
		r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultSilenceReply, Command: natAdd, Times: -1, Do: func(*routerostest.Router) {
			r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true })
		}})
		if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultNetworkFailure {
			r.t.Errorf("answered %v, want result 3", got.Result)
		}
		if rules, leases := len(r.OurRules("default")), len(r.Gateway.Mappings()); rules != 1 || leases != 1 {
			r.t.Errorf("%d rules and %d leases stand, want one of each that nobody knows of", rules, leases)
		}
		time.Sleep(time.Minute)
		r.Router.ClearFaults()
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = false })
		time.Sleep(2 * time.Minute)
		r.empty()
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		r.agree()
	})
}

// The router restarts in the middle of a command, before or after it was executed,
// and with or without what it had not written yet.
func TestRebootInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		how  routerostest.Reboot
	}{
		{"short", routerostest.Reboot{Down: time.Second}},
		{"short, in order", routerostest.Reboot{Down: time.Second, Cut: true}},
		{"loses what was last", routerostest.Reboot{Down: 3 * time.Second, LoseLast: time.Minute}},
		{"new ids", routerostest.Reboot{Down: 3 * time.Second, Renumber: true}},
		{"long", routerostest.Reboot{Down: time.Minute}},
		{"long, loses what was last", routerostest.Reboot{Down: time.Minute, LoseLast: time.Minute}},
	} {
		for _, command := range []string{natAdd, natRemove, natPrint} {
			t.Run(tt.name+"/"+command, func(t *testing.T) {
				t.Parallel()
				onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
					r.mapped(bob, natpmp.OpMapUDP, 53)
					r.mapped(bob, natpmp.OpMapTCP, 22)
					time.Sleep(30 * time.Second)
					for _, kind := range []routerostest.FaultKind{routerostest.FaultNone, routerostest.FaultDelayReply} {
						r.Router.Inject(routerostest.Fault{Kind: kind, Command: command, Delay: time.Second, Do: func(router *routerostest.Router) {
							router.Reboot(tt.how)
						}})
						r.ask(alice, natpmp.OpMapTCP, 6881, 0)
						r.send(bob, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 22})
						time.Sleep(3 * time.Minute)
						r.AcceptOthers() // They have other ids, and what was new is lost.
						r.agree()
						r.ask(bob, natpmp.OpMapTCP, 22, 0)
						r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881})
					}
					if got := r.ask(bob, natpmp.OpMapUDP, 53, 0); got.Result != natpmp.ResultSuccess {
						r.t.Errorf("renewing what had nothing to do with it: %+v", got)
					}
					r.agree()
				})
			})
		}
	}
}

// A user without the right to write gets nothing half done: clients are told
// "not authorized", and all is made good when the right is back.
func TestUserWithoutRights(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
		rights := func(policy string) {
			if err := r.Router.Set("/user/group", "doublenat", routerostest.Row{"policy": policy}); err != nil {
				r.t.Fatal(err)
			}
			r.Router.Disconnect() // rights are those of the login
		}
		r.mapped(bob, natpmp.OpMapUDP, 53)
		rights("read,api,test")
		if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultNotAuthorized {
			r.t.Errorf("creating: answered %v, want result 2", got.Result)
		}
		if got := r.ask(bob, natpmp.OpMapUDP, 53, 0); got.Result != natpmp.ResultSuccess {
			r.t.Errorf("a renewal needs no right: answered %v", got.Result)
		}
		r.agree()
		if got := r.send(bob, natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 53}); got.Result != natpmp.ResultNotAuthorized {
			r.t.Errorf("deleting: answered %v, want result 2", got.Result)
		}
		rights("read,write,api,test")
		time.Sleep(time.Minute)
		r.empty()
	})
}

// A table that is full refuses newcomers without a word to either layer, and keeps
// those who are in it.
func TestFullTable(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{
		Profile: natpmptest.RFC(), Environ: map[string]string{"MAX_MAPPINGS": "3", "MAX_MAPPINGS_PER_CLIENT": "2"},
	}, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 1)
		r.mapped(alice, natpmp.OpMapTCP, 2)
		mark, asked := r.Router.Mark(), r.requests()
		if got := r.ask(alice, natpmp.OpMapTCP, 3, 0); got.Result != natpmp.ResultOutOfResources {
			r.t.Errorf("a client's third of two: %v", got.Result)
		}
		if n := r.requests() - asked; n != 0 || len(r.wrote(mark)) != 0 {
			r.t.Errorf("it cost %d packets and %v", n, r.wrote(mark))
		}
		r.mapped(bob, natpmp.OpMapTCP, 1)
		if got := r.ask(bob, natpmp.OpMapTCP, 2, 0); got.Result != natpmp.ResultOutOfResources {
			r.t.Errorf("the fourth of three: %v", got.Result)
		}
		r.mapped(alice, natpmp.OpMapTCP, 1)
		r.agree()
		r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 2})
		r.mapped(bob, natpmp.OpMapTCP, 2)
		r.agree()
	})
}
