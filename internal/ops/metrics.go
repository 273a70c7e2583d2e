package ops

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"doublenat/internal/nat"
)

// metrics is what /metrics shows: counters and gauges that are read from the parts
// when somebody asks, so that nothing is counted twice, and the two things that
// only we see happen.
type metrics struct {
	monitor *Monitor
	// latency has the hops that take time; it is not changed after newMetrics.
	latency map[Hop]*latency
	// happened counts the events of mappings by their kind.
	happened [nat.EventShutdown + 1]atomic.Uint64
}

// timedHops are the hops that take time.
func timedHops() [3]Hop { return [...]Hop{HopLAN, HopRouter, HopGateway} }

// newMetrics returns metrics of a monitor.
func newMetrics(m *Monitor) *metrics {
	x := &metrics{monitor: m, latency: make(map[Hop]*latency)}
	for _, hop := range timedHops() {
		x.latency[hop] = new(latency)
	}
	return x
}

// count takes in what happened to a mapping.
func (x *metrics) count(ev nat.Event) {
	if int(ev.Kind) < len(x.happened) {
		x.happened[ev.Kind].Add(1)
	}
}

// usual returns how long the hops usually take.
func (x *metrics) usual(now time.Time) map[Hop]time.Duration {
	all := make(map[Hop]time.Duration, len(x.latency))
	for hop, l := range x.latency {
		all[hop] = l.usual(now)
	}
	return all
}

// scrape is what the metrics are read from.
type scrape struct {
	Parts

	status   Status
	watchers int
	dropped  uint64
	happened [nat.EventShutdown + 1]uint64
}

// scrape reads everything once.
func (x *metrics) scrape() scrape {
	p := x.monitor.parts()
	s := scrape{Parts: p, status: Assess(x.monitor.input(p))}
	x.monitor.mu.Lock()
	s.watchers, s.dropped = len(x.monitor.watchers), x.monitor.dropped
	x.monitor.mu.Unlock()
	for kind := range x.happened {
		s.happened[kind] = x.happened[kind].Load()
	}
	return s
}

// text returns all metrics, as of one moment.
func (x *metrics) text() []byte {
	var b bytes.Buffer
	s := x.scrape()
	for _, m := range Metrics() {
		kind := "gauge"
		if m.Counter {
			kind = "counter"
		}
		writeMetric(&b, m.Name, kind, m.Help, m.lines(s))
	}
	var took []line
	for _, hop := range timedHops() {
		took = append(took, x.latency[hop].histogram.lines([]label{{"hop", string(hop)}})...)
	}
	writeMetric(&b, MetricHopLatency, "histogram", HelpHopLatency, took)
	return b.Bytes()
}

// lines returns the metric's values, in an order that stays.
func (m Metric) lines(s scrape) []line {
	var all []line
	for _, p := range m.read(s) {
		l := line{value: p.value}
		for i, name := range m.Labels {
			l.labels = append(l.labels, label{name, p.labels[i]})
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b line) int {
		return slices.CompareFunc(a.labels, b.labels, func(a, b label) int { return strings.Compare(a.value, b.value) })
	})
	return all
}

// goVersion is the Go release that built the program.
func goVersion() string { return runtime.Version() }
