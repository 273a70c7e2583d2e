package nat

import (
	"context"
	"slices"
	"time"
)

// mapOp is one piece of work for a key: a create or a renewal. All requests that
// come while it goes on share it, until one comes that ends the mapping.
type mapOp struct {
	req    MapRequest
	cancel context.CancelFunc
	// own is set when the client itself asked for what is being made as a companion.
	// Guarded by Service.mu.
	own bool
	// after is what is left to do once the client has its answer, last things first. The
	// client port's lock is held meanwhile.
	after []func()
	// done is closed at the end; grant and err may be read only after that.
	done  chan struct{}
	grant Grant
	err   error
}

// startMap joins the work that is under way for the key or begins it.
func (s *Service) startMap(ctx context.Context, req MapRequest) (*mapOp, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if op := s.inflight[req.Key]; op != nil {
		op.own = op.own || !req.companion
		return op, nil
	}
	timeout := s.cfg.CreateTimeout + ruleTime
	if s.entries[req.Key] != nil {
		timeout = refreshTimeout
	}
	ctx, end, err := s.beginLocked(ctx, timeout)
	if err != nil {
		return nil, err
	}
	req.began = time.Now()
	op := &mapOp{req: req, cancel: end, own: !req.companion, done: make(chan struct{})}
	s.inflight[req.Key] = op
	go s.runMap(ctx, op)
	return op, nil
}

// runMap waits for the client port's turn and does the work. What was half made is
// undone after the answer: some programs give up for hours when that comes late.
// Service.work waits for all of it.
func (s *Service) runMap(ctx context.Context, op *mapOp) {
	defer s.work.Done()
	defer op.cancel()
	unlock, err := s.locks.lock(ctx, op.req.Key.Port())
	if err != nil {
		op.err = &Error{Reason: ReasonUnreachable, Err: err}
		s.endMap(op)
		return
	}
	defer unlock()
	op.grant, op.err = s.mapInTurn(ctx, op)
	s.endMap(op)
	for _, do := range slices.Backward(op.after) {
		do()
	}
	if op.err == nil {
		s.accompany(ctx, op.req)
	}
}

// endMap lets those who share the work know what came of it.
func (s *Service) endMap(op *mapOp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inflight[op.req.Key] == op {
		delete(s.inflight, op.req.Key)
	}
	if e := s.entries[op.req.Key]; e != nil && op.own {
		e.companion = false
	}
	close(op.done)
}

// beginLocked counts a piece of work and gives it a deadline of its own instead of
// the request's: a client that goes away leaves nothing half made. Only the service's
// end interrupts it. The caller calls s.work.Done when the work has ended.
func (s *Service) beginLocked(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc, error) {
	if s.stopped {
		return nil, nil, &Error{Reason: ReasonUnreachable, Err: errStopped}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	s.work.Add(1)
	s.began++
	id := s.began
	s.cancels[id] = cancel
	return ctx, func() {
		cancel()
		s.mu.Lock()
		delete(s.cancels, id)
		s.mu.Unlock()
	}, nil
}

// mapInTurn creates or renews, whichever it is by now: a mapping may have expired, or
// come to be, while it waited for its turn.
func (s *Service) mapInTurn(ctx context.Context, op *mapOp) (Grant, error) {
	e := s.lookup(op.req.Key)
	if e == nil {
		return s.create(ctx, op)
	}
	return s.renew(ctx, e, op.req)
}

// supersede ends the sharing of the work under way for a key that is about to be
// deleted: who asks from now on wants a mapping after that. A renewal is interrupted.
func (s *Service) supersede(key Key) {
	s.mu.Lock()
	op, e := s.inflight[key], s.entries[key]
	delete(s.inflight, key)
	renewal := op != nil && e != nil
	if renewal {
		e.interrupted = true
	}
	s.mu.Unlock()
	if renewal {
		op.cancel() // It takes s.mu.
	}
}

// until returns when a mapping ends that was granted a lease now.
func (s *Service) until(now time.Time, requested, granted time.Duration) time.Time {
	if s.cfg.Policy == PolicyHold {
		return now.Add(requested)
	}
	return now.Add(min(requested, granted))
}
