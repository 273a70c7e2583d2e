package ops

import (
	"net/netip"
	"time"

	"doublenat/igd"
	"doublenat/internal/frontend"
	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/natpmp"
)

// Parts is what the parts of doublenat tell about themselves at one moment.
type Parts struct {
	// Router is the router's adapter.
	Router router.Status
	// Gateway is the gateway's adapter.
	Gateway gateway.Stats
	// Core is the table of mappings.
	Core nat.Status
	// Mappings are all mappings, ordered by client and port; nil in an outline, which has
	// their number in Core.
	Mappings []nat.Mapping
	// Server and Frontend are what answers clients.
	Server   natpmp.ServerStats
	Frontend frontend.Stats
	// UPnP is what answers clients of UPnP over HTTP, the zero value where that is off.
	UPnP igd.ServerStats
	// Lock is how this doublenat stands among several; the zero value is one that is alone.
	Lock Lock
	// LockAdvice is what to do about its error, the zero value for nothing.
	LockAdvice remedy.Advice
	// Stopping is set once doublenat takes everything down.
	Stopping bool
}

// count returns how many mappings there are.
func (p *Parts) count() int { return max(len(p.Mappings), p.Core.Mappings) }

// About is what does not change while doublenat runs.
type About struct {
	// Version is the program's, Instance the owner name in the rules' comments.
	Version, Instance string
	// Started is when it started.
	Started time.Time
	// Listen is where clients are answered, Gateway and Router where the hops are, as
	// the operator wrote it.
	Listen, Gateway, Router string
	// ReadOnly is set where doublenat may change nothing.
	ReadOnly bool
	// MaxMappings is how many mappings there may be (MAX_MAPPINGS); 0 is not known.
	MaxMappings int
	// Static are the mappings that the operator wrote down; nil for none.
	Static map[nat.Key]bool
}

// Input is all that a picture is made from.
type Input struct {
	// Now is the moment.
	Now time.Time
	// About is what does not change.
	About About
	// Parts is how the parts are at this moment.
	Parts Parts
	// Before is how the server was about a minute ago.
	Before natpmp.ServerStats
	// Mismatched is when a request of PCP last came from another address than it names;
	// zero for never.
	Mismatched time.Time
	// Latency is how long each hop usually takes; 0 if that is not known.
	Latency map[Hop]time.Duration
	// Since is when each hop came into the state that it was seen in last.
	Since map[Hop]Since
	// Events are the last events, the latest first.
	Events []Event
	// Series is the last hour.
	Series Series
}

// Since is a state of a hop and when it began.
type Since struct {
	// State is the state.
	State State
	// At is when the hop came into it.
	At time.Time
	// Told is the state that the last event about the hop told of, and ToldAt when that began;
	// empty and zero if there was none.
	Told   State
	ToldAt time.Time
}

// address returns the gateway's public address, valid if it is known at all.
func (in Input) address() netip.Addr { return in.Parts.Gateway.Address }
