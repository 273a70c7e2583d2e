package daemon_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	wireServer = netip.MustParseAddrPort("10.99.0.1:5351")
	wireHolder = netip.MustParseAddr("10.99.0.2")
)

// wire is a link between two network namespaces with a kernel of its own each: that of
// the daemon, which has wireServer, and that of the LAN, where an honest client has
// wireHolder and a packet socket sends what it likes.
type wire struct {
	server *net.UDPConn
	lan    netns
	raw    int
	out    unix.SockaddrLinklayer // the daemon's end, as the LAN addresses it
	source net.HardwareAddr
}

// netns is a network namespace. Sockets stay in the one where they were made.
type netns struct{ fd int }

// newWire makes the link. Without the rights to do so the test is skipped, and fails in CI.
func newWire(t *testing.T) *wire {
	t.Helper()
	w := new(wire)
	home, err := newNetns()
	if err == nil {
		w.lan, err = newNetns()
	}
	if err == nil {
		err = w.connect(home)
	}
	if err == nil {
		t.Cleanup(func() {
			_ = unix.Close(w.raw)
			_ = unix.Close(home.fd)
			_ = unix.Close(w.lan.fd)
		})
		return w
	}
	if os.Getenv("CI") == "" && (errors.Is(err, unix.EPERM) || errors.Is(err, exec.ErrNotFound)) { //nolint:forbidigo // CI is what must not skip
		t.Skipf("needs root and the program ip: %v", err)
	}
	t.Fatal(err)
	return nil
}

// newNetns makes a namespace.
func newNetns() (n netns, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		n.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	return n, err
}

// onThread calls f on a thread that nobody uses afterwards.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with the goroutine.
		done <- f()
	}()
	return <-done
}

// enter calls f in the namespace.
func (n netns) enter(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering a network namespace: %w", err)
		}
		return f()
	})
}

// connect makes the link and the sockets at its ends.
func (w *wire) connect(home netns) error {
	lan := "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(w.lan.fd)
	err := home.enter(func() (err error) {
		for _, line := range [][]string{
			{"link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", lan},
			{"address", "add", "10.99.0.1/16", "dev", "v0"},
			{"link", "set", "lo", "up"},
			{"link", "set", "v0", "up"},
		} {
			if err := ip(line...); err != nil {
				return err
			}
		}
		i, err := net.InterfaceByName("v0")
		if err != nil {
			return err
		}
		w.out = unix.SockaddrLinklayer{Protocol: 8, Halen: 6}
		copy(w.out.Addr[:], i.HardwareAddr)
		w.server, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(wireServer))
		return err
	})
	if err != nil {
		return err
	}
	return w.lan.enter(func() error {
		for _, line := range [][]string{{"address", "add", wireHolder.String() + "/16", "dev", "v1"}, {"link", "set", "v1", "up"}} {
			if err := ip(line...); err != nil {
				return err
			}
		}
		i, err := net.InterfaceByName("v1")
		if err != nil {
			return err
		}
		w.source, w.out.Ifindex = i.HardwareAddr, i.Index
		w.raw, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
}

// ip runs the program in the namespace of the calling thread.
func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

// dial opens the honest client's socket.
func (w *wire) dial() (conn net.Conn, err error) {
	err = w.lan.enter(func() error {
		conn, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(wireHolder, 0)), net.UDPAddrFromAddrPort(wireServer))
		return err
	})
	return conn, err
}

// forge sends a packet to the daemon in the name of another address.
func (w *wire) forge(from netip.AddrPort, payload []byte) error {
	const ethernet, header, udp = 14, 20, 8
	b := make([]byte, ethernet+header+udp, ethernet+header+udp+len(payload))
	copy(b, w.out.Addr[:6])
	copy(b[6:], w.source)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	h := b[ethernet:]
	h[0], h[8], h[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(h[2:], uint16(header+udp+len(payload)))
	copy(h[12:], from.Addr().AsSlice())
	copy(h[16:], wireServer.Addr().AsSlice())
	binary.BigEndian.PutUint16(h[10:], internetChecksum(h[:header]))
	u := h[header:]
	binary.BigEndian.PutUint16(u, from.Port())
	binary.BigEndian.PutUint16(u[2:], wireServer.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(udp+len(payload))) // no checksum (RFC 768)
	return unix.Sendto(w.raw, append(b, payload...), 0, &w.out)
}

// internetChecksum is RFC 1071's.
func internetChecksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
