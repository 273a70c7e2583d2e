package datagram

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel never looked for is not absent: hosts behind a router, this host, and
// replies of which the interface is not known. TestForgedNeighbours in internal/daemon has
// hosts that are.
func TestAbsent(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	loopback, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("no interface lo: %v", err)
	}
	err = raw.Control(func(fd uintptr) {
		for _, iface := range []int{-1, 0, loopback.Index, 1 << 30} {
			for _, host := range []string{"127.0.0.1", "127.0.0.9", "192.0.2.1", "::1"} {
				if absent(int(fd), netip.MustParseAddr(host), iface) {
					t.Errorf("%s is absent from interface %d", host, iface)
				}
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// onALink calls f on a thread of its own, in a network namespace with a link on which the
// host 192.168.88.10 is known and no other host is there.
func onALink(t *testing.T, f func(link *net.Interface) error) {
	t.Helper()
	told := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and the namespace with it
		link, err := makeLink()
		if err == nil {
			err = f(link)
		}
		told <- err
	}()
	switch err := <-told; {
	case err == nil:
	case os.Getenv("CI") == "" && (errors.Is(err, unix.EPERM) || errors.Is(err, exec.ErrNotFound)): //nolint:forbidigo // CI is what must not skip
		t.Skipf("needs root and the program ip: %v", err)
	default:
		t.Fatal(err)
	}
}

// makeLink makes a network namespace for the calling thread, and the link in it.
func makeLink() (*net.Interface, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	for _, line := range []string{
		"link add v0 type veth peer name v1", "link set v0 up", "link set v1 up", "address add 192.168.88.1/24 dev v0",
		"neighbor add 192.168.88.10 lladdr 02:00:00:00:00:01 dev v0",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return net.InterfaceByName("v0")
}

// A host of which the kernel asked for the hardware address in vain is absent from its link;
// one whose hardware address is known is not.
func TestAbsentFromALink(t *testing.T) {
	t.Parallel()
	onALink(t, func(link *net.Interface) error {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		for host, want := range map[[4]byte]bool{{192, 168, 88, 10}: false, {192, 168, 88, 11}: true} {
			if err := unix.Sendto(socket, []byte{0}, 0, &unix.SockaddrInet4{Port: 5350, Addr: host}); err != nil {
				return err
			}
			if got := absent(socket, netip.AddrFrom4(host), link.Index); got != want {
				t.Errorf("%v is absent: %v", host, got)
			}
			if absent(socket, netip.AddrFrom4(host), link.Index+100) {
				t.Errorf("%v is absent from a link that is not there", host)
			}
		}
		return nil
	})
}

// While more than half of the send buffer waits for hardware addresses, replies that
// yield are dropped, and so are those to hosts that are absent; all others are sent.
func TestSenderWhenCrowded(t *testing.T) {
	t.Parallel()
	onALink(t, func(link *net.Interface) error {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 168, 88, 1)})
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetWriteBuffer(16 << 10); err != nil { // the kernel doubles it
			return err
		}
		s := newSender(conn)
		if s == nil || s.half != 16<<10 {
			t.Fatalf("a sender of %+v", s)
		}
		to := func(host byte, yields bool, arrived int) error {
			return s.send(datagramOut{
				payload: make([]byte, 1000), to: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 88, host}), 5350), yields: yields, arrived: arrived,
			})
		}
		for range 4 { // less than half of the buffer
			if err := to(20, true, link.Index); err != nil {
				t.Errorf("a reply to an absent host, with room: %v", err)
			}
		}
		for range 7 { // more than half
			if err := to(30, false, 0); err != nil {
				t.Errorf("a reply of which it is not known where the request came in: %v", err)
			}
		}
		for name, tt := range map[string]struct {
			host    byte
			yields  bool
			arrived int
			crowded bool
		}{
			"yields, host is there":   {10, true, link.Index, true},
			"yields, unknown link":    {10, true, 0, true},
			"host is absent":          {20, false, link.Index, true},
			"host is there":           {10, false, link.Index, false},
			"absent, link not known":  {20, false, 0, false},
			"absent, link is another": {20, false, link.Index + 100, false},
		} {
			if err := to(tt.host, tt.yields, tt.arrived); errors.Is(err, errCrowded) != tt.crowded {
				t.Errorf("%s: error %v", name, err)
			}
		}
		return nil
	})
}
