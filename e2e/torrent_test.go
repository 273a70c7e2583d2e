//go:build e2e && linux

package e2e_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// infoHash is the torrent that alice has.
const infoHash = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

// torrent is libtorrent on a LAN host.
type torrent struct {
	*process

	input io.Closer // what ends it
	said  chan torrentEvent
}

// torrentEvent is what testdata/torrent.py has to tell: a mapping that was
// granted, one that was not, or a connection that came in.
type torrentEvent struct {
	Protocol string `json:"protocol"`
	External uint16 `json:"external"`
	Error    string `json:"error"`
	Seen     string `json:"seen"`
}

// startTorrent starts libtorrent on a port of the host. It finds its gateway by
// the default route.
func startTorrent(ctx context.Context, w *world, h *host, port uint16) (*torrent, error) {
	cmd := h.command(ctx, debianPython, "-X", "faulthandler", "testdata/torrent.py", h.addr.String(), strconv.Itoa(int(port)), infoHash)
	program, input, lines, err := startDialogue(w.t, "libtorrent", cmd)
	if err != nil {
		return nil, err
	}
	t := &torrent{process: program, input: input, said: make(chan torrentEvent, 64)}
	go func() {
		defer close(t.said)
		for lines.Scan() {
			var event torrentEvent
			if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
				event.Error = err.Error()
			}
			t.said <- event
		}
	}()
	return t, nil
}

// await returns the first event that is wanted, and passes over the others.
func (t *torrent) await(ctx context.Context, within time.Duration, wanted func(torrentEvent) bool) (torrentEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		select {
		case event, ok := <-t.said:
			switch {
			case !ok:
				<-t.ended
				return event, fmt.Errorf("libtorrent has ended: %w", t.err)
			case event.Error != "":
				return event, fmt.Errorf("libtorrent: %s", event.Error)
			case wanted(event):
				return event, nil
			}
		case <-ctx.Done():
			return torrentEvent{}, fmt.Errorf("libtorrent said nothing of it within %v", within)
		}
	}
}

// mapped waits until libtorrent has ports for both protocols.
func (t *torrent) mapped(ctx context.Context) (tcp, udp uint16, err error) {
	for tcp == 0 || udp == 0 {
		event, err := t.await(ctx, 4*patience, func(e torrentEvent) bool { return e.External != 0 })
		if err != nil {
			return 0, 0, fmt.Errorf("waiting for mappings: %w", err)
		}
		if event.Protocol == "tcp" {
			tcp = event.External
		} else {
			udp = event.External
		}
	}
	return tcp, udp, nil
}

// quit ends libtorrent in good order.
func (t *torrent) quit(ctx context.Context) error {
	if err := t.input.Close(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	select {
	case <-t.ended:
		return t.err
	case <-ctx.Done():
		return errors.New("libtorrent did not end")
	}
}

// shakeHands meets a BitTorrent program over TCP as another peer of a torrent does
// (BEP 3), and returns our own address.
func (i *internet) shakeHands(ctx context.Context, public netip.AddrPort, infoHash string) (from string, err error) {
	defer func() { err = broken(err, "tcp %s knows the torrent %s", public, infoHash) }()
	conn, err := i.dialFor(ctx, "tcp", public)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	torrent, err := hex.DecodeString(infoHash)
	if err != nil {
		return "", err
	}
	greeting := append([]byte("\x13BitTorrent protocol\x00\x00\x00\x00\x00\x00\x00\x00"), torrent...)
	if _, err := conn.Write(append(greeting, "-E2E000-abcdefghijkl"...)); err != nil {
		return "", err
	}
	answer := make([]byte, 68)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return "", err
	}
	if !bytes.Equal(answer[:20], greeting[:20]) || !bytes.Equal(answer[28:48], torrent) {
		return "", fmt.Errorf("the handshake is %x", answer)
	}
	return conn.LocalAddr().String(), nil
}

// ping meets a BitTorrent program over UDP as a node of the DHT does (BEP 5), and
// returns its answer and our own address.
func (i *internet) ping(ctx context.Context, public netip.AddrPort) (answer []byte, from netip.AddrPort, err error) {
	defer func() { err = broken(err, "udp %s is a node of the DHT", public) }()
	conn, err := i.dialFor(ctx, "udp", public)
	if err != nil {
		return nil, from, err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")); err != nil {
		return nil, from, err
	}
	answer = make([]byte, 1500)
	n, err := conn.Read(answer)
	if err != nil {
		return nil, from, err
	}
	answer = answer[:n]
	if !bytes.Contains(answer, []byte("1:t2:aa")) || !bytes.HasSuffix(answer, []byte("1:y1:re")) {
		return nil, from, fmt.Errorf("the answer is %q", answer)
	}
	from, err = netip.ParseAddrPort(conn.LocalAddr().String())
	return answer, from, err
}

// meet meets libtorrent over TCP and UDP, and looks whether it sees who that is: of a
// connection it says so, of a ping in its answer (BEP 42).
func (t *torrent) meet(ctx context.Context, w *world, tcp, udp uint16) error {
	from, err := w.internet.shakeHands(ctx, w.public(mapping{external: tcp}), infoHash)
	if err != nil {
		return err
	}
	if _, err = t.await(ctx, patience, func(e torrentEvent) bool { return e.Seen == from }); err != nil {
		return broken(err, "libtorrent sees %s", from)
	}
	answer, local, err := w.internet.ping(ctx, w.public(mapping{external: udp}))
	if err != nil {
		return err
	}
	seen := append([]byte("2:ip6:"), local.Addr().AsSlice()...)
	seen = append(seen, byte(local.Port()>>8), byte(local.Port()))
	if !bytes.Contains(answer, seen) {
		err = fmt.Errorf("the answer is %q", answer)
	}
	return broken(err, "libtorrent sees %s", local)
}

// dialFor connects with a deadline for all that follows.
func (i *internet) dialFor(ctx context.Context, protocol string, public netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := i.dial(ctx, protocol, i.addr, public)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

// withLibtorrent is a BitTorrent program from its start to its end: it speaks PCP
// first and falls back, maps TCP and UDP, renews, and deletes when it ends.
func withLibtorrent(ctx context.Context, w *world) error {
	gateway, ok := w.gateway.(*testGateway)
	if !ok {
		return errors.New("this flow needs the gateway for tests")
	}
	watch := "table ip watch { counter pcp { }; chain requests { type filter hook prerouting priority -300; " +
		"iifname \"bridge\" udp dport 5351 @th,64,8 2 counter name pcp; }; }"
	if err := w.router.nft(ctx, watch); err != nil {
		return err
	}
	program, err := startTorrent(ctx, w, w.alice, 6881)
	if err != nil {
		return err
	}
	tcp, udp, err := program.mapped(ctx)
	if err != nil {
		return err
	}
	if err := program.meet(ctx, w, tcp, udp); err != nil {
		return err
	}
	if tcp != udp {
		return fmt.Errorf("tcp has port %d and udp has port %d", tcp, udp)
	}
	if packets, err := w.router.counter(ctx, "watch", "pcp"); err != nil || packets == 0 {
		return errors.Join(err, errors.New("libtorrent did not speak PCP first"))
	}
	// It renews after three quarters of the lifetime.
	pause(ctx, gateway.Profile().Lifetime+time.Second)
	if renewals := gateway.Stats().Renewals; renewals < 2 {
		return fmt.Errorf("libtorrent has renewed %d mappings, want both", renewals)
	}
	if err := errors.Join(program.meet(ctx, w, tcp, udp), w.layers(ctx, 2), program.quit(ctx)); err != nil {
		return err
	}
	return eventually(ctx, patience, func() error { return w.layers(ctx, 0) })
}
