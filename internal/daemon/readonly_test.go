package daemon_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/nat"
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
			would := `would="get a public port and add a rule on the router" client=192.168.88.10 proto=tcp ` + mapping + " "
			if n := strings.Count(log.String(), would); n != 1 {
				t.Errorf("%s was said %d times, want once:\n%s", mapping, n, log.String())
			}
		}
	})
}

// With READ_ONLY the rules of a former run stay, and nothing is told of them but
// once, in the log: nobody adopts, loses or removes them, no hook runs, no epoch
// begins and nothing is announced. Nor does a static mapping fail.
func TestReadOnlyTellsNoStories(t *testing.T) {
	t.Parallel()
	var (
		log    logBuffer
		hooks  listener
		mu     sync.Mutex
		events []nat.EventKind // guarded by mu
		posts  []string        // guarded by mu
	)
	cfg, heard := announcing(lab.BenchConfig{
		Profile: natpmptest.RFC(), Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Environ: map[string]string{"SHUTDOWN": "keep"},
	})
	speaker := cfg.Options
	cfg.Options = func(o *daemon.Options) {
		speaker(o)
		o.OnEvent = func(ev nat.Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, ev.Kind)
		}
		if !o.Config.ReadOnly {
			return
		}
		hooks = make(listener)
		o.Network.DialHook = hooks.dial
		go func() {
			_ = http.Serve(hooks, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body) // what is cut off differs from what is wanted
				mu.Lock()
				defer mu.Unlock()
				posts = append(posts, string(body))
			}))
		}()
	}
	onBench(t, cfg, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 80)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		rules, said := r.rules(), len(log.String())
		events, _ = nil, heard.take()
		r.start(map[string]string{
			"READ_ONLY": "true", "STATIC_MAPPINGS": "udp:192.168.88.30:53=53", "ON_CHANGE_URL": "http://hooks.lan/",
		})
		defer close(hooks)
		time.Sleep(3*time.Hour - 5*time.Second) // longer than a rule that is adopted waits for its client
		if got := len(heard.take()); got > 20 {
			t.Errorf("%d announcements, want those of the start and of the address", got)
		}
		r.expect(alice, "0000", "0080 0000 00002a30 05060708") // three hours: still the first epoch
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(rules, r.rules()); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(events) != 0 || len(posts) != 1 || !strings.Contains(posts[0], "address_changed") {
			t.Errorf("events %v and hooks %v, want the address alone", events, posts)
		}
		told(t, log.String()[said:])
	})
}

// told checks the log of a read-only run.
func told(t *testing.T, log string) {
	t.Helper()
	for _, would := range []string{
		`would="adopt the rule and its lease, and remove both unless the client renews" client=192.168.88.10 proto=tcp internal_port=80 `,
		`would="hold a static mapping" client=192.168.88.30 proto=udp internal_port=53 suggested_port=53`,
	} {
		if n := strings.Count(log, would); n != 1 {
			t.Errorf("%s was said %d times, want once", would, n)
		}
	}
	warnings := strings.Count(log, "level=WARN") + strings.Count(log, "level=ERROR") - strings.Count(log, "no multicast on the bench")
	if warnings != 1 || !strings.Contains(log, "read only: nothing will be changed") || strings.Contains(log, "rule removed") || strings.Contains(log, "adopted") {
		t.Errorf("want one warning, and no stories:\n%s", log)
	}
}
