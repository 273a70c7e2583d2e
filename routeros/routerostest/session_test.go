package routerostest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

func TestListenAndCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		router := newRouter(t, routerostest.Config{})
		c := login(t, router)
		c.send(natPath+"/listen", "?in-interface=wg1", "=.proplist=.id,dst-port,disabled", ".tag=L")
		c.send("/ip/route/check", "=dst-ip=10.2.0.1", "=interval=2s", ".tag=R")
		if got := c.next(); got != "!re .tag=R =status=ok =interface=wg1 =nexthop=10.2.0.1" {
			t.Error(got)
		}
		if err := router.Disable(natPath, "*4"); err != nil {
			t.Fatal(err)
		}
		if err := router.Disable(natPath, "*A"); err != nil { // on another interface
			t.Fatal(err)
		}
		if err := router.Remove(natPath, "*5"); err != nil {
			t.Fatal(err)
		}
		want := []string{"!re .tag=L =.id=*4 =dst-port=2222 =disabled=true", "!re .tag=L =.id=*5 =.dead=true"}
		if diff := cmp.Diff(want, c.lines(2)); diff != "" {
			t.Errorf("listen (-want +got):\n%s", diff)
		}
		start := time.Now()
		c.next()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("the check was repeated after %v, want 2s", took)
		}

		c.send("/cancel", "=tag=L", ".tag=C")
		want = []string{"!trap .tag=L =category=2 =message=interrupted", "!done .tag=C", "!done .tag=L"}
		if diff := cmp.Diff(want, c.lines(3)); diff != "" {
			t.Errorf("cancel (-want +got):\n%s", diff)
		}
		c.send("/cancel", "=tag=nobody", ".tag=D")
		if got := c.next(); got != "!done .tag=D" {
			t.Error(got)
		}
		c.send("/cancel")
		want = []string{"!trap .tag=R =category=2 =message=interrupted", "!done", "!done .tag=R"}
		if diff := cmp.Diff(want, c.lines(3)); diff != "" {
			t.Errorf("cancel of all (-want +got):\n%s", diff)
		}
		if err := router.Enable(natPath, "*4"); err != nil {
			t.Fatal(err)
		}
		if err := c.cut(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the cancel: %v, want silence", err)
		}
	})
}

func TestCancelOfAWaitingCommand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		router := newRouter(t, routerostest.Config{})
		router.SetLatency(natPath+"/add", time.Hour)
		c := login(t, router)
		c.send(natPath+"/add", "=chain=dstnat", ".tag=a")
		c.send("/cancel", "=tag=a", ".tag=b")
		want := []string{"!trap .tag=a =category=2 =message=interrupted", "!done .tag=b", "!done .tag=a"}
		if diff := cmp.Diff(want, c.lines(3)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := router.Stats().Writes; got != 0 {
			t.Errorf("%d writes, want 0", got)
		}
	})
}

func TestRouteCheckDuration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := login(t, newRouter(t, routerostest.Config{Version: "6.49"}))
		start := time.Now()
		got := c.run("/ip/route/check", "=dst-ip=192.0.2.1", "=duration=3s")
		const row = "!re =status=ok =interface=ether1 =nexthop=198.51.100.1\n"
		if got != strings.Repeat(row, 3)+"!done" || time.Since(start) != 2*time.Second {
			t.Errorf("after %v:\n%s", time.Since(start), got)
		}
	})
}

func TestManyCommandsInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		router := newRouter(t, routerostest.Config{Latency: 10 * time.Millisecond})
		c := login(t, router)
		start := time.Now()
		const n = 3000 // more than the router takes in at once
		go func() {
			var b []byte
			for i := range n {
				b = routeros.AppendSentence(b, []string{"/system/identity/print", "=.proplist=", fmt.Sprintf(".tag=%d", i)})
			}
			if _, err := c.conn.Write(b); err != nil {
				t.Error(err)
			}
		}()
		var got, want []string
		for i := range n {
			want = append(want, fmt.Sprintf("!done .tag=%d", i))
		}
		for len(got) < n {
			if line := c.next(); strings.HasPrefix(line, "!done") {
				got = append(got, line)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order of replies (-want +got):\n%s", diff)
		}
		if took := time.Since(start); took < 10*time.Millisecond || took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestUntaggedCommandsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	c := login(t, newRouter(t, routerostest.Config{}))
	var b []byte
	for range 2 {
		b = routeros.AppendSentence(b, []string{"/interface/list/print", "=.proplist=name", "?name=WAN", "?name=LAN", "?#|"})
	}
	b = append(b, 0, 0) // empty sentences mean nothing
	if _, err := c.conn.Write(b); err != nil {
		t.Fatal(err)
	}
	want := []string{"!re =name=WAN", "!re =name=LAN", "!done", "!re =name=WAN", "!re =name=LAN", "!done"}
	if diff := cmp.Diff(want, c.lines(6)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRouterClosesOnGarbage(t *testing.T) {
	t.Parallel()
	c := login(t, newRouter(t, routerostest.Config{}))
	if _, err := c.conn.Write([]byte{0xF8, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if err := c.cut(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want the end", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	c := login(t, router)
	address := serve(t, router, nil)
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := router.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.cut(); !errors.Is(err, io.EOF) {
		t.Errorf("in memory: %v, want the end", err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("over TCP: read %d bytes", n)
	}
	if _, err := router.Dial(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial after Close: %v", err)
	}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := router.Serve(t.Context(), ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
	if rows := router.Rows(natPath); len(rows) == 0 {
		t.Error("the tables are gone")
	}
}

// TestSameInputSameOutput runs one script twice, with faults that need chance.
func TestSameInputSameOutput(t *testing.T) {
	t.Parallel()
	script := func(seed uint64) (lines []string) {
		synctest.Test(t, func(t *testing.T) {
			router := newRouter(t, routerostest.Config{Latency: time.Millisecond, Seed: seed})
			router.Inject(routerostest.Fault{Kind: routerostest.FaultShuffle, Times: -1})
			router.Inject(routerostest.Fault{Kind: routerostest.FaultTagMiddle, Skip: 3, Times: 5})
			c := login(t, router)
			for i := range 8 {
				c.send(natPath+"/add", "=chain=dstnat", "=comment="+fmt.Sprint(i), ".tag=a"+fmt.Sprint(i))
				c.send(natPath+"/print", "=stats=", ".tag=p"+fmt.Sprint(i))
			}
			for dones := 0; dones < 16; {
				line := c.next()
				lines = append(lines, line)
				if strings.HasPrefix(line, "!done") {
					dones++
				}
			}
		})
		return lines
	}
	first := script(7)
	if diff := cmp.Diff(first, script(7)); diff != "" {
		t.Errorf("same seed (-first +second):\n%s", diff)
	}
	if slices.Equal(first, script(8)) {
		t.Error("another seed shuffled nothing else")
	}
}

// TestListensAreBounded has a client that listens again and again.
func TestListensAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		router := newRouter(t, routerostest.Config{})
		c := login(t, router)
		var b []byte
		for range 65 {
			b = routeros.AppendSentence(b, []string{natPath + "/listen", ".tag=x"})
		}
		if _, err := c.conn.Write(b); err != nil {
			t.Fatal(err)
		}
		if got := c.next(); got != "!trap .tag=x =message=failure: too many commands" {
			t.Error(got)
		}
	})
}
