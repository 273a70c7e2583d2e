package clients_test

import (
	"net/netip"
	"sync"
	"time"

	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// path is what a look at the way from the Internet to a client showed.
type path int

// What may be found. Only failed is doublenat's fault.
const (
	// reached is a told port that leads to the client.
	reached path = iota
	// refused is any moment in which the gateway has closed its NAT-PMP port.
	refused
	// taken is a port that the gateway took away: the mapping has another one, which
	// works, and the client has not asked since.
	taken
	// failed is everything else.
	failed

	paths // how many there are
)

// share counts what was found.
type share [paths]int

// of returns the part of one kind of path in all, or in all but those that are left out.
func (s share) of(p path, without ...path) float64 {
	all := 0
	for _, n := range s {
		all += n
	}
	for _, w := range without {
		all -= s[w]
	}
	if all == 0 {
		return 0
	}
	return float64(s[p]) / float64(all)
}

// probe looks along the way to all mappings of some clients.
type probe struct {
	bench   *lab.Bench
	refusal natpmptest.Outage
	takes   bool // the gateway takes ports away
	began   time.Time

	mu    sync.Mutex
	moved map[nat.Key]nat.Event // the last change of each mapping's port, guarded by mu
	moves int
	seen  map[nat.Key]*share // by the one goroutine that looks
}

func newProbe(bench *lab.Bench, profile natpmptest.Profile) *probe {
	return &probe{
		bench: bench, refusal: profile.Refusal, takes: profile.RotateEvery > 0 || profile.Refusal.Every > 0, began: time.Now(),
		moved: make(map[nat.Key]nat.Event), seen: make(map[nat.Key]*share),
	}
}

// observe is told by the daemon.
func (p *probe) observe(ev nat.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ev.Kind {
	case nat.EventPortChanged, nat.EventCreated:
		p.moved[ev.Mapping.Key] = ev
		if ev.Kind == nat.EventPortChanged {
			p.moves++
		}
	default:
	}
}

// look looks once along the way to each mapping of the clients.
func (p *probe) look(all []*client) {
	for _, c := range all {
		for _, op := range c.opcodes {
			k := c.knows(op)
			if k.port == 0 {
				continue // It was never told any.
			}
			key := nat.Key{Client: c.host, Protocol: nat.Protocol(op), InternalPort: c.port}
			if p.seen[key] == nil {
				p.seen[key] = new(share)
			}
			p.seen[key][p.find(key, k)]++
		}
	}
}

// find says how it stands with one mapping.
func (p *probe) find(key nat.Key, k told) path {
	switch {
	case p.refusing():
		return refused
	case p.leads(key, k.port):
		return reached
	}
	p.mu.Lock()
	last, ok := p.moved[key]
	p.mu.Unlock()
	if p.takes && ok && last.At.After(k.at) && p.leads(key, last.Mapping.ExternalPort) {
		return taken
	}
	return failed
}

// refusing says whether the gateway has closed its port.
func (p *probe) refusing() bool {
	every, lasting := p.refusal.Every, p.refusal.For
	return every > 0 && time.Since(p.began)%(every+lasting) >= every
}

// leads says whether a packet to an external port reaches the client: through the
// gateway's lease and the router's rule.
func (p *probe) leads(key nat.Key, external uint16) bool {
	lease, ok := p.bench.Gateway.Lookup(natpmp.Opcode(key.Protocol), external)
	if !ok {
		return false
	}
	to, _, ok := p.bench.Router.Match(key.Protocol.String(), routerostest.TunnelInterface, lease.Target.Port())
	return ok && to == netip.AddrPortFrom(key.Client, key.InternalPort)
}
