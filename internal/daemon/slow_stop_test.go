package daemon_test

import (
	"sync"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// A gateway that serves one request at a time, 150 ms each, as a miniupnpd with many
// rules does, still gets all its leases back when the daemon stops.
func TestStopWithSlowGateway(t *testing.T) {
	t.Parallel()
	profile := natpmptest.RFC()
	profile.ServiceTime = 150 * time.Millisecond
	onBench(t, lab.BenchConfig{Profile: profile, Latency: time.Millisecond}, func(r *rig) {
		var all sync.WaitGroup
		for i := range uint16(32) {
			all.Go(func() { r.mapped(alice, natpmp.OpMapTCP, 7000+i) })
		}
		all.Wait()
		began := time.Now()
		if err := r.Stop(); err != nil {
			r.t.Errorf("stopping: %v", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			r.t.Errorf("took %v, want 10s at most", took)
		}
		r.empty()
	})
}
