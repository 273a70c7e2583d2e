package pcptest

import (
	"net/netip"
	"sync"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
)

// Gateway is a PCP gateway. Its methods may be called from several goroutines, also while
// it serves. Those of [natpmptest.Gateway] are about the same leases.
type Gateway struct {
	*natpmptest.Gateway

	mu sync.Mutex // guards what follows; held for moments only
	// profile is what is of PCP alone; the rest is the embedded gateway's.
	profile Profile
	// nonces has that of each mapping, by which it is known whose it is. Those of mappings
	// that are gone are of no consequence.
	nonces map[holder]pcp.Nonce
	// turns counts PCP's requests, for SpeaksInTurn.
	turns int
}

// holder is a client's port.
type holder struct {
	client   netip.Addr
	protocol natpmp.Opcode
	port     uint16
}

// New returns a gateway without leases that behaves as the profile says. The configuration
// has what is not its behavior; its Profile and Speak do not count. It serves nothing until
// Serve or ListenAndServe is called.
func New(profile Profile, cfg natpmptest.Config) (*Gateway, error) {
	g := &Gateway{profile: profile, nonces: make(map[holder]pcp.Nonce)}
	cfg.Profile, cfg.Speak = profile.Profile, g.speak
	var err error
	if g.Gateway, err = natpmptest.New(cfg); err != nil {
		return nil, err
	}
	return g, nil
}

// Profile returns a copy of how the gateway behaves now.
func (g *Gateway) Profile() Profile {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.profile
}

// Adjust changes how the gateway behaves, from the next request on, as
// [natpmptest.Gateway.Adjust] does.
func (g *Gateway) Adjust(change func(p *Profile)) {
	g.mu.Lock()
	change(&g.profile)
	p := g.profile
	g.mu.Unlock()
	g.Gateway.Adjust(func(common *natpmptest.Profile) { *common = p.Profile })
}

// Results returns how many true replies were made with each result, also those that were
// lost afterwards.
func (g *Gateway) Results() map[pcp.ResultCode]uint64 {
	out := make(map[pcp.ResultCode]uint64)
	for code, n := range g.Stats().Results {
		out[pcp.ResultCode(code)] = n //nolint:gosec // it has one byte in PCP
	}
	return out
}

// SetAddress changes the public address, and with it the epoch (RFC 6887 §8.5) unless the
// profile keeps that. The zero value takes it away: the gateway then answers MAP requests
// with NETWORK_FAILURE.
func (g *Gateway) SetAddress(a netip.Addr) {
	changed := a != g.Address()
	g.Gateway.SetAddress(a)
	if changed && !g.Profile().KeepsEpoch {
		g.Restart(true)
	}
}

// Announcement returns the packet that a gateway would send to 224.0.0.1:5350 now (RFC
// 6887 §14.1.1). Sending it is up to the caller.
func (g *Gateway) Announcement() []byte {
	return pcp.Response{Opcode: pcp.OpAnnounce, Epoch: g.Epoch()}.Append(nil)
}

// Update returns the packet by which a gateway would tell the client of a mapping what has
// become of it (RFC 6887 §14.2), nil if there is none. Sending it is up to the caller.
func (g *Gateway) Update(protocol pcp.Protocol, externalPort uint16) []byte {
	op := opcodeOf(protocol)
	m, ok := g.Lookup(op, externalPort)
	if !ok {
		return nil
	}
	g.mu.Lock()
	nonce := g.nonces[holder{m.Client, op, m.InternalPort}]
	g.mu.Unlock()
	return pcp.Response{Opcode: pcp.OpMap, Lifetime: 120, Epoch: g.Epoch(), Map: pcp.Map{
		Nonce: nonce, Protocol: protocol, InternalPort: m.InternalPort, ExternalPort: m.ExternalPort, ExternalAddress: g.Address(),
	}}.Append(nil)
}

// opcodeOf returns what a protocol is in NAT-PMP.
func opcodeOf(p pcp.Protocol) natpmp.Opcode {
	if p == pcp.UDP {
		return natpmp.OpMapUDP
	}
	return natpmp.OpMapTCP
}
