package ops

import (
	"net/netip"
	"time"

	"doublenat/internal/remedy"
)

// Status is the picture that everything here shows. It is what /api/v1/status
// answers (docs/openapi.yaml); its durations are in seconds or, where the name says
// so, in milliseconds.
type Status struct {
	// Time is when the picture was taken.
	Time time.Time `json:"time"`
	// Started is when this process started.
	Started time.Time `json:"started"`
	// Version is the program's.
	Version string `json:"version"`
	// Instance is the owner name in the rules' comments.
	Instance string `json:"instance"`
	// Verdict is the whole in one sentence.
	Verdict Verdict `json:"verdict"`
	// Lock is how this doublenat stands among several that share a lock; left out where it is alone.
	Lock Lock `json:"lock,omitzero"`
	// PublicAddress is where the Internet sees us; the zero Addr, in JSON an empty
	// text, if that is not known.
	PublicAddress netip.Addr `json:"public_address"`
	// Hops are the four hops, from the client to the Internet.
	Hops []HopStatus `json:"hops"`
	// Mappings are all mappings, ordered by client and port; never nil.
	Mappings []Mapping `json:"mappings"`
	// Events are the last things that happened, the latest first; never nil.
	Events []Event `json:"events"`
	// Series is the last hour.
	Series Series `json:"series"`
}

// State is how a hop or the whole is doing. Its values are part of the API.
type State string

// The states, from good to bad.
const (
	// StateOK is a hop that does what it should.
	StateOK State = "ok"
	// StateUnknown is a hop about which nothing can be said: it was not asked yet, or
	// the hop before it is broken.
	StateUnknown State = "unknown"
	// StateDegraded is a hop that works, but not for everybody or not well.
	StateDegraded State = "degraded"
	// StateDown is a hop through which no new mapping can be made.
	StateDown State = "down"
)

// States lists the states.
func States() [4]State { return [...]State{StateOK, StateUnknown, StateDegraded, StateDown} }

// broken says whether somebody has to look at it.
func (s State) broken() bool { return s == StateDegraded || s == StateDown }

// Hop names a hop. Its values are part of the API.
type Hop string

// The hops, in the order in which a request of a client reaches them.
const (
	// HopLAN is doublenat itself and the clients before it.
	HopLAN Hop = "lan"
	// HopRouter is the MikroTik router.
	HopRouter Hop = "router"
	// HopGateway is the gateway beyond the router.
	HopGateway Hop = "gateway"
	// HopAddress is the gateway's address on the Internet.
	HopAddress Hop = "address"
)

// Hops lists the hops in their order.
func Hops() [4]Hop { return [...]Hop{HopLAN, HopRouter, HopGateway, HopAddress} }

// Title returns the name for people.
func (h Hop) Title() string {
	switch h {
	case HopLAN:
		return "LAN"
	case HopRouter:
		return "Router"
	case HopGateway:
		return "Gateway"
	case HopAddress:
		return "Public address"
	default:
		return string(h)
	}
}

// Verdict is the whole in one sentence.
type Verdict struct {
	// State is the worst of the hops: down before degraded before unknown.
	State State `json:"state"`
	// Hop is the first hop with that state, empty if all is well.
	Hop Hop `json:"hop"`
	// Title is the headline.
	Title string `json:"title"`
	// Detail is what is below it.
	Detail string `json:"detail"`
	// Remedy is what to do about it, empty if there is nothing to be done.
	Remedy string `json:"remedy"`
	// Commands are what to type on the router for that, each in one line; never nil.
	Commands []string `json:"commands"`
	// Ready says whether new mappings can be made: no hop is down or not known yet, the
	// table has room, the gateway has ports left, and READ_ONLY is not set.
	Ready bool `json:"ready"`
}

// HopStatus is one hop.
type HopStatus struct {
	// Name is which.
	Name Hop `json:"name"`
	// Title is its name for people.
	Title string `json:"title"`
	// State is how it is doing.
	State State `json:"state"`
	// Summary is that in a few words.
	Summary string `json:"summary"`
	// Detail is what else is known: a version, an address. It may be empty.
	Detail string `json:"detail"`
	// Error is the error as the program has it, for whoever looks closer; empty for none.
	Error string `json:"error"`
	// Remedy is what to do about it, empty if there is nothing to be done.
	Remedy string `json:"remedy"`
	// Commands are what to type on the router for that, each in one line; never nil.
	Commands []string `json:"commands"`
	// OpenPorts and Meanwhile say how the ports that are open fare while the hop is broken, for
	// programs and for people; empty while it is not, and where none is open.
	OpenPorts remedy.OpenPorts `json:"open_ports"`
	Meanwhile string           `json:"meanwhile"`
	// LatencyMS is how long the hop usually took to answer in the last minutes; nil if it
	// was asked nothing, or is down.
	LatencyMS *float64 `json:"latency_ms"`
	// Since is when the hop came into its state; zero and left out if that is not known. A
	// broken one about which nothing was known for a while stays broken since before that.
	Since time.Time `json:"since,omitzero"`
}

// Advice is the remedy with its commands, in one line.
func (v Verdict) Advice() string { return remedy.Line(v.Remedy, v.Commands) }

// Advice is the remedy with its commands, in one line.
func (h HopStatus) Advice() string { return remedy.Line(h.Remedy, h.Commands) }

// Mapping is one open port.
type Mapping struct {
	// Protocol is "tcp" or "udp".
	Protocol string `json:"protocol"`
	// Public is where the Internet reaches it; the zero value, in JSON an empty text,
	// while the public address is not known.
	Public netip.AddrPort `json:"public"`
	// ExternalPort is the port at the public address.
	ExternalPort uint16 `json:"external_port"`
	// InnerPort is the port at the router's tunnel address.
	InnerPort uint16 `json:"inner_port"`
	// Client is the LAN host.
	Client netip.Addr `json:"client"`
	// InternalPort is the port on the client; 0 if it asked for the one that is granted,
	// which is its port then.
	InternalPort uint16 `json:"internal_port"`
	// By is the protocol in which its client asked: "natpmp", "pcp" or "igd" (UPnP), and
	// empty where that is not known.
	By string `json:"by"`
	// Description is a text that a client of UPnP gave it, shortened; empty for none.
	Description string `json:"description"`
	// Kind is who wanted it: a client by itself, doublenat for a client that forgot
	// (companion), the operator (static), or a run before this one (adopted).
	Kind Kind `json:"kind"`
	// Closing is set while a mapping that ended is being taken down.
	Closing bool `json:"closing"`
	// Created is when it was made or adopted.
	Created time.Time `json:"created"`
	// Ends is when it ends unless it is renewed.
	Ends time.Time `json:"ends"`
	// LeaseEnds is when the gateway's lease ends unless it is renewed.
	LeaseEnds time.Time `json:"lease_ends"`
	// LeaseSeconds is how long the lease lasts in all; 0 if that is not known.
	LeaseSeconds float64 `json:"lease_seconds"`
	// Packets counts what came in through the rule, as of the last comparison with
	// the router.
	Packets uint64 `json:"packets"`
	// Remote is who may send to it: a host or a prefix of the Internet, and ":" with a port if
	// from that alone. "" is everybody.
	Remote string `json:"remote"`
}

// Kind says who wanted a mapping. Its values are part of the API.
type Kind string

// The kinds of mappings.
const (
	// KindClient is a mapping that its client asked for.
	KindClient Kind = "client"
	// KindStatic is one that the operator wrote down.
	KindStatic Kind = "static"
	// KindCompanion is the other protocol of one that a client asked for.
	KindCompanion Kind = "companion"
	// KindAdopted is one that was found at the start and not renewed yet.
	KindAdopted Kind = "adopted"
)

// Event is something that happened.
type Event struct {
	// ID grows with each event of a process.
	ID uint64 `json:"id"`
	// Time is when it happened.
	Time time.Time `json:"time"`
	// Since is when the first of several things that it tells of happened; zero and left out
	// for one.
	Since time.Time `json:"since,omitzero"`
	// Kind is what: an event of package nat, "hop", "address" for a public address that
	// changed, "router" for another way to the gateway, or "lock" for a take-over.
	Kind string `json:"kind"`
	// Count is how many mappings it tells of, 0 for none. What happens to many at once is one
	// event, which gets a new ID as others are added to it.
	Count int `json:"count"`
	// Hop and State are which hop it tells of and how it is now, for the kind "hop"; else empty.
	Hop   Hop   `json:"hop"`
	State State `json:"state"`
	// Text is what happened, for people.
	Text string `json:"text"`
}

// Series is the last hour in steps. The slices have equal lengths; the last point is
// the step that ended last.
type Series struct {
	// StepSeconds is how far the points are apart.
	StepSeconds float64 `json:"step_seconds"`
	// End is when the last step ended; zero and left out before the first.
	End time.Time `json:"end,omitzero"`
	// Mappings is how many there were.
	Mappings []int `json:"mappings"`
	// GatewayMS is how long the gateway took on average; nil where it was not asked
	// or did not answer.
	GatewayMS []*float64 `json:"gateway_ms"`
	// RouterMS is the same of the router.
	RouterMS []*float64 `json:"router_ms"`
}
