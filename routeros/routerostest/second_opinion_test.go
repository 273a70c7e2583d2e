package routerostest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3"
	"github.com/google/go-cmp/cmp"

	"doublenat/routeros/routerostest"
)

// serve answers on a real listener of the loopback and returns its address.
func serve(t *testing.T, router *routerostest.Router, config *tls.Config) string {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- router.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		// A test may close the router before this goroutine has run.
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return address
}

// TestGoRouterOS holds the router against a client that others wrote, in its
// sync mode: login, print with a query, add, set, remove, and traps.
func TestGoRouterOS(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"6.49", "7.12", "7.17", "7.18", "7.22"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{Version: version})
			address := serve(t, router, nil)
			before := router.Fingerprint(natPath, nil)

			if _, err := routeros.DialTimeout(address, routerostest.LeastUser, "wrong", 10*time.Second); err == nil ||
				!strings.Contains(err.Error(), "invalid user name or password") {
				t.Errorf("login with a wrong password: %v", err)
			}
			c, err := routeros.DialTimeout(address, routerostest.LeastUser, routerostest.LeastPassword, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			useGoRouterOS(t, c)
			if diff := cmp.Diff(string(before), string(router.Fingerprint(natPath, nil))); diff != "" {
				t.Errorf("foreign rules (-before +after):\n%s", diff)
			}
		})
	}
}

// useGoRouterOS makes, changes, reads and removes a rule.
func useGoRouterOS(t *testing.T, c *routeros.Client) {
	t.Helper()
	reply, err := c.Run(natPath+"/add", "=chain=dstnat", "=action=dst-nat", "=protocol=udp", "=dst-port=4500",
		"=in-interface=wg1", "=to-addresses=192.168.88.10", "=to-ports=4500", "=comment=second opinion")
	if err != nil {
		t.Fatal(err)
	}
	id := reply.Done.Map["ret"]
	if _, err := c.Run(natPath+"/set", "=.id="+id, "=dst-port=4501"); err != nil {
		t.Error(err)
	}
	reply, err = c.Run(natPath+"/print", "?comment=second opinion", "=.proplist=.id,dst-port,disabled")
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, re := range reply.Re {
		rows = append(rows, re.Map)
	}
	if diff := cmp.Diff([]map[string]string{{".id": id, "dst-port": "4501", "disabled": "false"}}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	var device *routeros.DeviceError
	if _, err := c.Run(natPath+"/set", "=.id=*FFFF", "=dst-port=1"); !errors.As(err, &device) ||
		!strings.HasPrefix(device.Sentence.Map["message"], "no such item") {
		t.Errorf("set of an unknown rule: %v", err)
	}
	if _, err := c.Run(natPath+"/remove", "=.id="+id); err != nil {
		t.Error(err)
	}
	reply, err = c.Run(natPath+"/print", "?comment=second opinion", "=count-only=")
	if err != nil || reply.Done.Map["ret"] != "0" {
		t.Errorf("count after the removal: %v, %v", reply, err)
	}
}

// TestGoRouterOSChallenge takes the login of RouterOS before 6.43.
func TestGoRouterOSChallenge(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{Version: "6.49", ChallengeLogin: true})
	address := serve(t, router, nil)
	if _, err := routeros.DialTimeout(address, routerostest.LeastUser, "wrong", 10*time.Second); err == nil ||
		!strings.Contains(err.Error(), "cannot log in") {
		t.Errorf("login with a wrong password: %v", err)
	}
	c, err := routeros.DialTimeout(address, routerostest.LeastUser, routerostest.LeastPassword, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	useGoRouterOS(t, c)
}

// TestLibrouteros runs testdata/second_opinion.py, which uses Debian's
// python3-librouteros. Where it is not installed the test skips, but not in CI.
func TestLibrouteros(t *testing.T) {
	t.Parallel()
	python := pythonWithLibrouteros(t)
	for _, version := range []string{"6.49", "7.12", "7.17", "7.18", "7.22"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{Version: version, ChallengeLogin: version == "6.49"})
			host, port, err := net.SplitHostPort(serve(t, router, nil))
			if err != nil {
				t.Fatal(err)
			}
			before := router.Fingerprint(natPath, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			login := "plain"
			if version == "6.49" {
				login = "token"
			}
			cmd := exec.CommandContext(ctx, python, "testdata/second_opinion.py", host, port, login,
				routerostest.LeastUser, routerostest.LeastPassword)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := router.Stats().Writes; got != 3 {
				t.Errorf("%d writes, want 3", got)
			}
			if diff := cmp.Diff(string(before), string(router.Fingerprint(natPath, nil))); diff != "" {
				t.Errorf("foreign rules (-before +after):\n%s", diff)
			}
		})
	}
}

// pythonWithLibrouteros finds an interpreter that has the library. Debian's own
// may not be the first in the path.
func pythonWithLibrouteros(t *testing.T) string {
	t.Helper()
	at := slices.IndexFunc([]string{"python3", "/usr/bin/python3"}, func(python string) bool {
		return exec.CommandContext(t.Context(), python, "-c", "import librouteros").Run() == nil
	})
	switch {
	case at >= 0:
	case os.Getenv("CI") == "true": //nolint:forbidigo // only the environment says whether this is CI
		t.Fatal("no python3 with librouteros: install the Debian package python3-librouteros")
	default:
		t.Skip("no python3 with librouteros: install the Debian package python3-librouteros to run this")
	}
	return []string{"python3", "/usr/bin/python3"}[at]
}
