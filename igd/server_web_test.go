package igd_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/igd/igdtest"
)

// TestRequests: with which status requests end that are for no action, or by no client.
func TestRequests(t *testing.T) {
	t.Parallel()
	const ok, control, page = `"urn:schemas-upnp-org:service:WANIPConnection:1#GetStatusInfo"`, "/igd1/WANIPConn1", "/igd1.xml"
	header, good := soapCall("urn:schemas-upnp-org:service:WANIPConnection:1", "GetStatusInfo", nil)
	with := func(change map[string]string) map[string]string { return merged(header, change) }
	for name, tt := range map[string]struct {
		method, path, body string
		header             map[string]string
		status             int
	}{
		"a document":               {method: "GET", path: page, status: 200},
		"its head":                 {method: "HEAD", path: page, status: 200},
		"another document":         {method: "GET", path: "/igd3.xml", status: 404},
		"the root":                 {method: "GET", path: "/", status: 404},
		"up and down":              {method: "GET", path: "/x/../igd1.xml", status: 404},
		"a document is no service": {method: "POST", path: page, status: 405},
		"a service is no document": {method: "GET", path: control, status: 405},
		"nor to be changed":        {method: "PUT", path: control, status: 405},
		"subscribing":              {method: "SUBSCRIBE", path: control, header: map[string]string{"Callback": "<http://9.9.9.9/>"}, status: 501},
		"unsubscribing":            {method: "UNSUBSCRIBE", path: "/igd1/WANIPConn1/events", status: 501},
		"subscribing to a page":    {method: "SUBSCRIBE", path: page, status: 501},
		"the old way to post":      {method: "M-POST", path: control, body: good, header: header, status: 501},
		"an action":                {method: "POST", path: control, body: good, header: header, status: 200},
		"a charset":                {method: "POST", path: control, body: good, header: with(map[string]string{"Content-Type": `text/xml; charset="utf-8"`}), status: 200},
		"a bad parameter":          {method: "POST", path: control, body: good, header: with(map[string]string{"Content-Type": `text/xml; charset=`}), status: 200},
		"without quotes":           {method: "POST", path: control, body: good, header: with(map[string]string{"SOAPAction": strings.Trim(ok, `"`)}), status: 200},
		"without action":           {method: "POST", path: control, body: good, header: with(map[string]string{"SOAPAction": ""}), status: 400},
		"another action":           {method: "POST", path: control, body: good, header: with(map[string]string{"SOAPAction": strings.Replace(ok, "GetS", "SetS", 1)}), status: 400},
		"a form":                   {method: "POST", path: control, body: good, header: with(map[string]string{"Content-Type": "application/x-www-form-urlencoded"}), status: 415},
		"a text":                   {method: "POST", path: control, body: good, header: with(map[string]string{"Content-Type": "text/plain"}), status: 415},
		"no type":                  {method: "POST", path: control, body: good, header: with(map[string]string{"Content-Type": ""}), status: 415},
		"no body":                  {method: "POST", path: control, header: header, status: 400},
		"no xml":                   {method: "POST", path: control, body: "hello", header: header, status: 400},
		"two actions":              {method: "POST", path: control, body: strings.Replace(good, "</SOAP-ENV:Body>", "<GetStatusInfo/></SOAP-ENV:Body>", 1), header: header, status: 400},
		"no envelope":              {method: "POST", path: control, body: "<Body><GetStatusInfo/></Body>", header: header, status: 400},
		"arguments in arguments":   {method: "POST", path: control, body: "<Envelope><Body><GetStatusInfo><a><b/></a></GetStatusInfo></Body></Envelope>", header: header, status: 400},
		"entities":                 {method: "POST", path: control, body: string(igdtest.Entities()), header: header, status: 400},
		"a deep document":          {method: "POST", path: control, body: strings.Repeat("<a>", 5000), header: header, status: 400},
		"a wide one":               {method: "POST", path: control, body: "<Envelope>" + strings.Repeat("<a/>", 10000), header: header, status: 400},
		"64 kB":                    {method: "POST", path: control, body: good + strings.Repeat(" ", 64<<10-len(good)), header: header, status: 200},
		"more than 64 kB":          {method: "POST", path: control, body: good + strings.Repeat(" ", 64<<10-len(good)+1), header: header, status: 413},
		"an unknown service":       {method: "POST", path: "/igd1/WANPPPConn1", body: good, header: header, status: 404},
		"a page elsewhere":         {method: "POST", path: control, body: good, header: with(map[string]string{"Origin": "http://example.com"}), status: 403},
		"a page from nowhere":      {method: "GET", path: page, header: map[string]string{"Origin": "null"}, status: 403},
		"a name":                   {method: "GET", path: page, header: map[string]string{"Host": "router.lan"}, status: 403},
		"a name that was led here": {method: "POST", path: control, body: good, header: with(map[string]string{"Host": "evil.example:5000"}), status: 403},
		"localhost":                {method: "GET", path: page, header: map[string]string{"Host": "localhost:5000"}, status: 403},
		"another address":          {method: "GET", path: page, header: map[string]string{"Host": "192.168.88.2:5000"}, status: 200},
		"IPv6":                     {method: "GET", path: page, header: map[string]string{"Host": "[::1]:5000"}, status: 403},
		"the router's address":     {method: "GET", path: page, header: map[string]string{"Host": "10.0.0.1"}, status: 200},
		"our own address":          {method: "GET", path: page, header: map[string]string{"Host": "192.168.88.1"}, status: 200},
		"everything at all":        {method: "OPTIONS", path: page, status: 405},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, ln := inMemory(t, serverConfig(newPorts(), netip.MustParseAddrPort("10.0.0.1:5000")))
				got := newAsker(t, ln, clientAddr).must(tt.method, tt.path, tt.body, tt.header)
				if got.status != tt.status {
					t.Errorf("status %d, want %d: %s", got.status, tt.status, got.body)
				}
				if _, ok := got.header["Ext"]; !ok || got.header.Get("Server") == "" || got.header.Get("Date") == "" {
					t.Errorf("headers %v", got.header)
				}
				if kind := got.header.Get("Content-Type"); got.status == 200 && kind != `text/xml; charset="utf-8"` || got.status != 200 && len(got.body) > 0 {
					t.Errorf("%s, %d bytes", kind, len(got.body))
				}
				if n := s.Stats(); n.Requests != 1 || (n.Refused == 1) != (tt.status != 200) || n.Connections != 1 {
					t.Errorf("stats %+v", n)
				}
			})
		})
	}
}

// TestRequestsLineByLine: what package http does not send.
func TestRequestsLineByLine(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ sent, want string }{
		"HTTP/1.0":       {"GET /igd1.xml HTTP/1.0\r\nHost: 192.168.88.1\r\n\r\n", "HTTP/1.0 200 OK"},
		"without host":   {"GET /igd1.xml HTTP/1.0\r\n\r\n", "HTTP/1.0 403 Forbidden"},
		"a star":         {"OPTIONS * HTTP/1.1\r\nHost: 192.168.88.1\r\n\r\n", "HTTP/1.1 404 Not Found"},
		"a proxy's way":  {"GET http://192.168.88.1/igd1.xml HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK"},
		"another's":      {"GET http://evil.example/igd1.xml HTTP/1.1\r\nHost: 192.168.88.1\r\n\r\n", "HTTP/1.1 403 Forbidden"},
		"two hosts":      {"GET /igd1.xml HTTP/1.1\r\nHost: 192.168.88.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		"many headers":   {"GET /igd1.xml HTTP/1.1\r\nHost: 192.168.88.1\r\n" + strings.Repeat("X-Y: "+long(100)+"\r\n", 200) + "\r\n", "HTTP/1.1 431 Request Header Fields Too Large"},
		"a long path":    {"GET /" + long(20000) + " HTTP/1.1\r\nHost: 192.168.88.1\r\n\r\n", "HTTP/1.1 431 Request Header Fields Too Large"},
		"no HTTP":        {"\x16\x03\x01\x00\xa5\x01\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		"HTTP/2":         {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 403 Forbidden"},
		"a short body":   {"POST /igd1/WANIPConn1 HTTP/1.1\r\nHost: 192.168.88.1\r\nContent-Type: text/xml\r\nContent-Length: 100\r\n\r\n<a>", "HTTP/1.1 400 Bad Request"},
		"both lengths":   {"POST /igd1/WANIPConn1 HTTP/1.1\r\nHost: 192.168.88.1\r\nContent-Type: text/xml\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		"endless chunks": {"POST /igd1/WANIPConn1 HTTP/1.1\r\nHost: 192.168.88.1\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("4000\r\n"+long(0x4000)+"\r\n", 5), "HTTP/1.1 413 Request Entity Too Large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, ln := inMemory(t, serverConfig(newPorts(), serverAddr))
				conn, err := ln.Dial(t.Context(), clientAddr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				go func() { _, _ = io.WriteString(conn, tt.sent) }() // The server may not read all of it.
				line, err := bufio.NewReader(conn).ReadString('\n')
				if got := strings.TrimSpace(line); got != tt.want {
					t.Errorf("%q, %v; want %q", got, err, tt.want)
				}
			})
		})
	}
}

// TestSlowClients: whoever does not get on with it is hung up on, and costs no longer than
// that.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		sent string
		ends time.Duration
	}{
		"says nothing":      {"", 5 * time.Second},
		"half a header":     {"GET /igd1.xml HT", 5 * time.Second},
		"half a body":       {"POST /igd1/WANIPConn1 HTTP/1.1\r\nHost: 192.168.88.1\r\nContent-Type: text/xml\r\nContent-Length: 10\r\n\r\n<", 10 * time.Second},
		"nothing after one": {"HEAD /igd1.xml HTTP/1.1\r\nHost: 192.168.88.1\r\n\r\n", 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, ln := inMemory(t, serverConfig(newPorts(), serverAddr))
				began := time.Now()
				conn, err := ln.Dial(t.Context(), clientAddr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, tt.sent); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, conn) // until it is hung up
				if took := time.Since(began).Truncate(time.Second); took != tt.ends {
					t.Errorf("after %v, want %v", took, tt.ends)
				}
			})
		})
	}
}

// TestSlowReader: whoever does not take the answer is hung up on.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, ln := inMemory(t, serverConfig(newPorts(), serverAddr))
		conn, err := ln.Dial(t.Context(), clientAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /igd1.xml HTTP/1.1\r\nHost: 192.168.88.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(36 * time.Second)
		if got, err := io.ReadAll(conn); len(got) != 0 || err != nil {
			t.Errorf("%d bytes were left, %v", len(got), err)
		}
	})
}

// TestSlowHandler: a client gets a failure in time, and the handler's context ends; also at
// a stop, and when the client hangs up.
func TestSlowHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPorts()
		var ended atomic.Int32
		p.before = func(ctx context.Context) {
			<-ctx.Done()
			ended.Add(1)
		}
		p.fail = context.DeadlineExceeded
		s, ln := newServer(t, serverConfig(p, serverAddr)), igdtest.Listen(serverAddr)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, ln) }()
		a := newAsker(t, ln, clientAddr)
		began := time.Now()
		if _, code := a.call("WANIPConnection:1", "AddPortMapping", wanted()); code != igd.CodeActionFailed || time.Since(began) != 25*time.Second {
			t.Errorf("code %d after %v", code, time.Since(began))
		}
		header, body := soapCall("urn:schemas-upnp-org:service:WANIPConnection:1", "AddPortMapping", wanted())
		request, err := http.NewRequest(http.MethodPost, "http://"+serverAddr.String()+"/igd1/WANIPConn1", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range header {
			request.Header.Set(name, value)
		}
		conn, err := ln.Dial(ctx, clientAddr)
		if err != nil || request.Write(conn) != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = conn.Close()
		synctest.Wait()
		if ended.Load() != 2 {
			t.Errorf("%d calls ended when their clients hung up, want 2", ended.Load())
		}
		answered := make(chan igd.Code, 1)
		go func() {
			_, code := a.call("WANIPConnection:1", "AddPortMapping", wanted())
			answered <- code
		}()
		synctest.Wait()
		stopped := time.Now()
		stop()
		if err := <-done; err != nil || time.Since(stopped) > 3*time.Second || <-answered != igd.CodeActionFailed {
			t.Errorf("stop: %v after %v", err, time.Since(stopped))
		}
	})
}

// TestAdmission: who is not let in hears nothing, not even a refusal, and each request on a
// connection is asked about, for the connection may be kept for ever.
func TestAdmission(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := serverConfig(newPorts(), serverAddr)
		left := 5
		cfg.Admit = func(from igd.Arrival) bool {
			if from.Client.Addr() != clientAddr.Addr() || from.Destination != serverAddr.Addr() || from.Local != serverAddr.Addr() || from.At.IsZero() {
				return false
			}
			left--
			return left >= 0
		}
		s, ln := inMemory(t, cfg)
		if _, err := newAsker(t, ln, netip.MustParseAddrPort("10.9.9.9:1")).ask("GET", "/igd1.xml", "", nil); err == nil {
			t.Error("a stranger was answered")
		}
		a := newAsker(t, ln, clientAddr)
		for i := range 5 {
			if got := a.must("GET", "/igd1.xml", "", nil); got.status != http.StatusOK {
				t.Errorf("request %d: %d", i, got.status)
			}
		}
		if _, err := a.ask("GET", "/igd1.xml", "", nil); err == nil {
			t.Error("the sixth request was answered")
		}
		// The client tries again on another connection, which is not let in either.
		if got := s.Stats(); got.Requests != 5 || got.NotAdmitted < 2 || got.Panics != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

// TestConnectionsAreBounded: a client has so many connections, and all together; the oldest
// on which nothing is asked goes first, and one on which something is never.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPorts()
		work := make(chan struct{})
		p.before = func(ctx context.Context) {
			select {
			case <-work:
			case <-ctx.Done():
			}
		}
		cfg := serverConfig(p, serverAddr)
		cfg.MaxPerClient, cfg.MaxConnections = 2, 3
		s, ln := inMemory(t, cfg)
		dial := func(host byte) *far {
			conn, err := ln.Dial(t.Context(), netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 88, host}), 1))
			if err != nil {
				t.Fatal(err)
			}
			f := &far{Conn: conn}
			go f.listen()
			t.Cleanup(func() { _ = conn.Close() })
			synctest.Wait()
			return f
		}
		gone := func(all ...*far) (out []bool) {
			synctest.Wait()
			for _, f := range all {
				out = append(out, f.over.Load())
			}
			return out
		}
		first, second, third := dial(10), dial(10), dial(10)
		if diff := cmp.Diff([]bool{true, false, false}, gone(first, second, third)); diff != "" {
			t.Errorf("three of one client (-want +got):\n%s", diff)
		}
		header, body := soapCall("urn:schemas-upnp-org:service:WANIPConnection:1", "DeletePortMapping", named())
		second.post(t, header, body)
		third.post(t, header, body)
		synctest.Wait()
		if fourth := dial(10); !gone(fourth)[0] || gone(second)[0] || gone(third)[0] {
			t.Error("a connection in work went, or one too many came in")
		}
		other, another := dial(11), dial(12)
		if diff := cmp.Diff([]bool{false, false, true, false}, gone(second, third, other, another)); diff != "" {
			t.Errorf("four of several (-want +got):\n%s", diff)
		}
		close(work)
		synctest.Wait()
		if !strings.Contains(second.said(), "NoSuchEntryInArray") || !strings.Contains(third.said(), "NoSuchEntryInArray") {
			t.Errorf("%q, %q", second.said(), third.said())
		}
		if got := s.Stats(); got.Connections != 6 || got.Crowded != 1 {
			t.Errorf("stats %+v", got)
		}
	})
}

// far is a client's end of a connection.
type far struct {
	net.Conn

	heard bytes.Buffer
	over  atomic.Bool
}

// listen takes in what comes until the end.
func (f *far) listen() {
	_, _ = io.Copy(&f.heard, f.Conn) // its end is an error or none
	f.over.Store(true)
}

// said returns what came. It is called while nothing comes.
func (f *far) said() string { return f.heard.String() }

// post asks for an action.
func (f *far) post(tb testing.TB, header map[string]string, body string) {
	tb.Helper()
	_, err := fmt.Fprintf(f.Conn, "POST /igd1/WANIPConn1 HTTP/1.1\r\nHost: 192.168.88.1\r\nContent-Type: text/xml\r\nSOAPAction: %s\r\nContent-Length: %d\r\n\r\n%s",
		header["SOAPAction"], len(body), body)
	if err != nil {
		tb.Error(err)
	}
}

// TestServerConfigs: what is missing is said at once.
func TestServerConfigs(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*igd.ServerConfig){
		"no handler":        func(c *igd.ServerConfig) { c.Handler = nil },
		"no UUID":           func(c *igd.ServerConfig) { c.UUID = [16]byte{} },
		"no BOOTID":         func(c *igd.ServerConfig) { c.Boot = nil },
		"no location":       func(c *igd.ServerConfig) { c.Location = nil },
		"a negative bound":  func(c *igd.ServerConfig) { c.MaxConnections = -1 },
		"another one of it": func(c *igd.ServerConfig) { c.MaxPerClient = -1 },
	} {
		cfg := serverConfig(newPorts(), serverAddr)
		if change(&cfg); name != "" {
			if _, err := igd.NewServer(cfg); err == nil || !strings.HasPrefix(err.Error(), "igd: ") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestPanicsAreTold: a panic beside the handler costs the request its connection, and others
// nothing.
func TestPanicsAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := serverConfig(newPorts(), serverAddr)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		bug := true
		calls := 0
		cfg.Admit = func(igd.Arrival) bool {
			if calls++; calls == 2 && bug { // at the connection, and at its second request
				bug = false
				panic("a bug")
			}
			return true
		}
		s, ln := inMemory(t, cfg)
		a := newAsker(t, ln, clientAddr)
		a.must("GET", "/igd1.xml", "", nil)
		if _, err := a.ask("GET", "/igd1.xml", "", nil); err != nil {
			// Package http asks again on another connection if nothing was said.
			t.Logf("the first: %v", err)
		}
		if got := a.must("GET", "/igd1.xml", "", nil); got.status != http.StatusOK || s.Stats().Panics != 1 {
			t.Errorf("status %d, %+v", got.status, s.Stats())
		}
		if n := strings.Count(log.String(), "level=ERROR msg=\"request of upnp panicked\""); n != 1 || !strings.Contains(log.String(), "panic=\"a bug\"") {
			t.Errorf("%d lines: %s", n, log.String())
		}
	})
}

// TestBrokenListener: its failure is told, and all connections end.
func TestBrokenListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, ln := newServer(t, serverConfig(newPorts(), serverAddr)), igdtest.Listen(serverAddr)
		done := make(chan error, 1)
		go func() { done <- s.Serve(t.Context(), ln) }()
		a := newAsker(t, ln, clientAddr)
		a.must("GET", "/igd1.xml", "", nil)
		_ = ln.Close()
		if err := <-done; err == nil || !strings.Contains(err.Error(), "serving http") {
			t.Errorf("%v", err)
		}
	})
}
