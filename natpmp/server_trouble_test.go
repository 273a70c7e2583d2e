package natpmp_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

// TestServeGivesUp: a socket that fails at every read for a minute has to be opened anew;
// one that is read once in a while has not.
func TestServeGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := natpmp.NewServer(natpmp.ServerConfig{Handler: natpmp.HandlerFunc(grant), Epoch: natpmp.NewEpoch()})
		if err != nil {
			t.Fatal(err)
		}
		conn := newMemPacketConn()
		broken := errors.New("interface is down")
		done := make(chan error, 1)
		go func() { done <- s.Serve(t.Context(), conn) }()
		fail := func(d time.Duration) error {
			for start := time.Now(); time.Since(start) < d; {
				select {
				case conn.readErr <- broken:
				case err := <-done:
					return err
				}
			}
			return nil
		}
		for range 3 {
			if err := fail(50 * time.Second); err != nil {
				t.Fatalf("gave up: %v", err)
			}
			if diff := cmp.Diff(1, len(ask(t, conn, []byte{0, 0}))); diff != "" {
				t.Errorf("replies (-want +got):\n%s", diff)
			}
		}
		start := time.Now()
		if err := fail(2 * time.Minute); !errors.Is(err, broken) || time.Since(start) < 59*time.Second || time.Since(start) > 65*time.Second {
			t.Errorf("Serve returned %v after %v", err, time.Since(start))
		}
		if n := s.Stats().ReadErrors; n < 200 || n > 300 {
			t.Errorf("%d failures counted", n)
		}
	})
}

// TestServeWithoutRoom: a reply for which there is no room is dropped and counted, and
// one that fails for another reason is an error of the socket.
func TestServeWithoutRoom(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]natpmp.ServerStats{
		syscall.ENOBUFS: {Received: 1, Crowded: 1},
		syscall.EAGAIN:  {Received: 1, Crowded: 1},
		syscall.EPERM:   {Received: 1, SendErrors: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, conn := serve(t, natpmp.ServerConfig{Handler: natpmp.HandlerFunc(grant)})
			conn.writeErr = &net.OpError{Op: "write", Err: os.NewSyscallError("sendmsg", err)}
			conn.in <- datagram{data: []byte{0, 0}, addr: netip.MustParseAddrPort("192.168.88.10:1000")}
			synctest.Wait()
			if diff := cmp.Diff(want, s.Stats()); diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}
