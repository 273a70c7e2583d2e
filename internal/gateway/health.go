package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/pcp"
)

// State is how the gateway is doing.
type State uint8

// The states.
const (
	// StateUnknown is a gateway that was not asked yet, or not for long enough.
	StateUnknown State = iota
	// StateOK is a gateway that answers.
	StateOK
	// StateRefused is a host that has nobody on the NAT-PMP port.
	StateRefused
	// StateSilent is nothing at all.
	StateSilent
	// StateFailing is a gateway that answers with a result code which concerns
	// more than one mapping.
	StateFailing
)

// String returns the state in one word.
func (s State) String() string {
	switch s {
	case StateUnknown:
		return "unknown"
	case StateOK:
		return "ok"
	case StateRefused:
		return "refused"
	case StateSilent:
		return "silent"
	case StateFailing:
		return "failing"
	default:
		return fmt.Sprintf("state(%d)", uint8(s))
	}
}

// health is a state with what led to it. It is comparable.
type health struct {
	state State
	// result is the gateway's answer, with [StateFailing].
	result natpmp.ResultCode
	// version is the version of that answer, 0 for NAT-PMP.
	version uint8
	// odd is what is wrong with the replies, with [StateFailing] and no result.
	odd natpmp.Oddity
}

// advice says what an operator can do about it, nothing if all is well. By is the
// router's way to the gateway.
func (h health) advice(by remedy.Link) remedy.Advice {
	switch h.state {
	case StateRefused:
		return remedy.Refused(by)
	case StateSilent:
		return remedy.Silent(by)
	case StateFailing:
		switch {
		case h.odd != natpmp.OddNone:
			return remedy.ForOddity(h.odd)
		case h.version != natpmp.Version:
			return remedy.PCPOnly()
		}
		return remedy.ForResult(h.result)
	case StateUnknown, StateOK:
		return remedy.Advice{}
	default:
		return remedy.Advice{}
	}
}

// judge takes in the outcome of a request. One that a remembered refusal answered says nothing of
// the gateway, which nobody asked.
func (g *Gateway) judge(ctx context.Context, p purpose, err error, start time.Time) {
	if refused, ok := errors.AsType[*pcp.ResultError](err); !ok || !refused.Held {
		g.noteOutcome(ctx, p, err, start)
	}
}

// noteOutcome takes the outcome of a request into the record, and logs what changed by it.
// The request began at start.
func (g *Gateway) noteOutcome(ctx context.Context, p purpose, err error, start time.Time) {
	if _, answered := errors.AsType[*natpmp.ResultError](err); g.cfg.Observe != nil && (err == nil || answered) {
		g.cfg.Observe(time.Since(start))
	}
	outcome, known := g.diagnose(err, start)
	if !known {
		return
	}
	if p == forAddress && (outcome.state == StateOK || outcome.state == StateFailing) {
		g.settle.Do(func() { close(g.settled) })
	}
	g.mu.Lock()
	before, looked := g.record.health(), g.record.look
	g.record.take(p, outcome, time.Now())
	now, back := g.record.health(), g.record.recovered()
	look := g.record.look
	if outcome.state == StateOK {
		g.count.lastSuccess = time.Now()
	}
	g.mu.Unlock()
	// The request's context may have ended; that must not cost the line.
	ctx = context.WithoutCancel(ctx)
	switch {
	case before != now:
		g.tell(ctx, now, err)
	case p == forAddress && looked != look && now.state == StateOK:
		g.tellOfLook(ctx, looked, look)
	}
	if !back {
		return
	}
	if _, ok := g.External(); !ok {
		g.lookNow()
	}
	g.cfg.OnBack()
}

// link returns the router's way to the gateway, the zero Link if it is not known.
func (g *Gateway) link() remedy.Link {
	if g.cfg.Link == nil {
		return remedy.Link{}
	}
	return g.cfg.Link()
}

// tell logs how the gateway is doing now.
func (g *Gateway) tell(ctx context.Context, now health, err error) {
	switch now.state {
	case StateOK:
		g.log.InfoContext(ctx, "gateway answers")
	case StateRefused:
		if g.byPCP {
			g.log.WarnContext(ctx, "gateway refuses pcp", "remedy", now.advice(g.link()))
			return
		}
		g.log.WarnContext(ctx, "gateway refuses nat-pmp", "remedy", now.advice(g.link()))
	case StateSilent:
		g.log.WarnContext(ctx, "gateway is silent", "remedy", now.advice(g.link()), "error", err)
	case StateFailing:
		if now.odd != natpmp.OddNone {
			return // The replies were told of when they came.
		}
		g.log.WarnContext(ctx, "gateway answers with a failure", "result", now.result, "remedy", now.advice(g.link()))
	case StateUnknown:
	}
}

// tellOfLook logs that a gateway that is well otherwise does not tell its address,
// or does again.
func (g *Gateway) tellOfLook(ctx context.Context, before, now health) {
	switch {
	case now.state == StateFailing:
		g.log.WarnContext(ctx, "gateway maps ports but does not report its address", "result", now.result, "remedy", now.advice(g.link()))
	case before.state == StateFailing:
		g.log.InfoContext(ctx, "gateway reports its address again")
	}
}

// diagnose says what the outcome of a request tells about the gateway, and false
// if it tells nothing.
func (g *Gateway) diagnose(err error, start time.Time) (health, bool) {
	var (
		result  *natpmp.ResultError
		refused *natpmp.RefusedError
		timeout *natpmp.TimeoutError
	)
	switch {
	case err == nil:
		return health{state: StateOK}, true
	case errors.Is(err, context.Canceled):
		return health{}, false // the caller lost patience, not the gateway
	case errors.Is(err, pcp.ErrNoAddress):
		return health{}, false // it was not asked
	case errors.As(err, &result):
		switch {
		case result.Opcode == natpmp.OpExternalAddress:
		case result.Result == natpmp.ResultNotAuthorized, result.Result == natpmp.ResultOutOfResources:
			// A verdict about one mapping comes from a gateway that works.
			return health{state: StateOK}, true
		}
		return health{state: StateFailing, result: result.Result, version: result.Version}, true
	case errors.As(err, &refused):
		return health{state: StateRefused}, true
	case errors.As(err, &timeout) && timeout.Odd != natpmp.OddNone && timeout.Odd != natpmp.OddOther:
		return health{state: StateFailing, odd: timeout.Odd}, true
	case errors.As(err, &timeout):
		// One lost packet is no silence, and neither is a reply to somebody else.
		silent := (timeout.Tries > 1 || timeout.Send != nil) && !g.heardSince(start)
		return health{state: StateSilent}, silent
	default:
		return health{}, false
	}
}

// heardSince says whether any packet of the gateway came since then.
func (g *Gateway) heardSince(start time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.heard.Before(start)
}
