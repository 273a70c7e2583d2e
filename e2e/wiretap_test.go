//go:build e2e && linux

package e2e_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// wiretap has all packets of UDP port 5351 that pass the router's bridge, in a file that
// Wireshark can read.
type wiretap struct {
	socket *os.File
	path   string
	done   chan error
}

// listenIn begins to listen.
func listenIn(w *world) (*wiretap, error) {
	w.t.Helper()
	t := &wiretap{path: filepath.Join(w.t.TempDir(), "lan.pcap"), done: make(chan error, 1)}
	err := w.router.enter(func() error {
		bridge, err := net.InterfaceByName("bridge")
		if err != nil {
			return err
		}
		all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(all))
		if err != nil {
			return err
		}
		t.socket = os.NewFile(uintptr(fd), "wiretap")
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: bridge.Index})
	})
	if err != nil {
		return nil, err
	}
	file, err := os.Create(t.path)
	if err != nil {
		return nil, err
	}
	// The header of a file of Ethernet packets, in microseconds.
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	header = append(header, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0)
	if _, err := file.Write(header); err != nil {
		return nil, err
	}
	go func() { t.done <- t.record(file) }()
	w.t.Cleanup(func() { _ = t.socket.Close() }) // which ends the recording; it may have ended
	return t, nil
}

// record writes what it hears until the socket is closed.
func (t *wiretap) record(file *os.File) error {
	buf := make([]byte, 1<<16)
	for {
		n, err := t.socket.Read(buf)
		if err != nil {
			return file.Close()
		}
		packet := buf[:n]
		if !ofMapping(packet) {
			continue
		}
		now := time.Now()
		head := binary.LittleEndian.AppendUint32(nil, uint32(now.Unix()))
		head = binary.LittleEndian.AppendUint32(head, uint32(now.Nanosecond()/1000))
		head = binary.LittleEndian.AppendUint32(head, uint32(n))
		head = binary.LittleEndian.AppendUint32(head, uint32(n))
		if _, err := file.Write(append(head, packet...)); err != nil {
			return err
		}
	}
}

// ofMapping says whether an Ethernet packet is one of IPv4 and UDP from or to port 5351.
func ofMapping(p []byte) bool {
	const ip = 14
	if len(p) < ip+20 || binary.BigEndian.Uint16(p[12:]) != unix.ETH_P_IP || p[ip+9] != unix.IPPROTO_UDP {
		return false
	}
	udp := ip + int(p[ip]&0x0f)*4
	return len(p) >= udp+8 && (binary.BigEndian.Uint16(p[udp:]) == 5351 || binary.BigEndian.Uint16(p[udp+2:]) == 5351)
}

// judge has Wireshark dissect all that was heard: there are replies of PCP among it, and it
// complains of nothing.
func (t *wiretap) judge(ctx context.Context) error {
	if err := t.socket.Close(); err != nil {
		return err
	}
	if err := <-t.done; err != nil {
		return err
	}
	replies, err := t.dissect(ctx, "portcontrol.version == 2 && portcontrol.r == 1")
	if err != nil || len(replies) < 4 {
		return fmt.Errorf("%d replies of PCP were heard: %w", len(replies), err)
	}
	// What is only a remark is none: a port between 33434 and 33464 is a "possible traceroute".
	wrong, err := t.dissect(ctx, "_ws.malformed || _ws.expert.severity > 0x200000")
	if err != nil || len(wrong) > 0 {
		return fmt.Errorf("Wireshark complains of %q: %w", wrong, err)
	}
	return nil
}

// dissect returns a line for each packet that a filter of Wireshark lets through.
func (t *wiretap) dissect(ctx context.Context, filter string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "tshark", "-n", "-r", t.path, "-d", "udp.port==5351,portcontrol", "-Y", filter)
	cmd.Env = append(os.Environ(), "HOME="+filepath.Dir(t.path))
	said, err := cmd.Output() // it warns of root
	if err != nil {
		return nil, fmt.Errorf("tshark: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(said)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines, nil
}
