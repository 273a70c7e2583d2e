package natpmp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"doublenat/internal/exchange"
)

// DefaultWindow is the initial number of requests that a [Client] has in flight, unless
// configured otherwise.
const DefaultWindow = exchange.DefaultWindow

// ClientConfig configures a [Client].
type ClientConfig struct {
	// Dial connects a UDP socket to the gateway's port 5351. A connected socket drops
	// packets from others (RFC 6886 §3.2) and reports when the gateway's port is closed.
	// Its Write must not wait for the other side. Run calls Dial, and calls it again after
	// the connection dies. Required.
	Dial func(ctx context.Context) (net.Conn, error)
	// Window is the initial number of requests in flight. It grows to four times as many
	// while replies arrive in time, and is halved when one does not. RFC 6886 §3.1 advises
	// 1, which stays 1; 0 means [DefaultWindow].
	Window int
	// OnPacket gets every response to a request in flight, failures included, and its time
	// of arrival: an [EpochWatch] has to see all of them (RFC 6886 §3.6). One goroutine
	// calls it, before the request gets its answer. It must not block. Nil means no
	// callback.
	OnPacket func(resp Response, at time.Time)
	// OnStray gets every other response: a late or repeated one, or one that somebody else
	// sent in the gateway's name (RFC 6886 §5). Treat it as a reason to ask, not as the
	// truth. It is called like OnPacket. Nil means no callback.
	OnStray func(resp Response, at time.Time)
	// OnOdd gets replies that cannot be right, with the request that they were meant for.
	// It is called after OnStray, like OnPacket. Nil means no callback.
	OnOdd func(odd Oddity, req Request, resp Response)
	// OnTrouble gets each error of the connection: when dialing, when sending, and the one
	// that ended it. Requests continue regardless. Several goroutines call it, and it must
	// not block. Nil means no callback.
	OnTrouble func(err error)
	// Logger gets changes of the connection as warnings, once each, and ignored
	// packets as debug lines. Nil discards.
	Logger *slog.Logger
}

// callKey is what a reply can be matched by: NAT-PMP has no transaction numbers
// (RFC 6886 §3.5), hence never two requests in flight for one key.
type callKey struct {
	opcode       Opcode
	internalPort uint16
}

// Client asks one gateway. Several goroutines may call its methods at the same time. The
// methods wait until Run has connected, for as long as their context allows.
type Client struct {
	onPacket func(resp Response, at time.Time)
	onStray  func(Response, time.Time)
	onOdd    func(Oddity, Request, Response)
	log      *slog.Logger
	exchange *exchange.Exchange[callKey, *call, answer]
	asked    asked
}

// NewClient checks the configuration and returns a client. It starts nothing.
func NewClient(cfg ClientConfig) (*Client, error) {
	nobody := func(Response, time.Time) {}
	if cfg.OnPacket == nil {
		cfg.OnPacket = nobody
	}
	if cfg.OnStray == nil {
		cfg.OnStray = nobody
	}
	if cfg.OnOdd == nil {
		cfg.OnOdd = func(Oddity, Request, Response) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{onPacket: cfg.OnPacket, onStray: cfg.OnStray, onOdd: cfg.OnOdd, log: cfg.Logger}
	var err error
	c.exchange, err = exchange.New[callKey, *call, answer](exchange.Config[*call]{
		Dial: cfg.Dial, Window: cfg.Window, MaxPacket: MaxPacket, Receive: c.receive,
		Began: func(cl *call) { c.asked.add(cl.key()) }, OnTrouble: cfg.OnTrouble, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("natpmp: %w", err)
	}
	return c, nil
}

// Run connects to the gateway and reads its replies until the context ends; it then
// returns nil. It reconnects when the connection dies. Call Run once; after it returns,
// all other methods fail with [ErrClientStopped].
func (c *Client) Run(ctx context.Context) error {
	if err := c.exchange.Run(ctx); err != nil {
		return fmt.Errorf("natpmp: %w", err)
	}
	return nil
}

// ExternalAddress asks for the gateway's public address. The error is
// [*ResultError], [*RefusedError], [*TimeoutError] or [ErrClientStopped].
func (c *Client) ExternalAddress(ctx context.Context) (netip.Addr, error) {
	resp, err := c.do(ctx, Request{Opcode: OpExternalAddress}, standardSchedule(), true)
	return resp.Address, err
}

// MapRequest asks for a mapping or for its renewal.
type MapRequest struct {
	// Opcode is [OpMapUDP] or [OpMapTCP].
	Opcode Opcode
	// InternalPort is the port on this side; 0 only with Symmetric.
	InternalPort uint16
	// SuggestedExternalPort is a preference: 0 for any; in a renewal, the assigned port.
	// Symmetric requests have none.
	SuggestedExternalPort uint16
	// Lifetime is in seconds, never 0.
	Lifetime uint32
	// Renewal is set if the mapping is believed to exist. Then the request goes before
	// others if the window is full, and its first retransmission is after 1 second instead
	// of 250 ms: some gateways assign another port when a renewal is repeated.
	Renewal bool
	// Symmetric requests internal port 0 and suggests 1. ProtonVPN's gateways take that as
	// a request for the same port on both sides: one for each client and protocol, the
	// same one every time. RFC 6886 has no such mapping.
	Symmetric bool
}

// symmetricWish is the external port that symmetric requests suggest.
const symmetricWish = 1

// Mapping is what a gateway says that it assigned, unchecked: a gateway may report success
// with zeros.
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

// Unmap ends a mapping, with fewer tries than other requests (RFC 6886 §3.4). It never
// asks to end all mappings: on a gateway where several programs share an address, that
// would end the others' too. The error is as in [Client.Map].
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
