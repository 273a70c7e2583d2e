package natpmp_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
)

// moodyConn is a connection whose calls fail now and then.
type moodyConn struct {
	net.Conn

	write, read func() error // nil for no failure
}

func (c moodyConn) Write(b []byte) (int, error) {
	if err := c.write(); err != nil {
		return 0, &net.OpError{Op: "write", Err: os.NewSyscallError("sendmsg", err)}
	}
	return c.Conn.Write(b)
}

func (c moodyConn) Read(b []byte) (int, error) {
	if err := c.read(); err != nil {
		return 0, &net.OpError{Op: "read", Err: os.NewSyscallError("recvmsg", err)}
	}
	return c.Conn.Read(b)
}

// everyOther returns a function that fails every second time.
func everyOther(err error) func() error {
	var n atomic.Int32
	return func() error {
		if n.Add(1)%2 == 0 {
			return err
		}
		return nil
	}
}

func never() error { return nil }

// TestClientLosesAPacketAndNotItsSocket: a packet for which the system has no room, or
// which its firewall drops, is a lost one. The socket stays, and with it the replies to
// all requests in flight.
func TestClientLosesAPacketAndNotItsSocket(t *testing.T) {
	t.Parallel()
	for _, mood := range []syscall.Errno{syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN, syscall.EPERM} {
		t.Run(mood.Error(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &pipeGateway{answer: respond}
				c := startClient(t, g, natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
					conn, err := g.dial(ctx)
					return moodyConn{Conn: conn, write: everyOther(mood), read: never}, err
				}})
				var asking sync.WaitGroup
				for port := range uint16(20) {
					asking.Go(func() {
						_, err := c.Map(t.Context(), natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: 1000 + port, Lifetime: 60})
						if err != nil {
							t.Errorf("port %d: %v", 1000+port, err)
						}
					})
				}
				asking.Wait()
				s := c.Stats()
				if d := time.Since(g.start); s.Dials != 1 || s.SendErrors == 0 || d > 10*time.Second {
					t.Errorf("after %v: %+v", d, s)
				}
			})
		})
	}
}

// TestClientReadsOn after a failure to read that passes.
func TestClientReadsOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: respond}
		c := startClient(t, g, natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := g.dial(ctx)
			return moodyConn{Conn: conn, write: never, read: everyOther(syscall.ENOMEM)}, err
		}})
		for range 50 {
			if _, err := c.ExternalAddress(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if s := c.Stats(); s.Dials != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestClientTellsWhatKeepsItsPackets: who gets no reply hears why nothing was sent.
func TestClientTellsWhatKeepsItsPackets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: respond}
		c := startClient(t, g, natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := g.dial(ctx)
			return moodyConn{Conn: conn, write: func() error { return syscall.EPERM }, read: never}, err
		}})
		err := c.Unmap(t.Context(), natpmp.OpMapTCP, 1000)
		var timeout *natpmp.TimeoutError
		if !errors.As(err, &timeout) || timeout.Tries != 0 || !errors.Is(err, syscall.EPERM) {
			t.Errorf("error %v", err)
		}
		if s := c.Stats(); s.Dials != 1 || s.SendErrors != 3 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestClientTellsOfTrouble: callers that know better than to repeat a request hear of each
// error at once, also of one that passes. The request goes on.
func TestClientTellsOfTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, heard := &pipeGateway{answer: respond}, make(chan error, 100)
		dials, reads := 0, new(atomic.Int32)
		c := startClient(t, g, natpmp.ClientConfig{
			OnTrouble: func(err error) { heard <- err },
			Dial: func(ctx context.Context) (net.Conn, error) {
				if dials++; dials == 1 {
					return nil, syscall.ENETUNREACH
				}
				conn, err := g.dial(ctx)
				return moodyConn{Conn: conn, write: everyOther(syscall.ENOBUFS), read: func() error {
					if reads.Add(1) == 2 {
						return syscall.EHOSTUNREACH
					}
					return nil
				}}, err
			},
		})
		for range 3 {
			if _, err := c.ExternalAddress(t.Context()); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		var all error
		for range len(heard) {
			all = errors.Join(all, <-heard)
		}
		for _, want := range []error{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENOBUFS} {
			if !errors.Is(all, want) {
				t.Errorf("%v was not told, only %v", want, all)
			}
		}
	})
}

// TestClientGivesASocketUpThatCannotRead: a failure that does not pass is no mood.
func TestClientGivesASocketUpThatCannotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: respond}
		var broken atomic.Bool
		broken.Store(true)
		c := startClient(t, g, natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := g.dial(ctx)
			fails := broken.Swap(false)
			return moodyConn{Conn: conn, write: never, read: func() error {
				if fails {
					return syscall.ENOBUFS
				}
				return nil
			}}, err
		}})
		time.Sleep(time.Minute)
		if _, err := c.ExternalAddress(t.Context()); err != nil {
			t.Error(err)
		}
		if s := c.Stats(); s.Dials != 2 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestClientKeepsASocketThatWasIdle: one caller who gives up, after a minute in which
// nobody asked anything, says nothing about the socket.
func TestClientKeepsASocketThatWasIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var silent atomic.Bool
		g := &pipeGateway{answer: func(send func([]byte), packet []byte) {
			if !silent.Load() {
				respond(send, packet)
			}
		}}
		c := startClient(t, g, natpmp.ClientConfig{})
		for range 5 {
			if _, err := c.ExternalAddress(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			silent.Store(true)
			for range 2 { // a lost packet now, and one a minute later
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				if _, err := c.ExternalAddress(ctx); err == nil {
					t.Error("no error")
				}
				cancel()
				time.Sleep(time.Minute)
			}
			silent.Store(false)
		}
		if n := g.dialCount(); n != 1 {
			t.Errorf("connected %d times, want 1", n)
		}
	})
}
