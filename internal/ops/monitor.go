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
	watched, unwatched = time.Second, 5 * time.Second
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
	// Logger gets nothing but failures of the server. Nil discards.
	Logger *slog.Logger
}

// Monitor remembers what the parts do not, and makes pictures. Its methods may be
// called from any goroutine.
type Monitor struct {
	about   About
	parts   func() Parts
	log     *slog.Logger
	metrics *metrics
	// changed asks for a look at the parts before its time.
	changed chan struct{}

	mu     sync.Mutex // guards what follows; held for moments only
	events events
	series series
	since  map[Hop]Since
	// counts are how the server was at the ends of the last two steps: before is one
	// to two steps old.
	before, counts natpmp.ServerStats
	// watchers are told of each new picture. Nil once nobody is told any more.
	watchers map[*Watcher]struct{}
	dropped  uint64 // watchers that were too slow
}

// NewMonitor checks the configuration. It starts nothing.
func NewMonitor(cfg MonitorConfig) (*Monitor, error) {
	if cfg.Parts == nil {
		return nil, errors.New("ops: somebody has to tell of the parts")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.About.Started = time.Now()
	m := &Monitor{
		about: cfg.About, parts: cfg.Parts, log: cfg.Logger,
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
	m.events.add(ofMapping(ev))
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
	in := Input{Now: time.Now(), About: m.about, Parts: p, Latency: m.metrics.smoothed()}
	m.mu.Lock()
	defer m.mu.Unlock()
	in.Before, in.Since = m.before, maps.Clone(m.since)
	in.Events, in.Series = m.events.all, m.series.shown()
	return in
}

// Run looks at the parts again and again, and tells the watchers, until ctx ends.
// It then lets all watchers go.
func (m *Monitor) Run(ctx context.Context) error {
	defer m.letGo()
	next := time.NewTimer(0)
	defer next.Stop()
	stepped := time.Now()
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
		p := m.parts()
		if now := time.Now(); now.Sub(stepped) >= step {
			stepped = stepped.Add(now.Sub(stepped).Truncate(step))
			m.endStep(now, p)
		}
		in := m.input(p)
		s := Assess(in)
		if m.noteHops(s) {
			s = Assess(m.input(p))
		}
		if m.watching() == 0 {
			shown = nil
			next.Reset(unwatched)
			continue
		}
		shown = m.tell(s, shown)
		next.Reset(watched)
	}
}

// endStep adds a point to the chart.
func (m *Monitor) endStep(now time.Time, p Parts) {
	gateway, router := m.metrics.latency[HopGateway].average(), m.metrics.latency[HopRouter].average()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series.add(now, len(p.Mappings), gateway, router)
	m.before, m.counts = m.counts, p.Server
}

// noteHops remembers the states of the hops, and says whether one is new.
func (m *Monitor) noteHops(s Status) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := maps.Clone(m.since)
	for _, ev := range ofHops(s.Time, s.Hops, m.since) {
		m.events.add(ev)
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
