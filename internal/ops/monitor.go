package ops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
)

const (
	// watched and unwatched are the time between two looks at the parts, with somebody
	// who watches and without.
	watched, unwatched = time.Second, 10 * time.Second
	// settle is how long after an event the parts are looked at: what comes in
	// bursts is told once.
	settle = 100 * time.Millisecond
)

// MonitorConfig is what a [Monitor] needs.
type MonitorConfig struct {
	// About is what does not change. Started is set by [NewMonitor].
	About About
	// Parts returns how the parts are at this moment. It is called from several
	// goroutines, every second at least while somebody watches, and must not wait for
	// the network. Required.
	Parts func() Parts
	// Outline is Parts without the mappings, for looks when nobody watches: to copy a
	// large table again and again costs memory. Nil means Parts.
	Outline func() Parts
	// Alive returns what of the daemon does not go on any more, nil if all does. Nil
	// only looks whether the parts say how they are.
	Alive func() error
	// Logger gets nothing but failures of the server. Nil discards.
	Logger *slog.Logger
}

// Monitor remembers what the parts do not, and makes pictures. Its methods may be
// called from any goroutine.
type Monitor struct {
	about   About
	parts   func() Parts
	outline func() Parts
	alive   func() error
	log     *slog.Logger
	metrics *metrics
	// changed asks for a look at the parts before its time.
	changed chan struct{}

	mu     sync.Mutex // guards what follows; held for moments only
	events events
	series series
	since  map[Hop]Since
	// stopping is whether doublenat was stopping when Run last looked.
	stopping bool
	// counts are how the server was at the ends of the last two steps: before is one
	// to two steps old.
	before, counts natpmp.ServerStats
	// mismatches is how many requests of PCP came from another address than they name,
	// and mismatched when the last one was seen, zero for never.
	mismatches uint64
	mismatched time.Time
	// watchers are told of each new picture. Nil once nobody is told any more.
	watchers map[*Watcher]struct{}
	dropped  uint64 // watchers that were too slow
	// broadcasts counts the pictures that watchers were sent.
	broadcasts uint64
}

// NewMonitor checks the configuration. It starts nothing.
func NewMonitor(cfg MonitorConfig) (*Monitor, error) {
	if cfg.Parts == nil {
		return nil, errors.New("ops: somebody has to tell of the parts")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Alive == nil {
		cfg.Alive = func() error {
			_ = cfg.Parts()
			return nil
		}
	}
	if cfg.Outline == nil {
		cfg.Outline = cfg.Parts
	}
	cfg.About.Started = time.Now()
	m := &Monitor{
		about: cfg.About, parts: cfg.Parts, outline: cfg.Outline, alive: cfg.Alive, log: cfg.Logger,
		changed: make(chan struct{}, 1),
		since:   make(map[Hop]Since), watchers: make(map[*Watcher]struct{}),
	}
	m.metrics = newMetrics(m)
	return m, nil
}

// Observe takes in how long a hop took. The public address has no latency of its
// own and is ignored.
func (m *Monitor) Observe(hop Hop, took time.Duration) {
	if l := m.metrics.latency[hop]; l != nil {
		l.observe(took)
	}
}

// Event takes in what happened to a mapping.
func (m *Monitor) Event(ev nat.Event) {
	m.metrics.count(ev)
	m.mu.Lock()
	m.events.mapping(ev) // a picture makes its text visible
	m.mu.Unlock()
	m.Changed()
}

// Changed says that there may be something new to show. It does not wait.
func (m *Monitor) Changed() {
	select {
	case m.changed <- struct{}{}:
	default: // somebody said so already
	}
}

// Status makes a picture of this moment.
func (m *Monitor) Status() Status {
	return Assess(m.input(m.parts()))
}

// input puts together what a picture is made from.
func (m *Monitor) input(p Parts) Input {
	now := time.Now()
	in := Input{Now: now, About: m.about, Parts: p, Latency: m.metrics.usual(now)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := p.Frontend.Mismatches; n > m.mismatches {
		m.mismatches, m.mismatched = n, in.Now
	}
	in.Before, in.Since, in.Mismatched = m.before, maps.Clone(m.since), m.mismatched
	in.Events, in.Series = m.events.told, m.series.shown()
	return in
}

// Run looks at the parts again and again, and tells the watchers, until ctx ends.
// It then lets all watchers go.
func (m *Monitor) Run(ctx context.Context) error {
	defer m.letGo()
	next := time.NewTimer(0)
	defer next.Stop()
	stepped, looked := time.Now(), time.Time{}
	var shown []byte
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		case <-m.changed:
			if !pause(ctx, settle) {
				return nil
			}
		}
		news, n := m.glance(&stepped)
		if m.watching() == 0 {
			shown = nil
			next.Reset(unwatched)
			continue
		}
		if shown == nil || news || time.Since(looked) >= spacing(n) {
			looked = time.Now()
			shown = m.tell(m.Status(), shown)
		}
		next.Reset(watched)
	}
}

// spacing returns how far pictures of n mappings are apart at least, a second for a thousand:
// to make and to send one is work for each mapping, here and in each page. A hop that comes
// into another state is told at once, and so is a stop.
func spacing(n int) time.Duration {
	return time.Duration(n)*time.Millisecond - settle
}

// glance notes what has to be remembered for who looks later. It says whether a hop is in
// another state or a stop has begun, and how many mappings there are.
func (m *Monitor) glance(stepped *time.Time) (news bool, n int) {
	p := m.outline()
	m.step(stepped, p)
	in := m.input(p)
	news = m.noteHops(in.Now, hops(in))
	return m.noteStop(p.Stopping) || news, p.count()
}

// noteStop remembers whether doublenat is stopping, and says whether that is new.
func (m *Monitor) noteStop(stopping bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.stopping
	m.stopping = stopping
	return before != stopping
}

// step adds a point to the chart if it is time for one.
func (m *Monitor) step(stepped *time.Time, p Parts) {
	if now := time.Now(); now.Sub(*stepped) >= step {
		*stepped = stepped.Add(now.Sub(*stepped).Truncate(step))
		m.endStep(now, p)
	}
}

// endStep adds a point to the chart.
func (m *Monitor) endStep(now time.Time, p Parts) {
	gateway, router := m.metrics.latency[HopGateway].average(), m.metrics.latency[HopRouter].average()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series.add(now, p.count(), gateway, router)
	m.before, m.counts = m.counts, p.Server
}

// noteHops remembers the states of the hops, and says whether one is new.
func (m *Monitor) noteHops(at time.Time, hops []HopStatus) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := maps.Clone(m.since)
	for _, ev := range ofHops(at, hops, m.since) {
		m.events.hop(ev)
	}
	return !maps.Equal(before, m.since)
}

// tell sends the picture to the watchers if it differs from the one shown before,
// of which it got the bytes without their time, and returns its own.
func (m *Monitor) tell(s Status, shown []byte) []byte {
	still := s
	still.Time = time.Time{} // it passes also where nothing happens
	now, err := encode(still)
	if err != nil {
		m.log.Error("status cannot be shown", "error", err)
		return shown
	}
	if bytes.Equal(now, shown) {
		return shown
	}
	if message, err := encode(s); err == nil {
		m.broadcast(message)
	}
	return now
}

// encode returns the picture as an event of an EventSource (HTML Living Standard
// §9.2): JSON has no line breaks of its own.
func encode(s Status) ([]byte, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	message := make([]byte, 0, len(data)+32)
	message = append(message, "event: status\ndata: "...)
	message = append(message, data...)
	return append(message, "\n\n"...), nil
}

// pause waits and says whether ctx still stands.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
