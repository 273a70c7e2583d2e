package nat

import (
	"log/slog"
	"net/netip"
	"time"
)

// TicketID names a request that waits for an answer. 0 is nobody's: no answer is given.
type TicketID uint64

// OpID names what the engine has asked a layer to do. 0 is none.
type OpID uint64

// Input is something that happened, for [Engine.Step].
type Input interface{ input() }

// Ask is a request for a mapping or for its renewal.
type Ask struct {
	// Ticket is who waits for the answer.
	Ticket TicketID
	// Request is what is wanted.
	Request MapRequest
	// by says whose wish it is.
	by origin
}

// End is a request to end a mapping.
type End struct {
	// Ticket is who waits for the answer.
	Ticket TicketID
	// Key names the mapping.
	Key Key
}

// LeaseDone is the outcome of a [LeaseAction].
type LeaseDone struct {
	// Op is the action's.
	Op OpID
	// Lease is what was granted, if Err is nil.
	Lease Lease
	// Err is an [*Error], nil after a success.
	Err error
}

// ReleaseDone is the outcome of a [ReleaseAction].
type ReleaseDone struct {
	// Op is the action's.
	Op OpID
	// Err is an [*Error], nil if the gateway has no such lease.
	Err error
}

// RuleDone is the outcome of an [AddAction], a [ChangeAction] or a [RemoveAction].
type RuleDone struct {
	// Op is the action's.
	Op OpID
	// Rule is how the rule stands after a success.
	Rule Rule
	// Err is an [*Error], nil after a success.
	Err error
}

// ReadDone is the outcome of a [ReadAction].
type ReadDone struct {
	// Snapshot is what the router has, if Err is nil.
	Snapshot Snapshot
	// Err is an [*Error], nil after a success.
	Err error
}

// Signal is an event without more to it than its name.
type Signal uint8

// The signals.
const (
	// Tick is that time has passed, see [Engine.Next].
	Tick Signal = iota
	// Start is the beginning: the router is read and its mappings are adopted.
	Start
	// Look wants a comparison with the router now.
	Look
	// StateLost is that the gateway lost its state (RFC 6886 §3.6).
	StateLost
	// ClockStood is that time passed which our clock did not count.
	ClockStood
	// GatewayBack is that the gateway answers again after it did not.
	GatewayBack
	// RouterBack is that rules can be made again after they could not: the router is read.
	RouterBack
	// RulesGone is that the router has no rule of ours any more.
	RulesGone
)

// Stop is the end: everything is taken down until the deadline.
type Stop struct{ Deadline time.Time }

// PoolChanged is that there is another pool of ports from now on.
type PoolChanged struct{ Pool *Pool }

func (PoolChanged) input() {}
func (Ask) input()         {}
func (End) input()         {}
func (LeaseDone) input()   {}
func (ReleaseDone) input() {}
func (RuleDone) input()    {}
func (ReadDone) input()    {}
func (Signal) input()      {}
func (Stop) input()        {}

// Action is something that is to be done, see [Engine.Step].
type Action interface{ action() }

// Urgency says who waits for an action.
type Urgency uint8

const (
	// Background is nobody.
	Background Urgency = iota
	// Foreground is a client.
	Foreground
)

// LeaseAction asks the gateway for a lease, with [LeaseDone] as the outcome.
type LeaseAction struct {
	// Op names the action.
	Op OpID
	// Request is what to ask for, until the deadline.
	Request  LeaseRequest
	Deadline time.Time
	// For is who waits for it.
	For Urgency
}

// ReleaseAction gives a lease back, with [ReleaseDone] as the outcome.
type ReleaseAction struct {
	// Op names the action.
	Op OpID
	// Protocol and Inner name the lease.
	Protocol Protocol
	Inner    uint16
	// Deadline is when to give up.
	Deadline time.Time
	// For is who waits for it.
	For Urgency
}

// AddAction makes a rule, with [RuleDone] as the outcome.
type AddAction struct {
	// Op names the action.
	Op OpID
	// Rule is what to make.
	Rule Rule
	// Deadline is when to give up.
	Deadline time.Time
	// For is who waits for it.
	For Urgency
}

// ChangeAction changes a rule in place, with [RuleDone] as the outcome.
type ChangeAction struct {
	// Op names the action.
	Op OpID
	// Found is the rule as it is known, Want as it is to be.
	Found, Want Rule
	// Deadline is when to give up.
	Deadline time.Time
	// For is who waits for it.
	For Urgency
}

// RemoveAction removes a rule in each form that it may have, with [RuleDone] as the outcome.
type RemoveAction struct {
	// Op names the action.
	Op OpID
	// Forms are the rule's forms.
	Forms []Rule
	// Deadline is when to give up.
	Deadline time.Time
	// For is who waits for it.
	For Urgency
}

// ReadAction reads the router, with [ReadDone] as the outcome. One is under way at a time.
type ReadAction struct {
	// Op names the action.
	Op OpID
	// Deadline is when to give up.
	Deadline time.Time
}

// InterruptAction ends another action early. Its outcome still comes.
type InterruptAction struct{ Op OpID }

// AnswerAction answers a request.
type AnswerAction struct {
	// Ticket is who waits.
	Ticket TicketID
	// Grant is what a client is told of its mapping, if Err is nil.
	Grant Grant
	// Err is an [*Error], nil after a success.
	Err error
}

// TellAction tells of an event.
type TellAction struct{ Event Event }

// LogAction writes a line into the log.
type LogAction struct {
	// Kind bounds the lines of its kind, see [logbook]; "" is not bounded.
	Kind string
	// Level, Text and Args are those of a [slog.Record].
	Level slog.Level
	Text  string
	Args  []any
}

// ReadyAction says that the router was read for the first time.
type ReadyAction struct{}

// StoppedAction says that all is taken down as far as it could be.
type StoppedAction struct {
	// Err says what is left and why, nil if nothing is.
	Err error
}

func (LeaseAction) action()     {}
func (ReleaseAction) action()   {}
func (AddAction) action()       {}
func (ChangeAction) action()    {}
func (RemoveAction) action()    {}
func (ReadAction) action()      {}
func (InterruptAction) action() {}
func (AnswerAction) action()    {}
func (TellAction) action()      {}
func (LogAction) action()       {}
func (ReadyAction) action()     {}
func (StoppedAction) action()   {}

// host is a client as far as its mappings are counted.
type host struct {
	// units are its client ports, in the order in which they came.
	units []*unit
	// counted is how many mappings count against its limit.
	counted int
	// proven is until when it is known not to renew in time; zero for not.
	proven time.Time
}

// hostOf returns the host of an address, a new one if need be.
func (e *Engine) hostOf(addr netip.Addr) *host {
	h := e.hosts[addr]
	if h == nil {
		e.forgetProven()
		h = new(host)
		e.hosts[addr] = h
	}
	return h
}
