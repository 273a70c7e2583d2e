package lab

import (
	"context"
	"fmt"
	"net"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp/pcptest"
)

// journalLength is how many packets or calls a gateway keeps to tell of.
const journalLength = 4096

// packetBox is a gateway that is asked packet by packet.
type packetBox struct {
	*natpmptest.Gateway

	places Places
	// speaks is the name of what it speaks, scheme the same in VPN_GATEWAY, and profile
	// how it behaves.
	speaks, scheme, profile string
	// external is set if packets reach the router on the public port's number.
	external bool
	// tell tells of a packet; false is one that says nothing.
	tell func(natpmptest.Packet) (event, bool)
	conn net.PacketConn // nil before it is open
}

var _ box = (*packetBox)(nil)

// packetConfig is what both languages are made from.
func packetConfig(w *world) natpmptest.Config {
	return natpmptest.Config{
		Address:  publicAddress(),
		Seed:     uint64(time.Now().UnixNano()),
		Journal:  journalLength,
		OnChange: w.follow,
	}
}

// makeNATPMP makes a gateway that speaks NAT-PMP.
func makeNATPMP(w *world, profile string) (box, error) {
	cfg := packetConfig(w)
	cfg.Profile = named(natpmptest.Profiles(), profile, func(p natpmptest.Profile) string { return p.Name })
	g, err := natpmptest.New(cfg)
	return &packetBox{Gateway: g, places: w.places, speaks: "NAT-PMP", profile: profile, tell: packetEvent, external: cfg.Profile.DeliversExternal}, err
}

// makePCP makes a gateway that speaks PCP.
func makePCP(w *world, profile string) (box, error) {
	behaves := named(pcptest.Profiles(), profile, func(p pcptest.Profile) string { return p.Name })
	g, err := pcptest.New(behaves, packetConfig(w))
	if err != nil {
		return nil, err
	}
	return &packetBox{Gateway: g.Gateway, places: w.places, speaks: "PCP", scheme: "pcp://", profile: profile, tell: pcpEvent}, nil
}

func (b *packetBox) open(ctx context.Context) error {
	conn, err := listenUDP(ctx, b.places.Gateway)
	if err != nil {
		return taken("the gateway", "gateway", err)
	}
	b.conn = newMasquerade(conn, b.places.self())
	return nil
}

func (b *packetBox) close() error {
	if b.conn == nil {
		return nil
	}
	return b.conn.Close()
}

func (b *packetBox) serve(ctx context.Context) error { return b.Serve(ctx, b.conn) }

func (b *packetBox) leases() []lease {
	var all []lease
	for _, m := range b.Mappings() {
		all = append(all, b.places.tunneled(nat.Protocol(m.Protocol), m.ExternalPort, m.Target))
	}
	return all
}

func (b *packetBox) lookup(p port) (lease, bool) {
	m, ok := b.Lookup(natpmp.Opcode(p.protocol), p.number)
	return b.places.tunneled(p.protocol, p.number, m.Target), ok
}

func (b *packetBox) questions() uint64 {
	var n uint64
	for _, count := range b.Stats().Requests {
		n += count
	}
	return n
}

func (b *packetBox) said(since time.Time) []event {
	var events []event
	for _, packet := range b.Journal() {
		if e, ok := b.tell(packet); ok && !packet.At.Before(since) {
			events = append(events, e)
		}
	}
	return events
}

func (b *packetBox) environ() map[string]string {
	environ := map[string]string{"VPN_GATEWAY": b.scheme + b.places.known().String()}
	if b.external {
		environ["GATEWAY_DELIVERY"] = "external"
	}
	return environ
}

func (b *packetBox) like() string {
	return fmt.Sprintf("%s at %v, like %s", b.speaks, b.places.Gateway, b.profile)
}

func (*packetBox) hint() (name, text string) { return "", "" }
