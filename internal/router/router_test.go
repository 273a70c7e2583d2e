package router_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

func TestNewErrors(t *testing.T) {
	t.Parallel()
	good := router.Config{
		API:      routeros.Config{Address: "192.0.2.1:8728", User: "u"},
		Instance: "default",
		Gateway:  netip.MustParseAddr("10.2.0.1"),
	}
	if _, err := router.New(good); err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(*router.Config){
		"no instance":       func(c *router.Config) { c.Instance = "" },
		"long instance":     func(c *router.Config) { c.Instance = strings.Repeat("a", 33) },
		"blank in instance": func(c *router.Config) { c.Instance = "a b" },
		"no gateway":        func(c *router.Config) { c.Gateway = netip.Addr{} },
		"IPv6 gateway":      func(c *router.Config) { c.Gateway = netip.MustParseAddr("fd00::1") },
		"no address":        func(c *router.Config) { c.API.Address = "" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			change(&cfg)
			if _, err := router.New(cfg); err == nil {
				t.Error("the configuration was accepted")
			}
		})
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{Version: "7.18", Latency: 10 * time.Millisecond})
		if diff := cmp.Diff(router.Status{LinkKind: remedy.LinkTunnel}, r.Status(), cmpopts.IgnoreFields(router.Status{}, "Reads", "API")); diff != "" {
			t.Errorf("before the connection (-want +got):\n%s", diff)
		}
		connected := time.Now().Add(10 * time.Millisecond)
		r.settled(t)
		made := r.add(t, wanted("192.168.88.10", 6881))
		r.box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: natPath + "/remove", Message: "failure: no"})
		if err := r.RemoveRule(t.Context(), made); err == nil {
			t.Error("the removal worked")
		}
		got := r.Status()
		if got.LastSuccess.IsZero() || got.LastSuccess.After(time.Now()) {
			t.Errorf("last success: got %v", got.LastSuccess)
		}
		if got.ChangeError == nil || !strings.Contains(got.ChangeError.Error(), "failure: no") || got.ChangeErrorAt != time.Now() {
			t.Errorf("last failed change: got %v at %v", got.ChangeError, got.ChangeErrorAt)
		}
		want := router.Status{
			Connected: true, Ready: true, Since: connected,
			Identity: "MikroTik", Version: "7.18 (stable)", Board: "hAP ax^3", InInterface: "wg1", LinkKind: remedy.LinkTunnel,
			Reads: 14, Writes: 2, Errors: 1,
			API: routeros.Stats{Connected: true, Connects: 1, Commands: 16, Traps: 1},
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(router.Status{}, "LastSuccess", "ChangeError", "ChangeErrorAt")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A change whose time was over before the router heard of it says nothing about the router.
func TestStatusBlamesNobodyForLateChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		r.add(t, wanted("192.168.88.10", 6880)) // so that the table is known
		over, cancel := context.WithDeadline(t.Context(), time.Now())
		defer cancel()
		_, err := r.AddRule(over, wanted("192.168.88.10", 6881))
		if natError(t, err).Ambiguous || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if got := r.Status().ChangeError; got != nil {
			t.Errorf("the router is blamed: %v", got)
		}
	})
}

// TestCost measures in virtual time what a rule costs with a router that takes 10 ms.
func TestCost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{Latency: 10 * time.Millisecond}).settled(t)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() { r.add(t, wanted("192.168.88.10", uint16(6000+i))) })
		}
		wg.Wait()
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("16 rules at once took %v, want 10ms", took)
		}
		if got := len(r.rules(t)); got != 16 {
			t.Errorf("got %d rules, want 16", got)
		}
	})
}

// TestReboots restarts the router in every way; commands that wait for it are
// carried out when it is back.
func TestReboots(t *testing.T) {
	t.Parallel()
	tests := map[string]routerostest.Reboot{
		"cut":                 {Down: time.Minute, Cut: true},
		"power cut":           {Down: time.Minute},
		"power cut, renumber": {Down: time.Minute, Renumber: true},
		"at once":             {Cut: true},
	}
	for name, how := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var ready atomic.Int32
				r := newRig(t, routerostest.Config{ReuseIDs: true}, func(cfg *router.Config) {
					cfg.OnReady = func() { ready.Add(1) }
				}).settled(t)
				made := r.add(t, wanted("192.168.88.10", 6881))
				r.box.Reboot(how)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				if err := r.RemoveRule(ctx, made); err != nil {
					t.Errorf("removing a rule during the reboot: %v", err)
				}
				r.add(t, wanted("192.168.88.11", 6882))
				got := r.rules(t)
				if len(got) != 1 || got[0].Key != wanted("192.168.88.11", 6882).Key {
					t.Errorf("got rules %v, want the new one", got)
				}
				synctest.Wait() // the log is written beside
				if n := ready.Load(); n != 2 {
					t.Errorf("OnReady was called %d times, want 2", n)
				}
				if n := len(r.log.lines("router connected")); n != 2 {
					t.Errorf("the log tells of %d connections, want 2:\n%s", n, r.log)
				}
				if n := len(r.log.lines("router unavailable")); n > 2 {
					t.Errorf("the log tells %d times that the router is away:\n%s", n, r.log)
				}
			})
		})
	}
}

// TestComplaints looks at what the log says about each trouble: once, with a remedy.
func TestComplaints(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault  routerostest.Fault
		config func(*router.Config)
		level  string
		want   []string
	}{
		"wrong password": {
			config: func(cfg *router.Config) { cfg.API.Password = routeros.NewSecret("hunter2") },
			level:  "ERROR", want: []string{"invalid user name or password (6)", "needs the policies api, read and write"},
		},
		"refused": {
			config: func(cfg *router.Config) {
				cfg.API.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }
			},
			level: "WARN", want: []string{"connection refused", "is its api service enabled"},
		},
		"a certificate of the future": {
			config: func(cfg *router.Config) {
				cfg.API.Dial = func(context.Context) (net.Conn, error) { // the cause has the time of day in it
					return nil, &routeros.TLSError{Reason: routeros.TLSNotYetValid, NotBefore: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), Err: fmt.Errorf("it is %v", time.Now())}
				}
			},
			level: "ERROR", want: []string{"not valid before 2001-01-01", "/system ntp client set enabled=yes"},
		},
		"silent": {
			fault: routerostest.Fault{Kind: routerostest.FaultVanish, Command: "/login", Times: -1},
			level: "WARN", want: []string{"no answer from the router in time"},
		},
		"no permission to look at interfaces": {
			fault: routerostest.Fault{Kind: routerostest.FaultTrap, Command: "/interface/print", Times: -1, Message: "failure: strange"},
			level: "ERROR", want: []string{"failure: strange", "look at the router's log"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box, err := routerostest.New(routerostest.Config{})
				if err != nil {
					t.Fatal(err)
				}
				if tt.fault.Command != "" {
					box.Inject(tt.fault)
				}
				r := rigOn(t, box, func(cfg *router.Config) {
					if tt.config != nil {
						tt.config(cfg)
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
				defer cancel()
				_, err = r.AddRule(ctx, wanted("192.168.88.10", 6881))
				if e := natError(t, err); e.Reason != nat.ReasonUnreachable || e.Ambiguous {
					t.Errorf("got %v, want unreachable and no doubt", err)
				}
				time.Sleep(time.Hour)
				lines := r.log.lines("router unavailable")
				if len(lines) != 1 {
					t.Fatalf("the log says it %d times, want once:\n%s", len(lines), r.log)
				}
				for _, want := range append(tt.want, "level="+tt.level, "remedy=") {
					if !strings.Contains(lines[0], want) {
						t.Errorf("%q is not in %q", want, lines[0])
					}
				}
				if strings.Contains(r.log.String(), "hunter2") {
					t.Error("the password is in the log")
				}
				if r.Status().LastError == nil || r.Status().Ready {
					t.Errorf("status: got %+v", r.Status())
				}
			})
		})
	}
}

// TestNeverRetriesTooMuch has a router that ends every connection in the middle
// of the survey: it must not be called more than once in a second on average.
func TestNeverRetriesTooMuch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, err := routerostest.New(routerostest.Config{})
		if err != nil {
			t.Fatal(err)
		}
		box.Inject(routerostest.Fault{Kind: routerostest.FaultClose, Command: "/ip/service/print", Times: -1})
		r := rigOn(t, box)
		time.Sleep(10 * time.Minute)
		if got := r.box.Stats().Logins; got > 100 {
			t.Errorf("%d logins in ten minutes", got)
		}
		if n := len(r.log.lines("router unavailable")); n != 1 {
			t.Errorf("the log says it %d times, want once:\n%s", n, r.log)
		}
		box.ClearFaults()
		r.settled(t)
	})
}

// TestClosed uses a router whose Run has ended.
func TestClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		r.stop()
		_, err := r.AddRule(t.Context(), wanted("192.168.88.10", 6881))
		if e := natError(t, err); !errors.Is(err, routeros.ErrClosed) || e.Ambiguous {
			t.Errorf("got %v, want %v and no doubt", err, routeros.ErrClosed)
		}
		if n := len(r.log.lines("unavailable")); n != 0 {
			t.Errorf("the log complains about our own end:\n%s", r.log)
		}
	})
}
