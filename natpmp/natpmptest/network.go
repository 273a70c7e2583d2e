package natpmptest

import (
	"bytes"
	"cmp"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// NetworkConfig is what a [Network] is made from. The zero value is a network
// that delivers everything at once.
type NetworkConfig struct {
	// Seed decides which packets meet a fault.
	Seed uint64
	// Latency is what every packet takes, whatever its path's faults. With 0 a
	// packet of a perfect path is in the receiver's queue when Write returns, and
	// packets arrive in the order in which they were written. With more, packets that
	// arrive in the same instant do so in an order which the seed and their
	// contents decide and not the scheduler: choose it where whole runs have to replay.
	Latency time.Duration
	// Queue is how many packets a socket holds until they are read; 0 means 256.
	Queue int
	// Capture is how many entries [Network.Packets] keeps; 0 means none.
	Capture int
}

// The bounds of a network.
const (
	defaultQueue   = 256
	maxFlights     = 65536 // packets that are on their way
	maxPeers       = 4096  // what a wildcard socket remembers, see socket.sourceFor
	firstEphemeral = 49152
)

// Network is UDP over IPv4 in memory. Every address exists on it. Its methods
// and those of its sockets may be called from several goroutines.
type Network struct {
	cfg   NetworkConfig
	start time.Time

	mu        sync.Mutex // guards what follows; held for moments only
	closed    bool
	sockets   map[netip.AddrPort][]*socket
	ephemeral map[netip.Addr]uint16 // the port given last
	paths     []pathFaults          // in the order in which they were set
	flights   flights
	timer     *time.Timer // runs land at the next arrival; nil until the first
	tally     tally
	counts    [kinds]uint64
	capture   ring[captured]
}

// pathFaults has the faults of one path.
type pathFaults struct {
	path   Path
	faults Faults
}

// captured is an entry of the capture with its place among those of its instant.
type captured struct {
	Packet
	order hash
}

// NewNetwork returns an empty network.
func NewNetwork(cfg NetworkConfig) *Network {
	if cfg.Queue <= 0 {
		cfg.Queue = defaultQueue
	}
	return &Network{
		cfg:       cfg,
		start:     time.Now(),
		sockets:   make(map[netip.AddrPort][]*socket),
		ephemeral: make(map[netip.Addr]uint16),
		capture:   ring[captured]{limit: cfg.Capture},
	}
}

// Listen opens a socket that receives from everybody. The address may be
// 0.0.0.0: the socket then gets what no other socket of its port gets, and
// answers each peer from the address that the peer wrote to. Port 0 chooses a
// free one. Several sockets may listen on one multicast address.
func (n *Network) Listen(local netip.AddrPort) (net.PacketConn, error) {
	s, err := n.open("listen", local, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Dial opens a connected socket, which receives from its peer alone. A packet to
// a peer that has no socket makes the next Read or Write fail once with an
// error for which errors.Is(err, syscall.ECONNREFUSED). Port 0 of the local
// address chooses a free one.
func (n *Network) Dial(local, remote netip.AddrPort) (net.Conn, error) {
	if !remote.IsValid() || remote.Port() == 0 {
		return nil, opError("dial", local, remote, syscall.EADDRNOTAVAIL)
	}
	s, err := n.open("dial", local, remote)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// open makes a socket; a valid remote connects it.
func (n *Network) open(op string, local, remote netip.AddrPort) (*socket, error) {
	local, remote = unmap(local), unmap(remote)
	if !local.Addr().Is4() {
		return nil, opError(op, local, remote, syscall.EAFNOSUPPORT)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, opError(op, local, remote, net.ErrClosed)
	}
	if local.Port() == 0 {
		port, ok := n.ephemeralLocked(local.Addr())
		if !ok {
			return nil, opError(op, local, remote, syscall.EADDRINUSE)
		}
		local = netip.AddrPortFrom(local.Addr(), port)
	} else if len(n.sockets[local]) > 0 && !local.Addr().IsMulticast() {
		return nil, opError(op, local, remote, syscall.EADDRINUSE)
	}
	s := newSocket(n, local, remote)
	n.sockets[local] = append(n.sockets[local], s)
	return s, nil
}

// ephemeralLocked returns the next free port of an address. Ports come in turn,
// so that a late reply to a closed socket does not soon meet a new one.
func (n *Network) ephemeralLocked(a netip.Addr) (uint16, bool) {
	port := max(n.ephemeral[a], firstEphemeral-1)
	for range 65536 - firstEphemeral {
		if port++; port == 0 {
			port = firstEphemeral
		}
		if len(n.sockets[netip.AddrPortFrom(a, port)]) == 0 {
			n.ephemeral[a] = port
			return port, true
		}
	}
	return 0, false
}

// SetFaults sets what happens on a path from now on; packets on their way keep
// their fate. The zero Faults make the path perfect. Where several paths have a
// packet, the one set last decides.
func (n *Network) SetFaults(p Path, f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paths = slices.DeleteFunc(n.paths, func(pf pathFaults) bool { return pf.path == p })
	n.paths = append(n.paths, pathFaults{path: p, faults: f})
}

// ClearFaults makes all paths perfect.
func (n *Network) ClearFaults() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paths = nil
}

// Inject sends a packet with a source of the caller's choice, as a forger would.
// It takes the latency of the network and meets no fault.
func (n *Network) Inject(from, to netip.AddrPort, payload []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	p := Packet{At: time.Now(), From: unmap(from), To: unmap(to), Payload: bytes.Clone(payload)}
	order := n.orderLocked(p)
	n.noteLocked(PacketInjected, p, order)
	n.launchLocked(flight{packet: p, order: order}, n.cfg.Latency)
}

// Counts returns how often each kind of thing has happened.
func (n *Network) Counts() map[Kind]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make(map[Kind]uint64, kinds)
	for k, c := range n.counts {
		if c > 0 {
			out[Kind(k)] = c
		}
	}
	return out
}

// Packets returns the last [NetworkConfig.Capture] entries of the capture, of the
// given kinds or of all, the oldest first.
func (n *Network) Packets(of ...Kind) []Packet {
	n.mu.Lock()
	all := n.capture.all()
	n.mu.Unlock()
	if n.cfg.Latency > 0 {
		slices.SortStableFunc(all, func(a, b captured) int {
			return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.order, b.order), cmp.Compare(a.Kind, b.Kind))
		})
	}
	var out []Packet
	for _, c := range all {
		if len(of) == 0 || slices.Contains(of, c.Kind) {
			out = append(out, c.Packet)
		}
	}
	return out
}

// Close closes all sockets and drops what is on its way. It returns nil, also
// when called again.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	n.flights = nil
	if n.timer != nil {
		n.timer.Stop()
	}
	var open []*socket
	for _, at := range n.sockets {
		open = append(open, at...)
	}
	n.mu.Unlock()
	var errs []error
	for _, s := range open {
		if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// remove forgets a socket that closes.
func (n *Network) remove(s *socket) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rest := slices.DeleteFunc(n.sockets[s.local], func(o *socket) bool { return o == s })
	if len(rest) == 0 {
		delete(n.sockets, s.local)
		return
	}
	n.sockets[s.local] = rest
}

// unmap returns the address in its IPv4 form where it has one.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// opError returns an error in the form of those of package net.
func opError(op string, local, remote netip.AddrPort, err error) error {
	out := &net.OpError{Op: op, Net: "udp", Err: err}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		out.Err = os.NewSyscallError(op, errno)
	}
	if local.IsValid() {
		out.Source = net.UDPAddrFromAddrPort(local)
	}
	if remote.IsValid() {
		out.Addr = net.UDPAddrFromAddrPort(remote)
	}
	return out
}
