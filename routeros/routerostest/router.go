package routerostest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Config says what router to build. The zero value is a fast router with the
// newest version of the five that doublenat is tested with.
type Config struct {
	// Version is the RouterOS version, "6.49" or "7.1" and later; "7.22" if empty.
	Version string
	// ChallengeLogin makes the router know only the login of RouterOS before 6.43.
	ChallengeLogin bool
	// Latency is how long every command takes before it is carried out; those in
	// flight at the same time do not wait for each other. See also [Router.SetLatency].
	Latency time.Duration
	// Jitter is the most that a command takes on its way to the router. What one
	// takes is decided by the seed, the time and its words, not by the scheduler:
	// commands that are sent in the same instant arrive one after the other, in an order
	// that a replay repeats. 0 for none: they arrive at once, in the order of sending.
	Jitter time.Duration
	// Journal is how many commands the journal keeps, 4096 if 0; older ones are dropped.
	Journal int
	// ReuseIDs makes a restarted router hand out the highest freed ids again.
	ReuseIDs bool
	// PortColumns has the ports of /ip/firewall/connection in columns of their own, as the
	// manual has them, and not behind the addresses, as in rows that people recorded.
	PortColumns bool
	// Lists says how entries of address lists with a timeout behave where nobody has proved
	// what RouterOS does.
	Lists Lists
	// Seed feeds the faults that need chance. The same seed gives the same replies.
	Seed uint64
}

// The defaults of [Config].
const (
	defaultVersion = "7.22"
	defaultJournal = 4096
)

// Router is a RouterOS for tests. Its methods may be called at the same time
// from any goroutine. It is made by [New] and ended by [Router.Close].
type Router struct {
	version  version
	behavior behavior
	release  string
	config   Config
	// hookTurn has room for one: who has put something in runs the hook of OnChange.
	hookTurn chan struct{}
	// working counts the goroutines that Close waits for.
	working sync.WaitGroup

	// mu guards all that follows. It is never held across I/O or a hook.
	mu        sync.Mutex
	tables    map[string]*table
	sessions  map[*session]struct{}
	listeners map[net.Listener]struct{}
	listens   []*listen
	latencies map[string]time.Duration
	faults    []*armedFault
	injected  map[FaultKind]int
	journal   journal
	stats     Stats
	random    *rand.Rand
	// modeAsked is the device mode that waits for the button.
	modeAsked []argumentValue
	// booted is when the router came up, downUntil when it answers again.
	booted, downUntil time.Time
	writesSinceBoot   uint64
	lastSession       uint64
	onChange          func()
	// natChanges counts the changes of the NAT table, natSeen those of which the
	// hook has been told.
	natChanges, natSeen uint64
	closed              bool
}

// New builds the router with its default world. It starts nothing.
func New(cfg Config) (*Router, error) {
	if cfg.Version == "" {
		cfg.Version = defaultVersion
	}
	if cfg.Journal == 0 {
		cfg.Journal = defaultJournal
	}
	if cfg.Journal < 0 || cfg.Latency < 0 || cfg.Jitter < 0 {
		return nil, fmt.Errorf("routerostest: negative journal %d, latency %v or jitter %v", cfg.Journal, cfg.Latency, cfg.Jitter)
	}
	v, err := parseVersion(cfg.Version)
	if err != nil {
		return nil, fmt.Errorf("routerostest: %w", err)
	}
	r := &Router{
		version:   v,
		behavior:  behaviorOf(v),
		release:   cfg.Version,
		config:    cfg,
		hookTurn:  make(chan struct{}, 1),
		tables:    make(map[string]*table),
		sessions:  make(map[*session]struct{}),
		listeners: make(map[net.Listener]struct{}),
		latencies: make(map[string]time.Duration),
		injected:  make(map[FaultKind]int),
		journal:   journal{entries: make([]Entry, 0, min(cfg.Journal, 64)), limit: cfg.Journal},
		random:    rand.New(rand.NewPCG(cfg.Seed, 0)), //nolint:gosec // a test must be able to repeat it
		booted:    time.Now().Add(-time.Hour),
	}
	for path, m := range menus(v, r.behavior) {
		r.tables[path] = &table{menu: m}
	}
	r.furnish()
	return r, nil
}

// OnChange sets a function that is called after every change of the NAT table,
// before the client hears that it was made; nil for none. Calls never overlap.
// The function may read the router; it must not change its NAT table or close it.
func (r *Router) OnChange(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onChange = f
}

// changed calls the hook of OnChange if there is a change that it has not seen.
// On return the hook has ended for every change made before.
func (r *Router) changed() {
	r.mu.Lock()
	idle := r.onChange == nil || r.natSeen == r.natChanges && len(r.hookTurn) == 0
	r.mu.Unlock()
	if idle {
		return
	}
	r.hookTurn <- struct{}{}
	defer func() { <-r.hookTurn }()
	r.mu.Lock()
	hook, news := r.onChange, r.natSeen != r.natChanges
	r.natSeen = r.natChanges
	r.mu.Unlock()
	if hook != nil && news {
		hook()
	}
}

// SetLatency sets how long a command ("/ip/firewall/nat/add") takes from now on,
// instead of Config.Latency.
func (r *Router) SetLatency(command string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latencies[command] = d
}

// storedLocked is called after an item was made or changed.
func (r *Router) storedLocked(t *table, it *item) {
	r.touchedLocked(t)
	r.announceLocked(t, it, false)
}

// droppedLocked removes an item.
func (r *Router) droppedLocked(t *table, it *item) {
	for i := range t.items {
		if t.items[i] == it {
			t.items = append(t.items[:i:i], t.items[i+1:]...)
			break
		}
	}
	if t.menu.dropped != nil {
		t.menu.dropped(r, it)
	}
	if t.menu.path == addressListPath && r.config.Lists.ReuseIDs {
		t.freed = it.id
	}
	r.touchedLocked(t)
	r.announceLocked(t, it, true)
}

// touchedLocked brings up to date what depends on a table.
func (r *Router) touchedLocked(t *table) {
	switch t.menu.path {
	case natPath:
		r.natChanges++
	case filterPath:
		r.showFastTrackLocked()
	case "/ip/route", "/ip/address", "/interface":
		r.refreshRoutesLocked()
	}
}
