package nat

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// The inner ports as long as nobody says otherwise.
const defaultFirstInner, defaultLastInner = 20000, 29999

// Delivery says on which port the packets of a lease reach the router, which
// decides what the rule matches.
type Delivery uint8

const (
	// DeliverInternal is a gateway that sends them to the port that was asked for
	// as internal port: the rule matches the inner port. This is what RFC 6886 §3.3
	// means and the default.
	DeliverInternal Delivery = iota
	// DeliverExternal is a gateway that leaves the port as it came from the
	// Internet: the rule matches the external port.
	DeliverExternal
	// DeliverBoth matches both where no one else uses the external port.
	DeliverBoth
)

// String returns the name of the setting: internal, external or both.
func (d Delivery) String() string {
	switch d {
	case DeliverInternal:
		return "internal"
	case DeliverExternal:
		return "external"
	case DeliverBoth:
		return "both"
	default:
		return fmt.Sprintf("delivery(%d)", uint8(d))
	}
}

// LeasePolicy says who keeps a lease alive.
type LeasePolicy uint8

const (
	// PolicyClient leaves it to the client's renewals; without one the mapping
	// ends with its lease.
	PolicyClient LeasePolicy = iota
	// PolicyHold renews the lease for as long as the client asked for the mapping,
	// for clients that ignore that they were granted less.
	PolicyHold
	// PolicyAuto is PolicyClient until a client proves that it ignores what it was granted:
	// it asks again for a mapping that expired, within the lifetime that it had asked for.
	// From then on its mappings are held as with PolicyHold.
	PolicyAuto
)

// String returns the name of the setting: client, hold or auto.
func (p LeasePolicy) String() string {
	switch p {
	case PolicyClient:
		return "client"
	case PolicyHold:
		return "hold"
	case PolicyAuto:
		return "auto"
	default:
		return fmt.Sprintf("policy(%d)", uint8(p))
	}
}

// Config is what a [Service] works with. It is copied by [New].
type Config struct {
	// Router and Gateway are the two layers. Both are required.
	Router  Router
	Gateway Gateway
	// Logger gets one line for each state change; nil discards them.
	Logger *slog.Logger
	// Contested is the remedy that the log names when something else keeps changing doublenat's rules.
	// Nil for none.
	Contested any
	// OnEvent is called after each change, one call at a time and in the order in which
	// things happened, from many goroutines. It must not block, nor make or end
	// mappings. Nil is allowed.
	OnEvent func(Event)

	// Delivery says what a rule matches. The zero value is the inner port.
	Delivery Delivery
	// Policy says who renews leases. The zero value is the client.
	Policy LeasePolicy
	// Symmetric is for a gateway that is asked for the one mapping of the tunnel which has
	// the same port on both sides (internal/gateway, Config.Symmetric). Its packets arrive
	// on the external port, and on the inner one should the gateway have no such mapping
	// after all: without another Delivery the rule matches both. One client port can have
	// it; all others are refused.
	Symmetric bool
	// ZeroPort lets a client map internal port 0, as ProtonVPN's gateways do: the external
	// port that is granted is the client's port too.
	ZeroPort bool
	// TargetPorts says whether such a mapping may lead to this port of a client. Nil
	// means to all.
	TargetPorts func(port uint16) bool
	// Companion maps UDP too for a client that asks for TCP alone. RFC 6886 §3.3
	// forbids that as a rule: it is for programs that forget to ask.
	Companion bool
	// KeepOnShutdown leaves rules and leases standing when Run ends, for an upgrade.
	KeepOnShutdown bool

	// Instance is the name of this doublenat, which chooses inner ports: several that share
	// a tunnel begin to look at different ones. Empty is a name too.
	Instance string
	// Pool has the inner ports that there are, until [Service.SetPool]; nil means those below.
	Pool *Pool
	// FirstInnerPort and LastInnerPort bound the inner ports. 0 means 20000 and
	// 29999, which external ports of known VPN gateways do not reach.
	FirstInnerPort, LastInnerPort uint16
	// MaxMappings bounds the table, MaxMappingsPerClient each client's part of it.
	// 0 means 1024 and 64.
	MaxMappings, MaxMappingsPerClient int
	// MaxLifetime cuts requested lifetimes; 0 means two hours, which RFC 6886 §3.3
	// recommends.
	MaxLifetime time.Duration

	// AnswerBudget is how long a renewal waits for the gateway before it is
	// answered from the table; 0 means 200 ms: clients repeat after 250 ms or give up.
	AnswerBudget time.Duration
	// CreateTimeout is how long a create goes on; 0 means 8 s: libtorrent gives up
	// for two hours after 11 s. A lease that is granted in the last moment gets a
	// second more for its rule.
	CreateTimeout time.Duration
	// HoldOver is how long after the end of its lease a mapping lives on while the
	// gateway is out of reach and its client keeps asking; 0 means 10 minutes.
	HoldOver time.Duration
	// ReconcileInterval is the time between two comparisons with the router; 0
	// means one minute.
	ReconcileInterval time.Duration
	// ShutdownTimeout bounds the time from the end of Run's context to the end of Run, in
	// which what is under way ends and everything is removed; 0 means 7 s.
	ShutdownTimeout time.Duration
	// Random returns a number from 0 up to and not including 1, for jitter and for
	// port suggestions. It must be safe for concurrent use. Nil means [rand.Float64].
	Random func() float64
}

const (
	// holdOverBelow is the rest of a lifetime that is too short to be told to a
	// client when the gateway is out of reach: some reject it, others hammer.
	holdOverBelow = 15 * time.Second
	// holdOverLifetime is what such a client is told instead.
	holdOverLifetime = 30 * time.Second
	// refreshTimeout bounds one try to renew a lease, so that one mapping does not
	// hold up the other protocol of its port for long.
	refreshTimeout = 8 * time.Second
	// ruleTime is what is left to the router however late the gateway grants. One that
	// works takes milliseconds.
	ruleTime = time.Second
	// undoTimeout bounds how long a release may take for which somebody waits; what is not
	// given back by then is tried again.
	undoTimeout = 2 * time.Second
	// removeTimeout bounds the removal of one rule on behalf of a client.
	removeTimeout = 5 * time.Second
	// changeTime bounds a change of one rule that nobody waits for: the requests for its
	// client port wait meanwhile.
	changeTime = 5 * time.Second
	// endTimeout is how long a request to end a mapping waits for its answer.
	endTimeout = 16 * time.Second
	// retryFirst and retryMax bound the time between tries of background work.
	retryFirst, retryMax = time.Second, 30 * time.Second
	// commentInterval is the least time between two writes of a rule's comment.
	commentInterval = 10 * time.Minute
	// refusalGrace is how long the gateway has to go on refusing a mapping that has no
	// lease until it is given up: one that has just restarted may think better of it.
	refusalGrace = 30 * time.Second
	// recreateSpread is the longest wait before leases are asked for again after
	// the gateway lost its state (RFC 6886 §3.7: uniform, 0 to 5 s).
	recreateSpread = 5 * time.Second
	// grantTries bounds how often another external port is asked for when the
	// granted one belongs to another client.
	grantTries = 4
	// workers bounds the background work for one layer that is under way at once.
	workers = 32
)

func (c *Config) setDefaults() error {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.TargetPorts == nil {
		c.TargetPorts = func(uint16) bool { return true }
	}
	if c.Symmetric && c.Delivery == DeliverInternal {
		c.Delivery = DeliverBoth
	}
	orDefault(&c.FirstInnerPort, defaultFirstInner)
	orDefault(&c.LastInnerPort, defaultLastInner)
	orDefault(&c.MaxMappings, 1024)
	orDefault(&c.MaxMappingsPerClient, 64)
	orDefault(&c.MaxLifetime, 2*time.Hour)
	orDefault(&c.AnswerBudget, 200*time.Millisecond)
	orDefault(&c.CreateTimeout, 8*time.Second)
	orDefault(&c.HoldOver, 10*time.Minute)
	orDefault(&c.ReconcileInterval, time.Minute)
	orDefault(&c.ShutdownTimeout, 7*time.Second)
	if c.FirstInnerPort == 0 || c.FirstInnerPort > c.LastInnerPort {
		return fmt.Errorf("nat: inner ports %d to %d are no range", c.FirstInnerPort, c.LastInnerPort)
	}
	if c.MaxLifetime < time.Second || c.MaxMappings < 0 || c.MaxMappingsPerClient < 0 {
		return errors.New("nat: limits must not be negative, and the longest lifetime at least a second")
	}
	return nil
}

// onExternal says whether packets arrive on the external port and, but for a gateway that
// does otherwise than it was asked, on no other: it has to be matched.
func (c *Config) onExternal() bool { return c.Symmetric || c.Delivery == DeliverExternal }

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
