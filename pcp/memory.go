package pcp

import (
	"io"
	"net/netip"
	"sync"
	"time"
)

// maxHeld bounds for how long a refusal is held against a request, whatever the gateway
// says: it is the longest that RFC 6887 §7.4 recommends.
const maxHeld = LongErrorLifetime

// portKey is a mapping as its client knows it.
type portKey struct {
	protocol Protocol
	port     uint16
}

// wish is what makes two requests for a mapping the same (RFC 6887 §8.3).
type wish struct {
	portKey

	external uint16
	address  netip.Addr
	onlyThis bool
	identity netip.Addr
}

// standing is what is known of a mapping.
type standing struct {
	nonce Nonce
	// until is when the mapping has ended, as far as is known.
	until time.Time
	// external is what was granted last; the zero AddrPort for nothing.
	external netip.AddrPort
}

// memory has what a client has to remember between requests. It is safe for concurrent use.
type memory struct {
	draw func(Protocol, uint16) Nonce // nil for random ones

	mu sync.Mutex // guards what follows, and reading random
	// random is where nonces and jitter come from.
	random io.Reader
	// mappings has those that may stand.
	mappings map[portKey]*standing
	// held has until when a request is not to be repeated, and why.
	held map[wish]refusal
	// sweepAt is how many mappings and refusals there may be until those are looked for
	// whose time is over.
	sweepAt int
	// identity is the own address that was used last; the zero Addr for none.
	identity netip.Addr
}

// refusal is a failure that lasts.
type refusal struct {
	result ResultCode
	until  time.Time
}

// firstSweep is how much is remembered before it is looked through for the first time.
const firstSweep = 64

func newMemory(random io.Reader, draw func(Protocol, uint16) Nonce) *memory {
	return &memory{
		random: random, draw: draw, mappings: make(map[portKey]*standing), held: make(map[wish]refusal), sweepAt: firstSweep,
	}
}

// shortestGrant is the shortest lifetime that a server should grant whatever it was asked
// for (RFC 6887 §15). A mapping that was granted without our hearing of it may last so long.
const shortestGrant = 2 * time.Minute

// nonce returns the nonce of a mapping, which is kept until it has ended: for as long as is
// asked for from now on, should nothing be heard of it. 0 is a deletion.
func (m *memory) nonce(key portKey, now time.Time, lasts time.Duration) (Nonce, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.mappings[key]
	if s == nil || now.After(s.until) {
		m.sweepLocked(now)
		s = &standing{}
		if m.draw != nil {
			s.nonce = m.draw(key.protocol, key.port)
		} else if _, err := io.ReadFull(m.random, s.nonce[:]); err != nil {
			return Nonce{}, err
		}
		m.mappings[key] = s
	}
	if lasts > 0 {
		s.until = later(s.until, now.Add(max(lasts, shortestGrant)))
	}
	return s.nonce, nil
}

// later returns the later moment.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// granted notes what was granted.
func (m *memory) granted(key portKey, external netip.AddrPort, now time.Time, lasts time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.mappings[key]; s != nil {
		s.external, s.until = external, later(s.until, now.Add(lasts))
	}
}

// ended forgets a mapping that is gone.
func (m *memory) ended(key portKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.mappings, key)
}

// news says whether a success that nobody asked for tells of a mapping of ours, with
// another port or address than is known.
func (m *memory) news(resp Response) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.mappings[portKey{resp.Map.Protocol, resp.Map.InternalPort}]
	return s != nil && s.nonce == resp.Map.Nonce && s.external.IsValid() &&
		s.external != netip.AddrPortFrom(resp.Map.ExternalAddress, resp.Map.ExternalPort)
}

// hold notes a refusal.
func (m *memory) hold(w wish, result ResultCode, now time.Time, lasts time.Duration) {
	if lasts = min(lasts, maxHeld); lasts <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweepLocked(now)
	m.held[w] = refusal{result: result, until: now.Add(lasts)}
}

// refused returns the refusal that is held against a request.
func (m *memory) refused(w wish, now time.Time) (*ResultError, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.held[w]
	if !ok || !now.Before(r.until) {
		return nil, false
	}
	return &ResultError{Opcode: OpMap, Result: r.result, Lifetime: r.until.Sub(now), Held: true}, true
}

// forgive forgets all refusals: the gateway may have changed its mind.
func (m *memory) forgive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.held)
}

// sweepLocked forgets what is over, once there is twice as much as was left last time.
func (m *memory) sweepLocked(now time.Time) {
	if len(m.mappings)+len(m.held) < m.sweepAt {
		return
	}
	for key, s := range m.mappings {
		if now.After(s.until) {
			delete(m.mappings, key)
		}
	}
	for w, r := range m.held {
		if !now.Before(r.until) {
			delete(m.held, w)
		}
	}
	m.sweepAt = max(2*(len(m.mappings)+len(m.held)), firstSweep)
}

// identify notes the own address, and returns the one before if it is another.
func (m *memory) identify(now netip.Addr) (before netip.Addr, changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, m.identity = m.identity, now
	return before, before.IsValid() && before != now
}

// spread returns the factor 1+RAND of RFC 6887 §8.1.1, RAND being -0.1 to 0.1.
func (m *memory) spread() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b [2]byte
	if _, err := io.ReadFull(m.random, b[:]); err != nil {
		return 1 // The times then are those without jitter.
	}
	return 0.9 + 0.2*float64(uint16(b[0])<<8|uint16(b[1]))/(1<<16-1)
}
