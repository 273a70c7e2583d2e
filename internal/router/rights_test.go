package router_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/router"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// asUser makes a user with the policies and starts a Router as that user.
func asUser(t *testing.T, policy string, changes ...func(*router.Config)) *rig {
	t.Helper()
	box, err := routerostest.New(routerostest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.AddUser("someone", "secret", policy); err != nil {
		t.Fatal(err)
	}
	changes = append(changes, func(cfg *router.Config) {
		cfg.API.User, cfg.API.Password = "someone", routeros.NewSecret("secret")
	})
	return rigOn(t, box, changes...)
}

// reboot restarts the router and waits until it is in use again. That the
// connection is gone shows with the first command.
func (r *rig) reboot(t *testing.T) {
	t.Helper()
	r.box.Reboot(routerostest.Reboot{Down: time.Second})
	_, _ = r.Rules(t.Context())
	time.Sleep(time.Minute)
	r.settled(t)
}

// The rights are told at the start, with the command that mends them, before any
// client meets them; and once, however often the connection is made anew.
func TestRightsAtStart(t *testing.T) {
	t.Parallel()
	const mend = "/user group set someone policy=read,write,api,test"
	for _, tt := range []struct {
		name, policy string
		want         []string // what the one line has in it; nil for no line
	}{
		{"least", "read,write,api,test", nil},
		{"least as RouterOS prints it", "read,write,api,test,!local,!ftp,!policy", nil},
		{"no write", "read,api,test", []string{"level=ERROR", "router denies permission", "policy=write", mend}},
		{"no test", "read,write,api", []string{"level=ERROR", "policy=test", mend}},
		{"too much", "read,write,api,test,policy,sniff", []string{"level=WARN", "more rights", "excess=policy,sniff", "/user group add name=doublenat"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := asUser(t, tt.policy).settled(t)
				for range 3 {
					r.reboot(t)
				}
				lines := append(r.log.lines("router denies permission"), r.log.lines("more rights")...)
				if tt.want == nil && len(lines) == 0 {
					return
				}
				if len(lines) != 1 || tt.want == nil {
					t.Fatalf("got %d lines: %v", len(lines), lines)
				}
				for _, part := range tt.want {
					if !strings.Contains(lines[0], part) {
						t.Errorf("%q is not in %s", part, lines[0])
					}
				}
			})
		})
	}
}
