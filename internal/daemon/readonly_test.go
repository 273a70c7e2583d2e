package daemon_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// With READ_ONLY nothing is written anywhere, whatever clients ask and whatever
// the router already has; clients are refused, and the log says what would be
// done, once for each mapping.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	onBench(t, lab.BenchConfig{Profile: natpmptest.RFC(), Logger: logger, Environ: map[string]string{"SHUTDOWN": "keep"}}, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 80)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		before, leases, writes := string(r.Router.Fingerprint("/ip/firewall/nat", nil)), len(r.Gateway.Mappings()), r.Router.Stats().Writes
		r.start(map[string]string{"READ_ONLY": "true", "SHUTDOWN": "clean", "STATIC_MAPPINGS": "udp:192.168.88.30:53"})
		for range 5 {
			for _, port := range []uint16{80, 81} {
				if got := r.ask(alice, natpmp.OpMapTCP, port, 0).Result; got != natpmp.ResultNotAuthorized {
					t.Errorf("port %d: answered %v, want result 2", port, got)
				}
			}
			if got := r.send(bob, natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 9}).Result; got != natpmp.ResultNotAuthorized {
				t.Errorf("a deletion was answered %v, want result 2", got)
			}
			time.Sleep(10 * time.Minute)
		}
		if got := r.send(alice, natpmp.Request{Opcode: natpmp.OpExternalAddress}); got.Result != natpmp.ResultSuccess {
			t.Errorf("the address was answered %v", got.Result)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		if got := string(r.Router.Fingerprint("/ip/firewall/nat", nil)); got != before || r.Router.Stats().Writes != writes {
			t.Errorf("the router was changed:\n%s\nwas:\n%s", got, before)
		}
		if got := len(r.Gateway.Mappings()); got > leases {
			t.Errorf("%d leases, were %d", got, leases)
		}
		for _, mapping := range []string{"internal_port=80", "internal_port=81"} {
			would := `would="lease a port on the gateway and add a rule on the router" client=192.168.88.10 proto=tcp ` + mapping + " "
			if n := strings.Count(log.String(), would); n != 1 {
				t.Errorf("%s was said %d times, want once:\n%s", mapping, n, log.String())
			}
		}
	})
}
