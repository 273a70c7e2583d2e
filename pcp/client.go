package pcp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"doublenat/internal/epoch"
	"doublenat/internal/exchange"
)

// DefaultWindow is the initial number of requests that a [Client] has in flight, unless
// configured otherwise.
const DefaultWindow = exchange.DefaultWindow

// ClientConfig configures a [Client].
type ClientConfig struct {
	// Dial connects a UDP socket to the gateway's port 5351. A connected socket drops
	// packets from others (RFC 6887 §8.3) and reports when the gateway's port is closed.
	// Its Write must not wait for the other side. Run calls Dial, and calls it again after
	// the connection dies. Required.
	Dial func(ctx context.Context) (net.Conn, error)
	// Address returns the client's own address as the gateway sees it, which may change;
	// the zero Addr while it is not known. If there is a NAT in between, it is that NAT's
	// address on the gateway's side (RFC 7648 §3.3). Required.
	Address func() netip.Addr
	// Window is the initial number of requests in flight. It grows to four times as many
	// while replies arrive in time, and is halved when one does not. 0 means
	// [DefaultWindow].
	Window int
	// Nonce returns the nonce of a new mapping, which others must not be able to guess. If
	// it returns the same nonce for the same mapping after a restart, the client can renew
	// its earlier mappings. Nil draws nonces from Random.
	Nonce func(p Protocol, internalPort uint16) Nonce
	// Random is the source of nonces and of the jitter between retransmissions; nil means
	// [rand.Reader].
	Random io.Reader
	// OnPacket gets every response to a request in flight, failures included, and its time
	// of arrival. One goroutine calls it, before the request gets its answer. It must not
	// block. Nil means no callback.
	OnPacket func(resp Response, at time.Time)
	// OnStray gets every other response: a late or repeated one, or one that somebody else
	// sent in the gateway's name. Treat it as a reason to ask, not as the truth. It is
	// called like OnPacket. Nil means no callback.
	OnStray func(resp Response, at time.Time)
	// OnUpdate gets unsolicited responses that have a mapping's nonce, but another port or
	// address: a Mapping Update (RFC 6887 §14.2). It is called like OnPacket, instead of
	// OnStray. Nil means no callback.
	OnUpdate func(resp Response, at time.Time)
	// OnEpoch is called when an epoch means anything but [EpochSteady]: the gateway lost
	// its state, or our own clock stood still (RFC 6887 §8.5). It is called like OnPacket,
	// and after it. Nil means no callback.
	OnEpoch func(news EpochNews, seconds uint32)
	// OnIdentity is called when Address returns another address than before: all mappings
	// still lead to the old one. The asking goroutines call it, and it must not block. Nil
	// means no callback.
	OnIdentity func(before, now netip.Addr)
	// OnTrouble gets each error of the connection: when dialing, when sending, and the one
	// that ended it. Requests continue regardless. Several goroutines call it, and it must
	// not block. Nil means no callback.
	OnTrouble func(err error)
	// Logger gets changes of the connection as warnings, once each, and ignored
	// packets as debug lines. Nil discards.
	Logger *slog.Logger
}

// callKey is what requests in flight differ by: a response has the nonce, which is one for
// each port and protocol.
type callKey struct {
	opcode Opcode
	portKey
}

// Client asks one gateway. Several goroutines may call its methods at the same time. The
// methods wait until Run has connected, for as long as their context allows.
//
// A mapping has one nonce from the first request until it is deleted or expires (RFC 6887
// §11.2). The client keeps that nonce. If the gateway says that a failure will last, the
// same request gets that failure again without another packet, for as long as the gateway
// said but at most half an hour (§8.3), unless the gateway lost its state meanwhile.
type Client struct {
	cfg      ClientConfig
	log      *slog.Logger
	exchange *exchange.Exchange[callKey, *Request, answer]
	memory   *memory
	epoch    epoch.Watch
}

// answer is a response, or the version of a gateway that does not speak ours.
type answer struct {
	response Response
	version  *VersionError
}

// NewClient checks the configuration and returns a client. It starts nothing.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Address == nil {
		return nil, errors.New("pcp: client needs to know its own address")
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	for _, f := range []*func(Response, time.Time){&cfg.OnPacket, &cfg.OnStray, &cfg.OnUpdate} {
		if *f == nil {
			*f = func(Response, time.Time) {}
		}
	}
	if cfg.OnEpoch == nil {
		cfg.OnEpoch = func(EpochNews, uint32) {}
	}
	if cfg.OnIdentity == nil {
		cfg.OnIdentity = func(netip.Addr, netip.Addr) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{cfg: cfg, log: cfg.Logger, memory: newMemory(cfg.Random, cfg.Nonce)}
	var err error
	c.exchange, err = exchange.New[callKey, *Request, answer](exchange.Config[*Request]{
		Dial: cfg.Dial, Window: cfg.Window, MaxPacket: MaxPacket + 1, Receive: c.receive,
		OnTrouble: cfg.OnTrouble, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("pcp: %w", err)
	}
	return c, nil
}

// Run connects to the gateway and reads its replies until the context ends; it then
// returns nil. It reconnects when the connection dies. Call Run once; after it returns,
// all other methods fail with [ErrClientStopped].
func (c *Client) Run(ctx context.Context) error {
	if err := c.exchange.Run(ctx); err != nil {
		return fmt.Errorf("pcp: %w", err)
	}
	return nil
}

// ClientStats counts what a [Client] has done since it was created.
type ClientStats = exchange.Stats

// Stats returns the counts so far. It may be called at any time.
func (c *Client) Stats() ClientStats { return c.exchange.Stats() }

// SuspectEpoch reports whether an epoch would mean anything, without recording it: for
// packets that anybody may have sent, such as announcements (RFC 6887 §14.1.3).
func (c *Client) SuspectEpoch(seconds uint32, at time.Time) bool {
	return c.epoch.Suspect(epochRule(), seconds, at)
}

// Announce asks only for a reply, which has the gateway's epoch (RFC 6887 §14.1.1). The
// error is [*ResultError], [*VersionError], [*RefusedError], [*TimeoutError],
// [ErrNoAddress] or [ErrClientStopped].
func (c *Client) Announce(ctx context.Context) error {
	_, err := c.do(ctx, Request{Opcode: OpAnnounce}, c.schedule(firstRetry, allTries), true)
	return err
}

// MapRequest asks for a mapping or for its renewal.
type MapRequest struct {
	// Protocol is [TCP] or [UDP].
	Protocol Protocol
	// InternalPort is the port on this side, never 0.
	InternalPort uint16
	// ExternalPort is a preference: 0 for any; in a renewal, the assigned port.
	ExternalPort uint16
	// ExternalAddress is a preference like ExternalPort. The zero Addr means any IPv4
	// address.
	ExternalAddress netip.Addr
	// PreferFailure asks for exactly that port and address, or nothing (RFC 6887 §13.2). A
	// gateway need not support this.
	PreferFailure bool
	// Lifetime is in seconds, never 0.
	Lifetime uint32
	// Renewal is set if the mapping is believed to exist. Then the request goes before
	// others if the window is full, and its first retransmission is after 1 second instead
	// of 250 ms.
	Renewal bool
}

// Mapping is what a gateway says that it assigned, unchecked: a gateway may report success
// with zeros.
type Mapping struct {
	// ExternalPort is the port on ExternalAddress.
	ExternalPort uint16
	// ExternalAddress is the public address.
	ExternalAddress netip.Addr
	// Lifetime is in seconds. It may be longer than requested (RFC 6887 §15).
	Lifetime uint32
}

// Map asks for a mapping. The error is as in [Client.Announce], or says what is wrong with
// the request.
func (c *Client) Map(ctx context.Context, r MapRequest) (Mapping, error) {
	key := portKey{r.Protocol, r.InternalPort}
	if err := key.check(); err != nil {
		return Mapping{}, err
	}
	switch {
	case r.Lifetime == 0:
		return Mapping{}, errors.New("pcp: lifetime 0 is a deletion")
	case r.PreferFailure && r.ExternalPort == 0:
		return Mapping{}, errors.New("pcp: no port is preferred") // RFC 6887 §13.2
	}
	w := wish{
		portKey: key, external: r.ExternalPort, address: r.ExternalAddress, onlyThis: r.PreferFailure, identity: c.cfg.Address(),
	}
	if refused, ok := c.memory.refused(w, time.Now()); ok {
		return Mapping{}, refused
	}
	s := c.schedule(firstRetry, allTries)
	if r.Renewal {
		s = c.schedule(firstRenewalRetry, allTries)
	}
	nonce, err := c.memory.nonce(key, time.Now(), seconds(r.Lifetime))
	if err != nil {
		return Mapping{}, fmt.Errorf("pcp: drawing a nonce: %w", err)
	}
	resp, err := c.do(ctx, Request{Opcode: OpMap, Lifetime: r.Lifetime, Map: Map{
		Nonce: nonce, Protocol: r.Protocol, InternalPort: r.InternalPort,
		ExternalPort: r.ExternalPort, ExternalAddress: r.ExternalAddress,
	}, Options: Options{PreferFailure: r.PreferFailure}}, s, r.Renewal)
	if result, ok := errors.AsType[*ResultError](err); ok {
		c.memory.hold(w, result.Result, time.Now(), result.Lifetime)
	}
	if err != nil {
		return Mapping{}, err
	}
	got := Mapping{ExternalPort: resp.Map.ExternalPort, ExternalAddress: resp.Map.ExternalAddress, Lifetime: resp.Lifetime}
	c.memory.granted(key, netip.AddrPortFrom(got.ExternalAddress, got.ExternalPort), time.Now(), seconds(got.Lifetime))
	return got, nil
}

// Unmap ends a mapping, with fewer tries than other requests: a mapping that is not
// deleted expires. The error is as in [Client.Map].
func (c *Client) Unmap(ctx context.Context, p Protocol, internalPort uint16) error {
	key := portKey{p, internalPort}
	if err := key.check(); err != nil {
		return err
	}
	nonce, err := c.memory.nonce(key, time.Now(), 0)
	if err != nil {
		return fmt.Errorf("pcp: drawing a nonce: %w", err)
	}
	_, err = c.do(ctx, Request{Opcode: OpMap, Map: Map{
		Nonce: nonce, Protocol: p, InternalPort: internalPort, ExternalAddress: netip.IPv4Unspecified(),
	}}, c.schedule(firstRetry, deletionTries), false)
	if err == nil {
		c.memory.ended(key)
	}
	return err
}

// check refuses what is no port of one mapping.
func (k portKey) check() error {
	switch {
	case k.protocol != TCP && k.protocol != UDP:
		return fmt.Errorf("pcp: %v has no ports to map", k.protocol)
	case k.port == 0:
		return errors.New("pcp: internal port 0 stands for all ports")
	default:
		return nil
	}
}

// seconds returns a lifetime as a duration.
func seconds(lifetime uint32) time.Duration { return time.Duration(lifetime) * time.Second }
