package lab

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"doublenat/natpmp"
)

// Ask sends a packet from a client's address, from a port of its own, and returns
// the reply, or nil if none came in time.
func (b *Bench) Ask(client netip.Addr, packet []byte, wait time.Duration) []byte {
	conn, err := b.Net.Dial(netip.AddrPortFrom(client, 0), b.spot.listen)
	if err != nil {
		return nil
	}
	defer conn.Close()
	if _, err := conn.Write(packet); err != nil {
		return nil
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil
	}
	reply := make([]byte, natpmp.MaxPacket)
	n, err := conn.Read(reply)
	if err != nil {
		return nil
	}
	return reply[:n]
}

// Request asks for a client as RFC 6886 §3.1 wants it, with repetitions for 12 s,
// and returns the reply.
func (b *Bench) Request(client netip.Addr, req natpmp.Request) (natpmp.Response, error) {
	conn, err := b.Net.Dial(netip.AddrPortFrom(client, 0), b.spot.listen)
	if err != nil {
		return natpmp.Response{}, err
	}
	defer conn.Close()
	packet, reply := req.Append(nil), make([]byte, natpmp.MaxPacket)
	end := time.Now().Add(12 * time.Second)
	for gap := 250 * time.Millisecond; time.Now().Before(end); gap *= 2 {
		if _, err := conn.Write(packet); err != nil {
			return natpmp.Response{}, err
		}
		if err := conn.SetReadDeadline(earlier(time.Now().Add(gap), end)); err != nil {
			return natpmp.Response{}, err
		}
		n, err := conn.Read(reply)
		if err == nil {
			return natpmp.ParseResponse(reply[:n])
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return natpmp.Response{}, err
		}
	}
	return natpmp.Response{}, os.ErrDeadlineExceeded
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
