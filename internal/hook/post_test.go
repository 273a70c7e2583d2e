package hook_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/hook"
	"doublenat/internal/nat"
)

func TestPost(t *testing.T) {
	t.Parallel()
	const head = `{"version":1,"event":"%s","time":"2000-01-01T00:00:00Z","instance":"default","active":%v,` +
		`"protocol":"tcp","client":"192.168.88.10","internal_port":6881,"external_address":"5.6.7.8"%s}` + "\n"
	for _, tt := range []struct {
		event nat.Event
		want  string
	}{
		{nat.Event{Kind: nat.EventCreated}, fmt.Sprintf(head, "created", true, `,"external_port":40000`)},
		{nat.Event{Kind: nat.EventAdopted}, fmt.Sprintf(head, "adopted", true, `,"external_port":40000`)},
		{nat.Event{Kind: nat.EventPortChanged, OldPort: 39999}, fmt.Sprintf(head, "port_changed", true, `,"external_port":40000,"old_external_port":39999`)},
		{nat.Event{Kind: nat.EventDeleted}, fmt.Sprintf(head, "deleted", false, `,"external_port":40000`)},
		{nat.Event{Kind: nat.EventExpired}, fmt.Sprintf(head, "expired", false, `,"external_port":40000`)},
		{nat.Event{Kind: nat.EventLost}, fmt.Sprintf(head, "lost", false, `,"external_port":40000`)},
		{nat.Event{Kind: nat.EventShutdown}, fmt.Sprintf(head, "shutdown", false, `,"external_port":40000`)},
		{nat.Event{Kind: nat.EventRuleRestored}, ""},
		{nat.Event{Kind: 99}, ""},
	} {
		t.Run(tt.event.Kind.String(), func(t *testing.T) {
			t.Parallel()
			posting(t, nil, func(r *rig) {
				r.Mapping(happened(tt.event.Kind, alice, 40000, tt.event.OldPort))
				time.Sleep(time.Second)
				if diff := cmp.Diff(tt.want, strings.Join(r.to.got(), "")); diff != "" {
					r.t.Errorf("body (-want +got):\n%s", diff)
				}
				if tt.want == "" {
					return
				}
				req := r.to.seen[0]
				user, password, _ := req.BasicAuth()
				got := []string{req.Method, req.URL.String(), req.Header.Get("Content-Type"), req.UserAgent(), user, password}
				want := []string{"POST", "/s3cret?token=s3cret", "application/json", "doublenat/v1", "user", "s3cret"}
				if diff := cmp.Diff(want, got); diff != "" {
					r.t.Errorf("request (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestPostOfTheAddress(t *testing.T) {
	t.Parallel()
	posting(t, nil, func(r *rig) {
		r.Address(netip.Addr{}, public)
		time.Sleep(time.Second)
		r.Address(public, netip.Addr{})
		time.Sleep(time.Second)
		want := []string{
			`{"version":1,"event":"address_changed","time":"2000-01-01T00:00:00Z","instance":"default","active":true,"external_address":"5.6.7.8"}` + "\n",
			`{"version":1,"event":"address_changed","time":"2000-01-01T00:00:01Z","instance":"default","active":false,"old_external_address":"5.6.7.8"}` + "\n",
		}
		if diff := cmp.Diff(want, r.to.got()); diff != "" {
			r.t.Errorf("bodies (-want +got):\n%s", diff)
		}
	})
}

// ports returns event and external ports of each body.
func ports(t *testing.T, bodies []string) []string {
	t.Helper()
	var all []string
	for _, body := range bodies {
		ev := decode(t, body)
		all = append(all, fmt.Sprintf("%s %d<-%d", ev.Kind, ev.ExternalPort, ev.OldExternalPort))
	}
	return all
}

func expect(r *rig, want ...string) {
	r.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, ports(r.t, r.to.got())); diff != "" {
		r.t.Errorf("told (-want +got):\n%s", diff)
	}
}

// What a receiver could not be told is told when it is back: for each mapping the
// newest state, with the port that the receiver knows as the old one.
func TestNewestStateWins(t *testing.T) {
	t.Parallel()
	posting(t, nil, func(r *rig) {
		r.Mapping(happened(nat.EventCreated, alice, 1, 0))
		expect(r, "created 1<-0")
		r.to.set(func(to *receiver) { to.down = true })
		r.Mapping(happened(nat.EventPortChanged, alice, 2, 1))
		r.Mapping(happened(nat.EventCreated, bob, 7, 0))
		r.Address(public, netip.Addr{})
		time.Sleep(10 * time.Second)
		r.Mapping(happened(nat.EventPortChanged, alice, 3, 2))
		r.Mapping(happened(nat.EventPortChanged, alice, 4, 3))
		r.Mapping(happened(nat.EventDeleted, bob, 7, 0))
		r.Address(netip.Addr{}, public)
		time.Sleep(10 * time.Second)
		r.to.set(func(to *receiver) { to.down = false })
		time.Sleep(time.Minute)
		got := make(map[string]bool)
		for _, told := range ports(r.t, r.to.got()) {
			got[told] = true
		}
		want := map[string]bool{"port_changed 4<-1": true, "deleted 7<-0": true, "address_changed 0<-0": true}
		if diff := cmp.Diff(want, got); diff != "" {
			r.t.Errorf("told (-want +got):\n%s", diff)
		}
		if got := r.Stats()["hook_url"]; got.Delivered != 4 || got.Waiting != 0 || got.Lost != 0 {
			r.t.Errorf("stats %+v", got)
		}
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		again  bool
	}{
		{"server error", 500, true},
		{"unavailable", 503, true},
		{"timeout", 408, true},
		{"too many", 429, true},
		{"not found", 404, false},
		{"redirect", 302, false},
		{"created", 201, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			posting(t, nil, func(r *rig) {
				r.to.set(func(to *receiver) { to.status = tt.status })
				r.Mapping(happened(nat.EventCreated, alice, 1, 0))
				time.Sleep(8 * time.Second) // tries after 0, 1, 3 and 7 seconds
				if n := len(r.to.got()); n != 4 && tt.again || n != 1 && !tt.again {
					r.t.Errorf("%d requests", n)
				}
			})
		})
	}
}

// An event that nobody takes is given up after an hour. Meanwhile the log says it
// once, and nothing of the URL but its host.
func TestGivesUpInTheEnd(t *testing.T) {
	t.Parallel()
	posting(t, nil, func(r *rig) {
		r.to.set(func(to *receiver) { to.down = true })
		r.Mapping(happened(nat.EventCreated, alice, 1, 0))
		time.Sleep(2 * time.Hour)
		want := hook.Stats{Failed: 66, Lost: 1} // 0, 1, 3, 7, 15, 31 s, then one a minute
		if diff := cmp.Diff(want, r.Stats()["hook_url"]); diff != "" {
			r.t.Errorf("stats (-want +got):\n%s", diff)
		}
		r.to.set(func(to *receiver) { to.down = false })
		r.Mapping(happened(nat.EventCreated, alice, 2, 0))
		time.Sleep(time.Minute)
		expect(r, "created 2<-0")
		r.stop()
		log := r.log.String()
		if strings.Count(log, "\n") != 2 || strings.Contains(log, "s3cret") || !strings.Contains(log, "target=http://receiver.lan") {
			r.t.Errorf("log:\n%swant a failure and its end, and no secret", log)
		}
	})
}

// A receiver that does not like one event gets the others all the same.
func TestOneBadEventHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	posting(t, func(cfg *hook.Config) { cfg.PostTimeout = time.Second }, func(r *rig) {
		r.to.set(func(to *receiver) { to.delay = time.Minute })
		r.Mapping(happened(nat.EventCreated, alice, 1, 0))
		r.Mapping(happened(nat.EventCreated, bob, 2, 0))
		time.Sleep(2500 * time.Millisecond) // the first timed out, the second is under way
		expect(r, "created 1<-0", "created 2<-0")
	})
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	posting(t, func(cfg *hook.Config) { cfg.Queue = 10 }, func(r *rig) {
		r.to.set(func(to *receiver) { to.status = 500 })
		for port := range uint16(100) {
			key := alice
			key.InternalPort = port + 1
			r.Mapping(happened(nat.EventCreated, key, port+1, 0))
		}
		time.Sleep(10 * time.Minute)
		if got := r.Stats()["hook_url"]; got.Waiting > 10 || got.Lost != 100-uint64(got.Waiting) {
			r.t.Errorf("stats %+v, want at most 10 waiting and the others lost", got)
		}
	})
}

// At the end what waits is still told, but nobody waits long for it.
func TestEnd(t *testing.T) {
	t.Parallel()
	posting(t, nil, func(r *rig) {
		for port := range uint16(5) {
			key := alice
			key.InternalPort = port + 1
			r.Mapping(happened(nat.EventShutdown, key, 7, 0))
		}
		r.stop()
		if n := len(r.to.got()); n != 5 {
			r.t.Errorf("%d of 5 events told at the end", n)
		}
	})
	posting(t, nil, func(r *rig) {
		r.to.set(func(to *receiver) { to.delay = time.Hour })
		r.Mapping(happened(nat.EventCreated, alice, 1, 0))
		r.Mapping(happened(nat.EventCreated, bob, 1, 0))
		time.Sleep(time.Second)
		began := time.Now()
		r.stop()
		if took := time.Since(began); took != 2*time.Second {
			r.t.Errorf("stopping took %v, want 2s", took)
		}
	})
}

func TestNothingConfigured(t *testing.T) {
	t.Parallel()
	posting(t, func(cfg *hook.Config) { cfg.URL = "" }, func(r *rig) {
		r.Mapping(happened(nat.EventCreated, alice, 1, 0))
		r.Address(netip.Addr{}, public)
		if len(r.Stats()) != 0 {
			r.t.Errorf("stats %v", r.Stats())
		}
	})
}

func TestNewChecks(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]hook.Config{
		"relative":  {URL: "/s3cret"},
		"scheme":    {URL: "ftp://user:s3cret@host/"},
		"nonsense":  {URL: "http://user:s3cret@host:port/"},
		"program":   {Exec: []string{"notify"}},
		"no number": {Queue: -1},
	} {
		_, err := hook.New(cfg)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
