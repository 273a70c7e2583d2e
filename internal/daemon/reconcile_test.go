package daemon_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// Whatever somebody does to our rules, a minute later they are as they should be,
// and what is not ours stays as it is.
func TestReconcile(t *testing.T) {
	t.Parallel()
	set := func(row routerostest.Row) func(*rig, routerostest.Row) error {
		return func(r *rig, rule routerostest.Row) error { return r.Router.Set(natPath, rule[".id"], row) }
	}
	for _, tt := range []struct {
		name string
		harm func(r *rig, rule routerostest.Row) error
		// same says that the rule that was there stays.
		same bool
	}{
		{"missing", func(r *rig, rule routerostest.Row) error { return r.Router.Remove(natPath, rule[".id"]) }, false},
		{"other client", set(routerostest.Row{"to-addresses": "192.168.88.99"}), false},
		{"other port of the client", set(routerostest.Row{"to-ports": "1"}), false},
		{"other inner port", set(routerostest.Row{"dst-port": "19999"}), false},
		{"switched off", set(routerostest.Row{"disabled": "true"}), false},
		{"duplicated", func(r *rig, rule routerostest.Row) error {
			delete(rule, ".id")
			_, err := r.Router.Add(natPath, rule)
			return err
		}, true},
		{"stale beside it", func(r *rig, rule routerostest.Row) error {
			rule["comment"], rule["to-ports"] = "doublenat:default tcp 192.168.88.10:7 inner=21000 ext=40000 life=60", "7"
			rule["dst-port"] = "21000"
			delete(rule, ".id")
			_, err := r.Router.Add(natPath, rule)
			return err
		}, true},
		{"new ids", func(r *rig, _ routerostest.Row) error {
			r.Router.Reboot(routerostest.Reboot{Renumber: true})
			r.AcceptOthers()
			return nil
		}, false},
		{"behind a rule for all ports", func(r *rig, rule routerostest.Row) error {
			defer r.AcceptOthers()
			id, err := r.Router.Add(natPath, routerostest.Row{
				"chain": "dstnat", "action": "dst-nat", "in-interface": routerostest.TunnelInterface, "protocol": "tcp", "to-addresses": "192.168.88.77",
			})
			return errors.Join(err, r.Router.Move(natPath, id, rule[".id"]))
		}, false},
		{"comment made useless", set(routerostest.Row{"comment": "mine!"}), true},
		{"comment made useless and switched off", set(routerostest.Row{"comment": "mine!", "disabled": "true"}), false},
		{"comment removed", set(routerostest.Row{"comment": ""}), true},
		{"on another interface", set(routerostest.Row{"in-interface": routerostest.WANInterface}), true},
		{"on a deleted interface", set(routerostest.Row{"in-interface": "*C"}), true},
		{"comment and interface", set(routerostest.Row{"comment": "mine!", "in-interface": routerostest.WANInterface}), true},
		{"made the administrator's", func(r *rig, rule routerostest.Row) error {
			defer r.AcceptOthers() // Nothing of it is as we made it.
			return r.Router.Set(natPath, rule[".id"], routerostest.Row{"comment": "mine!", "to-addresses": "192.168.88.77", "dst-port": "8080"})
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
				first := r.mapped(alice, natpmp.OpMapTCP, 6881)
				before := r.ids("default")
				if err := tt.harm(r, r.OurRules("default")[0]); err != nil {
					r.t.Fatal(err)
				}
				time.Sleep(61 * time.Second)
				r.agree()
				if same := cmp.Equal(before, r.ids("default")); same != tt.same {
					r.t.Errorf("rules %v before, %v after, want the same: %v", before, r.ids("default"), tt.same)
				}
				lease, _ := r.Gateway.Lookup(natpmp.OpMapTCP, first.ExternalPort)
				to, _, _ := r.Router.Match("tcp", routerostest.TunnelInterface, lease.Target.Port())
				if to.String() != alice.String()+":6881" {
					r.t.Errorf("packets go to %v", to)
				}
			})
		})
	}
}

// A connection that came back, and a router that did, are reason enough not to wait
// for the minute.
func TestReconcileOnReturn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		harm   func(*rig)
		within time.Duration
	}{
		{"connection lost", func(r *rig) { r.Router.Disconnect() }, 5 * time.Second},
		{"reboot", func(r *rig) { r.Router.Reboot(routerostest.Reboot{Cut: true, Down: 20 * time.Second}) }, 55 * time.Second},
		{"power cut that lost the rules", func(r *rig) {
			r.Router.Reboot(routerostest.Reboot{Down: 20 * time.Second, LoseLast: time.Hour})
			r.AcceptOthers()
		}, 90 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
				first := r.mapped(alice, natpmp.OpMapTCP, 6881)
				time.Sleep(62 * time.Second) // just after a reconcile
				for _, rule := range r.OurRules("default") {
					if err := r.Router.Remove(natPath, rule[".id"]); err != nil {
						r.t.Fatal(err)
					}
				}
				tt.harm(r)
				time.Sleep(tt.within)
				r.agree()
				if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.ExternalPort != first.ExternalPort {
					r.t.Errorf("port %d before, %d after", first.ExternalPort, got.ExternalPort)
				}
			})
		})
	}
}
