package daemon_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/internal/ops"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// A rule that the router makes by itself, which takes everything, and before which none
// can be put, is named in the log and on the page, with and without a mapping that it
// struck. When it is gone all is well.
func TestPortsTakenByDynamicRule(t *testing.T) {
	t.Parallel()
	log := new(book)
	cfg := lab.BenchConfig{Profile: natpmptest.RFC(), Logger: slog.New(slog.NewTextHandler(log, nil))}
	onBench(t, cfg, func(r *rig) {
		id, err := r.Router.Add(natPath, routerostest.Row{
			"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "dst-port": "1-65535", "in-interface": routerostest.TunnelInterface,
			"to-addresses": "192.168.88.7", "comment": "upnp", "dynamic": "true",
		})
		if err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(65 * time.Second)
		name := id + " (upnp, dynamic)"
		if hop := r.Daemon().Status().Hops[1]; hop.State != ops.StateDegraded || !strings.Contains(hop.Remedy, name) {
			r.t.Errorf("the page says %+v before anybody asks", hop)
		}
		if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultOutOfResources {
			r.t.Errorf("a request was answered %+v, want out of resources", got)
		}
		if told := log.lines("no room for another mapping"); len(told) != 1 || !strings.Contains(told[0], name) || !strings.Contains(told[0], "switch off what makes it") {
			r.t.Errorf("said %q", told)
		}
		if err := r.Router.Remove(natPath, id); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(65 * time.Second)
		if hop := r.Daemon().Status().Hops[1]; hop.State != ops.StateOK {
			r.t.Errorf("the page says %+v when it is gone", hop)
		}
		r.mapped(alice, natpmp.OpMapTCP, 6881)
	})
}
