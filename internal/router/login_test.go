package router_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/router"
	"doublenat/routeros/routerostest"
)

// recovery is how long after a change of the user's group all has to be as it says.
const recovery = 90 * time.Second

// group changes what the user of asUser may do.
func (r *rig) group(t *testing.T, policy string) {
	t.Helper()
	if err := r.box.Set("/user/group", "someone", routerostest.Row{"policy": policy}); err != nil {
		t.Fatal(err)
	}
}

// looks reads the rules once a minute until the test ends, as the core does.
func (r *rig) looks(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		for ctx.Err() == nil {
			_, _ = r.Rules(ctx)
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
			}
		}
	}()
}

// secretive makes the router refuse to tell of its users.
func secretive(box *routerostest.Router) {
	for _, path := range []string{"/user/print", "/user/group/print"} {
		box.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Command: path, Times: -1, Message: "not enough permissions (9)"})
	}
}

// TestRightGranted gives the user a right that it lacked. The session had been made
// without it.
func TestRightGranted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before    string
		every     time.Duration // how often a client asks
		secretive bool
	}{
		"write, asked for often":           {before: "read,api,test", every: 2 * time.Second},
		"write, asked for at times":        {before: "read,api,test", every: 25 * time.Second},
		"write, asked for seldom":          {before: "read,api,test", every: 5 * time.Minute},
		"write, nobody tells, often":       {before: "read,api,test", every: 2 * time.Second, secretive: true},
		"write, nobody tells, at times":    {before: "read,api,test", every: 25 * time.Second, secretive: true},
		"write, nobody tells, seldom":      {before: "read,api,test", every: 5 * time.Minute, secretive: true},
		"read":                             {before: "write,api,test", every: 10 * time.Second},
		"read and write":                   {before: "api,test", every: 10 * time.Second},
		"read and write, nobody tells":     {before: "api,test", every: 10 * time.Second, secretive: true},
		"read and write, asked for seldom": {before: "api,test", every: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := asUser(t, tt.before)
				if tt.secretive {
					secretive(r.box)
				}
				r.looks(t)
				add := func() error {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					_, err := r.AddRule(ctx, wanted("192.168.88.10", 6881))
					return err
				}
				for range 20 {
					if err := add(); err == nil {
						t.Fatal("a rule was made without the right")
					}
					time.Sleep(tt.every)
				}
				connections := r.box.Stats().Connections
				changed := time.Now()
				r.group(t, "read,write,api,test")
				time.Sleep(time.Second)
				for add() != nil {
					if time.Since(changed) > recovery && tt.every < recovery {
						t.Fatalf("still refused after %v: %+v", time.Since(changed), r.Status())
					}
					if time.Since(changed) > 20*time.Minute {
						t.Fatal("still refused")
					}
					time.Sleep(tt.every)
				}
				time.Sleep(recovery)
				if denied := r.Status().Denied; len(denied) > 0 {
					t.Errorf("denied still: %v", denied)
				}
				if more := r.box.Stats().Connections - connections; more > 3 {
					t.Errorf("%d logins after the change", more)
				}
				if lines := r.log.lines("router denies permission"); len(lines) == 0 || len(lines) > 2 {
					t.Errorf("%d lines: %v", len(lines), lines)
				}
				if lines := r.log.lines("router unavailable"); len(lines) > 0 {
					t.Errorf("the new login was told as a loss: %v", lines)
				}
				if lines := r.log.lines("router connected"); len(lines) > 1 {
					t.Errorf("%d lines of a connection made: %v", len(lines), lines)
				}
			})
		})
	}
}

// TestRightTaken takes rights from the user's group. The session that stands would go
// on with them until it ends, perhaps in months; that they are gone has to be told.
func TestRightTaken(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]string{"write": "read,api,test", "read": "write,api,test"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := asUser(t, "read,write,api,test").settled(t)
				r.add(t, wanted("192.168.88.10", 6881))
				r.looks(t)
				time.Sleep(10 * time.Minute)
				if got := r.box.Stats().Connections; got != 1 {
					t.Fatalf("%d logins without a reason", got)
				}
				r.group(t, after)
				time.Sleep(recovery)
				if lines := r.log.lines("router denies permission"); len(lines) != 1 {
					t.Errorf("%d lines: %v", len(lines), lines)
				}
				if s := r.Status(); !slices.Contains(s.Denied, name) {
					t.Errorf("nothing is denied: %+v", s)
				}
				time.Sleep(10 * time.Minute)
				r.group(t, "read,write,api,test")
				time.Sleep(recovery)
				if s := r.Status(); len(s.Denied) > 0 || !s.Ready {
					t.Errorf("denied still: %+v", s)
				}
				if lines := r.log.lines("router grants permission again"); len(lines) != 1 {
					t.Errorf("%d lines: %v", len(lines), lines)
				}
				r.add(t, wanted("192.168.88.10", 6882))
			})
		})
	}
}

// TestNoStormOfLogins lacks a right for an hour, while clients ask all the time.
func TestNoStormOfLogins(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"read,api,test", "write,api,test", "api"} {
		for _, quiet := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				r := asUser(t, policy)
				if quiet {
					secretive(r.box)
				}
				r.looks(t)
				for end := time.Now().Add(time.Hour); time.Now().Before(end); {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_, _ = r.AddRule(ctx, wanted("192.168.88.10", 6881))
					cancel()
					time.Sleep(300 * time.Millisecond)
				}
				if n := r.box.Stats().Connections; n < 30 || n > 62 {
					t.Errorf("%s: %d logins in an hour, want about one a minute", policy, n)
				}
				if lines := r.log.lines("level="); len(lines) > 4 {
					t.Errorf("%d lines: %v", len(lines), lines)
				}
			})
		}
	}
}

// TestRefusedOnceIsNoReason has no client that asks: nothing is refused, and no login
// is made anew.
func TestRefusedOnceIsNoReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := asUser(t, "read,api,test", func(*router.Config) {}).settled(t)
		r.looks(t)
		time.Sleep(time.Hour)
		if n := r.box.Stats().Connections; n != 1 {
			t.Errorf("%d logins in an hour, want one", n)
		}
	})
}
