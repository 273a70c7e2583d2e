package upnp

import (
	"context"
	"errors"
	"syscall"
	"time"

	"doublenat/igd"
	"doublenat/internal/gateway"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
)

const (
	// minPatience is how long an answer is waited for with a box that answers fast, and
	// maxPatience with any.
	minPatience, maxPatience = 4 * time.Second, 30 * time.Second
)

// health is how the box is doing. Guarded by Gateway.mu.
type health struct {
	state  State
	advice remedy.Advice
	// away is set while a recovery would be one: something may have been asked in vain.
	away bool
}

// counters is the part of [gateway.Stats] that is nowhere else. Guarded by Gateway.mu.
type counters struct {
	lastSuccess                 time.Time
	addressChanges, stateLosses uint64
}

// outcomes are how the latest requests of each kind went, with when they did. Guarded by
// Gateway.mu.
type outcomes [kinds]struct {
	err error // nil after a success
	at  time.Time
}

// The kinds of requests.
const (
	kindCreate = iota
	kindRenewal
	kindLook

	kinds
)

// note keeps how a request went, unless its caller gave it up: that says nothing about
// the box.
func (g *Gateway) note(kind int, err error) {
	if !errors.Is(err, context.Canceled) {
		g.mu.Lock()
		g.last[kind].err, g.last[kind].at = err, time.Now()
		g.mu.Unlock()
	}
}

// call calls the box, with the patience that it was found to need.
func (g *Gateway) call(ctx context.Context, f func(context.Context) error) error {
	g.mu.Lock()
	patience := g.patience
	g.mu.Unlock()
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := time.Now()
	err := f(limit)
	took := time.Since(start)
	answered := err == nil || igd.CodeOf(err) != 0
	g.mu.Lock()
	switch {
	case answered:
		g.patience = min(max(4*took, minPatience), maxPatience)
	case took >= patience:
		g.patience = min(2*patience, maxPatience)
	}
	g.mu.Unlock()
	if answered {
		g.cfg.Observe(took)
	}
	g.judge(ctx, err, start)
	return err
}

// judge takes in what the outcome of a call tells about the box, and logs what changed by it.
func (g *Gateway) judge(ctx context.Context, err error, start time.Time) {
	now, known := diagnose(err, time.Since(start))
	if !known {
		return
	}
	// The call's context may have ended; that must not cost the line.
	ctx = context.WithoutCancel(ctx)
	g.meet(ctx)
	g.mu.Lock()
	before := g.health.state
	back := g.health.away && now.state == gateway.StateOK
	now.away = g.health.away && !back || now.state != gateway.StateOK
	g.health = now
	if now.state == gateway.StateOK {
		g.count.lastSuccess = time.Now()
	}
	g.mu.Unlock()
	if before != now.state {
		g.tell(ctx, now, err)
	}
	if back {
		g.suspect()
		g.cfg.OnBack()
	}
}

// meet notices that the box was found, or found again as another one.
func (g *Gateway) meet(ctx context.Context) {
	device, ok := g.client.Known()
	if !ok {
		return
	}
	g.mu.Lock()
	before := g.found
	same := device.Location == before.Location && device.Boot == before.Boot && device.Service == before.Service
	if !same {
		g.found, g.looks.refused = device, 0
	}
	g.mu.Unlock()
	if same {
		return
	}
	g.log.InfoContext(ctx, "upnp device found", "service", device.Service.String(), "device", device.Name,
		"manufacturer", device.Manufacturer, "model", device.Model, "url", device.Location.String(), "boot", device.Boot)
	if before.Location.IsValid() {
		g.suspect()
	}
}

// suspect asks for a look at everything: the box may have restarted.
func (g *Gateway) suspect() {
	g.mu.Lock()
	g.looks.mappingsAt = time.Time{}
	g.mu.Unlock()
	g.lookNow()
}

// tell logs how the box is doing now.
func (g *Gateway) tell(ctx context.Context, now health, err error) {
	switch now.state {
	case gateway.StateOK:
		g.log.InfoContext(ctx, "gateway answers")
	case gateway.StateRefused:
		g.log.WarnContext(ctx, "gateway refuses upnp", "remedy", now.advice)
	case gateway.StateSilent:
		g.log.WarnContext(ctx, "gateway is silent", "remedy", now.advice, "error", err)
	case gateway.StateFailing:
		g.log.WarnContext(ctx, "gateway's upnp cannot be used", "remedy", now.advice, "error", err)
	case gateway.StateUnknown:
	}
}

// diagnose says what the outcome of a call tells about the box, and false if it tells nothing.
func diagnose(err error, took time.Duration) (health, bool) {
	switch {
	case err == nil, igd.CodeOf(err) != 0:
		return health{state: gateway.StateOK}, true // A box that says no works.
	case errors.Is(err, context.Canceled), errors.Is(err, errNotReady):
		return health{}, false // The caller lost patience, not the box.
	case errors.Is(err, syscall.ECONNREFUSED):
		return health{state: gateway.StateRefused, advice: remedy.UPnPOff()}, true
	case misbehaves(err):
		return health{state: gateway.StateFailing, advice: remedy.UPnPNonsense()}, true
	case errors.Is(err, context.DeadlineExceeded) && took < minPatience:
		return health{}, false // One answer that is late is no silence.
	default:
		return health{state: gateway.StateSilent, advice: remedy.UPnPSilent()}, true
	}
}

// misbehaves says whether an error is about what came from the box, and not about nothing.
func misbehaves(err error) bool {
	for _, is := range []error{igd.ErrElsewhere, igd.ErrNoService, igd.ErrTooLarge, igd.ErrDoctype, igd.ErrNonsense} {
		if errors.Is(err, is) {
			return true
		}
	}
	_, ok := errors.AsType[*igd.StatusError](err)
	return ok
}

// advisedError is an error with what can be done about it.
type advisedError struct {
	error
	advice remedy.Advice
}

var _ remedy.Advisor = (*advisedError)(nil)

// Advice returns the remedy.
func (e *advisedError) Advice() remedy.Advice { return e.advice }

// Unwrap returns the error.
func (e *advisedError) Unwrap() error { return e.error }

// advised adds what can be done about an error, if anything can.
func advised(err error) error {
	var advice remedy.Advice
	switch code := igd.CodeOf(err); code {
	case 0:
		now, _ := diagnose(err, maxPatience)
		advice = now.advice
	case igd.CodeNotAuthorized:
		advice = remedy.UPnPNotAuthorized()
	case igd.CodeConflict, igd.CodeOtherMechanism:
		advice = remedy.UPnPConflict()
	case igd.CodeNoPortsLeft, igd.CodeOutOfMemory:
		advice = remedy.UPnPFull()
	default:
		advice = remedy.UPnPRefused()
	}
	if advice.IsZero() {
		return err
	}
	return &advisedError{err, advice}
}

// known returns the box's habits.
func (g *Gateway) known() habits {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.habits
}

// learn notes a habit of the box, and logs it if it is news.
func (g *Gateway) learn(ctx context.Context, change func(*habits) (news bool), text string, args ...any) {
	g.mu.Lock()
	news := change(&g.habits)
	g.mu.Unlock()
	if news {
		//nolint:sloglint // the texts are constants of the callers
		g.log.InfoContext(context.WithoutCancel(ctx), text, args...)
	}
}

// Stats returns how the box is doing. It may be called at any time. Client counts calls
// and packets of searches instead of packets of NAT-PMP.
func (g *Gateway) Stats() gateway.Stats {
	n := g.client.Stats()
	g.mu.Lock()
	defer g.mu.Unlock()
	lease := g.last[kindCreate]
	if lease.err == nil {
		lease = g.last[kindRenewal]
	}
	s := gateway.Stats{
		Kind:  gateway.KindIGD,
		State: g.health.state, Advice: g.health.advice, LastSuccess: g.count.lastSuccess,
		Address: g.address.now, AddressAt: g.address.at, AddressFrom: AddressSource,
		AddressChanges: g.count.addressChanges, StateLosses: g.count.stateLosses,
		LeaseError: lease.err, LeaseErrorAt: lease.at, LookError: g.last[kindLook].err,
		Client: natpmp.ClientStats{
			Sent: n.Calls + n.Searches, Received: n.Answers, Refused: n.Refused, Timeouts: n.Timeouts,
			SendErrors: n.Broken, Odd: n.Nonsense,
		},
	}
	if s.State == gateway.StateFailing {
		s.Result = natpmp.ResultUnsupportedOpcode
	}
	return s
}

// Device is the box as it was found last, for people.
func (g *Gateway) Device() (d igd.Device, permanent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.found, g.habits.permanent
}
