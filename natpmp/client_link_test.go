package natpmp_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
)

// TestClientConnectsAgain: a dead connection is replaced, and a request that was
// in flight is asked again on the new one.
func TestClientConnectsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, logged := recordLogs()
		var awake atomic.Bool
		g := &pipeGateway{answer: func(send func([]byte), packet []byte) {
			if awake.Load() {
				respond(send, packet)
			}
		}}
		c := startClient(t, g, natpmp.ClientConfig{Logger: logger})
		go func() {
			time.Sleep(100 * time.Millisecond)
			g.setDialErr(errNoRoute)
			g.hangUp()
			time.Sleep(10 * time.Second)
			awake.Store(true)
			g.setDialErr(nil)
		}()
		if _, err := c.Map(t.Context(), mapTCP()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(g.start); d < 10*time.Second || d > 16*time.Second {
			t.Errorf("answered after %v, want 10s to 16s", d)
		}
		if n := strings.Count(logged(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings for one change, want 1:\n%s", n, logged())
		}
		if n := g.dialCount(); n < 5 || n > 12 {
			t.Errorf("connected %d times, want some with growing pauses", n)
		}
	})
}

// TestClientForgivesAConnectionThatWorked: pauses grow over failures in a row
// only, and whoever was heard has not failed.
func TestClientForgivesAConnectionThatWorked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: respond}
		c := startClient(t, g, natpmp.ClientConfig{})
		for range 20 {
			if _, err := c.ExternalAddress(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.hangUp()
			synctest.Wait()
		}
		if d := time.Since(g.start); d > 2*time.Second {
			t.Errorf("twenty connections took %v", d)
		}
	})
}

// TestClientSaysWhyThereIsNoConnection to a request that waited for one.
func TestClientSaysWhyThereIsNoConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{dialErr: errNoRoute}
		c := startClient(t, g, natpmp.ClientConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.ExternalAddress(ctx)
		var timeout *natpmp.TimeoutError
		if !errors.As(err, &timeout) || timeout.Tries != 0 ||
			!errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errNoRoute) {
			t.Errorf("error = %v", err)
		}
	})
}

// deafConn is a connection that takes no packet.
type deafConn struct {
	net.Conn
	err error
}

func (c deafConn) Write([]byte) (int, error) { return 0, c.err }

// TestClientSendErrors: a connection that takes no packet is replaced.
func TestClientSendErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: respond}
		first := true
		c := startClient(t, g, natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := g.dial(ctx)
			if first {
				first = false
				return deafConn{Conn: conn, err: errNoRoute}, err
			}
			return conn, err
		}})
		if _, err := c.ExternalAddress(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(g.start); d != 250*time.Millisecond {
			t.Errorf("answered after %v, want 250ms: the second try", d)
		}
		if s := c.Stats(); s.SendErrors != 1 || s.Sent != 1 || s.Retransmitted != 0 || s.Dials != 2 {
			t.Errorf("stats = %+v", s)
		}
	})
}

// TestClientRefusalAtWriting: the kernel may report it there.
func TestClientRefusalAtWriting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{}
		c := startClient(t, g, natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
			conn, err := g.dial(ctx)
			return deafConn{Conn: conn, err: &net.OpError{Op: "write", Err: syscall.ECONNREFUSED}}, err
		}})
		_, err := c.ExternalAddress(t.Context())
		var refused *natpmp.RefusedError
		if !errors.As(err, &refused) || time.Since(g.start) != 0 {
			t.Errorf("error = %v after %v", err, time.Since(g.start))
		}
	})
}

// TestClientReplacesASilentSocket: an old socket may have a source address that
// is no longer ours.
func TestClientReplacesASilentSocket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{}
		c := startClient(t, g, natpmp.ClientConfig{})
		ask := func(d time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if _, err := c.ExternalAddress(ctx); err == nil {
				t.Error("a silent gateway answered")
			}
			synctest.Wait()
		}
		for i, want := range []int{1, 2, 2, 3} {
			ask(5 * time.Second)
			if n := g.dialCount(); n != want {
				t.Errorf("after %d s: connected %d times, want %d", 5*(i+1), n, want)
			}
		}
	})
}

// TestClientKeepsASocketThatWorks: a request without a reply is not silence as
// long as others get theirs.
func TestClientKeepsASocketThatWorks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: func(send func([]byte), packet []byte) {
			if packet[1] == byte(natpmp.OpExternalAddress) {
				respond(send, packet)
			}
		}}
		c := startClient(t, g, natpmp.ClientConfig{})
		for range 10 {
			if _, err := c.ExternalAddress(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if _, err := c.Map(ctx, mapTCP()); err == nil {
				t.Error("no error")
			}
			cancel()
		}
		synctest.Wait()
		if n := g.dialCount(); n != 1 {
			t.Errorf("connected %d times, want 1", n)
		}
	})
}

func TestClientStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{}
		c, err := natpmp.NewClient(natpmp.ClientConfig{Dial: g.dial})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := c.ExternalAddress(t.Context())
			ended <- err
		}()
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := <-ended; !errors.Is(err, natpmp.ErrClientStopped) {
			t.Errorf("request in flight: %v", err)
		}
		if err := c.Unmap(t.Context(), natpmp.OpMapTCP, 1); !errors.Is(err, natpmp.ErrClientStopped) {
			t.Errorf("request afterwards: %v", err)
		}
		if err := c.Run(t.Context()); err == nil {
			t.Error("Run twice: no error")
		}
	})
}

// TestClientRefused: nobody on the gateway's port, then somebody, on a real socket.
func TestClientRefused(t *testing.T) {
	t.Parallel()
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := localAddr(pc).String()
	if err := pc.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := natpmp.NewClient(natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp4", address)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()

	start := time.Now()
	_, err = c.Map(t.Context(), mapTCP())
	var refused *natpmp.RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error = %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("noticed after %v", d)
	}
	if n := c.Stats().Refused; n == 0 {
		t.Error("no refusal counted")
	}

	serveUDP(t, address, natpmp.ServerConfig{Handler: natpmp.HandlerFunc(grant)})
	if a, err := c.ExternalAddress(t.Context()); err != nil || a != address5678() {
		t.Errorf("after the gateway opened its port: %v, %v", a, err)
	}
}

// TestClientPausesAfterSilence: a tunnel that falls silent and then has no route any
// more is dialed as any other dead one, with growing pauses.
func TestClientPausesAfterSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{}
		const bound = 30
		var dials atomic.Int32
		c := startClient(t, g, natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
			if dials.Add(1) > bound { // A client that does not pause would stop the clock.
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return g.dial(ctx)
		}})
		synctest.Wait()
		g.setDialErr(errNoRoute)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if _, err := c.ExternalAddress(ctx); err == nil {
				t.Error("a silent gateway answered")
			}
			cancel()
		}
		if n := dials.Load(); n < 5 || n > bound {
			t.Errorf("dialed %d times in a minute, want 5 to %d", n, bound)
		}
	})
}
