package igd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// maxHead is how many bytes the headers of an answer may have.
	maxHead = 16 << 10
	// idleTime is how long a connection without a request is kept. A box that restarts
	// says nothing about those that it forgot.
	idleTime = 5 * time.Second
	// dialTime bounds how long a connection takes. Package http goes on to connect when
	// its caller has gone, and a kernel asks a silent box for two minutes: all connections
	// would be taken by those attempts when the box is back.
	dialTime = 5 * time.Second
)

// exchanger asks one host by HTTP.
type exchanger struct {
	client    *http.Client
	transport *http.Transport
}

// newExchanger returns one that keeps so many connections at most.
func newExchanger(dial func(context.Context, netip.AddrPort) (net.Conn, error), connections int) *exchanger {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrElsewhere, err)
			}
			ctx, cancel := context.WithTimeout(ctx, dialTime)
			defer cancel()
			return dial(ctx, to)
		},
		MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, MaxIdleConns: connections,
		IdleConnTimeout: idleTime, MaxResponseHeaderBytes: maxHead, DisableCompression: true,
	}
	return &exchanger{transport: t, client: &http.Client{
		Transport: t,
		// The answer to whoever sends us elsewhere is what it is: no success.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is what came back.
type answer struct {
	status int
	body   []byte
}

// do sends a request and returns the answer, and whether the device may have seen it.
func (x *exchanger) do(ctx context.Context, method string, to Location, header http.Header, body []byte) (got answer, sent bool, err error) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, false, fmt.Errorf("%w: %w", ErrNonsense, err)
	}
	req.Header = header
	resp, err := x.client.Do(req)
	if err != nil {
		return answer{}, connected.Load(), fmt.Errorf("asking %s: %w", to.host, err)
	}
	defer resp.Body.Close()
	got = answer{status: resp.StatusCode}
	if got.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1)); err != nil {
		return answer{}, true, fmt.Errorf("reading the answer of %s: %w", to.host, err)
	}
	if len(got.body) > maxBody {
		return answer{}, true, ErrTooLarge
	}
	return got, true, nil
}

// close ends the connections that nobody uses.
func (x *exchanger) close() { x.transport.CloseIdleConnections() }
