package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// attempt bounds everything that the Internet host tries once.
const attempt = 5 * time.Second

// internet is a host outside both NATs.
type internet struct {
	addr netip.Addr
}

// fetched is an answer of the web server.
type fetched struct {
	// status is the status line without the protocol ("200 OK").
	status string
	// body is the page.
	body string
}

// fetch gets the page at an address on the public side.
func (i internet) fetch(ctx context.Context, at netip.AddrPort) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: i.addr.AsSlice()}}
	client := http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/", http.NoBody)
	if err != nil {
		return fetched{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return fetched{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return fetched{}, fmt.Errorf("reading the page: %w", err)
	}
	f := fetched{status: response.Status, body: string(body)}
	if !strings.HasPrefix(f.body, page) {
		return f, fmt.Errorf("the answer is %s %q and not the client's page", f.status, f.body)
	}
	return f, nil
}

// say sends a datagram to an address on the public side and returns the answer.
// Datagrams get lost, so it says it three times.
func (i internet) say(ctx context.Context, at netip.AddrPort, text string) (string, error) {
	dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: i.addr.AsSlice()}}
	conn, err := dialer.DialContext(ctx, "udp4", at.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	buf := make([]byte, 1<<16)
	for range 3 {
		if _, err = conn.Write([]byte(text)); err != nil {
			return "", err
		}
		if err = conn.SetReadDeadline(time.Now().Add(attempt / 3)); err != nil {
			return "", err
		}
		var n int
		if n, err = conn.Read(buf); err == nil {
			return string(buf[:n]), nil
		}
		if refused(err) {
			break
		}
	}
	return "", err
}

// refused says whether an error means that nothing listens there.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED)
}

// closed returns nil if the port of the public address refuses, and else what
// happened instead.
func (i internet) closed(ctx context.Context, at netip.AddrPort, protocol string) error {
	var err error
	if protocol == "udp" {
		_, err = i.say(ctx, at, "anybody there?")
	} else {
		_, err = i.fetch(ctx, at)
	}
	switch {
	case err == nil:
		return fmt.Errorf("%s port %s still answers", protocol, at)
	case refused(err):
		return nil
	default:
		return fmt.Errorf("%s port %s does not refuse: %w", protocol, at, err)
	}
}
