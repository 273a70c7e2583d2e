package natpmptest

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"doublenat/natpmp"
)

// Config is what a [Gateway] is made from.
type Config struct {
	// Profile is how the gateway behaves at first.
	Profile Profile
	// Address is the public address; the zero value means 5.6.7.8.
	Address netip.Addr
	// Seed decides about ports and faults.
	Seed uint64
	// OnChange is called after leases came, ended or moved and after the public
	// address changed, before the reply to the request that did it goes out; not
	// after a mere renewal. It is called by those who serve, and by callers of Restart,
	// SetAddress and MovePorts; it may call the gateway and should not block. Nil
	// means nobody is told.
	OnChange func()
	// Elsewhere is a socket with another address or port than the gateway's, from
	// which [LieElsewhere] is told; nil leaves that lie out. It stays the caller's.
	Elsewhere net.PacketConn
	// Speak answers in the place of the gateway's own NAT-PMP, for gateways that speak
	// another protocol, too; nil leaves everything to NAT-PMP. It returns the reply, or nil
	// for none, and must not call the gateway.
	Speak func(d *Desk, payload []byte) []byte
	// Journal is how many packets [Gateway.Journal] keeps; 0 means none.
	Journal int
}

// Stats counts what a gateway has seen and done.
type Stats struct {
	// Requests has how many packets came with each opcode, whatever else was wrong with them.
	Requests map[natpmp.Opcode]uint64
	// Results has how many true replies were made with each result, also those
	// that were lost afterwards.
	Results map[natpmp.ResultCode]uint64
	// Creates, Renewals and Deletes count what successful map requests meant.
	Creates, Renewals, Deletes uint64
	// Moves counts the leases, or pairs of them, that got another external port.
	Moves uint64
	// Expired counts the leases that ended without a renewal or deletion.
	Expired uint64
	// Ignored counts requests without a reply: malformed ones and those that came
	// while the gateway was silent.
	Ignored uint64
	// Lies counts the false replies.
	Lies uint64
	// Dropped counts packets lost by the faults of the profile, or because too
	// many were waiting.
	Dropped uint64
}

// Gateway is a NAT-PMP gateway. Its methods may be called from several
// goroutines, also while it serves.
type Gateway struct {
	cfg    Config
	start  time.Time
	thread chan struct{} // held by the request being served when they take time
	slots  chan struct{} // one for each packet that waits
	wake   chan struct{} // tells expireLeases that a lease ends sooner

	mu       sync.Mutex // guards what follows; held for moments only
	profile  Profile
	adjusted chan struct{} // closed when profile changes
	address  netip.Addr
	epochAt  time.Time // when the epoch was epoch
	epoch    uint32
	table    table
	next     []uint16 // see GrantNext
	refusing bool
	turned   chan struct{} // closed when refusing changes
	lies     int           // told so far
	previous []byte        // the last true reply, for LieLate
	replies  int           // made so far, for Profile.FlipEvery
	skipped  time.Duration // see Skip
	tally    tally
	stats    Stats
	journal  ring[Packet]
	changed  bool // OnChange is due
}

// maxWaiting is how many packets may wait for their delay to pass.
const maxWaiting = 4096

// New returns a gateway without leases. It serves nothing until [Gateway.Serve]
// or [Gateway.ListenAndServe] is called.
func New(cfg Config) (*Gateway, error) {
	if !cfg.Address.IsValid() {
		cfg.Address = netip.AddrFrom4([4]byte{5, 6, 7, 8})
	}
	if !cfg.Address.Is4() {
		return nil, errors.New("natpmptest: the public address is not an IPv4 address")
	}
	now := time.Now()
	return &Gateway{
		cfg:      cfg,
		start:    now,
		thread:   make(chan struct{}, 1),
		slots:    make(chan struct{}, maxWaiting),
		wake:     make(chan struct{}, 1),
		profile:  cfg.Profile.clone(),
		adjusted: make(chan struct{}),
		address:  cfg.Address,
		epochAt:  now,
		epoch:    cfg.Profile.EpochStart,
		table:    newTable(),
		turned:   make(chan struct{}),
		stats: Stats{
			Requests: make(map[natpmp.Opcode]uint64),
			Results:  make(map[natpmp.ResultCode]uint64),
		},
		journal: ring[Packet]{limit: cfg.Journal},
	}, nil
}

// update runs f, which may change leases, with the lock held, and reports what changed.
func (g *Gateway) update(f func(now time.Time)) {
	g.mu.Lock()
	now := time.Now()
	g.expireLocked(now)
	before := g.table.soonest
	f(now)
	sooner := !g.table.soonest.Equal(before)
	changed := g.changed
	g.changed = false
	g.mu.Unlock()
	if sooner {
		select {
		case g.wake <- struct{}{}:
		default: // it is going to look anyway
		}
	}
	if changed && g.cfg.OnChange != nil {
		g.cfg.OnChange()
	}
}

// look runs f, which only reads, with the lock held and the leases of this moment.
// When that ended some, expireLeases, whose timer is due, reports it.
func (g *Gateway) look(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expireLocked(time.Now())
	f()
}

// expireLocked ends the leases whose time is over.
func (g *Gateway) expireLocked(now time.Time) {
	if n := g.table.expire(now); n > 0 {
		g.stats.Expired += uint64(n)
		g.changed = true
	}
}

// Mappings returns the leases that stand, sorted by client, internal port and protocol.
func (g *Gateway) Mappings() []Mapping {
	var out []Mapping
	g.look(func() {
		for _, l := range g.table.sorted() {
			out = append(out, g.mappingLocked(l))
		}
	})
	return out
}

// Lookup returns the lease of an external port, or false when there is none: to
// its Target goes what arrives on that port at the public address.
func (g *Gateway) Lookup(protocol natpmp.Opcode, externalPort uint16) (Mapping, bool) {
	var (
		out Mapping
		ok  bool
	)
	g.look(func() {
		if l := g.table.at(protocol, externalPort); l != nil {
			out, ok = g.mappingLocked(l), true
		}
	})
	return out, ok
}

// mappingLocked returns a lease as others may see it.
func (g *Gateway) mappingLocked(l *lease) Mapping {
	port := l.internal
	if g.profile.DeliversExternal {
		port = l.external
	}
	return Mapping{
		Protocol:     l.protocol,
		ExternalPort: l.external,
		Client:       l.client,
		InternalPort: l.internal,
		Target:       netip.AddrPortFrom(l.client, port),
		Expires:      l.expires,
	}
}

// Stats returns a copy of the counters.
func (g *Gateway) Stats() Stats {
	var out Stats
	g.look(func() {
		out = g.stats
		out.Requests = maps.Clone(g.stats.Requests)
		out.Results = maps.Clone(g.stats.Results)
	})
	return out
}

// Journal returns the last [Config.Journal] packets, the oldest first: requests as
// [PacketDelivered] when they are carried out, replies as [PacketSent].
func (g *Gateway) Journal() []Packet {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.journal.all()
}

// Epoch returns the seconds since start of epoch (RFC 6886 §3.6).
func (g *Gateway) Epoch() uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.epochLocked(time.Now())
}

// epochLocked returns the epoch of a moment.
func (g *Gateway) epochLocked(now time.Time) uint32 {
	return g.epoch + uint32(now.Sub(g.epochAt)/time.Second) //nolint:gosec // wraps after 136 years, as on the wire
}

// replyEpochLocked returns the epoch of a reply, which is the second machine's when it
// is the one that answers.
func (g *Gateway) replyEpochLocked(now time.Time) uint32 {
	g.replies++
	if k := g.profile.FlipEvery; k > 0 && g.replies%k == 0 {
		return g.profile.FlipEpoch + uint32((now.Sub(g.start)+g.skipped)/time.Second) //nolint:gosec // as in epochLocked
	}
	return g.epochLocked(now)
}

// Address returns the public address; the zero value when there is none.
func (g *Gateway) Address() netip.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.address
}

// Announcement returns the packet that a gateway would send to 224.0.0.1:5350
// now (RFC 6886 §3.2.1). Sending it is up to the caller.
func (g *Gateway) Announcement() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.addressLocked(time.Now()).Append(nil)
}

// diceLocked returns the random numbers for something that happens now.
func (g *Gateway) diceLocked(h hash) dice {
	at := time.Since(g.start)
	return h.word(uint64(at)).word(g.tally.count(at, h)).dice() //nolint:gosec // any bits will do
}
