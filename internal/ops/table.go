package ops

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"doublenat/igd"
	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// Metric describes one metric.
type Metric struct {
	// Name is its name.
	Name string
	// Help says what it is, in one sentence.
	Help string
	// Labels are the names of its labels; nil for none.
	Labels []string
	// Counter is set on what only grows; the others are gauges.
	Counter bool

	read func(scrape) []point
}

// point is one value with the values of its labels.
type point struct {
	value  float64
	labels []string
}

// HelpHopLatency says what [MetricHopLatency] is, the one histogram.
const HelpHopLatency = "How long a hop takes: lan from a request to its answer, router for a command, gateway for a request with its repetitions."

// Metrics lists the metrics that are read from the parts, in the order of the
// documentation. Labels have few values, whatever packets bring.
func Metrics() []Metric {
	var all []Metric
	for _, group := range [][]Metric{healthMetrics(), lockMetrics(), requestMetrics(), mappingMetrics(), routerMetrics(), gatewayMetrics(), pageMetrics(), processMetrics()} {
		all = append(all, group...)
	}
	return all
}

func healthMetrics() []Metric {
	return []Metric{
		{Name: MetricBuildInfo, Help: "Always 1; the labels say what runs.", Labels: []string{"version", "goversion"}, read: func(s scrape) []point {
			return []point{{1, []string{s.status.Version, goVersion()}}}
		}},
		gauge(MetricStart, "When doublenat started.", func(s scrape) float64 { return timestamp(s.status.Started) }),
		gauge(MetricReady, "1 while new mappings can be made, else 0: what /readyz says.", func(s scrape) float64 { return truth(s.status.Verdict.Ready) }),
		{Name: MetricHopState, Help: "1 for the state that a hop is in, 0 for the others.", Labels: []string{"hop", "state"}, read: hopStates},
	}
}

// hopStates has a point for each hop and state, so that none is ever missing.
func hopStates(s scrape) []point {
	var all []point
	for _, h := range s.status.Hops {
		for _, state := range States() {
			all = append(all, point{truth(h.State == state), []string{string(h.Name), string(state)}})
		}
	}
	return all
}

func requestMetrics() []Metric {
	return []Metric{
		{
			Name: MetricRequests, Help: "Requests of clients that were answered, by what was asked and how it was answered.",
			Labels: []string{"opcode", "result"}, Counter: true, read: answers,
		},
		{
			Name: MetricPCPRequests, Help: "Map requests of PCP that were answered, by how: address_mismatch is a NAT between client and doublenat.",
			Labels: []string{"result"}, Counter: true, read: answersPCP,
		},
		counter(MetricPCPUpdates, "Unsolicited packets that told PCP clients about a changed port.", func(s scrape) uint64 { return s.Frontend.Updates }),
		{
			Name: MetricUPnPActions, Help: "Actions of UPnP that make or end a mapping, by how they were answered: conflict is a program that wants a port which the gateway does not grant, and can take no other.",
			Labels: []string{"result"}, Counter: true, read: answersUPnP,
		},
		counters(MetricUPnPRequests, "Requests of UPnP over HTTP, by how they were answered: an action, its error code, a document, or an HTTP status alone; not_admitted and crowded were not answered.", "result",
			labeled{"success", func(s scrape) uint64 { return s.UPnP.Successes }},
			labeled{"failure", func(s scrape) uint64 { return s.UPnP.Failures }},
			labeled{"document", func(s scrape) uint64 { return s.UPnP.Documents }},
			labeled{"refused", func(s scrape) uint64 { return s.UPnP.Refused }},
			labeled{"not_admitted", func(s scrape) uint64 { return s.UPnP.NotAdmitted }},
			labeled{"crowded", func(s scrape) uint64 { return s.UPnP.Crowded }}),
		counter(MetricRequestsShared, "Requests that were answered by the work for another one.", func(s scrape) uint64 { return s.Frontend.Shared }),
		counter(MetricRequestsHasty, "Requests for one more new mapping of a client that makes too many; they are answered with out_of_resources.", func(s scrape) uint64 { return s.Frontend.TooManyCreates }),
		counter(MetricRequestsSilenced, "Requests that were left without an answer on purpose.", func(s scrape) uint64 { return s.Server.Silenced }),
		counter(MetricRequestsPanicked, "Requests that hit a bug in doublenat; they are answered with a failure.", func(s scrape) uint64 { return s.Server.Panics }),
		counter(MetricReceived, "Packets that came in.", func(s scrape) uint64 { return s.Server.Received }),
		counter(MetricReplies, "Replies that were sent.", func(s scrape) uint64 { return s.Server.Replies }),
		counter(MetricSendErrors, "Replies that could not be sent.", func(s scrape) uint64 { return s.Server.SendErrors }),
		counter(MetricRepliesDropped, "Replies that were dropped because too many waited to be sent; many wait for hosts that do not exist.", func(s scrape) uint64 { return s.Server.Crowded }),
		counter(MetricReadErrors, "Failures to read requests. After a minute of nothing else doublenat ends.", func(s scrape) uint64 { return s.Server.ReadErrors }),
		counters(MetricDropped, "Packets that were dropped without an answer. not_admitted has all of doublenat_packets_refused_total in it.", "reason",
			labeled{"short", func(s scrape) uint64 { return s.Server.Short }},
			labeled{"oversize", func(s scrape) uint64 { return s.Server.Oversize }},
			labeled{"response", func(s scrape) uint64 { return s.Server.Responses }},
			labeled{"not_admitted", func(s scrape) uint64 { return s.Server.NotAdmitted }},
			labeled{"repeated", func(s scrape) uint64 { return s.Server.Repeated }},
			labeled{"overload", func(s scrape) uint64 { return s.Server.Overload }},
			labeled{"create_rate", func(s scrape) uint64 { return s.Frontend.TooManyInAll }},
			labeled{"duplicate", func(s scrape) uint64 { return s.Frontend.Duplicates }}),
		counters(MetricFenced, "Packets that were dropped because of who sent them.", "reason",
			labeled{"not_allowed", func(s scrape) uint64 { return s.Frontend.NotAllowed }},
			labeled{"denied", func(s scrape) uint64 { return s.Frontend.Denied }},
			labeled{"no_client", func(s scrape) uint64 { return s.Frontend.Excluded }},
			labeled{"too_fast", func(s scrape) uint64 { return s.Frontend.TooFast }},
			labeled{"too_many_new", func(s scrape) uint64 { return s.Frontend.TooManyNew }}),
	}
}

// answers has a point for each kind of answer that occurred, 12 at most, and for
// the two that the server gives by itself.
func answers(s scrape) []point {
	var all []point
	for answer, n := range s.Frontend.Answers {
		all = append(all, point{float64(n), []string{opcode(answer.Opcode), resultLabel(answer.Result)}})
	}
	return append(
		all,
		point{float64(s.Server.VersionErrors), []string{"other", resultLabel(natpmp.ResultUnsupportedVersion)}},
		point{float64(s.Server.OpcodeErrors), []string{"other", resultLabel(natpmp.ResultUnsupportedOpcode)}},
	)
}

// answersPCP has a point for each result that occurred, 14 at most, and for the mismatches,
// which are never missing.
func answersPCP(s scrape) []point {
	all := []point{{float64(s.Frontend.Mismatches), []string{"address_mismatch"}}}
	for result, n := range s.Frontend.PCP {
		all = append(all, point{float64(n), []string{resultLabel(result)}})
	}
	return all
}

// answersUPnP has a point for each way in which an action that maps is answered.
func answersUPnP(s scrape) []point {
	labels := []struct {
		code igd.Code
		name string
	}{
		{0, "success"},
		{igd.CodeActionFailed, "action_failed"},
		{igd.CodeNotAuthorized, "not_authorized"},
		{igd.CodeNoSuchEntry, "no_such_entry"},
		{igd.CodeConflict, "conflict"},
		{igd.CodeNoPortsLeft, "no_ports_left"},
	}
	all := make([]point, len(labels))
	for i, l := range labels {
		all[i] = point{float64(s.Frontend.IGD[l.code]), []string{l.name}}
	}
	return all
}

// resultLabel returns a result as the value of a label.
func resultLabel(result fmt.Stringer) string { return strings.ReplaceAll(result.String(), " ", "_") }

// opcode names what was asked.
func opcode(op natpmp.Opcode) string {
	switch op {
	case natpmp.OpExternalAddress:
		return "address"
	case natpmp.OpMapUDP:
		return "udp"
	case natpmp.OpMapTCP:
		return "tcp"
	default:
		return "other"
	}
}

func mappingMetrics() []Metric {
	mapped := func(match func(nat.Mapping, time.Time) bool) func(scrape) []point {
		return func(s scrape) []point {
			n := map[nat.Protocol]int{}
			for _, m := range s.Mappings {
				if match(m, s.status.Time) {
					n[m.Key.Protocol]++
				}
			}
			var all []point
			for _, p := range nat.Protocols() {
				all = append(all, point{float64(n[p]), []string{p.String()}})
			}
			return all
		}
	}
	protocol := []string{"protocol"}
	return []Metric{
		{Name: MetricMappings, Help: "Mappings in the table.", Labels: protocol, read: mapped(func(nat.Mapping, time.Time) bool { return true })},
		{
			Name: MetricMappingsBy, Help: "Mappings in the table, by the protocol in which their clients asked; none is static mappings, and those found at the start.",
			Labels: []string{"by"}, read: mappedBy,
		},
		{
			Name: MetricMappingsIdle, Help: "Mappings through which no packet has come in yet.", Labels: protocol,
			read: mapped(func(m nat.Mapping, _ time.Time) bool { return m.Packets == 0 }),
		},
		{
			Name: MetricLeases, Help: "Mappings with a valid lease on the gateway.", Labels: protocol,
			read: mapped(func(m nat.Mapping, now time.Time) bool { return m.LeaseUntil.After(now) }),
		},
		{
			Name: MetricLeasesRefused, Help: "Mappings whose lease the gateway refuses to renew; doublenat keeps retrying.", Labels: protocol,
			read: mapped(func(m nat.Mapping, _ time.Time) bool { return m.Refused }),
		},
		gauge(MetricDebts, "Leases and rules that ended and could not be taken back yet.", func(s scrape) float64 { return float64(s.Core.Debts) }),
		{Name: MetricMappingEvents, Help: "What happened to mappings; port_changed is an external port that the gateway changed.", Labels: []string{"kind"}, Counter: true, read: happened},
		gauge(MetricReconcileAttempt, "When the router was last asked for its rules.", func(s scrape) float64 { return timestamp(s.Core.ReconcileAttempt) }),
		gauge(MetricReconcileSuccess, "When the router's rules were last equal to the table.", func(s scrape) float64 { return timestamp(s.Core.ReconcileSuccess) }),
		gauge(MetricReconcileFailed, "1 if the last comparison with the router failed, else 0.", func(s scrape) float64 { return truth(s.Core.ReconcileError != nil) }),
		counter(MetricReconcileChanges, "Rules that comparing added, changed or removed.", func(s scrape) uint64 { return s.Core.RulesChanged }),
	}
}

// mappedBy has a point for each protocol in which clients may ask.
func mappedBy(s scrape) []point {
	n := make(map[nat.Way]int)
	for _, m := range s.Mappings {
		n[m.By]++
	}
	var all []point
	for _, by := range []nat.Way{0, nat.NATPMP, nat.PCP, nat.IGD} {
		all = append(all, point{float64(n[by]), []string{cmp.Or(by.String(), "none")}})
	}
	return all
}

// happened has a point for each kind of event.
func happened(s scrape) []point {
	var all []point
	for kind := nat.EventCreated; kind <= nat.EventShutdown; kind++ {
		all = append(all, point{float64(s.happened[kind]), []string{kind.String()}})
	}
	return all
}

func routerMetrics() []Metric {
	return []Metric{
		gauge(MetricRouterConnected, "1 while connected to the router's API, else 0.", func(s scrape) float64 { return truth(s.Router.Connected) }),
		counter(MetricRouterConnects, "Connections to the router's API that were made.", func(s scrape) uint64 { return s.Router.API.Connects }),
		counters(MetricRouterCommands, "Commands that were sent to the router: those that only read, and those that change something.", "kind",
			labeled{"read", func(s scrape) uint64 { return s.Router.Reads }},
			labeled{"write", func(s scrape) uint64 { return s.Router.Writes }}),
		counter(MetricRouterErrors, "Commands that the router refused or did not answer.", func(s scrape) uint64 { return s.Router.Errors }),
		gauge(MetricRouterSuccess, "When a router command last succeeded.", func(s scrape) float64 { return timestamp(s.Router.LastSuccess) }),
		gauge(MetricRouterStrays, "Rules with a comment of ours on some other interface, which are left alone.", func(s scrape) float64 { return float64(s.Router.Strays) }),
	}
}

func gatewayMetrics() []Metric {
	return []Metric{
		counter(MetricGatewaySent, "Packets sent to the gateway, repetitions included.", func(s scrape) uint64 { return s.Gateway.Client.Sent }),
		counter(MetricGatewayRetransmitted, "Packets sent to the gateway again.", func(s scrape) uint64 { return s.Gateway.Client.Retransmitted }),
		counter(MetricGatewayReceived, "Packets of the gateway.", func(s scrape) uint64 { return s.Gateway.Client.Received }),
		counters(MetricGatewayFailures, "What went wrong with the gateway: requests without a reply, ports unreachable, packets that could not be sent or read.", "reason",
			labeled{"timeout", func(s scrape) uint64 { return s.Gateway.Client.Timeouts }},
			labeled{"refused", func(s scrape) uint64 { return s.Gateway.Client.Refused }},
			labeled{"send", func(s scrape) uint64 { return s.Gateway.Client.SendErrors }},
			labeled{"ignored", func(s scrape) uint64 { return s.Gateway.Client.Ignored }}),
		gauge(MetricGatewaySuccess, "When the gateway last did what was asked.", func(s scrape) float64 { return timestamp(s.Gateway.LastSuccess) }),
		counter(MetricGatewayClockStops, "How often this host's clock stood still while the gateway's ran on.", func(s scrape) uint64 { return s.Gateway.ClockStops }),
		gauge(MetricGatewayEpoch, "1 while the gateway's epoch jumps and is ignored, else 0.", func(s scrape) float64 { return truth(s.Gateway.EpochUnreliable) }),
		counter(MetricGatewayOdd, "Replies of the gateway that cannot be right.", func(s scrape) uint64 { return s.Gateway.Client.Odd }),
		counter(MetricGatewayLosses, "How often the gateway lost its mappings.", func(s scrape) uint64 { return s.Gateway.StateLosses }),
		counter(MetricAddressChanges, "How often the public address changed, the first time included.", func(s scrape) uint64 { return s.Gateway.AddressChanges }),
	}
}

func pageMetrics() []Metric {
	return []Metric{
		gauge(MetricWatchers, "Status pages that are open.", func(s scrape) float64 { return float64(s.watchers) }),
		counter(MetricWatchersDropped, "Status pages that were let go because they did not read.", func(s scrape) uint64 { return s.dropped }),
	}
}

// gauge describes a value without labels.
func gauge(name, help string, read func(scrape) float64) Metric {
	return Metric{Name: name, Help: help, read: func(s scrape) []point { return []point{{value: read(s)}} }}
}

// counter describes a count without labels.
func counter(name, help string, read func(scrape) uint64) Metric {
	return Metric{Name: name, Help: help, Counter: true, read: func(s scrape) []point { return []point{{value: float64(read(s))}} }}
}

// labeled is one of several counts with a common name.
type labeled struct {
	value string
	read  func(scrape) uint64
}

// counters describes counts that differ in one label.
func counters(name, help, label string, each ...labeled) Metric {
	return Metric{Name: name, Help: help, Labels: []string{label}, Counter: true, read: func(s scrape) []point {
		all := make([]point, len(each))
		for i, c := range each {
			all[i] = point{float64(c.read(s)), []string{c.value}}
		}
		return all
	}}
}

// truth is 1 for true.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// timestamp returns the time as Prometheus has it, 0 for never.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
