package routerostest_test

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/routeros/routerostest"
)

const (
	wrongPassword = "!trap =message=invalid user name or password (6)\n!done"
	leastLogin    = "=name=" + routerostest.LeastUser
)

func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*routerostest.Router) error
	}{
		{"wrong password", func(r *routerostest.Router) error {
			return r.Set("/user", routerostest.LeastUser, routerostest.Row{"password": "another"})
		}},
		{"disabled", func(r *routerostest.Router) error { return r.Disable("/user", routerostest.LeastUser) }},
		{"removed", func(r *routerostest.Router) error { return r.Remove("/user", routerostest.LeastUser) }},
		{"address", func(r *routerostest.Router) error {
			return r.Set("/user", routerostest.LeastUser, routerostest.Row{"address": "172.30.254.2/32"})
		}},
		{"no api policy", func(r *routerostest.Router) error {
			return r.Set("/user/group", "doublenat", routerostest.Row{"policy": "read,write,test"})
		}},
		{"no group", func(r *routerostest.Router) error { return r.Remove("/user/group", "doublenat") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{})
			if err := tt.change(router); err != nil {
				t.Fatal(err)
			}
			c := dial(t, router)
			if got := c.run("/login", leastLogin, "=password="+routerostest.LeastPassword); got != wrongPassword {
				t.Errorf("login: %s", got)
			}
			// The connection stays usable.
			if got := c.run("/login", "=name="+routerostest.AdminUser, "=password="+routerostest.AdminPassword); got != "!done" {
				t.Errorf("second login: %s", got)
			}
		})
	}
}

func TestFifthFailedLoginEndsTheConnection(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	c := dial(t, router)
	for range 4 {
		if got := c.run("/login", leastLogin, "=password=x"); got != wrongPassword {
			t.Fatal(got)
		}
	}
	if got := c.run("/login", leastLogin, "=password=x"); got != "!fatal too many commands before login" {
		t.Error(got)
	}
	if err := c.cut(); !errors.Is(err, io.EOF) {
		t.Errorf("then: %v, want the end", err)
	}
	if got := router.Stats(); got.FailedLogins != 5 || got.Logins != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestCommandBeforeLoginAndQuit(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	c := dial(t, router)
	if got := c.run("/system/identity/print", ".tag=1"); got != "!fatal not logged in" {
		t.Error(got)
	}
	if err := c.cut(); !errors.Is(err, io.EOF) {
		t.Errorf("then: %v, want the end", err)
	}
	c = login(t, router)
	if got := c.run("/quit"); got != "!fatal session terminated on request" {
		t.Error(got)
	}
	if err := c.cut(); !errors.Is(err, io.EOF) {
		t.Errorf("then: %v, want the end", err)
	}
}

func TestChallengeLogin(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{Version: "6.49", ChallengeLogin: true, Seed: 1})
	c := dial(t, router)
	// An old router answers the new login with a challenge, too.
	first := c.run("/login", leastLogin, "=password="+routerostest.LeastPassword)
	second := c.run("/login")
	for _, got := range []string{first, second} {
		if !strings.HasPrefix(got, "!done =ret=") || len(got) != len("!done =ret=")+32 {
			t.Errorf("challenge %q", got)
		}
	}
	if first == second {
		t.Error("the same challenge twice")
	}
	if got := c.run("/login", leastLogin, "=response=00"+strings.Repeat("0", 32)); got != "!trap =message=cannot log in\n!done" {
		t.Error(got)
	}
	// A challenge is good for one answer only, whatever that was.
	if got := c.run("/login", leastLogin, "=response=00"+strings.Repeat("0", 32)); got != "!trap =message=cannot log in\n!done" {
		t.Error(got)
	}
}

func TestServiceTurnsClientsAway(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	if err := router.Set("/ip/service", "api", routerostest.Row{"address": "172.30.254.0/30,10.0.0.0/8"}); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, router).cut(); !errors.Is(err, io.EOF) {
		t.Errorf("foreign address: %v, want the end", err)
	}
	if err := router.Set("/ip/service", "api", routerostest.Row{"address": "192.168.88.0/24"}); err != nil {
		t.Fatal(err)
	}
	login(t, router)
	if err := router.Disable("/ip/service", "api"); err != nil {
		t.Fatal(err)
	}
	if _, err := router.Dial(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("disabled service: %v, want a refusal", err)
	}
	if got := router.Stats(); got.Refused != 2 || got.Connections != 1 {
		t.Errorf("stats %+v", got)
	}
}

func TestMaxSessions(t *testing.T) {
	t.Parallel()
	for version, limited := range map[string]bool{"7.15": false, "7.16": true} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{Version: version})
			for range 20 {
				login(t, router)
			}
			c := dial(t, router)
			if !limited {
				if got := c.run("/login", leastLogin, "=password="+routerostest.LeastPassword); got != "!done" {
					t.Error(got)
				}
				return
			}
			if err := c.cut(); !errors.Is(err, io.EOF) {
				t.Errorf("21st connection: %v, want the end", err)
			}
		})
	}
}

func TestInactiveUserIsLoggedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		router := newRouter(t, routerostest.Config{})
		idle := routerostest.Row{"inactivity-policy": "logout", "inactivity-timeout": "30s"}
		if err := router.Set("/user", routerostest.LeastUser, idle); err != nil {
			t.Fatal(err)
		}
		c := login(t, router)
		for range 3 {
			time.Sleep(29 * time.Second)
			c.run("/system/identity/print")
		}
		start := time.Now()
		if err := c.cut(); !errors.Is(err, io.EOF) {
			t.Errorf("%v, want the end", err)
		}
		if waited := time.Since(start); waited != 30*time.Second {
			t.Errorf("logged out after %v, want 30s", waited)
		}
	})
}
