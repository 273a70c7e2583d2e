package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"doublenat/natpmp"
	"doublenat/pcp"
)

const (
	// defaultProbe is an inner port that the core never takes (nat.Config.LastInnerPort).
	defaultProbe = 30000
	// probeLifetime is what a probe asks for, in seconds. Gateways raise it (RFC 6887 §15).
	probeLifetime = 30
	// identityPause is the wait between two looks at an own address that is not known.
	identityPause = 250 * time.Millisecond
)

// PCPConfig has what a [Gateway] needs that is asked by PCP.
type PCPConfig struct {
	// Config is as for NAT-PMP. PCP has no symmetric mappings, and listens for
	// announcements where NAT-PMP does.
	Config

	// Own returns the address of the router on the interface to the gateway, which may
	// change; the zero Addr while it is not known. Requests that name another address than
	// the one from which they come are refused (RFC 6887 §8.2). Required.
	Own func() netip.Addr
	// Secret makes the nonces of mappings, so that they are the same after a restart: a
	// strict gateway refuses to renew and to end what has another nonce (RFC 6887 §11.3).
	// Nil draws them by chance, and leaves what an earlier run had to expire.
	Secret []byte
	// Probe is an inner port that no mapping uses. A UDP mapping for it is made, and ended
	// at once, when there is no other way to learn the public address, which PCP tells of
	// mappings only. 0 means 30000.
	Probe uint16
	// Random is where nonces and the jitter of repetitions come from, see
	// [pcp.ClientConfig]; nil means the system.
	Random io.Reader
}

// NewPCP checks the configuration and returns a gateway that is asked by PCP (RFC 6887). It
// starts nothing. One that does not speak PCP fails with a [*pcp.VersionError].
func NewPCP(cfg PCPConfig) (*Gateway, error) {
	switch {
	case cfg.Symmetric:
		return nil, errors.New("gateway: PCP has no symmetric mappings")
	case cfg.Own == nil:
		return nil, errors.New("gateway: PCP needs the router's address towards the gateway")
	}
	g, err := newGateway(cfg.Config)
	if err != nil {
		return nil, err
	}
	c := &pcpClient{gateway: g, own: cfg.Own, probe: cfg.Probe, maxAge: g.cfg.MaxAge}
	if c.probe == 0 {
		c.probe = defaultProbe
	}
	c.asks, err = pcp.NewClient(pcp.ClientConfig{
		Dial: cfg.Dial, Window: cfg.Window, Address: cfg.Own, Nonce: nonces(cfg.Secret), Random: cfg.Random,
		OnPacket: c.receive, OnStray: func(_ pcp.Response, at time.Time) { g.hear(at) }, OnUpdate: c.updated,
		OnEpoch: c.epochNews, OnIdentity: c.identified, Logger: g.log,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.client, g.heardOther, g.byPCP = c, c.announced, true
	return g, nil
}

// nonces returns what makes nonces from a secret; nil without one.
func nonces(secret []byte) func(pcp.Protocol, uint16) pcp.Nonce {
	if len(secret) == 0 {
		return nil
	}
	return func(p pcp.Protocol, port uint16) (nonce pcp.Nonce) {
		mac := hmac.New(sha256.New, secret)
		mac.Write(binary.BigEndian.AppendUint16([]byte{'p', 'c', 'p', byte(p)}, port)) // it never fails
		copy(nonce[:], mac.Sum(nil))
		return nonce
	}
}

// pcpClient asks by PCP in NAT-PMP's terms. The public address is what the latest MAP
// response says, as long as the gateway answers and its epoch runs on: it starts again when
// the address changes (RFC 6887 §8.5). Not all gateways know that, so an address is not
// believed for longer than maxAge.
type pcpClient struct {
	gateway *Gateway
	asks    *pcp.Client
	own     func() netip.Addr
	probe   uint16
	maxAge  time.Duration

	mu sync.Mutex // guards what follows
	// address is what the latest mapping told, and at is when; the zero Addr is none.
	address netip.Addr
	at      time.Time
	// stale is set when address may be another one since.
	stale bool
}

var _ client = (*pcpClient)(nil)

// Run connects and reads until the context ends.
func (c *pcpClient) Run(ctx context.Context) error { return c.asks.Run(ctx) }

// Stats counts packets.
func (c *pcpClient) Stats() natpmp.ClientStats { return c.asks.Stats() }

// Map asks for a mapping or for the renewal of one.
func (c *pcpClient) Map(ctx context.Context, r natpmp.MapRequest) (natpmp.Mapping, error) {
	if err := c.awaitIdentity(ctx); err != nil {
		return natpmp.Mapping{}, err
	}
	m, err := c.asks.Map(ctx, pcp.MapRequest{
		Protocol: protocolOf(r.Opcode), InternalPort: r.InternalPort, ExternalPort: r.SuggestedExternalPort,
		Lifetime: r.Lifetime, Renewal: r.Renewal,
	})
	return natpmp.Mapping{ExternalPort: m.ExternalPort, Lifetime: m.Lifetime}, inNATPMP(r.Opcode, err)
}

// Unmap ends a mapping.
func (c *pcpClient) Unmap(ctx context.Context, op natpmp.Opcode, internalPort uint16) error {
	if err := c.awaitIdentity(ctx); err != nil {
		return err
	}
	return inNATPMP(op, c.asks.Unmap(ctx, protocolOf(op), internalPort))
}

// protocolOf returns the protocol that an opcode of NAT-PMP maps.
func protocolOf(op natpmp.Opcode) pcp.Protocol {
	if op == natpmp.OpMapTCP {
		return pcp.TCP
	}
	return pcp.UDP
}

// awaitIdentity waits until the router's address is known.
func (c *pcpClient) awaitIdentity(ctx context.Context) error {
	for !c.own().IsValid() {
		if ctx.Err() != nil {
			return inNATPMP(natpmp.OpExternalAddress, &pcp.TimeoutError{Err: ctx.Err(), Send: pcp.ErrNoAddress})
		}
		sleep(ctx, identityPause, nil)
	}
	return nil
}

// receive sees every reply of the gateway to a request in flight.
func (c *pcpClient) receive(resp pcp.Response, at time.Time) {
	c.gateway.hear(at)
	if resp.Opcode == pcp.OpMap && resp.Result == pcp.ResultSuccess && resp.Lifetime != 0 {
		c.learn(resp.Map.ExternalAddress, at)
	}
}

// updated sees a response that tells of another port or address of a mapping (RFC 6887
// §14.2). It has the mapping's nonce, which nobody else knows.
func (c *pcpClient) updated(resp pcp.Response, at time.Time) {
	c.receive(resp, at)
	c.gateway.log.Info("gateway moved a mapping", "inner_port", resp.Map.InternalPort, "external_port", resp.Map.ExternalPort)
	c.gateway.cfg.OnStateLost()
}

// epochNews sees what an epoch tells.
func (c *pcpClient) epochNews(news pcp.EpochNews, seconds uint32) {
	c.doubt()
	c.gateway.tellEpoch(news, seconds)
}

// identified hears that the router's address towards the gateway is another one: what is
// mapped leads to the one before.
func (c *pcpClient) identified(before, now netip.Addr) {
	c.doubt()
	c.gateway.log.Warn("router's address on the gateway's side changed, requesting all mappings again", "address", now, "before", before)
	c.gateway.lookNow()
	c.gateway.cfg.OnStateLost()
}

// announced takes an announcement as a reason to look, as that of NAT-PMP is taken.
func (c *pcpClient) announced(packet []byte, at time.Time) {
	resp, err := pcp.ParseResponse(packet)
	if err != nil || resp.Opcode != pcp.OpAnnounce || resp.Result != pcp.ResultSuccess {
		return
	}
	c.gateway.countEpoch(func(n *counters) { n.announcements++ })
	if c.asks.SuspectEpoch(resp.Epoch, at) {
		c.gateway.lookNow()
	}
}
