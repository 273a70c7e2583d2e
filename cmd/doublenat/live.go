package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"doublenat/internal/check"
	"doublenat/internal/config"
	"doublenat/internal/foreign"
)

// outsideTimeout bounds one attempt to get in from outside.
const outsideTimeout = 10 * time.Second

// newLive returns how a live mapping is made and tried, nil if none is wanted.
func newLive(flags checkFlags, cfg config.Config, self []netip.Addr) (*check.Live, error) {
	switch {
	case !flags.live && (flags.from != "" || flags.echo != ""):
		return nil, errors.New("--from and --echo need --live")
	case !flags.live:
		return nil, nil //nolint:nilnil // no live mapping is wanted
	case flags.from != "" && flags.echo != "":
		return nil, errors.New("--from and --echo exclude each other")
	}
	l := &check.Live{}
	l.Ask, l.Listen = atHome(cfg, self)
	var err error
	if flags.from != "" {
		l.Try, err = fromAddress(flags.from)
	} else if flags.echo != "" {
		l.Try, err = byServer(flags.echo)
	}
	return l, err
}

// atHome returns how the doublenat of this host is asked, and how the port that it
// maps is opened. The mapping is for the address from which is asked; the router
// must be able to reach it.
func atHome(cfg config.Config, self []netip.Addr) (ask func(context.Context) (net.Conn, error), listen func(context.Context) (net.Listener, error)) {
	own := ownAddress(cfg, self)
	ask = func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, 0))}
		return d.DialContext(ctx, "udp4", netip.AddrPortFrom(own, cfg.Listen.Port()).String())
	}
	listen = func(ctx context.Context) (net.Listener, error) {
		var c net.ListenConfig
		return c.Listen(ctx, "tcp4", netip.AddrPortFrom(own, 0).String())
	}
	return ask, listen
}

// ownAddress returns the address at which the doublenat of this host is asked.
func ownAddress(cfg config.Config, self []netip.Addr) netip.Addr {
	switch own := cfg.Listen.Addr(); {
	case !own.IsUnspecified():
		return own
	case len(self) > 0:
		return self[0]
	default:
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
}

// waysIn returns how doublenat is asked by PCP and UPnP. A multicast leaves by the interface
// whose address its socket has.
func waysIn(cfg config.Config, self []netip.Addr) *check.Ways {
	own := ownAddress(cfg, self)
	return &check.Ways{
		PCP: cfg.PCP, UPnP: cfg.UPnP.Port(), Home: netip.AddrPortFrom(own, cfg.Listen.Port()),
		Dial: func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
			d := net.Dialer{}
			if network == "udp" && to.Addr() == own {
				d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, 0))
			}
			return d.DialContext(ctx, network+"4", to.String())
		},
		Search: func(ctx context.Context) (net.PacketConn, error) {
			var c net.ListenConfig
			return c.ListenPacket(ctx, "udp4", netip.AddrPortFrom(own, 0).String())
		},
	}
}

// attempt gets a connection from outside to the public address.
type attempt = func(ctx context.Context, public netip.AddrPort) error

// fromAddress returns an attempt from another address of this host.
func fromAddress(text string) (attempt, error) {
	from, err := netip.ParseAddr(text)
	if err != nil || !from.Is4() {
		return nil, fmt.Errorf("--from %q is not an IPv4 address", text)
	}
	return func(ctx context.Context, public netip.AddrPort) error { return connectFrom(ctx, from, public) }, nil
}

// byServer returns an attempt that a server on the Internet makes.
func byServer(text string) (attempt, error) {
	if u, err := url.Parse(text); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("--echo %q is not an http or https URL", text)
	}
	return func(ctx context.Context, public netip.AddrPort) error { return echo(ctx, text, public) }, nil
}

// connectFrom connects to the public address from one of this host's own.
func connectFrom(ctx context.Context, from netip.Addr, public netip.AddrPort) error {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: outsideTimeout}
	conn, err := d.DialContext(ctx, "tcp4", public.String())
	if call, ok := errors.AsType[*os.SyscallError](err); ok && call.Syscall == "bind" {
		return &check.NotTriedError{Err: fmt.Errorf("%v is no address of this host: %w", from, call.Err)}
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(outsideTimeout)); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}

// echo asks a server on the Internet to connect to the public address.
func echo(ctx context.Context, template string, public netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, outsideTimeout)
	defer cancel()
	where := strings.NewReplacer("{address}", public.Addr().String(), "{port}", strconv.Itoa(int(public.Port()))).Replace(template)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, http.NoBody)
	if err != nil {
		return err
	}
	// Its own transport, so that no connection is left behind.
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return err // it may be at it still
	}
	if err != nil {
		return &check.NotTriedError{Err: err}
	}
	defer resp.Body.Close()
	return refusedBy(req.URL.Host, resp)
}

// refusedBy returns the error for what a server answered that was asked to connect,
// nil for a success. A bad gateway is one that tried.
func refusedBy(host string, resp *http.Response) error {
	err := fmt.Errorf("%s answered %s", host, foreign.Text(resp.Status))
	switch code := resp.StatusCode; {
	case code < http.StatusBadRequest:
		return nil
	case code == http.StatusBadGateway || code == http.StatusGatewayTimeout:
		return err
	default:
		return &check.NotTriedError{Err: err}
	}
}
