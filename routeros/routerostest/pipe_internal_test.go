package routerostest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

// pair returns two ends of a connection that ends with the test.
func pair(t *testing.T) (a, b *pipe) {
	t.Helper()
	a, b = newPipe(&net.TCPAddr{Port: 1}, &net.TCPAddr{Port: 2})
	t.Cleanup(func() {
		a.Close()
		b.Close()
	})
	return a, b
}

// TestPipeIsAConn runs the conformance tests of golang.org/x/net.
func TestPipeIsAConn(t *testing.T) {
	t.Parallel()
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		a, b := newPipe(&net.TCPAddr{Port: 1}, &net.TCPAddr{Port: 2})
		return a, b, func() {
			a.Close()
			b.Close()
		}, nil
	})
}

func TestPipeEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(p *pipe)
		// what the other side reads before the end, and how reads and writes end
		rest        string
		read, write error
	}{
		{"close", func(p *pipe) { p.Close() }, "rest", io.EOF, syscall.EPIPE},
		{"reset", func(p *pipe) { p.reset() }, "", syscall.ECONNRESET, syscall.ECONNRESET},
		{"reset, then close", func(p *pipe) { p.reset(); p.Close() }, "", syscall.ECONNRESET, syscall.ECONNRESET},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t)
			if _, err := a.Write([]byte("rest")); err != nil {
				t.Fatal(err)
			}
			tt.end(a)
			got, err := io.ReadAll(b)
			if err == nil {
				err = io.EOF
			}
			if string(got) != tt.rest || !errors.Is(err, tt.read) {
				t.Errorf("read %q, %v, want %q, %v", got, err, tt.rest, tt.read)
			}
			if _, err := b.Write([]byte("x")); !errors.Is(err, tt.write) {
				t.Errorf("write: %v, want %v", err, tt.write)
			}
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("own read: %v", err)
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("own write: %v", err)
			}
		})
	}
}

// TestPipeInVirtualTime fills the window, waits for a deadline, and goes on when
// the other side reads.
func TestPipeInVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		start := time.Now()
		if err := a.SetWriteDeadline(start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := a.Write(make([]byte, pipeWindow+1))
		if n != pipeWindow || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("wrote %d, %v after %v", n, err, time.Since(start))
		}
		if err := a.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		sent := bytes.Repeat([]byte("0123456789"), pipeWindow/4)
		go func() {
			if _, err := a.Write(sent); err != nil {
				t.Error(err)
			}
			a.Close()
		}()
		time.Sleep(time.Hour)
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got[pipeWindow:], sent) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if a.LocalAddr() != b.RemoteAddr() || a.RemoteAddr() != b.LocalAddr() {
			t.Error("the addresses do not fit")
		}
	})
}
