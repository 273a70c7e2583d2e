package ops_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/ops"
)

// serve starts a server on the wire whose parts are all well, and returns what stops it.
func (r *rig) serve() (stop func()) {
	r.t.Helper()
	m, err := ops.NewMonitor(ops.MonitorConfig{About: fine().About, Parts: func() ops.Parts {
		p := fine().Parts
		p.Gateway.LastSuccess, p.Gateway.AddressAt, p.Core.ReconcileSuccess = time.Now(), time.Now(), time.Now()
		return p
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := ops.NewServer(ops.ServerConfig{Monitor: m})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = m.Run(ctx) })
	serving.Go(func() { _ = s.Serve(ctx, r.wire) })
	return func() {
		cancel()
		serving.Wait()
	}
}

// from is a connection that comes from an address.
type from struct {
	net.Conn

	addr net.Addr
}

func (c from) RemoteAddr() net.Addr { return c.addr }

// caller is somebody on the network.
type caller struct {
	t    *testing.T
	wire *wire
	addr netip.Addr
}

// connect opens a connection and leaves it idle.
func (c caller) connect() net.Conn {
	c.t.Helper()
	ours, theirs := net.Pipe()
	select {
	case c.wire.conns <- from{theirs, net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.addr, 40000))}:
	case <-time.After(10 * time.Second):
		c.t.Fatalf("%v waits for ten seconds to be let in", c.addr)
	}
	c.t.Cleanup(func() { _ = ours.Close() })
	return ours
}

// ask sends a request on a connection and returns the answer's status, or 0 if the
// connection was closed.
func (c caller) ask(conn net.Conn, path string) int {
	c.t.Helper()
	answered := make(chan int, 1)
	go func() {
		defer close(answered)
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil) //nolint:bodyclose // the connection is closed
		if err == nil {
			answered <- resp.StatusCode
		}
	}()
	select {
	case code := <-answered:
		return code
	case <-time.After(10 * time.Second):
		c.t.Errorf("%v waits for ten seconds for an answer", c.addr)
		return -1
	}
}

// atGate runs a test with a server to which callers come.
func atGate(t *testing.T, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, wire: newWire()}
		defer r.serve()()
		test(r)
	})
}

// at returns a caller with an address.
func (r *rig) at(addr string) caller { return caller{r.t, r.wire, netip.MustParseAddr(addr)} }

// Whoever holds connections and does nothing, a health check is answered.
func TestIdleConnectionsBlockNobody(t *testing.T) {
	t.Parallel()
	for name, hosts := range map[string]int{"one host": 1, "many hosts": 100} {
		for _, checker := range []string{"127.0.0.1", "192.168.88.250"} {
			for _, used := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, used %v", name, checker, used), func(t *testing.T) {
					t.Parallel()
					atGate(t, func(r *rig) {
						for i := range 300 {
							c := r.at(fmt.Sprintf("192.168.88.%d", 1+i%hosts))
							if conn := c.connect(); used && c.ask(conn, ops.PathStatus) == 0 {
								r.t.Fatalf("connection %d of %v was closed", i, c.addr)
							}
						}
						c := r.at(checker)
						if code := c.ask(c.connect(), ops.PathHealth); code != http.StatusOK {
							r.t.Errorf("health: %d", code)
						}
					})
				})
			}
		}
	}
}

// One host gets its share of the pages and no more; this host gets in all the same,
// however many hosts there are.
func TestPagesOfOneHost(t *testing.T) {
	t.Parallel()
	atGate(t, func(r *rig) {
		greedy := r.at("192.168.88.10")
		for i := range 64 {
			if code := greedy.ask(greedy.connect(), ops.PathEvents); code != http.StatusOK {
				r.t.Fatalf("page %d: %d", i, code)
			}
		}
		if code := greedy.ask(greedy.connect(), ops.PathEvents); code != 0 {
			r.t.Errorf("a page too many: %d", code)
		}
		other := r.at("192.168.88.11")
		if code := other.ask(other.connect(), ops.PathEvents); code != http.StatusOK {
			r.t.Errorf("another host: %d", code)
		}
	})
}

// busy takes a connection, if it gets one, and asks on it again and again without
// reading an answer.
func (c caller) busy() {
	c.t.Helper()
	conn := c.connect()
	go func() {
		_, _ = conn.Write([]byte(strings.Repeat("GET /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n", 1000))) // until it is closed
	}()
	synctest.Wait()
}

// Three hosts that keep all their connections busy take nothing from others: each
// newcomer gets its share, and so does this host.
func TestGreedyHostsLeaveRoom(t *testing.T) {
	t.Parallel()
	atGate(t, func(r *rig) {
		for i := range 3 {
			for range 70 {
				r.at(fmt.Sprintf("192.168.88.%d", 10+i)).busy()
			}
		}
		for i := range 20 {
			for _, host := range []string{"127.0.0.1", fmt.Sprintf("192.168.88.%d", 100+i), "fd00::1"} {
				c := r.at(host)
				if code := c.ask(c.connect(), ops.PathEvents); code != http.StatusOK {
					r.t.Errorf("page %d of %s: %d", i, host, code)
				}
			}
		}
	})
}

// Many hosts with one busy connection each leave room for this host, though none of
// them has more than its share.
func TestManyHostsLeaveRoomForThisOne(t *testing.T) {
	t.Parallel()
	atGate(t, func(r *rig) {
		for i := range 200 {
			r.at(fmt.Sprintf("192.168.88.%d", 1+i)).busy()
		}
		for i := range 16 {
			c := r.at("127.0.0.1")
			if code := c.ask(c.connect(), ops.PathEvents); code != http.StatusOK {
				r.t.Errorf("page %d of this host: %d", i, code)
			}
		}
	})
}

// Streams are shared out as well: whoever holds all of them gives some away.
func TestStreamsAreShared(t *testing.T) {
	t.Parallel()
	for name, greedy := range map[string][]string{
		"this host": {"127.0.0.1"}, "three hosts": {"192.168.88.10", "192.168.88.11", "192.168.88.12"},
		"one host with many addresses": {"fd00::1", "fd00::2", "fd00::3", "fd00::4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atGate(t, func(r *rig) {
				for _, host := range greedy {
					for range 150 / len(greedy) {
						c := r.at(host)
						_ = c.ask(c.connect(), ops.PathEvents)
					}
				}
				for i := range 8 {
					for _, host := range []string{"127.0.0.1", "192.168.88.100", "192.168.88.101"} {
						if c := r.at(host); host == greedy[0] {
							continue // it has all that it can get
						} else if code := c.ask(c.connect(), ops.PathEvents); code != http.StatusOK {
							r.t.Errorf("stream %d of %s: %d", i, host, code)
						}
					}
				}
			})
		})
	}
}

// Who is refused does not keep the connection, and who promises a body and sends none
// is waited for no longer than a moment.
func TestRefusalsEndTheConnection(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"unknown host":      "GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
		"its body":          "GET / HTTP/1.1\r\nHost: evil.example.com\r\nContent-Length: 1000000\r\n\r\n",
		"method":            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
		"method, no body":   "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"body":              "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
		"body without size": "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
		"body of a stream":  "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
		"no such thing":     "nonsense\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atGate(t, func(r *rig) {
				conn := r.at("192.168.88.10").connect()
				if _, err := conn.Write([]byte(request)); err != nil {
					r.t.Fatal(err)
				}
				began := time.Now()
				answer, err := io.ReadAll(conn)
				if took := time.Since(began); err != nil || took > 3*time.Second || !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
					r.t.Errorf("after %v: %v, %q", took, err, answer)
				}
			})
		})
	}
}

// A connection without a question does not last.
func TestIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	atGate(t, func(r *rig) {
		c := r.at("192.168.88.10")
		conn := c.connect()
		if code := c.ask(conn, ops.PathHealth); code != http.StatusOK {
			r.t.Fatalf("health: %d", code)
		}
		time.Sleep(31 * time.Second)
		if code := c.ask(conn, ops.PathHealth); code != 0 {
			r.t.Errorf("after half a minute: %d", code)
		}
	})
}

// The gate forgets who has gone: whoever comes and goes does not use it up.
func TestGateForgets(t *testing.T) {
	t.Parallel()
	atGate(t, func(r *rig) {
		for i := range 500 {
			c := r.at("192.168.88.10")
			conn := c.connect()
			if code := c.ask(conn, ops.PathEvents); code != http.StatusOK {
				r.t.Fatalf("page %d: %d", i, code)
			}
			_ = conn.Close()
			synctest.Wait()
		}
	})
}
