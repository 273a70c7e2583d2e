package routerostest_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

const natPath = "/ip/firewall/nat"

// newRouter makes a router that ends with the test.
func newRouter(t *testing.T, cfg routerostest.Config) *routerostest.Router {
	t.Helper()
	router, err := routerostest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := router.Close(); err != nil {
			t.Error(err)
		}
	})
	return router
}

// client speaks sentences and knows nothing else, so that a test sees every word.
type client struct {
	t      *testing.T
	conn   net.Conn
	reader *routeros.Reader
}

// dial connects without a login.
func dial(t *testing.T, router *routerostest.Router) *client {
	t.Helper()
	conn, err := router.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, reader: routeros.NewReader(conn, routeros.Limits{})}
}

// login connects as the user with least rights.
func login(t *testing.T, router *routerostest.Router) *client {
	t.Helper()
	return loginAs(t, router, routerostest.LeastUser, routerostest.LeastPassword)
}

// loginAs connects as the given user.
func loginAs(t *testing.T, router *routerostest.Router, user, password string) *client {
	t.Helper()
	c := dial(t, router)
	if got := c.run("/login", "=name="+user, "=password="+password); got != "!done" {
		t.Fatalf("login as %s: %s", user, got)
	}
	return c
}

// send sends a sentence.
func (c *client) send(words ...string) {
	c.t.Helper()
	if _, err := c.conn.Write(routeros.AppendSentence(nil, words)); err != nil {
		c.t.Fatalf("sending %q: %v", words, err)
	}
}

// next reads a sentence, written in one line.
func (c *client) next() string {
	c.t.Helper()
	s, err := c.reader.ReadSentence()
	if err != nil {
		c.t.Fatalf("reading a sentence: %v", err)
	}
	return strings.Join(s, " ")
}

// lines reads n sentences.
func (c *client) lines(n int) []string {
	c.t.Helper()
	var all []string
	for range n {
		all = append(all, c.next())
	}
	return all
}

// run sends a command and returns all sentences of the reply, one in a line.
func (c *client) run(words ...string) string {
	c.t.Helper()
	c.send(words...)
	var all []string
	for {
		line := c.next()
		all = append(all, line)
		if strings.HasPrefix(line, "!done") || strings.HasPrefix(line, "!fatal") {
			return strings.Join(all, "\n")
		}
	}
}

// cut reads until the connection ends or a minute has passed, and returns how.
func (c *client) cut() error {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		c.t.Fatal(err)
	}
	for {
		if _, err := c.reader.ReadSentence(); err != nil {
			return err
		}
	}
}
