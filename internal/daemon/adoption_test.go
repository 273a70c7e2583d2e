package daemon_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

const (
	natPath  = "/ip/firewall/nat"
	natSet   = natPath + "/set"
	natPrint = natPath + "/print"
)

// ids returns the ids of the instance's rules by what they forward to.
func (r *rig) ids(instance string) map[string]string {
	ids := make(map[string]string)
	for _, row := range r.OurRules(instance) {
		ids[row["protocol"]+" "+row["to-addresses"]+":"+row["to-ports"]] += row[".id"]
	}
	return ids
}

// wrote returns the commands since the mark that change rules.
func (r *rig) wrote(m routerostest.Mark) (all []string) {
	for _, command := range r.commands(m) {
		if command == natAdd || command == natRemove || command == natSet {
			all = append(all, command)
		}
	}
	return all
}

// A daemon that was killed finds its rules again, touches none of them, and its
// clients keep their ports. Who does not come back is removed.
func TestAdoptionAfterKill(t *testing.T) {
	t.Parallel()
	for _, profile := range []natpmptest.Profile{natpmptest.Proton(), natpmptest.Miniupnpd(), natpmptest.RFC()} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: profile}, func(r *rig) {
				tcp, udp := r.mapped(alice, natpmp.OpMapTCP, 6881), r.mapped(alice, natpmp.OpMapUDP, 6881)
				r.mapped(bob, natpmp.OpMapTCP, 22)
				r.agree()
				before, mark := r.ids("default"), r.Router.Mark()
				r.Kill()
				time.Sleep(10 * time.Second)
				r.start(nil)
				r.agree()
				if diff := cmp.Diff(before, r.ids("default")); diff != "" {
					r.t.Errorf("ids of the rules (-before the kill +after):\n%s", diff)
				}
				for range 3 {
					for op, was := range map[natpmp.Opcode]natpmp.Response{natpmp.OpMapTCP: tcp, natpmp.OpMapUDP: udp} {
						if got := r.ask(alice, op, 6881, was.ExternalPort); got.ExternalPort != was.ExternalPort {
							r.t.Errorf("%v: port %d before the kill, %d after", op, was.ExternalPort, got.ExternalPort)
						}
					}
					time.Sleep(25 * time.Second)
				}
				if did := r.wrote(mark); profile.Name != "proton" && len(did) > 0 {
					r.t.Errorf("the router was told %v", did)
				}
				time.Sleep(2*time.Hour + time.Minute)
				r.empty()
			})
		})
	}
}

// With policy client and a lease of a minute the client that does not come back loses its
// mapping after that minute, and the others keep theirs.
func TestAdoptionLastsOneLease(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Environ: map[string]string{"LEASE_POLICY": "client"}}, func(r *rig) {
		first := r.mapped(alice, natpmp.OpMapTCP, 6881)
		r.mapped(bob, natpmp.OpMapTCP, 22)
		before := r.ids("default")
		r.Kill()
		r.start(nil)
		for range 4 {
			time.Sleep(25 * time.Second)
			r.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort)
		}
		delete(before, "tcp "+bob.String()+":22")
		if diff := cmp.Diff(before, r.ids("default")); diff != "" {
			r.t.Errorf("rules after a lease time (-want +got):\n%s", diff)
		}
		r.agree()
	})
}

// A gateway out of reach at the start costs no rule: its leases are asked for until
// it answers, and clients that renew meanwhile are told so much as is known.
func TestAdoptionWithoutGateway(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{}, func(r *rig) {
		first := r.mapped(alice, natpmp.OpMapTCP, 6881)
		before := r.ids("default")
		r.Kill()
		r.Gateway.Refuse(true)
		r.start(nil)
		for range 8 {
			got := r.ask(alice, natpmp.OpMapTCP, 6881, first.ExternalPort)
			if got.Result != natpmp.ResultSuccess || got.ExternalPort != first.ExternalPort {
				r.t.Errorf("renewal without a gateway: %+v", got)
			}
			time.Sleep(20 * time.Second)
		}
		r.Gateway.Refuse(false)
		time.Sleep(35 * time.Second)
		if diff := cmp.Diff(before, r.ids("default")); diff != "" {
			r.t.Errorf("ids of the rules (-before +after):\n%s", diff)
		}
		r.agree()
	})
}

// A router out of reach at the start is waited for, and then adopted from.
func TestAdoptionWithoutRouter(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
		first := r.mapped(alice, natpmp.OpMapTCP, 6881)
		before := r.ids("default")
		r.Kill()
		r.Router.Reboot(routerostest.Reboot{Down: 20 * time.Second})
		r.start(nil)
		time.Sleep(40 * time.Second)
		if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.ExternalPort != first.ExternalPort {
			r.t.Errorf("port %d before, %d after", first.ExternalPort, got.ExternalPort)
		}
		if diff := cmp.Diff(before, r.ids("default")); diff != "" {
			r.t.Errorf("ids of the rules (-before +after):\n%s", diff)
		}
		r.agree()
	})
}

// SHUTDOWN=keep leaves everything for the next start; clean, the default, nothing.
func TestShutdownModes(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
		r.Kill()
		r.start(map[string]string{"SHUTDOWN": "keep"})
		first := r.mapped(alice, natpmp.OpMapTCP, 6881)
		before, mark := r.ids("default"), r.Router.Mark()
		if err := r.Stop(); err != nil {
			r.t.Errorf("stopping: %v", err)
		}
		if n := len(r.Gateway.Mappings()); n != 1 {
			r.t.Errorf("%d leases after a stop that keeps them, want 1", n)
		}
		r.start(map[string]string{"SHUTDOWN": "clean"})
		if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.ExternalPort != first.ExternalPort {
			r.t.Errorf("port %d before, %d after", first.ExternalPort, got.ExternalPort)
		}
		if did := r.wrote(mark); len(did) > 0 || !cmp.Equal(before, r.ids("default")) {
			r.t.Errorf("an upgrade told the router %v", did)
		}
		if err := r.Stop(); err != nil {
			r.t.Errorf("stopping: %v", err)
		}
		r.empty()
		r.start(nil)
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		r.agree()
	})
}

// Two daemons on one router stay apart by INSTANCE: neither adopts, changes or
// removes the other's rules, nor matches their ports.
func TestInstancesStayApart(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
		r.Kill()
		r.start(map[string]string{"INSTANCE": "one"})
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		one := r.OurRules("one")
		r.Kill()
		r.start(map[string]string{"INSTANCE": "two"})
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		time.Sleep(5 * time.Minute)
		two := r.OurRules("two")
		if len(one) != 1 || len(two) != 1 || one[0]["dst-port"] == two[0]["dst-port"] {
			r.t.Errorf("rules of the one: %v, of the other: %v", one, two)
		}
		if diff := cmp.Diff(one, r.OurRules("one")); diff != "" {
			r.t.Errorf("the other's rules (-before +after):\n%s", diff)
		}
		if err := r.Stop(); err != nil {
			r.t.Errorf("stopping: %v", err)
		}
		if len(r.OurRules("two")) != 0 || !cmp.Equal(one, r.OurRules("one")) {
			r.t.Errorf("after the stop: %v and %v", r.OurRules("one"), r.OurRules("two"))
		}
	})
}
