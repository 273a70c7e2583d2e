package check_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// ofLock returns what a report says of the lock, a line for each finding.
func ofLock(report check.Report) string {
	var lines []string
	for _, f := range report.Findings {
		if f.Probe == "lock" {
			lines = append(lines, f.Level.String()+": "+f.Seen)
		}
	}
	return strings.Join(lines, "\n")
}

// TestLockOnTheRouter says who has the lock and where the redirects lead, and changes nothing. With
// --live it tries the router, and what it made for that goes by itself.
func TestLockOnTheRouter(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lists   routerostest.Lists
		prepare func(r *rig)
		live    bool
		want    []string
		kind    remedy.Kind // of the first finding that is not ok
	}{
		"nobody": {want: []string{"ok: nobody has the lock", "ok: whether the router can keep a lock was not tried: doublenat check --live", "udp 5351 to 172.30.254.2"}},
		"somebody": {
			prepare: func(r *rig) {
				r.must(r.Router.Set(natPath, r.id(natPath, "dst-port", "5351"), routerostest.Row{"to-addresses": "172.30.254.6"}))
				r.add(listPath, "list=doublenat-lock-default address=192.0.2.1 timeout=9s", "")
				r.set(listPath, "address", "192.0.2.1", routerostest.Row{"comment": "doublenat:default lock 7Q2XK4M5 n=2 since=946684800 by=attic"})
			},
			want: []string{"ok: attic has had the lock since 2000-01-01T00:00:00Z, for another 9s unless it renews it", "udp 5351 to 172.30.254.6"},
		},
		"somebody else": {
			prepare: func(r *rig) {
				r.add(listPath, "list=doublenat-lock-default address=192.0.2.1 timeout=9s comment=hand", "")
			},
			want: []string{"ok: the lock is taken by an entry that says hand, for another 9s"},
		},
		"stuck": {
			prepare: func(r *rig) { r.add(listPath, "list=doublenat-lock-default address=192.0.2.1", "") },
			want:    []string{"fail: the entry 192.0.2.1 of the address list doublenat-lock-default has no timeout"}, kind: remedy.KindLock,
		},
		"no comment": {
			prepare: func(r *rig) { r.set(natPath, "dst-port", "5351", routerostest.Row{"comment": "mine"}) },
			want:    []string{"fail: the active doublenat cannot point the redirect to itself"}, kind: remedy.KindRedirect,
		},
		"fit":   {live: true, want: []string{"ok: the router can keep a lock"}},
		"unfit": {live: true, lists: routerostest.Lists{Twice: true}, want: []string{"fail: trying"}, kind: remedy.KindLock},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{Router: routerostest.Config{Lists: tt.lists}})
				r.cfg.Lock = &check.Lock{Redirect: true}
				r.set(natPath, "dst-port", "5351", routerostest.Row{"comment": router.RedirectNATPMP})
				if tt.prepare != nil {
					tt.prepare(r)
				}
				var report check.Report
				if tt.live {
					r.live(nil)
					report = r.examineAll()
				} else {
					report = r.check()
				}
				got := ofLock(report)
				for _, want := range tt.want {
					if !strings.Contains(got, strings.TrimPrefix(want, "fail: trying")) {
						t.Errorf("%q is not in\n%s", want, got)
					}
				}
				kind := remedy.Kind("")
				for _, f := range report.Findings {
					if f.Probe == "lock" && f.Level != check.OK {
						kind = f.Advice.Kind
					} else if f.Probe == "redirect" && f.Level != check.OK {
						t.Errorf("the redirect is judged: %s", f.Seen)
					}
				}
				if kind != tt.kind {
					t.Errorf("kind %q, want %q", kind, tt.kind)
				}
				if tt.live {
					time.Sleep(time.Minute)
					if refused := routerostest.Refused(r.Router.Console(routerostest.AdminUser).Paste("/ip firewall address-list print")); len(refused) > 0 {
						t.Error(refused)
					}
					if _, left := r.Router.Find(listPath, "list", "doublenat-lock-default"); left {
						t.Error("the doctor left an entry behind")
					}
				}
			})
		})
	}
}

// examineAll lets the doctor look, and change what a live mapping changes, and returns all findings.
func (r *rig) examineAll() check.Report {
	r.t.Helper()
	d, err := check.New(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	report, err := d.Run(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.judge(report)
	return report
}

// TestLockOfTheDaemon reads what the daemon's own lock writes.
func TestLockOfTheDaemon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		own, err := router.New(router.Config{
			API: routeros.Config{
				Dial: r.Router.Dial, User: routerostest.LeastUser, Password: routeros.NewSecret(routerostest.LeastPassword),
			},
			Instance: "default", Gateway: netip.MustParseAddr(routerostest.GatewayAddress),
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- own.Run(t.Context()) }()
		t.Cleanup(func() {
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		lock := own.NewLock(router.LockConfig{Name: "roof"})
		if holder, err := lock.Acquire(t.Context(), 15*time.Second); err != nil || !holder.Mine {
			t.Fatalf("%+v, %v", holder, err)
		}
		r.cfg.Lock = &check.Lock{}
		if got := ofLock(r.check()); !strings.Contains(got, "roof has had the lock since 2000-01-01T00:00:0") {
			t.Errorf("got %s", got)
		}
	})
}
