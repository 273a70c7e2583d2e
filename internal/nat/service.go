package nat

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Service is the [Engine] with hands: it carries out the actions side by side, brings
// their outcomes back, and keeps the time. Make one with [New]; its methods may be called
// from any goroutine.
type Service struct {
	cfg  Config
	book logbook
	// ready is closed when the router's rules were read for the first time, ended when the
	// engine has stopped, which leaves the error.
	ready, ended chan struct{}
	err          error
	// wake makes the clock look when the engine wants to be stepped.
	wake chan struct{}
	// work counts actions under way.
	work sync.WaitGroup
	// telling is full while somebody is told of events, so that they come in order. It is
	// taken before mu.
	telling chan struct{}
	round   round

	// mu guards everything below; it is never held across a call to a layer.
	mu      sync.Mutex
	engine  *Engine
	waiting waiting
	// cancels is how actions under way are interrupted.
	cancels map[OpID]context.CancelFunc
	backlog backlogs
	untold  []Action // what happened and was not told yet, in order
}

// New checks the configuration and returns a service that does nothing before [Service.Run].
func New(cfg Config) (*Service, error) {
	if cfg.Router == nil || cfg.Gateway == nil {
		return nil, errors.New("nat: a router and a gateway are required")
	}
	engine, err := NewEngine(cfg)
	if err != nil {
		return nil, err
	}
	cfg = engine.cfg
	return &Service{
		cfg: cfg, book: logbook{log: cfg.Logger}, engine: engine, round: round{base: time.Now()},
		ready: make(chan struct{}), ended: make(chan struct{}), wake: make(chan struct{}, 1), telling: make(chan struct{}, 1),
		waiting: waiting{who: make(map[TicketID]chan AnswerAction)}, cancels: make(map[OpID]context.CancelFunc),
	}, nil
}

// Run adopts the mappings that the router already has, then expires, refreshes
// and reconciles until ctx ends. Then it takes everything down, unless it is to be
// kept, and returns when no goroutine of the service is left. The error tells what
// could not be taken down.
func (s *Service) Run(ctx context.Context) error {
	s.step(ctx, Start)
	timer := time.NewTimer(s.rest())
	defer timer.Stop()
	for done := ctx.Done(); ; {
		select {
		case <-done:
			done = nil
			s.round.begin()
			s.step(ctx, Stop{Deadline: time.Now().Add(s.cfg.ShutdownTimeout)})
		case <-timer.C:
			s.round.begin()
			s.step(ctx, Tick)
		case <-s.wake:
		case <-s.ended:
			s.work.Wait()
			s.book.sumUp(context.WithoutCancel(ctx), time.Now(), true)
			return s.err
		}
		s.book.sumUp(context.WithoutCancel(ctx), time.Now(), false)
		timer.Reset(s.rest())
		s.round.end()
	}
}

// idle is how long the clock sleeps when nothing is due.
const idle = time.Hour

// rest returns how long nothing is due.
func (s *Service) rest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := sooner(s.engine.Next(), s.book.due())
	if at.IsZero() {
		return idle
	}
	return max(time.Until(at), 0)
}

// Busy returns for how long the clock has been at one round, 0 while it waits. A round
// computes and tells of events: one that takes half a minute is stuck.
func (s *Service) Busy() time.Duration { return s.round.lasts() }

// waiting is who waits for an answer.
type waiting struct {
	who  map[TicketID]chan AnswerAction
	last TicketID
}

func (w *waiting) add(to chan AnswerAction) TicketID {
	w.last++
	w.who[w.last] = to
	return w.last
}

// take returns where an answer goes, nil for nobody.
func (w *waiting) take(id TicketID) chan AnswerAction {
	to := w.who[id]
	delete(w.who, id)
	return to
}

// step lets the engine take in what happened and begins what it wants done. Events are
// told before requests are answered.
func (s *Service) step(ctx context.Context, in Input) {
	ctx = context.WithoutCancel(ctx)
	s.mu.Lock()
	answers := s.stepLocked(ctx, in)
	s.mu.Unlock()
	s.finish(ctx, answers)
}

// answered is an answer and who waits for it.
type answered struct {
	to     chan AnswerAction
	answer AnswerAction
}

func (s *Service) stepLocked(ctx context.Context, in Input) (answers []answered) {
	before := s.engine.Next()
	for _, a := range s.engine.Step(time.Now(), in) {
		switch a := a.(type) {
		case AnswerAction:
			if to := s.waiting.take(a.Ticket); to != nil {
				answers = append(answers, answered{to, a})
			}
		case TellAction, LogAction:
			s.untold = append(s.untold, a)
		case InterruptAction:
			if cancel := s.cancels[a.Op]; cancel != nil {
				cancel()
			}
		case ReadyAction:
			close(s.ready)
		case StoppedAction:
			s.err = a.Err
			close(s.ended)
		default:
			s.beginLocked(ctx, a)
		}
	}
	if next := s.engine.Next(); !next.IsZero() && (before.IsZero() || next.Before(before)) {
		s.poke() // If it is later the clock looks once for nothing.
	}
	return answers
}

// finish tells of what happened and answers who waits.
func (s *Service) finish(ctx context.Context, answers []answered) {
	s.tellAll(ctx)
	for _, a := range answers {
		a.to <- a.answer
	}
}

// beginLocked begins an action. What a client waits for is begun at once; of the rest so
// many for each layer are under way at once. An action has an end of its own: the context
// is one that does not end with the request which caused it, so who goes away leaves
// nothing half made.
func (s *Service) beginLocked(ctx context.Context, a Action) {
	s.work.Add(1)
	op, deadline, urgency := about(a)
	if urgency == Foreground {
		limited, cancel := context.WithDeadline(ctx, deadline)
		s.cancels[op] = cancel
		go func() {
			out := s.carryOut(limited, a)
			cancel()
			s.done(ctx, a, out)
		}()
		return
	}
	limit := time.Until(deadline) // It counts from its beginning: background work may wait.
	if s.engine.phase == phaseStopping {
		limit = 0 // The stop does not.
	}
	interruptible, cancel := context.WithCancel(ctx)
	if op != 0 {
		s.cancels[op] = cancel
	}
	s.backlog.of(a).add(func() {
		limited, stop := context.WithDeadline(interruptible, later(deadline, time.Now().Add(limit)))
		out := s.carryOut(limited, a)
		stop()
		cancel()
		s.done(ctx, a, out)
	})
}

// done takes in the outcome of an action.
func (s *Service) done(ctx context.Context, a Action, out Input) {
	defer s.work.Done()
	op, _, urgency := about(a)
	s.mu.Lock()
	delete(s.cancels, op)
	if urgency == Background {
		s.backlog.of(a).done()
	}
	answers := s.stepLocked(ctx, out)
	s.mu.Unlock()
	s.finish(ctx, answers)
}

// about returns what the actions for the layers have in common.
func about(a Action) (OpID, time.Time, Urgency) {
	switch a := a.(type) {
	case LeaseAction:
		return a.Op, a.Deadline, a.For
	case ReleaseAction:
		return a.Op, a.Deadline, a.For
	case AddAction:
		return a.Op, a.Deadline, a.For
	case ChangeAction:
		return a.Op, a.Deadline, a.For
	case RemoveAction:
		return a.Op, a.Deadline, a.For
	case ReadAction:
		return a.Op, a.Deadline, Foreground
	default:
		return 0, time.Time{}, Background
	}
}

// carryOut does what the engine wants and returns the outcome.
func (s *Service) carryOut(ctx context.Context, a Action) Input {
	switch a := a.(type) {
	case LeaseAction:
		lease, err := s.cfg.Gateway.Lease(ctx, a.Request)
		return LeaseDone{Op: a.Op, Lease: lease, Err: err}
	case ReleaseAction:
		return ReleaseDone{Op: a.Op, Err: s.cfg.Gateway.Release(ctx, a.Protocol, a.Inner)}
	case AddAction:
		rule, err := s.cfg.Router.AddRule(ctx, a.Rule)
		return RuleDone{Op: a.Op, Rule: rule, Err: err}
	case ChangeAction:
		return RuleDone{Op: a.Op, Rule: a.Want, Err: s.cfg.Router.UpdateRule(ctx, a.Found, a.Want)}
	case RemoveAction:
		return RuleDone{Op: a.Op, Err: s.removeForms(ctx, a.Forms)}
	case ReadAction:
		snap, err := s.cfg.Router.Rules(ctx)
		return ReadDone{Snapshot: snap, Err: err}
	default:
		return Tick
	}
}

// removeForms removes a rule that may stand in several forms.
func (s *Service) removeForms(ctx context.Context, rules []Rule) error {
	for _, r := range rules {
		if err := s.cfg.Router.RemoveRule(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// Map creates the mapping or renews it, and returns when both layers stand.
//
// A renewal that the gateway does not answer within [Config.AnswerBudget] is
// answered with the lifetime that is left, while the renewal goes on. A create
// that meets a slow or absent hop goes on for [Config.CreateTimeout]. Requests
// for one mapping that arrive meanwhile share the one piece of work.
//
// The error is an [*Error]; nothing is left half made then, also when ctx ends early.
func (s *Service) Map(ctx context.Context, req MapRequest) (Grant, error) {
	a := s.wait(ctx, s.request(ctx, func(t TicketID) Input { return Ask{Ticket: t, Request: req} }))
	if a.Err == nil {
		s.accompany(ctx, req)
	}
	return a.Grant, a.Err
}

// Unmap deletes a mapping. One that does not exist is success (RFC 6886 §3.4),
// unless the operator forwards that port by a rule of his own: a client cannot
// delete that, and is told so with [ReasonDenied].
//
// When the router does not remove the rule the error says why, and the removal is
// tried again until it is done.
func (s *Service) Unmap(ctx context.Context, key Key) error {
	companion := s.dismissCompanion(ctx, key)
	err := s.wait(ctx, s.request(ctx, func(t TicketID) Input { return End{Ticket: t, Key: key} })).Err
	return errors.Join(err, s.wait(ctx, companion).Err)
}

// UnmapAll deletes all mappings of one client and one protocol (RFC 6886 §3.4), those
// that are being made included. None is success. When some cannot be deleted the others
// are, and the error is that of the worst: see [Service.Unmap].
func (s *Service) UnmapAll(ctx context.Context, client netip.Addr, p Protocol) error {
	return s.UnmapAllBut(ctx, client, p, func(Key) bool { return false })
}

// UnmapAllBut is [Service.UnmapAll] without the mappings that are to be kept.
func (s *Service) UnmapAllBut(ctx context.Context, client netip.Addr, p Protocol, keep func(Key) bool) error {
	waiting, cancel := context.WithTimeout(ctx, s.cfg.CreateTimeout)
	defer cancel()
	if err := s.awaitRules(waiting); err != nil {
		return err
	}
	s.mu.Lock()
	keys := slices.DeleteFunc(s.engine.keysOf(client, p), keep)
	s.mu.Unlock()
	var all sync.WaitGroup
	errs := make([]error, len(keys), len(keys)+1)
	for i, key := range keys {
		all.Go(func() { errs[i] = s.Unmap(ctx, key) })
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(append(errs, s.engine.foreignOf(client, p))...)
}

// awaitRules waits for the first look at the router: before that nobody knows which
// mappings there are.
func (s *Service) awaitRules(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	default:
	}
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return &Error{Hop: HopRouter, Reason: ReasonUnreachable, Err: errNoRouter}
	}
}

// request steps the engine with a request and returns where its answer comes.
func (s *Service) request(ctx context.Context, in func(TicketID) Input) <-chan AnswerAction {
	to := make(chan AnswerAction, 1)
	ctx = context.WithoutCancel(ctx)
	s.mu.Lock()
	answers := s.stepLocked(ctx, in(s.waiting.add(to)))
	s.mu.Unlock()
	s.finish(ctx, answers)
	return to
}

// wait waits for the answer to a request. Who goes away early leaves nothing half made. A
// nil channel is a request that nobody made.
func (s *Service) wait(ctx context.Context, to <-chan AnswerAction) AnswerAction {
	if to == nil {
		return AnswerAction{}
	}
	select {
	case a := <-to:
		return a
	case <-ctx.Done():
		return AnswerAction{Err: &Error{Reason: ReasonUnreachable, Err: ctx.Err()}}
	}
}

// Reconcile asks for a comparison with the router now, for example because the
// connection to it came back. It does not wait.
func (s *Service) Reconcile() { s.step(context.Background(), Look) }

// RouterBack tells that rules can be made again after they could not: the router restarted,
// or the connection to it was lost. It is compared with the table, and does not wait.
func (s *Service) RouterBack() { s.step(context.Background(), RouterBack) }

// GatewayLost tells that the gateway lost its state (RFC 6886 §3.6): all leases
// are asked for again with the ports that they had. It does not wait.
func (s *Service) GatewayLost() { s.step(context.Background(), StateLost) }

// ClockStood tells that time passed which our clock did not count, as a machine's does
// not that is suspended: leases may be over that were thought to stand. All are asked
// for again at once, with the ports that they had. It does not wait.
func (s *Service) ClockStood() { s.step(context.Background(), ClockStood) }

// GatewayBack tells that the gateway answers again after it did not: the renewals
// that failed are tried at once, and not when their waits are over. It does not wait.
func (s *Service) GatewayBack() { s.step(context.Background(), GatewayBack) }

// RulesGone tells that the router has no rule of ours any more, because there is no place
// for them. Mappings stand as long as they would have, and clients that ask hear that
// they do not work. It does not wait.
func (s *Service) RulesGone() { s.step(context.Background(), RulesGone) }

// Ready returns a channel that is closed when the router's rules were read for the first time,
// and its mappings adopted.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// SetPool puts another pool in the place of [Config.Pool]. Mappings whose port is gone move.
func (s *Service) SetPool(p *Pool) { s.step(context.Background(), PoolChanged{Pool: p}) }

// poke makes the clock look when the engine wants to be stepped.
func (s *Service) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // One signal is waiting already.
	}
}

// tellAll tells of what nobody was told of yet, in the order in which it happened, and
// returns when all is told: a mapping that was adopted and is deleted in the next moment
// is never told of the other way round. It must be called without s.mu.
func (s *Service) tellAll(ctx context.Context) {
	s.telling <- struct{}{}
	defer func() { <-s.telling }()
	for {
		s.mu.Lock()
		untold := s.untold
		s.untold = nil
		s.mu.Unlock()
		if len(untold) == 0 {
			return
		}
		for _, a := range untold {
			switch a := a.(type) {
			case TellAction:
				s.logEvent(a.Event)
				if s.cfg.OnEvent != nil {
					s.cfg.OnEvent(a.Event)
				}
			case LogAction:
				if a.Kind == "" || s.book.mayWarn(a.Kind) {
					s.cfg.Logger.Log(ctx, a.Level, a.Text, a.Args...) //nolint:sloglint // The engine's texts are constants.
				}
			}
		}
	}
}
