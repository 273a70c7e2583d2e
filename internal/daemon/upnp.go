package daemon

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"doublenat/igd"
	"doublenat/internal/config"
	"doublenat/internal/datagram"
	"doublenat/internal/ops"
	"doublenat/internal/router"
)

const (
	// entranceLook is how often the router is asked where it leads to us.
	entranceLook = 5 * time.Minute
	// deviceRetry is after how long a socket is opened again that died.
	deviceRetry = time.Minute
)

// upnpServer is the Internet gateway device of UPnP that clients find (UPNP=on).
type upnpServer struct {
	daemon   *Daemon
	at       netip.AddrPort // of its descriptions and control
	server   *igd.Server
	searches *datagram.Server
	boot     bootID
	// entrances are where the router leads to it, as far as is known.
	entrances atomic.Pointer[[]router.Entrance]
	// led has a value when the redirects were moved.
	led chan struct{}
	log *slog.Logger
}

// makeUPnP makes the device of UPnP, if one is wanted.
func (d *Daemon) makeUPnP(Options) error {
	if !d.cfg.UPnP.IsValid() {
		return nil
	}
	v := &upnpServer{daemon: d, at: d.cfg.UPnP, led: make(chan struct{}, 1), log: d.log.With("component", "upnp")}
	v.boot.begin(time.Now())
	var err error
	v.server, err = igd.NewServer(igd.ServerConfig{
		Handler: timedIGD{d.frontend, d}, UUID: d.uuid(), Boot: v.boot.Load, Location: v.location, Admit: d.admit,
		Exact: d.frontend.Exact, Release: d.version, Logger: v.log,
	})
	if err != nil {
		return err
	}
	v.searches, err = datagram.NewServer(datagram.Config{
		Protocol: func(byte) datagram.Protocol { return v.server.Searches() },
		Group:    igd.SearchGroup(), Admit: v.admit, Logger: v.log,
	})
	d.upnp = v
	return err
}

// uuid tells the device from all others on its links, and is the same after a restart: there
// is one doublenat of a name for a router.
func (d *Daemon) uuid() (id [16]byte) {
	sum := sha256.Sum256(fmt.Appendf(nil, "doublenat upnp %s %s", d.cfg.Instance, d.cfg.Router))
	copy(id[:], sum[:])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // RFC 9562 §5.8
	return id
}

// bootID is BOOTID.UPNP.ORG: when the epoch began, in seconds of Unix. It stays as it is until
// state is lost, whatever becomes of the clock, and grows then (UDA 1.1 §1.2.2). Only a clock
// that is behind at the next start makes it smaller.
type bootID struct{ atomic.Uint32 }

// begin begins another epoch.
func (b *bootID) begin(now time.Time) {
	for {
		before := b.Load()
		if b.CompareAndSwap(before, max(before+1, uint32(now.Unix()))) { //nolint:gosec // 31 bits of it are used
			return
		}
	}
}

// timedIGD is a handler that tells how long clients wait for their answer.
type timedIGD struct {
	igd.Handler

	d *Daemon
}

func (h timedIGD) AddPortMapping(ctx context.Context, from igd.Arrival, m igd.Mapping, choice igd.Choice) (uint16, error) {
	defer func() { h.d.monitor.Observe(ops.HopLAN, time.Since(from.At)) }()
	return h.Handler.AddPortMapping(ctx, from, m, choice)
}

func (h timedIGD) DeletePortMapping(ctx context.Context, from igd.Arrival, p igd.Protocol, external uint16) error {
	defer func() { h.d.monitor.Observe(ops.HopLAN, time.Since(from.At)) }()
	return h.Handler.DeletePortMapping(ctx, from, p, external)
}

// admit says whether a search gets an answer: one to the group came in on a link on which
// clients are.
func (v *upnpServer) admit(a datagram.Arrival) bool {
	if a.Destination == igd.SearchGroup() {
		return v.daemon.role() == roleActive && v.daemon.frontend.Admit(a)
	}
	return v.daemon.admit(a)
}

// deviceSockets are those at which the device is searched for and asked.
type deviceSockets struct {
	searches net.PacketConn
	control  net.Listener
}

// close closes sockets on which nothing was served, if there are any.
func (s deviceSockets) close() {
	if s.searches != nil {
		_, _ = s.searches.Close(), s.control.Close() // they are of no use
	}
}

// open opens the device's sockets, and says what to do if it cannot.
func (v *upnpServer) open(ctx context.Context) (deviceSockets, error) {
	searches, err := v.daemon.net.ListenSearches(ctx, v.at.Addr())
	if err != nil {
		return deviceSockets{}, fmt.Errorf("opening UDP port %d for UPnP's searches (does another program answer them without sharing the port?): %w", igd.SearchPort, err)
	}
	control, err := v.daemon.net.ListenDevice(ctx, v.at)
	if err != nil {
		_ = searches.Close() // it is of no use alone
		return deviceSockets{}, fmt.Errorf("opening UPNP_ADDR %s (is another program listening there, or is the address not this host's?): %w", v.at, err)
	}
	return deviceSockets{searches, control}, nil
}

// listenUPnP opens the device's sockets, if there is one, before anything is done: one that cannot
// be opened is a mistake of the operator's, unless it could be before.
func (d *Daemon) listenUPnP(ctx context.Context) (deviceSockets, error) {
	if d.upnp == nil || d.term != nil && d.term.terms > 0 {
		return deviceSockets{}, nil
	}
	return d.upnp.open(ctx)
}

// run serves the device on its sockets until ctx ends. Mappings matter more than they do: when
// one dies mappings live on, and it is opened again. A daemon that stood by has none yet.
func (v *upnpServer) run(ctx context.Context, at deviceSockets) {
	if at.searches == nil {
		var err error
		if at, err = v.open(ctx); err != nil {
			v.log.ErrorContext(ctx, "UPnP cannot be answered, reopening its sockets", "error", err)
			var ok bool
			if at, ok = v.reopen(ctx); !ok {
				return
			}
		}
	}
	for {
		err := v.serve(ctx, at)
		if ctx.Err() != nil {
			return
		}
		v.log.ErrorContext(ctx, "UPnP stopped answering, reopening its sockets", "error", err)
		var ok bool
		if at, ok = v.reopen(ctx); !ok {
			return
		}
	}
}

// reopen opens the device's sockets when that is possible again, false for ctx's end.
func (v *upnpServer) reopen(ctx context.Context) (deviceSockets, bool) {
	ticker := time.NewTicker(deviceRetry)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return deviceSockets{}, false
		case <-ticker.C:
		}
		at, err := v.open(ctx)
		if err == nil {
			return at, true
		}
		v.log.DebugContext(ctx, "cannot open the sockets of UPnP", "error", err)
	}
}

// serve serves the device on its sockets, which it closes, until ctx ends or one of them dies.
func (v *upnpServer) serve(ctx context.Context, at deviceSockets) error {
	defer at.searches.Close()
	v.log.InfoContext(ctx, "answering UPnP", "upnp", v.at.String())
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return v.searches.Serve(ctx, at.searches) })
	parts.Go(func() error { return v.server.Serve(ctx, at.control) })
	parts.Go(func() error { v.lookForEntrances(ctx); return nil })
	if conn, ok := at.searches.(*net.UDPConn); ok && !v.at.Addr().IsLoopback() {
		parts.Go(func() error { return v.join(ctx, conn) })
		parts.Go(func() error { return v.server.Notify(ctx, func() []igd.Link { return v.links(conn) }) })
	}
	return parts.Wait()
}

// join keeps the socket of searches in their group until ctx ends.
func (v *upnpServer) join(ctx context.Context, conn *net.UDPConn) error {
	m, err := datagram.NewMembership(datagram.MembershipConfig{
		Socket: datagram.Socket(conn), Group: igd.SearchGroup(), Interfaces: v.interfaces, Logger: v.log,
	})
	if err != nil {
		return err
	}
	return m.Run(ctx)
}

// lookForEntrances keeps what is known of where the router leads to the device.
func (v *upnpServer) lookForEntrances(ctx context.Context) {
	ticker := time.NewTicker(entranceLook)
	defer ticker.Stop()
	for {
		found, err := v.daemon.router.Entrances(ctx, v.addresses())
		switch before := v.entrances.Load(); {
		case err != nil:
			v.log.DebugContext(ctx, "cannot tell where the router redirects UPnP", "error", err)
		case before == nil || !slices.Equal(*before, found):
			v.entrances.Store(&found)
			if len(found) > 0 {
				v.log.InfoContext(ctx, "router redirects UPnP, announcing the router's address", "port", found[0].Port)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-v.led:
		}
	}
}

// ledHere tells that the router may lead here now, so that clients hear of its address at once.
func (v *upnpServer) ledHere() {
	select {
	case v.led <- struct{}{}:
	default: // it is about to be looked at
	}
}

// addresses are those of the device to which the router may lead.
func (v *upnpServer) addresses() []netip.AddrPort {
	if !v.at.Addr().IsUnspecified() {
		return []netip.AddrPort{v.at}
	}
	var all []netip.AddrPort
	links, _ := lans()
	for _, l := range links {
		all = append(all, netip.AddrPortFrom(l.prefix.Addr(), v.at.Port()))
	}
	return all
}

// location returns where a client finds the descriptions: at the router, if that leads here,
// for some programs compare it with their gateway; else at UPNP_ADDR, and if that is all
// addresses where it asked, or at ours on the link of its search.
func (v *upnpServer) location(from datagram.Arrival) netip.AddrPort {
	if at, ok := v.entrance(from.Client.Addr()); ok {
		return at
	}
	to := from.Destination
	if !v.at.Addr().IsUnspecified() || !to.IsValid() || to.IsMulticast() {
		to = v.addressOn(from.Interface, from.Client.Addr())
	}
	if !to.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(to, v.at.Port())
}

// entrance returns where the router leads a client to the device: at the router's address in the
// client's network, which is its gateway, if there is such an entrance.
func (v *upnpServer) entrance(client netip.Addr) (netip.AddrPort, bool) {
	found := v.entrances.Load()
	if found == nil {
		return netip.AddrPort{}, false
	}
	towards, near := v.daemon.router.AddressTowards(client)
	var at netip.AddrPort
	for _, e := range *found {
		switch {
		case near && (e.Addr == towards || !e.Addr.IsValid()):
			return netip.AddrPortFrom(towards, e.Port), true
		case !at.IsValid() && e.Addr.IsValid():
			at = netip.AddrPortFrom(e.Addr, e.Port)
		}
	}
	return at, at.IsValid()
}

// addressOn returns this host's address on a link, the one in the client's network if there
// is one; the zero Addr if there is none.
func (v *upnpServer) addressOn(index int, client netip.Addr) (found netip.Addr) {
	if !v.at.Addr().IsUnspecified() {
		return v.at.Addr()
	}
	links, _ := lans()
	for _, l := range links {
		switch {
		case index != 0 && l.index != index:
		case l.prefix.Contains(client):
			return l.prefix.Addr()
		case !found.IsValid() && index != 0:
			found = l.prefix.Addr()
		}
	}
	return found
}

// clientLinks are the links on which clients of UPnP may be. A routed pair is one of them: a
// container's may be a port of the LAN's bridge.
func (v *upnpServer) clientLinks() []lan {
	all, err := lans()
	if err != nil {
		return nil
	}
	cfg := v.daemon.cfg
	cfg.Listen, cfg.Announce = v.at, config.Announce{Mode: config.AnnounceOn, Interfaces: cfg.Announce.Interfaces}
	found, _ := choose(all, cfg)
	return found
}

// interfaces are those on which searches are heard.
func (v *upnpServer) interfaces() []int {
	var all []int
	for _, l := range v.clientLinks() {
		all = append(all, l.index)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// links are those on which the device is announced.
func (v *upnpServer) links(conn *net.UDPConn) []igd.Link {
	var all []igd.Link
	for _, l := range v.clientLinks() {
		own := l.prefix.Addr()
		at := netip.AddrPortFrom(own, v.at.Port())
		if led, ok := v.entrance(own); ok {
			at = led
		}
		link := igd.LinkOn(conn, l.index, own, at)
		link.Send = v.whileActive(link.Send)
		all = append(all, link)
	}
	return all
}

// whileActive returns what sends while we are the active one. At the end of a term that was lost the
// farewell would take the device of the next active one from the clients, which has the same name.
func (v *upnpServer) whileActive(send func([]byte) error) func([]byte) error {
	return func(packet []byte) error {
		if v.daemon.role() != roleActive {
			return nil
		}
		return send(packet)
	}
}

// listenSearches opens the socket of searches. On loopback there is no multicast.
func listenSearches(ctx context.Context, at netip.Addr) (net.PacketConn, error) {
	if at.IsLoopback() {
		var lc net.ListenConfig
		return lc.ListenPacket(ctx, "udp4", netip.AddrPortFrom(at, igd.SearchPort).String())
	}
	conn, err := datagram.ListenGroup(ctx, igd.SearchPort)
	if err != nil {
		return nil, err // no interface that holds a nil pointer
	}
	return conn, nil
}

// listenDevice opens the socket of descriptions and control.
func listenDevice(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp4", at.String())
}
