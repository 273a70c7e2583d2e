package nat

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Service holds the table of mappings and keeps both layers equal to it. Make one
// with [New]; its methods may be called from any goroutine.
type Service struct {
	cfg Config
	log *slog.Logger

	// locks keeps the requests for one client port in order. Whoever holds one may
	// wait for the network.
	locks portLocks
	// ready is closed when the router's rules were read for the first time: only
	// then it is known which ports are free and which mappings are to be adopted.
	ready chan struct{}
	// wake makes the scheduler look at the table again, recheck makes the
	// reconciler compare at once, lost makes all leases be asked for again.
	wake, recheck, lost chan struct{}
	// work counts requests and background work under way.
	work sync.WaitGroup

	// mu guards everything below: memory only, never held across a call to a layer.
	mu       sync.Mutex
	stopped  bool
	entries  map[Key]*entry
	creating map[Key]bool       // keys that count against the limits and have no entry yet
	perHost  map[netip.Addr]int // entries and creating, by client
	inflight map[Key]*mapOp
	cancels  map[uint64]context.CancelFunc // of all work that a client caused
	began    uint64                        // number of the last such work
	debts    map[debtKey]*debt
	ports    ports
	forwards []Forward
	snapshot uint64    // number of the last snapshot that was begun
	doubted  time.Time // when the gateway last lost its state; zero for never
	status   Status
}

// New checks the configuration and returns a service that does nothing before [Service.Run].
func New(cfg Config) (*Service, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	return &Service{
		cfg:      cfg,
		log:      cfg.Logger,
		ready:    make(chan struct{}),
		wake:     make(chan struct{}, 1),
		recheck:  make(chan struct{}, 1),
		lost:     make(chan struct{}, 1),
		entries:  make(map[Key]*entry),
		creating: make(map[Key]bool),
		perHost:  make(map[netip.Addr]int),
		inflight: make(map[Key]*mapOp),
		cancels:  make(map[uint64]context.CancelFunc),
		debts:    make(map[debtKey]*debt),
		ports:    newPorts(&cfg),
	}, nil
}

// Run adopts the mappings that the router already has, then expires, refreshes
// and reconciles until ctx ends. Then it takes everything down, unless it is to be
// kept, and returns when no goroutine of the service is left. The error tells what
// could not be taken down.
func (s *Service) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { s.schedule(ctx) })
	loops.Go(func() { s.reconcileLoop(ctx) })
	loops.Go(func() { s.recreateLoop(ctx) })
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
	defer cancel()
	s.stop()
	loops.Wait()
	s.work.Wait()
	return s.shutdown(ending)
}

// stop refuses new requests and interrupts those that wait for a layer; what they
// had half made they still undo.
func (s *Service) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, cancel := range s.cancels {
		cancel()
	}
}

// each runs do for 0 to n-1, a bounded number of them side by side, and waits.
func (s *Service) each(n int, do func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, workers)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(i)
		})
	}
	wg.Wait()
}

// Reconcile asks for a comparison with the router now, for example because the
// connection to it came back. It does not wait.
func (s *Service) Reconcile() { signal(s.recheck) }

// GatewayLost tells that the gateway lost its state (RFC 6886 §3.6): all leases
// are asked for again with the ports that they had. It does not wait.
func (s *Service) GatewayLost() { signal(s.lost) }

// poke makes the scheduler look at the table again.
func (s *Service) poke() { signal(s.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // One signal is waiting already.
	}
}

// Mapping returns one mapping, and false if there is none.
func (s *Service) Mapping(key Key) (Mapping, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil {
		return Mapping{}, false
	}
	return e.mapping(), true
}

// Mappings returns all mappings, ordered by key.
func (s *Service) Mappings() []Mapping {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Mapping, 0, len(s.entries))
	for _, e := range s.sortedLocked() {
		all = append(all, e.mapping())
	}
	return all
}

// sortedLocked returns the entries ordered by key, so that a run can be repeated.
func (s *Service) sortedLocked() []*entry {
	return slices.SortedFunc(maps.Values(s.entries), func(a, b *entry) int { return a.key.Compare(b.key) })
}

// Status is how the service stands.
type Status struct {
	// Mappings is the size of the table.
	Mappings int
	// Debts counts leases and rules that ended and could not be taken back yet.
	Debts int
	// ReconcileAttempt and ReconcileSuccess are when the router was last asked for
	// its rules and when it last answered and all changes succeeded; zero for never.
	ReconcileAttempt, ReconcileSuccess time.Time
	// ReconcileError is what the last reconcile met; nil after a success.
	ReconcileError error
	// RulesChanged counts rules that reconciling added, changed or removed.
	RulesChanged uint64
}

// Status returns how the service stands.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Mappings, st.Debts = len(s.entries), len(s.debts)
	return st
}

// keysOf returns the keys of a client and protocol that have a mapping or get one.
func (s *Service) keysOf(client netip.Addr, p Protocol) []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []Key
	for key := range s.entries {
		if key.Client == client && key.Protocol == p {
			keys = append(keys, key)
		}
	}
	for key := range s.inflight {
		if key.Client == client && key.Protocol == p && s.entries[key] == nil {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, Key.Compare)
	return keys
}

// forwarded says whether a rule of somebody else is such as match wants it.
func (s *Service) forwarded(match func(Forward) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.forwards, match)
}
