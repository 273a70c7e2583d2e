package daemon_test

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

var (
	alice = netip.MustParseAddr("192.168.88.10")
	bob   = netip.MustParseAddr("192.168.88.11")
)

// rig is a bench with a daemon that is up.
type rig struct {
	*lab.Bench

	t *testing.T
}

// onBench runs a test in virtual time.
func onBench(t *testing.T, cfg lab.BenchConfig, test func(r *rig)) {
	t.Helper()
	onBenchWith(t, cfg, func(*lab.Bench) func() { return func() {} }, test)
}

// onBenchWith is onBench with something more in the world, which begins before the daemon.
func onBenchWith(t *testing.T, cfg lab.BenchConfig, more func(*lab.Bench) (stop func()), test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, err := lab.NewBench(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer more(b)()
		r := &rig{Bench: b, t: t}
		defer func() {
			if err := b.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		}()
		synctest.Wait() // until the gateway has its socket
		r.start(nil)
		test(r)
	})
}

func (r *rig) start(more map[string]string) {
	r.t.Helper()
	if err := r.Start(more); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
}

// ask sends a map request for an hour and returns the reply.
func (r *rig) ask(client netip.Addr, op natpmp.Opcode, port, suggested uint16) natpmp.Response {
	r.t.Helper()
	return r.send(client, natpmp.Request{Opcode: op, InternalPort: port, SuggestedExternalPort: suggested, Lifetime: 3600})
}

func (r *rig) send(client netip.Addr, req natpmp.Request) natpmp.Response {
	r.t.Helper()
	resp, err := r.Request(client, req)
	if err != nil {
		r.t.Fatalf("%v asks %+v: %v", client, req, err)
	}
	return resp
}

// mapped is ask, and fails the test unless it is granted.
func (r *rig) mapped(client netip.Addr, op natpmp.Opcode, port uint16) natpmp.Response {
	r.t.Helper()
	resp := r.ask(client, op, port, 0)
	if resp.Result != natpmp.ResultSuccess || resp.ExternalPort == 0 {
		r.t.Fatalf("%v asks for %v %d: %+v", client, op, port, resp)
	}
	return resp
}

// agree fails the test unless table, router and gateway say the same.
func (r *rig) agree() {
	r.t.Helper()
	time.Sleep(time.Second)
	for _, wrong := range r.Disagreements() {
		r.t.Error(wrong)
	}
}

// empty fails the test unless no mapping, rule or lease is left.
func (r *rig) empty() {
	r.t.Helper()
	r.agree()
	if n := len(r.OurRules("default")) + len(r.Gateway.Mappings()); n > 0 {
		r.t.Errorf("%d rules and leases left", n)
	}
}

// commands returns all commands since the mark.
func (r *rig) commands(m routerostest.Mark) []string {
	var all []string
	for _, e := range r.Router.Since(m) {
		all = append(all, e.Command)
	}
	return slices.Clip(all)
}

// requests returns how many packets the gateway got since before.
func (r *rig) requests() uint64 {
	var n uint64
	for _, of := range r.Gateway.Stats().Requests {
		n += of
	}
	return n
}
