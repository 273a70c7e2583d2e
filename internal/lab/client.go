package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"doublenat/natpmp"
)

// page is what the client's web server has to say.
const page = "Hello from a LAN host behind two NATs.\n"

// host is the LAN client: a web server, the same port over UDP, and the NAT-PMP
// client of a program that wants to be reached.
type host struct {
	web  net.Listener
	echo *net.UDPConn
	asks *natpmp.Client
}

// newHost opens the client's sockets.
func newHost(ctx context.Context, p Places) (*host, error) {
	var config net.ListenConfig
	web, err := config.Listen(ctx, "tcp4", p.Client.String())
	if err != nil {
		return nil, taken("the client's web server", "client", err)
	}
	echo, err := listenUDP(ctx, p.Client)
	if err != nil {
		return nil, errors.Join(taken("the client's UDP service", "client", err), web.Close())
	}
	asks, err := natpmp.NewClient(natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
		dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Client.Addr(), 0))}
		return dialer.DialContext(ctx, "udp4", p.Listen.String())
	}})
	if err != nil {
		return nil, errors.Join(err, echo.Close(), web.Close())
	}
	return &host{web: web, echo: echo, asks: asks}, nil
}

// run serves until ctx ends. The sockets are closed when it returns.
func (h *host) run(ctx context.Context) error {
	var (
		working sync.WaitGroup
		asking  error
	)
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			// A browser that went away is no concern of a lab.
			_, _ = fmt.Fprintf(w, "%sYou are %s.\n", page, r.RemoteAddr) //nolint:gosec // plain text, and an address that net/http wrote
		}),
	}
	stop := context.AfterFunc(ctx, func() {
		_ = server.Close() // the lab is over; nobody waits for a page
		_ = h.echo.Close()
	})
	defer stop()
	working.Go(func() { h.serveEcho(ctx) })
	working.Go(func() { asking = h.asks.Run(ctx) })
	err := server.Serve(h.web)
	working.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, asking)
}

// serveEcho answers each datagram with the text that it had and its sender.
func (h *host) serveEcho(ctx context.Context) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := h.echo.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			// UDP: an answer that cannot be sent is lost.
			_, _ = h.echo.WriteToUDPAddrPort(echoOf(buf[:n]), from)
		}
	}
}

// echoOf is the answer to a datagram.
func echoOf(text []byte) []byte { return append([]byte("You said: "), text...) }
