package natpmp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// DefaultWindow is how many requests a [Client] has in flight, unless told otherwise.
	DefaultWindow = 16
	// dialTimeout bounds one attempt to connect.
	dialTimeout = 10 * time.Second
	// silenceLimit is how long nothing is heard, while something is asked, until
	// the socket is replaced by a new one.
	silenceLimit = 10 * time.Second
)

// ClientConfig has what a [Client] needs.
type ClientConfig struct {
	// Dial connects a UDP socket to the gateway's port 5351. A connected socket
	// drops what comes from others (RFC 6886 §3.2) and tells when the gateway's
	// port is closed. Its Write must not wait for the other side. Dial is called
	// by Run, again after the connection died. Required.
	Dial func(ctx context.Context) (net.Conn, error)
	// Window is how many requests may be in flight at once. RFC 6886 §3.1 advises
	// 1; 0 means [DefaultWindow].
	Window int
	// OnPacket is told of every response to a request in flight and when it came,
	// failures included: an [EpochWatch] has to see all of them (RFC 6886 §3.6).
	// It is called before the request gets its answer, by one goroutine, and must not
	// block. Nil is nobody.
	OnPacket func(resp Response, at time.Time)
	// OnStray is told of every other response: a late or a repeated one, or one that
	// somebody else sent in the gateway's name (RFC 6886 §5). It is a reason to ask,
	// and nothing to believe. It is called as OnPacket is. Nil is nobody.
	OnStray func(resp Response, at time.Time)
	// Logger gets changes of the connection as warnings, once each, and ignored
	// packets as debug lines. Nil discards.
	Logger *slog.Logger
}

// Client asks one gateway. Its methods may be called at the same time from
// several goroutines; they wait until Run has connected, and as long as their
// context allows.
type Client struct {
	dial     func(ctx context.Context) (net.Conn, error)
	onPacket func(resp Response, at time.Time)
	onStray  func(Response, time.Time)
	log      *slog.Logger
	window   *window
	pending  pending
	link     *link
	running  atomic.Bool
	count    clientCounters
}

// NewClient checks the configuration and returns a client. It starts nothing.
func NewClient(cfg ClientConfig) (*Client, error) {
	switch {
	case cfg.Dial == nil:
		return nil, errors.New("natpmp: client needs a way to dial")
	case cfg.Window < 0:
		return nil, errors.New("natpmp: window is negative")
	}
	if cfg.Window == 0 {
		cfg.Window = DefaultWindow
	}
	nobody := func(Response, time.Time) {}
	if cfg.OnPacket == nil {
		cfg.OnPacket = nobody
	}
	if cfg.OnStray == nil {
		cfg.OnStray = nobody
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{
		dial:     cfg.Dial,
		onPacket: cfg.OnPacket,
		onStray:  cfg.OnStray,
		log:      cfg.Logger,
		window:   newWindow(cfg.Window),
		link:     newLink(),
	}, nil
}

// Run connects to the gateway and reads its replies until the context ends; it
// then returns nil. It connects again when the connection died. Run is called
// once; calls of the other methods fail with [ErrClientStopped] after it.
func (c *Client) Run(ctx context.Context) error {
	if c.running.Swap(true) {
		return errors.New("natpmp: client runs already")
	}
	defer c.link.stop()
	failures := 0
	for ctx.Err() == nil {
		heard, err := c.session(ctx)
		silent := c.link.down(err)
		switch {
		case ctx.Err() != nil, silent:
			continue
		case heard:
			failures = 0
		}
		failures++
		if failures == 1 {
			c.log.WarnContext(ctx, "connection to the gateway is down, connecting again", "error", err)
		}
		pause(ctx, redialPause(failures))
	}
	return nil
}

// redialPause returns how long to wait after so many failures in a row.
func redialPause(failures int) time.Duration {
	return min(25*time.Millisecond<<min(failures, 10), 5*time.Second)
}

// session connects once and reads until the connection dies. It says whether
// anything was heard, and what ended it.
func (c *Client) session(ctx context.Context) (heard bool, err error) {
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := c.dial(dialCtx)
	if err != nil {
		return false, fmt.Errorf("connecting to the gateway: %w", err)
	}
	c.count.dials.Add(1)
	defer conn.Close()
	defer onDone(ctx, func() { _ = conn.Close() })()
	c.link.up(conn)

	buf := make([]byte, MaxPacket)
	for {
		n, err := conn.Read(buf)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			c.refused()
		case err != nil:
			return heard, fmt.Errorf("reading from the gateway: %w", err)
		default:
			heard = true
			c.receive(ctx, buf[:n])
		}
	}
}

// receive deals with one packet of the gateway.
func (c *Client) receive(ctx context.Context, b []byte) {
	now := time.Now()
	c.link.hear(now)
	c.count.received.Add(1)
	resp, err := ParseResponse(b)
	if err != nil {
		c.count.ignored.Add(1)
		c.log.DebugContext(ctx, "packet of the gateway ignored", "error", err)
		return
	}
	if !c.pending.expects(resp) {
		// RFC 6886 §3.5 has nothing to match by but opcode and port: a reply that
		// nobody waits for is a late or a repeated one, or a forged one.
		c.count.ignored.Add(1)
		c.log.DebugContext(ctx, "reply ignored", "opcode", resp.Opcode, "internal_port", resp.InternalPort)
		c.onStray(resp, now)
		return
	}
	c.onPacket(resp, now)
	c.pending.deliver(resp)
}

// refused deals with an ICMP port unreachable.
func (c *Client) refused() {
	c.count.refused.Add(1)
	c.pending.refuse()
}

// ExternalAddress asks for the gateway's public address. The error is
// [*ResultError], [*RefusedError], [*TimeoutError] or [ErrClientStopped].
func (c *Client) ExternalAddress(ctx context.Context) (netip.Addr, error) {
	resp, err := c.do(ctx, Request{Opcode: OpExternalAddress}, standardSchedule(), true)
	return resp.Address, err
}

// MapRequest asks for a mapping or for the renewal of one.
type MapRequest struct {
	// Opcode is [OpMapUDP] or [OpMapTCP].
	Opcode Opcode
	// InternalPort is the port on this side; 0 only with Symmetric.
	InternalPort uint16
	// SuggestedExternalPort is a wish: 0 for any, in a renewal the port that was assigned.
	// Symmetric requests have no wish.
	SuggestedExternalPort uint16
	// Lifetime is in seconds, never 0.
	Lifetime uint32
	// Renewal is set when the mapping is thought to stand. The request then goes
	// before others if the window is full, and is repeated first after 1 second
	// and not after 250 ms: some gateways assign another port when a renewal is repeated.
	Renewal bool
	// Symmetric asks for internal port 0 and suggests 1, by which ProtonVPN's gateways
	// know who wants the same port on both sides: one for each client and protocol, the
	// same one whenever it is asked for. RFC 6886 has no such mapping.
	Symmetric bool
}

// symmetricWish is the external port that symmetric requests suggest.
const symmetricWish = 1

// Mapping is what a gateway says that it assigned. Nothing in it was judged: a
// gateway may answer a success with zeros.
type Mapping struct {
	// ExternalPort is the port on the public address.
	ExternalPort uint16
	// Lifetime is in seconds.
	Lifetime uint32
}

// Map asks for a mapping. The error is as in [Client.ExternalAddress], or says
// what is wrong with the request.
func (c *Client) Map(ctx context.Context, r MapRequest) (Mapping, error) {
	if err := r.check(); err != nil {
		return Mapping{}, err
	}
	if r.Symmetric {
		r.SuggestedExternalPort = symmetricWish
	}
	req := Request{
		Opcode:                r.Opcode,
		InternalPort:          r.InternalPort,
		SuggestedExternalPort: r.SuggestedExternalPort,
		Lifetime:              r.Lifetime,
	}
	s := standardSchedule()
	if r.Renewal {
		s = renewalSchedule()
	}
	resp, err := c.do(ctx, req, s, r.Renewal)
	return Mapping{ExternalPort: resp.ExternalPort, Lifetime: resp.Lifetime}, err
}

// Unmap ends a mapping, with fewer tries than other requests (RFC 6886 §3.4). It
// never asks for the end of all mappings: on a gateway where several programs
// share an address that would end the others' too. The error is as in [Client.Map].
func (c *Client) Unmap(ctx context.Context, op Opcode, internalPort uint16) error {
	if err := checkMap(op, internalPort); err != nil {
		return err
	}
	_, err := c.do(ctx, Request{Opcode: op, InternalPort: internalPort}, deletionSchedule(), false)
	return err
}

// check refuses what this client never sends. With a lifetime, internal port 0 ends nothing.
func (r MapRequest) check() error {
	switch {
	case r.Lifetime == 0:
		return errors.New("natpmp: lifetime 0 is a deletion")
	case !r.Symmetric:
		return checkMap(r.Opcode, r.InternalPort)
	case r.InternalPort != 0:
		return fmt.Errorf("natpmp: a symmetric mapping has no internal port of its own, not %d either", r.InternalPort)
	case !r.Opcode.isMap():
		return fmt.Errorf("natpmp: %v maps nothing", r.Opcode)
	default:
		return nil
	}
}

// checkMap refuses what is no port of one mapping.
func checkMap(op Opcode, internalPort uint16) error {
	switch {
	case !op.isMap():
		return fmt.Errorf("natpmp: %v maps nothing", op)
	case internalPort == 0:
		return errors.New("natpmp: internal port 0 stands for all ports")
	default:
		return nil
	}
}
