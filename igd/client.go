package igd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// Config configures a [Client].
type Config struct {
	// Gateway is the device's IPv4 address, the only one that the client contacts. It may
	// be the zero Addr if Description contains it.
	Gateway netip.Addr
	// Description is the URL of the device's description; "" means to search for it.
	Description string
	// SearchPort is the port to which searches are sent; 0 means [SearchPort].
	SearchPort uint16
	// Connections is the maximum number of connections; 0 means 4. Boxes are small.
	Connections int
	// Dial connects to the device. Nil means to connect from this host.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// ListenSearch opens a UDP socket for a search, which closes it afterwards. Nil means
	// a socket of this host.
	ListenSearch func(ctx context.Context) (net.PacketConn, error)
}

// Client asks one gateway. Several goroutines may call its methods at the same time. The
// first call searches for the device, and so does the next call after the device was gone.
type Client struct {
	cfg   Config
	at    Location // Config.Description, or none
	http  *exchanger
	count counters

	// finding is held by the one that searches; the others wait for it.
	finding chan struct{}
	mu      sync.Mutex // guards what follows
	device  *Device    // nil while it is not known
	silent  int        // calls in a row that timed out
}

// Device is a gateway that was found.
type Device struct {
	// Description is what it says about itself.
	Description
	// Service is the WAN connection that the client uses.
	Service Service
	// Location is the URL of the description.
	Location Location
	// Boot changes when the device restarts; "" if it does not say.
	Boot string
}

// NewClient checks the configuration and returns a client. It sends nothing yet.
func NewClient(cfg Config) (*Client, error) {
	c := &Client{finding: make(chan struct{}, 1)}
	if cfg.Description != "" {
		at, err := ParseLocation(cfg.Description, cfg.Gateway)
		if err != nil {
			return nil, fmt.Errorf("igd: the description's URL: %w", err)
		}
		c.at, cfg.Gateway = at, at.Addr()
	}
	if !cfg.Gateway.Is4() {
		return nil, errors.New("igd: the gateway is not an IPv4 address")
	}
	if cfg.Connections < 0 {
		return nil, errors.New("igd: number of connections is negative")
	}
	if cfg.Connections == 0 {
		cfg.Connections = 4
	}
	if cfg.SearchPort == 0 {
		cfg.SearchPort = SearchPort
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp4", to.String())
		}
	}
	if cfg.ListenSearch == nil {
		cfg.ListenSearch = func(ctx context.Context) (net.PacketConn, error) {
			return new(net.ListenConfig).ListenPacket(ctx, "udp4", "0.0.0.0:0")
		}
	}
	c.cfg, c.http = cfg, newExchanger(cfg.Dial, cfg.Connections)
	return c, nil
}

// Close closes the idle connections. The client can be used again.
func (c *Client) Close() { c.http.close() }

// Known returns the device as last found, and false if it is not known now.
func (c *Client) Known() (Device, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.device == nil {
		return Device{}, false
	}
	return *c.device, true
}

// Discover returns the device, and searches for it if it is not known.
func (c *Client) Discover(ctx context.Context) (Device, error) {
	if d, ok := c.Known(); ok {
		return d, nil
	}
	select {
	case c.finding <- struct{}{}:
	case <-ctx.Done():
		return Device{}, ctx.Err()
	}
	defer func() { <-c.finding }()
	if d, ok := c.Known(); ok {
		return d, nil // Somebody else found it meanwhile.
	}
	d, err := c.find(ctx)
	if err != nil {
		return Device{}, fmt.Errorf("finding the gateway's UPnP device: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.device, c.silent = &d, 0
	return d, nil
}

// find looks for the device at its URL, or where a search leads.
func (c *Client) find(ctx context.Context) (Device, error) {
	places := []SearchReply{{Location: c.at}}
	if !c.at.IsValid() {
		var err error
		if places, err = c.search(ctx); err != nil {
			return Device{}, err
		}
	}
	var all []error
	for _, p := range places {
		d, err := c.describe(ctx, p)
		if err == nil {
			return d, nil
		}
		all = append(all, fmt.Errorf("%s: %w", p.Location, err))
	}
	return Device{}, errors.Join(all...)
}

// describe reads the description at a place, and chooses among the device's connections.
func (c *Client) describe(ctx context.Context, p SearchReply) (Device, error) {
	got, _, err := c.http.do(ctx, http.MethodGet, p.Location, http.Header{"User-Agent": {agent}}, nil)
	if err != nil {
		return Device{}, err
	}
	if got.status != http.StatusOK {
		return Device{}, &StatusError{Status: got.status}
	}
	described, err := ParseDescription(got.body, p.Location)
	if err != nil {
		return Device{}, err
	}
	d := Device{Description: described, Location: p.Location, Boot: p.Boot, Service: described.Services[0]}
	if len(described.Services) == 1 {
		return d, nil
	}
	// Boxes list a connection by PPP and one without, of which one is not connected.
	for _, s := range described.Services {
		out, err := c.ask(ctx, s, actionAddress, nil)
		if a, parsed := netip.ParseAddr(out["NewExternalIPAddress"]); err == nil && parsed == nil && a.Is4() && !a.IsUnspecified() {
			d.Service = s
			break
		}
	}
	return d, nil
}

// agent is what doublenat calls itself.
const agent = "doublenat UPnP/1.1 doublenat/1"

// call asks the device for an action and returns its arguments. The error is an
// [*ActionError] if the device says no, else a [*CallError].
func (c *Client) call(ctx context.Context, action string, args []arg) (map[string]string, error) {
	d, err := c.Discover(ctx)
	if err != nil {
		return nil, &CallError{Action: action, Err: err}
	}
	out, err := c.ask(ctx, d.Service, action, args)
	c.learn(ctx, d, err)
	return out, err
}

// ask asks a service.
func (c *Client) ask(ctx context.Context, s Service, action string, args []arg) (map[string]string, error) {
	header := http.Header{
		"Content-Type": {`text/xml; charset="utf-8"`}, "User-Agent": {agent},
		// Some boxes compare the name with upper and lower case, so not as package http spells it.
		"SOAPAction": {`"` + s.Type() + "#" + action + `"`},
	}
	c.count.calls.Add(1)
	got, sent, err := c.http.do(ctx, http.MethodPost, s.Control, header, request(s.Type(), action, args))
	if err != nil {
		c.count.failed(err)
		return nil, &CallError{Action: action, Ambiguous: sent, Err: err}
	}
	c.count.answers.Add(1)
	out, err := ParseReply(action, got.status, got.body)
	if CodeOf(err) == 0 && err != nil {
		c.count.nonsense.Add(1)
		return nil, &CallError{Action: action, Ambiguous: !refusedBy(got.status), Err: err}
	}
	return out, err
}

// refusedBy says whether an HTTP status means that nothing was done.
func refusedBy(status int) bool { return status >= 300 && status < 500 }

// learn notes what an error tells about the place where the device was: when it is
// refused there, or nonsense comes from there, it is elsewhere now. A box that is slow
// once is not.
func (c *Client) learn(ctx context.Context, asked Device, err error) {
	var failed *CallError
	gone := errors.As(err, &failed) && !timedOut(err) && !errors.Is(ctx.Err(), context.Canceled)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case timedOut(err):
		c.silent++
		gone = c.silent > 1
	case !gone && !errors.Is(err, context.Canceled):
		c.silent = 0
	}
	if refused, ok := errors.AsType[*ActionError](err); ok && refused.Code == CodeInvalidAction {
		gone = refused.Action == actionAdd || refused.Action == actionAddress // Any connection knows these.
	}
	if gone && c.device != nil && c.device.Location == asked.Location && c.device.Service == asked.Service {
		c.device = nil
	}
}

// timedOut says whether there was no answer in time.
func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// Stats counts what a [Client] has done since it was created.
type Stats struct {
	// Searches counts search packets, Calls requested actions, Answers replies to them,
	// and Nonsense replies that cannot be read.
	Searches, Calls, Answers, Nonsense uint64
	// Refused counts connections that the host refused, Timeouts calls without a reply in
	// time, and Broken calls that failed otherwise.
	Refused, Timeouts, Broken uint64
}

// counters is Stats while it grows.
type counters struct {
	searches, calls, answers, nonsense, refused, timeouts, broken atomic.Uint64
}

// failed counts a call without an answer.
func (n *counters) failed(err error) {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		n.refused.Add(1)
	case timedOut(err):
		n.timeouts.Add(1)
	case errors.Is(err, ErrTooLarge):
		n.nonsense.Add(1)
	default:
		n.broken.Add(1)
	}
}

// Stats returns the counts so far. It may be called at any time.
func (c *Client) Stats() Stats {
	n := &c.count
	return Stats{
		Searches: n.searches.Load(), Calls: n.calls.Load(), Answers: n.answers.Load(), Nonsense: n.nonsense.Load(),
		Refused: n.refused.Load(), Timeouts: n.timeouts.Load(), Broken: n.broken.Load(),
	}
}
