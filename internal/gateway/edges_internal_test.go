package gateway

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
)

// offline returns a gateway that nobody runs, and its log.
func offline(t *testing.T) (*Gateway, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	g, err := New(Config{
		Dial:        func(context.Context) (net.Conn, error) { return nil, net.ErrClosed },
		OnStateLost: func() {}, OnAddressChange: func(_, _ netip.Addr) {},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, log
}

// One lost packet is no silence; two are, and so is a packet that could not even be sent.
// An error of a moment that something was heard after tells nothing.
func TestDiagnoseSilence(t *testing.T) {
	t.Parallel()
	g, _ := offline(t)
	start := time.Now()
	for _, tt := range []struct {
		err    natpmp.TimeoutError
		silent bool
	}{
		{natpmp.TimeoutError{Tries: 1}, false},
		{natpmp.TimeoutError{Tries: 2}, true},
		{natpmp.TimeoutError{Tries: 1, Send: net.ErrClosed}, true},
		{natpmp.TimeoutError{Send: net.ErrClosed}, true},
		{natpmp.TimeoutError{}, false},
	} {
		tt.err.Err = context.DeadlineExceeded
		if h, silent := g.diagnose(&tt.err, start); h.state != StateSilent || silent != tt.silent {
			t.Errorf("%+v: %+v, %v", tt.err, h, silent)
		}
	}
	g.heard = start
	if _, silent := g.diagnose(&natpmp.TimeoutError{Tries: 9, Err: context.DeadlineExceeded}, start); silent {
		t.Error("silent, and heard at the very time when the request began")
	}
}

// The log has odd replies of one kind once an hour, and then how many there were.
func TestOddRepliesAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, log := offline(t)
		odd := func() { g.replied(natpmp.OddCut, natpmp.Request{}, natpmp.Response{}) }
		for range 4 {
			odd()
		}
		time.Sleep(oddInterval - 1)
		odd()
		if n := strings.Count(log.String(), "cannot be right"); n != 1 {
			t.Errorf("%d lines within the hour", n)
		}
		time.Sleep(time.Nanosecond)
		odd()
		if n := strings.Count(log.String(), "cannot be right"); n != 2 || !strings.Contains(log.String(), "suppressed=4") {
			t.Errorf("%d lines:\n%s", n, log)
		}
	})
}

// An address counts for as long as it may, to the moment.
func TestAddressCountsToTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := offline(t)
		g.setAddress(netip.MustParseAddr("5.6.7.8"), time.Now())
		time.Sleep(g.cfg.MaxAge)
		if _, ok := g.External(); !ok {
			t.Error("aged out too early")
		}
		time.Sleep(time.Nanosecond)
		if _, ok := g.External(); ok {
			t.Error("does not age out")
		}
	})
}

// After a refusal both ways a port is tried again ten minutes later.
func TestWorthTrying(t *testing.T) {
	t.Parallel()
	var a anyPort
	now := time.Now()
	if !a.worthTrying(now) {
		t.Error("not tried at first")
	}
	a.learn(&natpmp.ResultError{Opcode: natpmp.OpMapTCP, Result: natpmp.ResultNotAuthorized}, now)
	if a.vain.IsZero() {
		t.Fatal("the refusal was not taken in")
	}
	if a.worthTrying(now.Add(namingPause-1)) || !a.worthTrying(now.Add(namingPause)) {
		t.Error("not tried again after the pause")
	}
}
