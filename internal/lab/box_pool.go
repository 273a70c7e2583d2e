package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/nat"
)

// poolPorts are the ports of the provider, as VPN_GATEWAY has them.
const poolPorts = "20001-20003:30001-30003"

// poolBox is a provider that forwards ports to the router and is asked for nothing.
type poolBox struct {
	places Places
	ports  []nat.PoolPort
}

var _ box = (*poolBox)(nil)

// makePool makes a provider. Its forwards never change; but what the router does with what
// comes through them does, at each of its replies to a command.
func makePool(w *world, _ string) (box, error) {
	ports, err := config.ParsePool(poolPorts)
	w.onReply = w.follow
	return &poolBox{places: w.places, ports: ports}, err
}

func (*poolBox) open(context.Context) error { return nil }

func (*poolBox) close() error { return nil }

func (*poolBox) serve(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (b *poolBox) leases() []lease {
	var all []lease
	for _, p := range b.ports {
		for _, protocol := range nat.Protocols() {
			to := netip.AddrPortFrom(b.places.Tunnel, p.Inner)
			all = append(all, lease{external: port{protocol, p.External}, to: to, fixed: true})
		}
	}
	return all
}

func (b *poolBox) lookup(p port) (lease, bool) {
	for _, l := range b.leases() {
		if l.external == p {
			return l, true
		}
	}
	return lease{}, false
}

func (*poolBox) questions() uint64 { return 0 }

func (*poolBox) said(time.Time) []event { return nil }

func (*poolBox) environ() map[string]string {
	return map[string]string{
		"VPN_GATEWAY":    "pool:" + poolPorts + "%" + interfaceName,
		"PUBLIC_ADDRESS": publicAddress().String(),
	}
}

func (b *poolBox) like() string {
	first, last := b.ports[0], b.ports[len(b.ports)-1]
	return fmt.Sprintf("forwards ports %d to %d to the router's ports %d to %d", first.External, last.External, first.Inner, last.Inner)
}

func (b *poolBox) hint() (name, text string) {
	return "the pool's end", fmt.Sprintf("map %d ports of yours: the provider forwards %d, and one is taken", len(b.ports), len(b.ports))
}

// attentive is a listener on whose connections somebody hears of each reply before it
// goes out.
type attentive struct {
	net.Listener

	hear func()
}

// Accept returns the next connection.
func (a *attentive) Accept() (net.Conn, error) {
	conn, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &attended{Conn: conn, hear: a.hear}, nil
}

// attended is such a connection.
type attended struct {
	net.Conn

	hear func()
}

// Write tells of a reply, and sends it.
func (a *attended) Write(b []byte) (int, error) {
	a.hear()
	return a.Conn.Write(b)
}
