package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"doublenat/igd"
	"doublenat/natpmp"
	"doublenat/pcp"
)

// language is what a gateway is asked in (--by).
type language string

// The languages.
const (
	inNATPMP language = "natpmp"
	inPCP    language = "pcp"
	inUPnP   language = "igd"
)

// Set implements pflag.Value.
func (l *language) Set(text string) error {
	switch language(text) {
	case inNATPMP, inPCP, inUPnP:
		*l = language(text)
		return nil
	}
	return errors.New("it is none of natpmp, pcp and igd")
}

// String implements pflag.Value.
func (l *language) String() string { return string(*l) }

// Type implements pflag.Value.
func (*language) Type() string { return "protocol" }

// title is what people call it.
func (l *language) title() string {
	switch *l {
	case inPCP:
		return "PCP"
	case inUPnP:
		return "UPnP"
	case inNATPMP:
	}
	return "NAT-PMP"
}

// flag is the flag for a command that asks in it, "" where none is needed.
func (l *language) flag() string {
	if *l == inNATPMP || *l == "" {
		return ""
	}
	return " --by " + string(*l)
}

// port is where a gateway is asked in it, unless another is given.
func (l *language) port() uint16 {
	if *l == inUPnP {
		return igd.SearchPort
	}
	return natpmp.Port
}

// granted is a mapping as a gateway grants it.
type granted struct {
	natpmp.Mapping

	// address is the public one, where that comes with the mapping; else the zero Addr.
	address netip.Addr
}

// tongue asks a gateway in a language. Its methods but Run are called one after the other.
type tongue interface {
	// Run serves the others until ctx ends.
	Run(ctx context.Context) error
	// Map asks for a mapping, or for its renewal.
	Map(ctx context.Context, want natpmp.MapRequest) (granted, error)
	// Unmap ends the mapping of a port of this host. That there is none is no error.
	Unmap(ctx context.Context, op natpmp.Opcode, port uint16) error
	// ExternalAddress asks for the public address.
	ExternalAddress(ctx context.Context) (netip.Addr, error)
	// Sent is how many packets or requests were sent, and how many could not be.
	Sent() (sent, failed uint64)
}

// speaking returns who asks the gateway in a language. Trouble is told of errors of the
// connection.
func speaking(ctx context.Context, l language, gateway netip.AddrPort, trouble func(error)) (tongue, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{Control: hearOfDeadEnds}
		return d.DialContext(ctx, "udp4", gateway.String())
	}
	if l == inNATPMP || l == "" {
		c, err := natpmp.NewClient(natpmp.ClientConfig{Dial: dial, OnTrouble: trouble})
		return natpmpTongue{c}, err
	}
	own, err := ownTowards(ctx, gateway)
	if err != nil {
		return nil, unreachable(gateway, err)
	}
	if l == inPCP {
		c, err := pcp.NewClient(pcp.ClientConfig{Dial: dial, OnTrouble: trouble, Address: func() netip.Addr { return own }, Nonce: hostNonce()})
		return pcpTongue{c}, err
	}
	c, err := igd.NewClient(igd.Config{Gateway: gateway.Addr(), SearchPort: gateway.Port(), Connections: 1})
	if err != nil {
		return nil, err
	}
	return newIGDTongue(c, own, gateway.Addr(), func(ctx context.Context) (net.PacketConn, error) {
		var lc net.ListenConfig
		return lc.ListenPacket(ctx, "udp4", netip.AddrPortFrom(own, 0).String()) // multicast leaves by its interface
	}), nil
}

// ownTowards returns this host's address as the gateway is to see it.
func ownTowards(ctx context.Context, gateway netip.AddrPort) (netip.Addr, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp4", gateway.String()) // no packet is sent
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return local.Addr(), err
}

// natpmpTongue is the language of RFC 6886.
type natpmpTongue struct{ *natpmp.Client }

// Map implements tongue.
func (t natpmpTongue) Map(ctx context.Context, want natpmp.MapRequest) (granted, error) {
	m, err := t.Client.Map(ctx, want)
	return granted{Mapping: m}, err
}

// Sent implements tongue.
func (t natpmpTongue) Sent() (sent, failed uint64) {
	s := t.Stats()
	return s.Sent, s.SendErrors
}

// pcpTongue is that of RFC 6887.
type pcpTongue struct{ *pcp.Client }

// Map implements tongue.
func (t pcpTongue) Map(ctx context.Context, want natpmp.MapRequest) (granted, error) {
	m, err := t.Client.Map(ctx, pcp.MapRequest{
		Protocol: protocolInPCP(want.Opcode), InternalPort: want.InternalPort, ExternalPort: want.SuggestedExternalPort, Lifetime: want.Lifetime, Renewal: want.Renewal,
	})
	return granted{natpmp.Mapping{ExternalPort: m.ExternalPort, Lifetime: m.Lifetime}, m.ExternalAddress}, unanswered(err)
}

// Unmap implements tongue.
func (t pcpTongue) Unmap(ctx context.Context, op natpmp.Opcode, port uint16) error {
	return unanswered(t.Client.Unmap(ctx, protocolInPCP(op), port))
}

// errOnlyWithMappings is a question that PCP does not know.
var errOnlyWithMappings = errors.New("PCP tells the public address with mappings only: map a port (doublenat map --by pcp)")

// ExternalAddress implements tongue.
func (pcpTongue) ExternalAddress(context.Context) (netip.Addr, error) {
	return netip.Addr{}, errOnlyWithMappings
}

// Sent implements tongue.
func (t pcpTongue) Sent() (sent, failed uint64) {
	s := t.Stats()
	return s.Sent, s.SendErrors
}

// unanswered returns PCP's error for a request without a reply as NAT-PMP has it.
func unanswered(err error) error {
	if t, ok := errors.AsType[*pcp.TimeoutError](err); ok {
		return &natpmp.TimeoutError{Tries: t.Tries, Err: t.Err, Send: t.Send}
	}
	return err
}

func protocolInPCP(op natpmp.Opcode) pcp.Protocol {
	if op == natpmp.OpMapTCP {
		return pcp.TCP
	}
	return pcp.UDP
}

// igdTongue is that of UPnP.
type igdTongue struct {
	// client asks the device: the one that a search at the gateway finds, or the one that
	// multicast found. Others than who asks may look how much it has sent.
	client       atomic.Pointer[igd.Client]
	own, gateway netip.Addr // this host's, and who is asked
	// listen opens a socket for a search by multicast. Nil makes none.
	listen func(ctx context.Context) (net.PacketConn, error)
}

// newIGDTongue returns who asks the gateway from a host's own address.
func newIGDTongue(c *igd.Client, own, gateway netip.Addr, listen func(ctx context.Context) (net.PacketConn, error)) *igdTongue {
	t := &igdTongue{own: own, gateway: gateway, listen: listen}
	t.client.Store(c)
	return t
}

// multicastTime is how long answers to a search by multicast are waited for.
const multicastTime = 1500 * time.Millisecond

// find finds the device, at the gateway and by multicast side by side, as most programs do.
func (t *igdTongue) find(ctx context.Context) (igd.Device, error) {
	near := t.client.Load()
	if device, ok := near.Known(); ok {
		return device, nil
	}
	looking, found := context.WithCancel(ctx)
	defer found()
	var (
		searching sync.WaitGroup
		other     *igd.Client
		around    igd.Device
	)
	searching.Go(func() {
		if other, around = t.nearby(looking); other != nil {
			found()
		}
	})
	device, err := near.Discover(looking)
	if err == nil {
		found()
	}
	searching.Wait()
	switch {
	case err == nil:
		return device, nil
	case other != nil:
		t.client.Store(other)
		return around, nil
	default:
		return device, t.silent(ctx, err)
	}
}

// nearby searches by multicast and returns who asks the device that it finds, nil for none. Of
// those that answer the one counts whose description is at the gateway: others are somebody's.
func (t *igdTongue) nearby(ctx context.Context) (*igd.Client, igd.Device) {
	if t.listen == nil {
		return nil, igd.Device{}
	}
	conn, err := t.listen(ctx)
	if err != nil {
		return nil, igd.Device{}
	}
	defer conn.Close()
	answers, _ := igd.Gather(ctx, conn, igd.MulticastAddress(), multicastTime) // what it found counts
	for _, a := range answers {
		if a.Location.Addr() != t.gateway {
			continue
		}
		c, err := igd.NewClient(igd.Config{Description: a.Location.String(), Connections: 1})
		if err != nil {
			continue
		}
		if device, err := c.Discover(ctx); err == nil {
			return c, device
		}
		c.Close()
	}
	return nil, igd.Device{}
}

// Run implements tongue: there is nothing to serve.
func (t *igdTongue) Run(ctx context.Context) error {
	<-ctx.Done()
	t.client.Load().Close()
	return nil
}

// Map implements tongue. A device of version 2 may grant another port than the one that is
// wished for, which is that of this host if there is no wish.
func (t *igdTongue) Map(ctx context.Context, want natpmp.MapRequest) (granted, error) {
	device, err := t.find(ctx)
	if err != nil {
		return granted{}, err
	}
	seconds := min(want.Lifetime, uint32(igd.MaxLease/time.Second))
	m := igd.Mapping{
		Protocol: protocolInIGD(want.Opcode), External: want.SuggestedExternalPort, Client: t.own, Internal: want.InternalPort,
		Lease: time.Duration(seconds) * time.Second, Description: "doublenat map",
	}
	if m.External == 0 {
		m.External = m.Internal
	}
	port := m.External
	if !device.Service.PPP && device.Service.Version > 1 {
		port, err = t.client.Load().AddAny(ctx, m)
	} else {
		err = t.client.Load().Add(ctx, m)
	}
	return granted{Mapping: natpmp.Mapping{ExternalPort: port, Lifetime: seconds}}, t.silent(ctx, err)
}

// entries bounds how many mappings of a device are looked at.
const entries = 1024

// Unmap implements tongue: a device ends mappings by their external port, which it is asked
// for first.
func (t *igdTongue) Unmap(ctx context.Context, op natpmp.Opcode, port uint16) error {
	if _, err := t.find(ctx); err != nil {
		return err
	}
	for i := range entries {
		m, err := t.client.Load().Entry(ctx, i)
		switch {
		case igd.CodeOf(err) != 0:
			return nil // the end of the table, whatever code a device has for it
		case err != nil:
			return t.silent(ctx, err)
		case m.Protocol != protocolInIGD(op) || m.Internal != port || m.Client != t.own:
			continue
		}
		err = t.client.Load().Delete(ctx, m.Protocol, m.External)
		if igd.CodeOf(err) == igd.CodeNoSuchEntry {
			return nil
		}
		return t.silent(ctx, err)
	}
	return fmt.Errorf("more than %d mappings: there may be one of this port among the others", entries)
}

// ExternalAddress implements tongue.
func (t *igdTongue) ExternalAddress(ctx context.Context) (netip.Addr, error) {
	if _, err := t.find(ctx); err != nil {
		return netip.Addr{}, err
	}
	a, err := t.client.Load().ExternalAddress(ctx)
	return a, t.silent(ctx, err)
}

// Sent implements tongue.
func (t *igdTongue) Sent() (sent, failed uint64) {
	s := t.client.Load().Stats()
	return s.Searches + s.Calls, s.Refused
}

// silent returns the error for a device that did not answer as NAT-PMP has it.
func (t *igdTongue) silent(ctx context.Context, err error) error {
	if errors.Is(err, igd.ErrSilent) || err != nil && ctx.Err() != nil {
		sent, _ := t.Sent()
		cause := ctx.Err()
		if cause == nil {
			cause = context.DeadlineExceeded
		}
		return &natpmp.TimeoutError{Tries: int(min(sent, 1<<20)), Err: cause}
	}
	return err
}

func protocolInIGD(op natpmp.Opcode) igd.Protocol {
	if op == natpmp.OpMapTCP {
		return igd.TCP
	}
	return igd.UDP
}
