package daemon_test

import (
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// Whatever is dead, the daemon ends within ten seconds: service managers kill what
// does not.
func TestShutdownWithDeadHops(t *testing.T) {
	t.Parallel()
	silentGateway := func(r *rig) { r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true }) }
	silentRouter := func(r *rig) { r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultVanish, Times: -1}) }
	for _, tt := range []struct {
		name string
		harm []func(*rig)
	}{
		{"gateway silent", []func(*rig){silentGateway}},
		{"gateway refuses", []func(*rig){func(r *rig) { r.Gateway.Refuse(true) }}},
		{"router silent", []func(*rig){silentRouter}},
		{"router down", []func(*rig){func(r *rig) { r.Router.Reboot(routerostest.Reboot{Down: time.Hour}) }}},
		{"both silent", []func(*rig){silentGateway, silentRouter}},
		{"both silent, a client in the middle of a create", []func(*rig){silentGateway, silentRouter, func(r *rig) {
			r.Ask(bob, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 1, Lifetime: 60}.Append(nil), time.Second)
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
				for port := range uint16(20) {
					r.mapped(alice, natpmp.OpMapTCP, 100+port)
				}
				for _, harm := range tt.harm {
					harm(r)
				}
				began := time.Now()
				err := r.Stop()
				if took := time.Since(began); took > 10*time.Second {
					r.t.Errorf("stopping took %v", took)
				}
				if err == nil {
					r.t.Error("stopping left things behind and did not say so")
				}
			})
		})
	}
}

// What a shutdown could not take down, the next start adopts and takes down in time.
func TestStartAfterDirtyShutdown(t *testing.T) {
	t.Parallel()
	onBench(t, lab.BenchConfig{Environ: map[string]string{"LEASE_POLICY": "client"}}, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: natRemove, Times: -1})
		if err := r.Stop(); err == nil {
			r.t.Error("stopping left a rule behind and did not say so")
		}
		if n := len(r.OurRules("default")); n != 1 {
			r.t.Errorf("%d rules, want the one that could not be removed", n)
		}
		r.Router.ClearFaults()
		r.start(nil)
		r.agree()
		time.Sleep(15 * time.Minute)
		r.empty()
	})
}
