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

	"doublenat/igd"
	"doublenat/natpmp"
	"doublenat/pcp"
)

// page is what the client's web server has to say.
const page = "Hello from a LAN host behind two NATs.\n"

// host is the LAN client: a web server, the same port over UDP, a game at another port, and
// what programs that want to be reached ask with, in each language.
type host struct {
	web, game net.Listener
	echo      *net.UDPConn
	asks      *natpmp.Client
	young     *pcp.Client
	controls  *igd.Client
}

// newHost opens the client's sockets.
func newHost(ctx context.Context, p Places) (*host, error) {
	var config net.ListenConfig
	web, err := config.Listen(ctx, "tcp4", p.Client.String())
	if err != nil {
		return nil, taken("the client's web server", "client", err)
	}
	game, err := config.Listen(ctx, "tcp4", p.game().String())
	if err != nil {
		return nil, errors.Join(taken("the client's game", "client", err), web.Close())
	}
	echo, err := listenUDP(ctx, p.Client)
	if err != nil {
		return nil, errors.Join(taken("the client's UDP service", "client", err), game.Close(), web.Close())
	}
	h := &host{web: web, game: game, echo: echo}
	if err := h.learn(p); err != nil {
		return nil, errors.Join(err, echo.Close(), game.Close(), web.Close())
	}
	return h, nil
}

// learn makes what the client asks with.
func (h *host) learn(p Places) (err error) {
	own := netip.AddrPortFrom(p.Client.Addr(), 0)
	dial := func(ctx context.Context) (net.Conn, error) {
		dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(own)}
		return dialer.DialContext(ctx, "udp4", p.Listen.String())
	}
	if h.asks, err = natpmp.NewClient(natpmp.ClientConfig{Dial: dial}); err != nil {
		return err
	}
	if h.young, err = pcp.NewClient(pcp.ClientConfig{Dial: dial, Address: own.Addr}); err != nil {
		return err
	}
	h.controls, err = igd.NewClient(igd.Config{
		Gateway: p.Listen.Addr(),
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(own)}
			return dialer.DialContext(ctx, "tcp4", to.String())
		},
		ListenSearch: func(ctx context.Context) (net.PacketConn, error) {
			return new(net.ListenConfig).ListenPacket(ctx, "udp4", own.String())
		},
	})
	return err
}

// run serves until ctx ends. The sockets are closed when it returns.
func (h *host) run(ctx context.Context) error {
	var (
		working       sync.WaitGroup
		asking, young error
		playing       error
	)
	defer h.controls.Close()
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
	working.Go(func() { young = h.young.Run(ctx) })
	working.Go(func() { playing = served(server.Serve(h.game)) })
	err := served(server.Serve(h.web))
	working.Wait()
	return errors.Join(err, playing, asking, young)
}

// served returns nil for a server that was closed.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
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
