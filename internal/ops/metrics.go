package ops

import (
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"doublenat/internal/nat"
)

// metrics is what /metrics shows: counters and gauges that are read from the parts
// when somebody asks, and the two things that only we see happen.
type metrics struct {
	registry *prometheus.Registry
	monitor  *Monitor
	table    []Metric
	descs    []*prometheus.Desc // in the order of table
	// latency has the hops that take time; it is not changed after newMetrics.
	latency map[Hop]*latency
	// happened counts the events of mappings by their kind.
	happened [nat.EventShutdown + 1]atomic.Uint64
}

// newMetrics makes a registry of its own. The default one would show what any
// package of the program puts into it.
func newMetrics(m *Monitor) *metrics {
	x := &metrics{registry: prometheus.NewRegistry(), monitor: m, table: Metrics(), latency: make(map[Hop]*latency)}
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: MetricHopLatency, Help: HelpHopLatency,
		// From a LAN's round trip to what a client waits at most.
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 8},
	}, []string{"hop"})
	for _, hop := range [...]Hop{HopLAN, HopRouter, HopGateway} {
		x.latency[hop] = &latency{histogram: took.WithLabelValues(string(hop))}
	}
	for _, metric := range x.table {
		x.descs = append(x.descs, prometheus.NewDesc(metric.Name, metric.Help, metric.Labels, nil))
	}
	x.registry.MustRegister(
		took, x, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return x
}

// count takes in what happened to a mapping.
func (x *metrics) count(ev nat.Event) {
	if int(ev.Kind) < len(x.happened) {
		x.happened[ev.Kind].Add(1)
	}
}

// smoothed returns how long the hops take.
func (x *metrics) smoothed() map[Hop]time.Duration {
	all := make(map[Hop]time.Duration, len(x.latency))
	for hop, l := range x.latency {
		all[hop] = l.smoothed()
	}
	return all
}

// Describe implements [prometheus.Collector].
func (x *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range x.descs {
		to <- d
	}
}

// Collect implements [prometheus.Collector]: all that it shows is of one moment.
func (x *metrics) Collect(to chan<- prometheus.Metric) {
	s := x.scrape()
	for i, metric := range x.table {
		kind := prometheus.GaugeValue
		if metric.Counter {
			kind = prometheus.CounterValue
		}
		for _, point := range metric.read(s) {
			to <- prometheus.MustNewConstMetric(x.descs[i], kind, point.value, point.labels...)
		}
	}
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

// textFormat is the content type of Prometheus' text format.
const textFormat = "text/plain; version=0.0.4; charset=utf-8"

// write writes all metrics in Prometheus' text format.
func (x *metrics) write(w io.Writer) error {
	families, err := x.registry.Gather()
	if err != nil {
		return fmt.Errorf("gathering metrics: %w", err)
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(w, family); err != nil {
			return fmt.Errorf("writing metrics: %w", err)
		}
	}
	return nil
}

// goVersion is the Go release that built the program.
func goVersion() string { return runtime.Version() }
