//go:build e2e && linux

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// ear hears what is announced to all hosts of alice's LAN (RFC 6886 §3.2.1).
type ear struct {
	conn net.PacketConn
	from netip.AddrPort
}

// listenForAnnouncements opens alice's ear. All hosts are members of 224.0.0.1
// without a join.
func listenForAnnouncements(ctx context.Context, w *world) (*ear, error) {
	conn, err := w.alice.listenUDP(ctx, netip.MustParseAddrPort("0.0.0.0:5350"))
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { _ = conn.Close() }) // nothing was sent
	return &ear{conn: conn, from: netip.AddrPortFrom(w.alice.asks, 5351)}, nil
}

// hear waits until it is announced that the public address is this one.
func (e *ear) hear(ctx context.Context, address string) error {
	deadline := time.Now().Add(2 * patience)
	if limit, ok := ctx.Deadline(); ok && limit.Before(deadline) {
		deadline = limit
	}
	if err := e.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	buf := make([]byte, 64)
	for {
		n, from, err := e.conn.ReadFrom(buf)
		if err != nil {
			return broken(err, "%s is announced to the LAN", address)
		}
		if from.String() != e.from.String() {
			return fmt.Errorf("an announcement came from %s, want %s", from, e.from)
		}
		if n != 12 || !bytes.Equal(buf[:4], []byte{0, 128, 0, 0}) {
			return fmt.Errorf("the announcement is %x", buf[:n])
		}
		if netip.AddrFrom4([4]byte(buf[8:12])).String() == address {
			return nil
		}
	}
}
