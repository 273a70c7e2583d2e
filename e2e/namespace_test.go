//go:build e2e && linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace. Programs run in it, and this process opens
// sockets in it: a socket stays where it was made, whichever thread uses it.
type namespace struct {
	name string
	fd   int
}

// newNamespace makes a namespace with a working lo. Forwarding is on, IPv6 off.
func newNamespace(ctx context.Context, name string) (*namespace, error) {
	if err := run(exec.CommandContext(ctx, "ip", "netns", "add", name)); err != nil {
		return nil, err
	}
	fd, err := unix.Open(filepath.Join("/run/netns", name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening namespace %s: %w", name, err)
	}
	n := &namespace{name: name, fd: fd}
	err = errors.Join(
		n.sysctl("net/ipv6/conf/all/disable_ipv6", "1"),
		n.sysctl("net/ipv6/conf/default/disable_ipv6", "1"),
		n.sysctl("net/ipv4/ip_forward", "1"),
		n.sysctl("net/ipv4/conf/all/rp_filter", "0"),
		n.sysctl("net/ipv4/conf/default/rp_filter", "0"),
		n.ip(ctx, "link set lo up"),
	)
	return n, err
}

// delete removes the namespace. Its processes must have ended.
func (n *namespace) delete(ctx context.Context) error {
	return errors.Join(unix.Close(n.fd), run(exec.CommandContext(ctx, "ip", "netns", "delete", n.name)))
}

// enter calls f on a thread that is in the namespace.
func (n *namespace) enter(f func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and nobody else gets it.
		runtime.LockOSThread()
		if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering namespace %s: %w", n.name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// sysctl sets a kernel parameter of the namespace.
func (n *namespace) sysctl(path, value string) error {
	return n.enter(func() error { return os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0o600) })
}

// listenTCP opens a listener in the namespace.
func (n *namespace) listenTCP(ctx context.Context, at netip.AddrPort) (ln net.Listener, err error) {
	err = n.enter(func() error {
		var config net.ListenConfig
		ln, err = config.Listen(ctx, "tcp4", at.String())
		return err
	})
	return ln, err
}

// listenUDP opens a UDP socket in the namespace.
func (n *namespace) listenUDP(ctx context.Context, at netip.AddrPort) (conn net.PacketConn, err error) {
	err = n.enter(func() error {
		var config net.ListenConfig
		conn, err = config.ListenPacket(ctx, "udp4", at.String())
		return err
	})
	return conn, err
}

// dial connects from an address of the namespace. The protocol is "tcp" or "udp".
func (n *namespace) dial(ctx context.Context, protocol string, from netip.Addr, to netip.AddrPort) (conn net.Conn, err error) {
	err = n.enter(func() error {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
		if protocol == "udp" {
			dialer.LocalAddr = &net.UDPAddr{IP: from.AsSlice()}
		}
		conn, err = dialer.DialContext(ctx, protocol+"4", to.String())
		return err
	})
	return conn, err
}

// command returns a command that will run in the namespace.
func (n *namespace) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.name, program}, args...)...)
}

// ip runs lines of `ip` in the namespace.
func (n *namespace) ip(ctx context.Context, lines ...string) error {
	cmd := exec.CommandContext(ctx, "ip", "-n", n.name, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	return run(cmd)
}

// nft runs a script of nftables in the namespace, all of it or nothing. Others wait
// for it, so it is started right there, without the detour of command.
func (n *namespace) nft(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if err := n.enter(func() error { return run(cmd) }); err != nil {
		return fmt.Errorf("%w in the script\n%s", err, script)
	}
	return nil
}

// counter returns how many packets a counter of nftables has seen.
func (n *namespace) counter(ctx context.Context, table, name string) (packets int, err error) {
	text, err := output(n.command(ctx, "nft", "list", "counter", "ip", table, name))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(text, "packets ")
	_, err = fmt.Sscan(rest, &packets)
	return packets, err
}

// run runs a command to its end. An error has what the command said.
func run(cmd *exec.Cmd) error {
	_, err := output(cmd)
	return err
}

// output runs a command to its end and returns all that it wrote.
func output(cmd *exec.Cmd) (string, error) {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return said.String(), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(said.String()))
	}
	return said.String(), nil
}
