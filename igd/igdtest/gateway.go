package igdtest

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"doublenat/igd"
)

// Config is what a [Gateway] is made from.
type Config struct {
	// Profile is how the gateway behaves at first.
	Profile Profile
	// Address is the public address; the zero value means 5.6.7.8.
	Address netip.Addr
	// OnChange is called after mappings came, ended or moved by a request. It may call the
	// gateway and should not block. Nil means nobody is told.
	OnChange func()
	// OnAction is called after an action was carried out, before its answer goes out, by as
	// many goroutines as there are connections. It may call the gateway and should not block.
	// Nil means nobody is told.
	OnAction func(a Action)
}

// Action is something that a gateway was asked for over HTTP, and its answer.
type Action struct {
	// Name is that of the action.
	Name string
	// Args are its arguments. They are shared and must not be changed.
	Args map[string]string
	// Out is what it returned.
	Out map[string]string
	// Code says why it was refused; 0 means that it was not.
	Code igd.Code
	// At is when it came, Answered when it had been carried out.
	At, Answered time.Time
}

// Stats counts what a gateway has seen and done.
type Stats struct {
	// Actions has how often each action was asked for; Failures what was answered to how many.
	Actions  map[string]int
	Failures map[igd.Code]int
	// Creates, Renewals and Deletes count what was done.
	Creates, Renewals, Deletes int
	// Descriptions is how often the description was read; Searches how many packets came
	// to [Gateway.ServeSearch].
	Descriptions, Searches int
	// Connections is how many there were.
	Connections int
}

// Gateway is a UPnP Internet Gateway Device. Its methods may be called from several
// goroutines, also while it serves.
type Gateway struct {
	cfg Config

	mu      sync.Mutex // guards what follows; held for moments only
	profile Profile
	address netip.Addr
	table   map[outer]*entry
	stats   Stats
	at      netip.AddrPort // where it serves HTTP
	boot    int
	turn    int // of Profile.Answers
	lost    int // answers, for Profile.LoseAnswers
}

// New returns a gateway without mappings. It serves nothing until [Gateway.Serve] is called.
func New(cfg Config) *Gateway {
	if !cfg.Address.IsValid() {
		cfg.Address = netip.AddrFrom4([4]byte{5, 6, 7, 8})
	}
	return &Gateway{
		cfg: cfg, profile: cfg.Profile, address: cfg.Address, table: make(map[outer]*entry), boot: 1,
		stats: Stats{Actions: make(map[string]int), Failures: make(map[igd.Code]int)},
	}
}

// Profile returns how the gateway behaves now.
func (g *Gateway) Profile() Profile {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.profile
}

// Adjust changes how the gateway behaves, from the next request on. The function must
// not call the gateway.
func (g *Gateway) Adjust(change func(p *Profile)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.profile)
}

// Restart makes the gateway another one, with another BOOTID. The mappings are forgotten
// unless they are kept.
func (g *Gateway) Restart(keep bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.boot++
	if !keep {
		clear(g.table)
	}
}

// Forget makes a mapping vanish without a word.
func (g *Gateway) Forget(p igd.Protocol, external uint16) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.table, outer{p, external})
}

// Put makes a mapping that nobody asked for, as one of another host.
func (g *Gateway) Put(m igd.Mapping) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := &entry{Mapping: m, made: time.Now()}
	if m.Lease > 0 {
		e.expires = e.made.Add(m.Lease)
	}
	g.table[outer{m.Protocol, m.External}] = e
}

// SetAddress changes the public address. The zero value takes it away.
func (g *Gateway) SetAddress(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.address = a
}

// Mappings returns the mappings that stand, sorted by external port and protocol, with
// what is left of their leases.
func (g *Gateway) Mappings() []igd.Mapping {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sortedLocked(time.Now())
}

// Stats returns a copy of the counters.
func (g *Gateway) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.stats
	out.Actions, out.Failures = maps.Clone(out.Actions), maps.Clone(out.Failures)
	return out
}

// Calls returns how many actions were asked for.
func (g *Gateway) Calls() int {
	n := 0
	for _, c := range g.Stats().Actions {
		n += c
	}
	return n
}
