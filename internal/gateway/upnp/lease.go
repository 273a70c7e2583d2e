package upnp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"doublenat/igd"
	"doublenat/internal/nat"
)

const (
	// portTries is how many external ports are asked for after conflicts.
	portTries = 8
	// failTries is how many of them after failures that may have been conflicts.
	failTries = 3
	// againAfter is the pause before a call is made again.
	againAfter = time.Second
	// firstPort is the least port that is chosen.
	firstPort = 1024
)

// errNoPort is a box that has none of the ports that were asked for.
var errNoPort = errors.New("the box grants none of the external ports that were tried")

// habits are what a box was found to do.
type habits struct {
	// permanent is set once it granted a mapping for ever that it refused for a while.
	permanent bool
	// keeps is set once it was found to keep for ever what it granted for a while.
	keeps bool
	// same is set once it wanted the external port to be the inner one.
	same bool
	// longest is the longest lease that it keeps; 0 while that is not known.
	longest time.Duration
}

// Lease asks for a lease, or for the renewal of one, and keeps asking while the box is
// silent or refuses, until the context ends. It is one call, unless the port is taken.
//
// An external port in the answer that differs from the one that was asked for is a
// success. The error is an [*nat.Error], with Ambiguous set when a call went out that has
// no answer. What it may have made is remembered: it is asked for again by the next
// Lease, and removed by Release.
func (g *Gateway) Lease(ctx context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	kind := kindCreate
	if req.Renewal {
		kind = kindRenewal
	}
	lease, err := g.lease(ctx, req)
	g.note(kind, err)
	return lease, err
}

func (g *Gateway) lease(ctx context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	if err := g.ready(ctx); err != nil {
		return nat.Lease{}, fault(err, false)
	}
	s, err := g.table.enter(ctx, key{req.Protocol, req.InnerPort})
	if err != nil {
		return nat.Lease{}, fault(err, false)
	}
	defer s.leave()
	a := &application{g: g, s: s, req: req}
	if err := a.begin(ctx); err != nil {
		return nat.Lease{}, fault(err, false)
	}
	for {
		start := time.Now()
		err := a.ask(ctx)
		switch {
		case err == nil:
			return a.granted(ctx, start), nil
		case igd.CodeOf(err) != 0:
			if err = a.refused(ctx, err); err != nil {
				return nat.Lease{}, fault(err, a.lost)
			}
		case ctx.Err() != nil || !again(ctx, err):
			a.end()
			return nat.Lease{}, fault(err, a.lost)
		}
	}
}

// again pauses before the next call, unless the last one took its time. It returns false
// when the context ended.
func again(ctx context.Context, err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return ctx.Err() == nil
	}
	return wait(ctx, againAfter, nil)
}

// application is a request for a lease under way.
type application struct {
	g   *Gateway
	s   *slot
	req nat.LeaseRequest
	m   igd.Mapping // what is asked for; Lease is what it is told to last
	// stood are the ports that it had before, before is their term.
	stood  []uint16
	before term
	// permanent asks for a mapping for ever; any lets the box choose the port.
	permanent, any bool
	// lost is set when a call went out of which nothing was heard; doubtful are its ports.
	lost     bool
	doubtful []uint16
	// conflicts and failures are how often the box refused a port.
	conflicts, failures int
	// vacated is set once a mapping for a former address of the router was removed.
	vacated bool
}

// begin decides what to ask for first: the port that the mapping has, or may have since
// an answer was lost, else the one that the core suggests, else the inner one.
func (a *application) begin(ctx context.Context) error {
	g, req, habits := a.g, a.req, a.g.known()
	if g.table.isStray(a.s) {
		if err := g.trace(ctx, a.s); err != nil {
			return err
		}
	}
	if req.Renewal {
		g.table.recalled(a.s, req.ExternalPort, g.cfg.Self())
	}
	a.stood, a.before, a.permanent = g.table.at(a.s), g.table.term(a.s), habits.permanent
	a.m = igd.Mapping{
		Protocol: igd.Protocol(req.Protocol), Internal: req.InnerPort, Description: g.description(),
		Lease: min(max(req.Lifetime.Truncate(time.Second), time.Second), maxLease),
	}
	if habits.longest > 0 {
		a.m.Lease = min(a.m.Lease, habits.longest)
	}
	port := req.ExternalPort
	switch {
	case port == 0 && len(a.stood) > 0, req.Renewal && len(a.stood) > 0 && !slices.Contains(a.stood, port):
		port = a.stood[0]
	case port == 0 || habits.same:
		port = req.InnerPort
	}
	return a.choose(port)
}

// choose takes the port, or the next one that no other mapping of ours may have: the box
// would take it from that one.
func (a *application) choose(port uint16) error {
	for range 1 << 16 {
		if port != 0 && a.g.table.reserve(a.s, port) {
			a.m.External = port
			return nil
		}
		if port++; port < firstPort {
			port = firstPort
		}
	}
	return errNoPort
}

// ask calls the box once.
func (a *application) ask(ctx context.Context) error {
	g := a.g
	if a.m.Client = g.cfg.Self(); !a.m.Client.IsValid() {
		return errNotReady
	}
	if a.any && g.table.isStray(a.s) {
		if err := a.retrace(ctx); err != nil {
			return err
		}
	}
	m := a.m
	if a.permanent {
		m.Lease = 0
	}
	g.table.asked(a.s, m, time.Now().Add(a.m.Lease))
	err := g.call(ctx, func(ctx context.Context) (err error) {
		if !a.any {
			return g.client.Add(ctx, m)
		}
		m.External, err = g.client.AddAny(ctx, m)
		return err
	})
	if failed, ok := errors.AsType[*igd.CallError](err); ok && failed.Ambiguous {
		a.lost = true
		if a.any {
			g.table.setStray(a.s, true)
		} else {
			a.doubtful = append(a.doubtful, m.External)
		}
	}
	if err == nil && a.any {
		a.chosen(ctx, m.External)
	}
	return err
}

// chosen takes the port that the box chose. If that was another mapping's, the box has
// forgotten that one.
func (a *application) chosen(ctx context.Context, port uint16) {
	if port != a.m.External {
		a.dropPort()
	}
	a.m.External = port
	if a.g.table.reserve(a.s, port) {
		return
	}
	a.g.table.wrest(a.s, port)
	a.g.lose(ctx, 1)
}

// retrace looks for what the box chose when its answer was lost. What is found is asked
// for by name.
func (a *application) retrace(ctx context.Context) error {
	if err := a.g.trace(ctx, a.s); err != nil {
		return err
	}
	for _, p := range a.g.table.at(a.s) {
		if p != a.m.External && !slices.Contains(a.stood, p) {
			a.dropPort()
			a.m.External, a.any = p, false
			break
		}
	}
	return nil
}

// granted notes the lease. What else may be left of the mapping at other ports is removed.
func (a *application) granted(ctx context.Context, start time.Time) nat.Lease {
	g, m := a.g, a.m
	if a.permanent {
		m.Lease = 0
		g.learn(ctx, func(h *habits) bool { first := !h.permanent; h.permanent = true; return first },
			"the gateway keeps mappings for ever, ending them here")
	}
	keeps := m.Lease == 0 || g.known().keeps
	for _, p := range g.table.granted(a.s, m, keeps, start, start.Add(a.m.Lease)) {
		if err := g.removeOnce(ctx, a.s, p); err != nil {
			g.log.DebugContext(ctx, "removing a former mapping", "external_port", p, "error", err)
		}
	}
	g.stir() // There may be a nearer end.
	return nat.Lease{ExternalPort: m.External, Lifetime: a.m.Lease}
}

// refused decides how to go on after a failure: nil is to ask again.
func (a *application) refused(ctx context.Context, err error) error {
	port := a.m.External
	switch code := igd.CodeOf(err); code {
	case igd.CodeOnlyPermanent, igd.CodeInvalidArgs:
		if !a.permanent {
			a.permanent = true
			return nil
		}
	case igd.CodeSamePortRequired:
		if port != a.req.InnerPort {
			a.g.learn(ctx, func(h *habits) bool { first := !h.same; h.same = true; return first },
				"the gateway maps ports to the same number only")
			a.dropPort()
			return a.choose(a.req.InnerPort)
		}
	case igd.CodeNotAuthorized:
		if port < firstPort {
			a.dropPort()
			return a.choose(a.req.InnerPort)
		}
	case igd.CodeConflict, igd.CodeOtherMechanism:
		return a.conflict(ctx, err)
	case igd.CodeInvalidAction, igd.CodeNotImplemented:
		if a.any { // It calls itself IGD:2 and is none.
			return a.conflict(ctx, err)
		}
	case igd.CodeActionFailed:
		// Some boxes have this code only, for a port that is taken too.
		if a.failures++; a.failures < failTries && a.holds(ctx) == hasOther {
			a.dropPort()
			return a.choose(port + 1)
		}
	default:
	}
	a.end()
	return err
}

// holds says what the box has at the port that it refused, if the mapping was there before.
func (a *application) holds(ctx context.Context) holding {
	if !slices.Contains(a.stood, a.m.External) {
		return hasOther
	}
	has, err := a.g.has(ctx, a.s, a.m.External, a.before.client)
	if err != nil {
		return hasUnknown
	}
	return has
}

// conflict goes on after a port that is taken, perhaps by our own mapping: some boxes do
// not renew, and none does so for another address of the router.
func (a *application) conflict(ctx context.Context, err error) error {
	g, port := a.g, a.m.External
	if !a.vacated && a.holds(ctx) == hasOurs {
		a.vacated = true
		if g.delete(ctx, a.s, port) == nil {
			return a.choose(port)
		}
	}
	a.conflicts++
	if d, ok := g.client.Known(); ok && d.Service.Version >= 2 && a.conflicts == 1 {
		a.any = true
		return nil
	}
	a.any = false
	if a.conflicts >= portTries {
		a.end()
		return fmt.Errorf("%w: %w", errNoPort, err)
	}
	a.dropPort()
	return a.choose(further(port, a.conflicts))
}

// further returns the port to ask for after so many conflicts: the next ones, then ever farther ones,
// for somebody may have a whole range.
func further(port uint16, conflicts int) uint16 {
	step := uint16(1) << max(conflicts-2, 0)
	if port > math.MaxUint16-step {
		step += firstPort // It begins again at the first one.
	}
	return port + step
}

// dropPort notes that the mapping is not at the port that was asked for last, unless it
// may be there since an answer was lost, or was there before: some boxes say now this and
// now that.
func (a *application) dropPort() {
	if !slices.Contains(a.doubtful, a.m.External) && !slices.Contains(a.stood, a.m.External) {
		a.g.table.gone(a.s, a.m.External)
	}
}

// end notes that nothing came of it: the mapping lasts as long as before, unless a call
// is in doubt.
func (a *application) end() {
	a.dropPort()
	if !a.lost {
		a.g.table.restore(a.s, a.before)
	}
}
