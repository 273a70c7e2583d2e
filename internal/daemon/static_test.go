package daemon_test

import (
	"fmt"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// staticMappings are held for alice, who asks for nothing.
var staticMappings = map[string]string{"STATIC_MAPPINGS": "both:192.168.88.10:51413,tcp:192.168.88.10:8080=8080"}

// Static mappings stand from start to stop, whatever gateway and router do, and
// cost what a client's would.
func TestStaticMappings(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"client", "hold"} {
		for _, profile := range []natpmptest.Profile{natpmptest.Proton(), natpmptest.Miniupnpd(), natpmptest.Short(10 * time.Second)} {
			t.Run(policy+" "+profile.Name, func(t *testing.T) {
				t.Parallel()
				environ := map[string]string{"LEASE_POLICY": policy, "STATIC_MAPPINGS": staticMappings["STATIC_MAPPINGS"]}
				onBench(t, lab.BenchConfig{Profile: profile, Environ: environ}, func(r *rig) {
					r.standing()
					mark := r.Router.Mark()
					time.Sleep(shorter(24*time.Hour, 6*time.Hour))
					r.standing()
					if n := r.Router.StatsSince(mark).Writes; n != 0 {
						r.t.Errorf("hours without changes cost the router %d writes", n)
					}
					if err := r.Stop(); err != nil {
						r.t.Errorf("stopping: %v", err)
					}
					r.empty()
				})
			})
		}
	}
}

// standing fails the test unless the three static mappings stand, TCP and UDP of one
// port with one external port.
func (r *rig) standing() {
	r.t.Helper()
	r.agree()
	all := r.Daemon().Mappings()
	if len(all) != 3 || all[1].ExternalPort != all[2].ExternalPort {
		r.t.Errorf("mappings %+v, want three, with one external port for 51413", all)
	}
}

func TestStaticMappingsOutliveEverything(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		harm func(r *rig)
	}{
		{"gateway refuses for an hour", func(r *rig) {
			r.Gateway.Refuse(true)
			time.Sleep(time.Hour)
			r.Gateway.Refuse(false)
		}},
		{"gateway says no for an hour", func(r *rig) {
			result(natpmp.ResultNotAuthorized)(r.Bench)
			time.Sleep(time.Hour)
			result(natpmp.ResultSuccess)(r.Bench)
		}},
		{"gateway forgets everything", func(r *rig) { r.Gateway.Restart(false) }},
		{"a client deletes them", func(r *rig) {
			for _, req := range []natpmp.Request{
				{Opcode: natpmp.OpMapTCP, InternalPort: 8080}, {Opcode: natpmp.OpMapTCP}, {Opcode: natpmp.OpMapUDP},
			} {
				if got := r.send(alice, req); got.Result != natpmp.ResultNotAuthorized {
					r.t.Errorf("%+v was answered %v, want result 2", req, got.Result)
				}
			}
		}},
		{"a client asks for a second", func(r *rig) {
			r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 8080, Lifetime: 1})
		}},
		{"the daemon is killed", func(r *rig) {
			r.Kill()
			r.start(nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Environ: staticMappings}, func(r *rig) {
				r.standing()
				tt.harm(r)
				time.Sleep(90 * time.Second)
				r.standing()
			})
		})
	}
}

// Mappings count against their host's quota, so that what is held and what the host
// asks for by itself are one sum.
func TestStaticMappingsCount(t *testing.T) {
	t.Parallel()
	environ := map[string]string{"MAX_MAPPINGS_PER_CLIENT": "4", "STATIC_MAPPINGS": staticMappings["STATIC_MAPPINGS"]}
	onBench(t, lab.BenchConfig{Environ: environ, Profile: natpmptest.RFC()}, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 1)
		if got := r.ask(alice, natpmp.OpMapTCP, 2, 0); got.Result != natpmp.ResultOutOfResources {
			r.t.Errorf("a fifth mapping was answered %v", got.Result)
		}
		r.mapped(bob, natpmp.OpMapTCP, 2)
		if got := r.Daemon().Mappings(); len(got) != 5 {
			r.t.Error(fmt.Sprint(got))
		}
	})
}
