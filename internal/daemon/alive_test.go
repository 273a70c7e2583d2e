package daemon_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// A daemon lives whether router and gateway do or not, and does not where something
// holds up its core for ever.
func TestAlive(t *testing.T) {
	t.Parallel()
	var (
		alive   func() error
		release chan struct{} // made in the bubble
	)
	cfg := lab.BenchConfig{Profile: natpmptest.RFC(), Options: func(o *daemon.Options) {
		release = make(chan struct{})
		o.Supervise = func(ctx context.Context, ask func() error) {
			alive = ask
			<-ctx.Done()
		}
		o.OnEvent = func(ev nat.Event) {
			if ev.Kind == nat.EventExpired {
				<-release
			}
		}
	}}
	onBench(t, cfg, func(r *rig) {
		for port := range uint16(40) { // more than there are workers
			r.mapped(alice, natpmp.OpMapTCP, 100+port)
		}
		r.Router.Disconnect()
		r.Gateway.Refuse(true)
		time.Sleep(10 * time.Second)
		synctest.Wait() // for whoever sets alive
		if err := alive(); err != nil {
			r.t.Errorf("router and gateway are away: %v", err)
		}
		r.Gateway.Refuse(false)
		if err := alive(); err != nil {
			r.t.Error(err)
		}
		time.Sleep(3 * time.Hour) // all expire
		if err := alive(); err == nil || !strings.Contains(err.Error(), "the core is stuck for") {
			r.t.Errorf("a core that is stuck: %v", err)
		}
		close(release)
		time.Sleep(time.Minute)
		if err := alive(); err != nil {
			r.t.Errorf("it goes on: %v", err)
		}
		if err := r.Stop(); err != nil {
			r.t.Error(err)
		}
	})
}
