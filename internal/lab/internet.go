package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"doublenat/internal/nat"
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
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return i.dial(ctx, at, nat.TCP) }
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/", http.NoBody)
	if err != nil {
		return fetched{}, err
	}
	response, err := client.Do(request)
	if failure, ok := errors.AsType[*url.Error](err); ok {
		err = failure.Err // which says where, too
	}
	if err != nil {
		return fetched{}, fmt.Errorf("fetching http://%v/: %w", at, err)
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
	conn, err := i.dial(ctx, at, nat.UDP)
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

// refuses returns nil if the port of the public address refuses the first packet
// that comes, and else what happened instead.
func (i internet) refuses(ctx context.Context, at netip.AddrPort, protocol nat.Protocol) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	conn, err := i.dial(ctx, at, protocol)
	if err == nil {
		defer conn.Close()
		err = poke(ctx, conn)
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

// poke writes something and waits for an answer.
func poke(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := conn.Write([]byte("anybody there?")); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	return err
}

// dial connects to the public side.
func (i internet) dial(ctx context.Context, at netip.AddrPort, protocol nat.Protocol) (net.Conn, error) {
	return dialFrom(ctx, i.addr, at, protocol)
}
