//go:build e2e && linux

package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds every exchange over a path that should work.
const patience = 5 * time.Second

// host is a LAN client.
type host struct {
	*namespace

	addr netip.Addr
	// asks is the address at which it asks for mappings.
	asks netip.Addr
}

// serve answers on a port until the test ends: to a line over TCP, or to a
// datagram, it says who it is, whom it sees, and what it heard.
func (h *host) serve(ctx context.Context, t *testing.T, protocol string, port uint16) {
	t.Helper()
	if protocol == "tcp" {
		h.serveTCP(ctx, t, port)
		return
	}
	conn, err := h.listenUDP(ctx, netip.AddrPortFrom(h.addr, port))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			// UDP: an answer that cannot be sent is lost.
			_, _ = conn.WriteTo([]byte(h.answer(from, string(buf[:n]))), from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close() // ends the loop; nothing is left to be sent
		<-done
	})
}

// serveTCP is serve for TCP.
func (h *host) serveTCP(ctx context.Context, t *testing.T, port uint16) {
	t.Helper()
	ln, err := h.listenTCP(ctx, netip.AddrPortFrom(h.addr, port))
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			talks.Go(func() { h.converse(serving, conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close() // ends the loop
		stop()
		talks.Wait()
	})
}

// converse answers line by line until the other side closes. Where that does not
// get through, ctx ends it.
func (h *host) converse(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // which ends the loop
	defer stop()
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if _, err := conn.Write([]byte(h.answer(conn.RemoteAddr(), lines.Text()) + "\n")); err != nil {
			return
		}
	}
}

// answer is what the host says to a line.
func (h *host) answer(from net.Addr, line string) string {
	return fmt.Sprintf("%s sees %s saying %q", h.name, from, line)
}

// promiseError is an answer of doublenat that did not come true on the wire.
type promiseError struct {
	promise string
	err     error
}

// Error returns the promise and what became of it.
func (e *promiseError) Error() string { return e.promise + ": " + e.err.Error() }

// Unwrap returns what became of it.
func (e *promiseError) Unwrap() error { return e.err }

// broken returns a promiseError, or nil if err is nil.
func broken(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &promiseError{promise: fmt.Sprintf(format, args...), err: err}
}

// internet is a host out there.
type internet struct {
	*namespace

	addr netip.Addr
	said atomic.Uint64 // numbers the lines, so that no two are equal
}

// talk is a conversation with a LAN client through both NATs.
type talk struct {
	net.Conn

	from *internet
	with *host
}

// call opens a conversation with the host that is said to be behind a public port.
func (i *internet) call(ctx context.Context, protocol string, public netip.AddrPort, with *host) (*talk, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := i.dial(ctx, protocol, i.addr, public)
	if err != nil {
		return nil, err
	}
	return &talk{Conn: conn, from: i, with: with}, nil
}

// say says a line and returns an error unless the very host answers that it heard
// it from our address and port.
func (t *talk) say() error {
	if err := t.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	line := fmt.Sprintf("line %d", t.from.said.Add(1))
	sent, want := line, t.with.answer(t.LocalAddr(), line)
	if t.LocalAddr().Network() == "tcp" {
		sent, want = line+"\n", want+"\n"
	}
	if _, err := t.Write([]byte(sent)); err != nil {
		return err
	}
	got := make([]byte, 0, 256)
	for len(got) < len(want) {
		n, err := t.Read(got[len(got):cap(got)])
		if err != nil {
			return fmt.Errorf("after %q: %w", got, err)
		}
		got = got[:len(got)+n]
	}
	if string(got) != want {
		return fmt.Errorf("the answer is %q, want %q", got, want)
	}
	return nil
}

// reach says a line to the host that is said to be behind a public port.
func (i *internet) reach(ctx context.Context, protocol string, public netip.AddrPort, with *host) error {
	t, err := i.call(ctx, protocol, public, with)
	if err == nil {
		err = errors.Join(t.say(), t.Close())
	}
	return broken(err, "%s %s is %s", protocol, public, with.name)
}

// unreachable returns nil if a public port is closed: it refuses, or nobody answers
// within a second. Whoever accepts or answers, also a wrong host, is an error, and
// so is anything for which nothing can be said about the port.
func (i *internet) unreachable(ctx context.Context, protocol string, public netip.AddrPort) error {
	asking, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	heard, err := i.knock(asking, protocol, public)
	switch {
	case heard != "":
		return broken(errors.New(heard), "%s %s is closed", protocol, public)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return nil
	}
	return fmt.Errorf("asking for %s %s: %w", protocol, public, err)
}

// knock says a line to a port until ctx ends. It returns what came back, or why
// nothing did.
func (i *internet) knock(ctx context.Context, protocol string, public netip.AddrPort) (heard string, err error) {
	conn, err := i.dial(ctx, protocol, i.addr, public)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if protocol == "tcp" {
		return "the connection was accepted", nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := conn.Write([]byte("anybody there?")); err != nil {
		return "", err
	}
	answer := make([]byte, 256)
	n, err := conn.Read(answer)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("the answer is %q", answer[:n]), nil
}
