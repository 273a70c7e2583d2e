package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"doublenat/igd/igdtest"
	"doublenat/internal/nat"
)

// upnpBox is a box that speaks UPnP: its searches and its descriptions are at the same
// address and port, the one over UDP and the other over TCP.
type upnpBox struct {
	*igdtest.Gateway

	places  Places
	profile string
	search  net.PacketConn // nil before it is open
	web     net.Listener   // nil before it is open

	mu sync.Mutex // guards what follows
	// calls are the last of which it can tell.
	calls []igdtest.Action
}

var _ box = (*upnpBox)(nil)

// makeIGD makes a box.
func makeIGD(w *world, profile string) (box, error) {
	b := &upnpBox{places: w.places, profile: profile}
	b.Gateway = igdtest.New(igdtest.Config{
		Profile:  named(igdtest.Profiles(), profile, func(p igdtest.Profile) string { return p.Name }),
		Address:  publicAddress(),
		OnAction: b.note,
		OnChange: w.follow,
	})
	return b, nil
}

// note keeps an action to tell of it.
func (b *upnpBox) note(a igdtest.Action) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, a)
	if len(b.calls) > journalLength {
		b.calls = b.calls[1:]
	}
}

func (b *upnpBox) open(ctx context.Context) error {
	search, err := listenUDP(ctx, b.places.Gateway)
	if err != nil {
		return taken("the gateway", "gateway", err)
	}
	b.search = search
	var listen net.ListenConfig
	web, err := listen.Listen(ctx, "tcp4", b.places.Gateway.String())
	if err != nil {
		return taken("the gateway", "gateway", err)
	}
	b.web = &disguised{Listener: web, as: b.places.self()}
	return nil
}

func (b *upnpBox) close() error {
	var err error
	if b.web != nil {
		err = b.web.Close()
	}
	if errors.Is(err, net.ErrClosed) {
		err = nil // It closes with its service.
	}
	if b.search != nil {
		err = errors.Join(err, b.search.Close())
	}
	return err
}

// serve serves both. When one ends by itself, so does the other.
func (b *upnpBox) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		searching sync.WaitGroup
		failure   error
	)
	searching.Go(func() {
		failure = b.ServeSearch(ctx, b.search)
		cancel()
	})
	err := b.Serve(ctx, b.web)
	cancel()
	searching.Wait()
	return errors.Join(err, failure)
}

func (b *upnpBox) leases() []lease {
	var all []lease
	for _, m := range b.Mappings() {
		all = append(all, b.places.tunneled(nat.Protocol(m.Protocol), m.External, netip.AddrPortFrom(m.Client, m.Internal)))
	}
	return all
}

func (b *upnpBox) lookup(p port) (lease, bool) {
	for _, l := range b.leases() {
		if l.external == p {
			return l, true
		}
	}
	return lease{}, false
}

func (b *upnpBox) questions() uint64 { return uint64(b.Calls()) } //nolint:gosec // a count

func (b *upnpBox) said(since time.Time) []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	var events []event
	for _, a := range b.calls {
		if a.At.Before(since) {
			continue
		}
		events = append(events,
			event{at: a.At, from: theDaemon, to: theGateway, text: actionText(a)},
			event{at: a.Answered, from: theGateway, to: theDaemon, text: answerText(a)})
	}
	return events
}

func (b *upnpBox) environ() map[string]string {
	return map[string]string{"VPN_GATEWAY": "igd://" + b.places.known().String()}
}

func (b *upnpBox) like() string {
	return fmt.Sprintf("UPnP, searched for at %v, like %s", b.places.Gateway, b.profile)
}

func (b *upnpBox) hint() (name, text string) {
	return "the box's list", fmt.Sprintf("upnpc -u http://%v/rootDesc.xml -l", b.places.Gateway)
}

// actionText says what a box was asked for.
func actionText(a igdtest.Action) string {
	protocol := map[string]string{"TCP": "tcp", "UDP": "udp"}[a.Args["NewProtocol"]]
	switch a.Name {
	case "AddPortMapping", "AddAnyPortMapping":
		return fmt.Sprintf("%s: %s %s to %s:%s for %s s", a.Name, protocol,
			a.Args["NewExternalPort"], a.Args["NewInternalClient"], a.Args["NewInternalPort"], a.Args["NewLeaseDuration"])
	case "DeletePortMapping", "GetSpecificPortMappingEntry":
		return fmt.Sprintf("%s: %s %s", a.Name, protocol, a.Args["NewExternalPort"])
	default:
		return a.Name
	}
}

// answerText says what a box answered.
func answerText(a igdtest.Action) string {
	if a.Code != 0 {
		return fmt.Sprintf("no: %d %v", uint16(a.Code), a.Code)
	}
	return cmp.Or(a.Out["NewExternalIPAddress"], a.Out["NewReservedPort"], "yes")
}

// disguised is a listener behind the router's srcnat rule, as masquerade is for packets:
// whoever connects, the box sees the router.
type disguised struct {
	net.Listener

	// as is the router's address.
	as netip.Addr
}

// Accept returns a connection of the router.
func (d *disguised) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &visitor{Conn: conn, from: netip.AddrPortFrom(d.as, addrPortOf(conn.RemoteAddr()).Port())}, nil
}

// visitor is a connection from somebody whom the router hides.
type visitor struct {
	net.Conn

	from netip.AddrPort
}

// RemoteAddr returns the router's address.
func (v *visitor) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(v.from) }
