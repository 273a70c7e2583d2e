package frontend

import (
	"context"
	"net/netip"
	"time"

	"doublenat/internal/nat"
	"doublenat/pcp"
)

const (
	// updateCopies is how often an update is sent, and updateGap the time to the second copy;
	// that to the third is twice as long (RFC 6887 §14.2).
	updateCopies = 3
	updateGap    = 250 * time.Millisecond
	// maxUpdates is how many are under way at once. Clients that are told of none hear of it
	// when they renew.
	maxUpdates = 64
)

// Updater tells clients of PCP that their mappings have another external port, without being
// asked (RFC 6887 §14.2). It need not be run: then nobody is told.
type Updater struct {
	f     *Frontend
	epoch func() uint32
	news  chan nat.Mapping
}

// NewUpdater returns one for the clients of a frontend. Epoch is that of the server.
func NewUpdater(f *Frontend, epoch func() uint32) *Updater {
	return &Updater{f: f, epoch: epoch, news: make(chan nat.Mapping, maxUpdates)}
}

// Observe is to be told of the core's events. It does not block.
func (u *Updater) Observe(ev nat.Event) {
	if ev.Kind != nat.EventPortChanged || !ev.Untold {
		return
	}
	if _, ok := u.f.keepers.keeperOf(ev.Mapping.Key); !ok {
		return
	}
	select {
	case u.news <- ev.Mapping:
	default: // There are more than anybody would read.
	}
}

// Run sends updates until the context ends, those under way at once each in its turn.
func (u *Updater) Run(ctx context.Context) {
	under := make(map[nat.Key]*update)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case m := <-u.news:
			u.begin(under, m)
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		timer.Reset(u.turn(ctx, under))
	}
}

// update is one mapping of which a client is being told.
type update struct {
	port  uint16
	until time.Time
	// asked is when the client asked last: when it does so again it knows.
	asked time.Time
	sent  int
	due   time.Time
}

// begin begins to tell a client of its mapping, or tells it something newer from now on.
func (u *Updater) begin(under map[nat.Key]*update, m nat.Mapping) {
	has, ok := u.f.keepers.keeperOf(m.Key)
	if !ok || under[m.Key] == nil && len(under) >= maxUpdates {
		return
	}
	under[m.Key] = &update{port: m.ExternalPort, until: m.Until, asked: has.from.At, due: time.Now()}
}

// turn sends what is due, and returns the time until the next copy.
func (u *Updater) turn(ctx context.Context, under map[nat.Key]*update) time.Duration {
	next := time.Hour
	for key, one := range under {
		if wait := time.Until(one.due); wait > 0 {
			next = min(next, wait)
			continue
		}
		if !u.send(ctx, key, one) {
			delete(under, key)
			continue
		}
		gap := updateGap << (one.sent - 1)
		one.due = time.Now().Add(gap)
		next = min(next, gap)
	}
	return next
}

// send sends one copy, and says whether there is to be another.
func (u *Updater) send(ctx context.Context, key nat.Key, one *update) bool {
	has, ok := u.f.keepers.keeperOf(key)
	addr, known := u.f.external()
	left := time.Until(one.until).Truncate(time.Second)
	if !ok || !known || has.from.At != one.asked || left <= 0 {
		return false
	}
	if err := has.from.Send(u.packet(key, has, addr, one.port, left)); err != nil {
		u.f.log.DebugContext(ctx, "update not sent", "client", has.from.Client, "error", err)
	}
	u.f.count.updates.Add(1)
	one.sent++
	return one.sent < updateCopies
}

// packet is the answer that a request for the mapping would have now.
func (u *Updater) packet(key nat.Key, has keeper, addr netip.Addr, port uint16, left time.Duration) []byte {
	req := pcp.Request{Map: pcp.Map{Nonce: pcp.Nonce(has.nonce), Protocol: pcpProtocol(key.Protocol), InternalPort: key.InternalPort}}
	return pcp.NewResponse(req, u.epoch(), addr, port, left).Append(nil)
}

// pcpProtocol returns a protocol by its number in PCP.
func pcpProtocol(p nat.Protocol) pcp.Protocol {
	if p == nat.UDP {
		return pcp.UDP
	}
	return pcp.TCP
}
