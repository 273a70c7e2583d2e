package nat

import (
	"context"
	"errors"
	"time"
)

// reconcileTimeout bounds one comparison with the router, changes included.
const reconcileTimeout = 2 * time.Minute

// reconcileLoop compares the table with the router at once, every interval, and
// when it is asked to. While the router is out of reach it tries more often.
func (s *Service) reconcileLoop(ctx context.Context) {
	for failures := 0; ; {
		wait := s.cfg.ReconcileInterval
		if err := s.reconcile(ctx); err != nil {
			failures++
			wait = min(wait, backoff(failures))
		} else {
			failures = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-s.recheck:
			timer.Stop()
		}
	}
}

// reconcile reads the router's rules and makes them equal to the table: first the
// decision, which touches nothing, then the changes, each in its client port's turn
// and after another look at the table.
func (s *Service) reconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reconcileTimeout)
	defer cancel()
	number := s.beginSnapshot()
	snap, err := s.cfg.Router.Rules(ctx)
	if err != nil {
		s.reconciled(0, err)
		return err
	}
	want, found := s.takeIn(snap, number)
	changed := uint64(0)
	var errs []error
	for _, c := range Plan(want, found) {
		did, err := s.apply(ctx, c, number)
		if err != nil {
			errs = append(errs, err)
		}
		if did {
			changed++
		}
	}
	err = errors.Join(errs...)
	s.reconciled(changed, err)
	s.relocateAll(ctx)
	return err
}

func (s *Service) beginSnapshot() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot++
	s.status.ReconcileAttempt = time.Now()
	return s.snapshot
}

func (s *Service) reconciled(changed uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.RulesChanged += changed
	s.status.ReconcileError = err
	if err == nil {
		s.status.ReconcileSuccess = time.Now()
	}
}

// takeIn learns from a snapshot and returns what can be compared: the rules that
// are wanted and those that were found, without the keys on which the snapshot
// says nothing because something happened to them while it was taken.
func (s *Service) takeIn(snap Snapshot, number uint64) (want, found []Rule) {
	adopted := s.learn(snap, number)
	for _, m := range adopted {
		s.emit(EventAdopted, m, nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.sortedLocked() {
		if e.standing < number && !e.closing {
			r := s.ruleOfLocked(e)
			want = append(want, withID(r, e.rule.ID))
		}
	}
	for _, r := range snap.Rules {
		if e := s.entries[r.Key]; e == nil || (e.standing < number && !e.closing) {
			found = append(found, r)
		}
	}
	return want, found
}

// learn notes which ports others use, settles which rules in doubt do not stand and,
// the first time, adopts the rules that a former run left.
func (s *Service) learn(snap Snapshot, number uint64) (adopted []Mapping) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports.used, s.forwards = snap.Used, snap.Forwards
	standing := make(map[debtKey]bool, len(snap.Rules))
	for _, r := range snap.Rules {
		standing[debtKey{r.Key.Protocol, r.InnerPort}] = true
	}
	for _, d := range s.sortedDebtsLocked() {
		if d.hasRule && d.asked < number && !standing[debtKey{d.rule.Key.Protocol, d.rule.InnerPort}] {
			d.hasRule = false
			s.forgetLocked(d)
		}
	}
	for _, e := range s.entries {
		if taken := snap.Used[e.key.Protocol].Has(e.inner); taken != e.warned {
			e.warned = taken
			if taken {
				s.log.Warn("a rule or service of the router that is not ours uses the inner port of a mapping",
					"client", e.key.Client.String(), "proto", e.key.Protocol.String(), "inner_port", e.inner)
			}
		}
	}
	select {
	case <-s.ready:
	default:
		adopted = s.adoptLocked(snap.Rules, number)
		close(s.ready)
	}
	return adopted
}

// adoptLocked puts the rules of a former run into the table: their leases are asked
// for again at once with the ports that they had, and they live on until their
// clients had time to come back. A second rule for one key, or one whose ports
// are taken, is not adopted and is removed by the reconcile that follows.
func (s *Service) adoptLocked(rules []Rule, number uint64) (adopted []Mapping) {
	now := time.Now()
	for _, r := range rules {
		key := r.Key
		owner, taken := s.ports.owner[r.InnerPort]
		requested := s.clamp(r.Lifetime)
		if s.entries[key] != nil || (taken && owner != key.Port()) || !s.adoptableLocked(key) || s.ports.inherit(key, r.ExternalPort) != nil {
			if e := s.entries[key]; !taken || owner == key.Port() && (e == nil || e.inner != r.InnerPort) {
				s.oweLocked(key, r.InnerPort, now.Add(requested)) // Its lease may live.
			}
			continue
		}
		life := requested
		if s.cfg.Policy == PolicyClient {
			life = min(requested, s.cfg.HoldOver)
		}
		e := &entry{
			key: key, inner: r.InnerPort, external: r.ExternalPort, requested: requested, created: now,
			adopted: true, pending: true, until: now.Add(life), leaseUntil: now, refreshAt: now,
			rule: r, standing: number - 1, packets: r.Packets,
		}
		s.addLocked(e)
		adopted = append(adopted, e.mapping())
	}
	return adopted
}

// adoptableLocked says whether the settings of this run allow a former run's mapping.
func (s *Service) adoptableLocked(key Key) bool {
	if s.cfg.Symmetric {
		for other := range s.entries {
			if other.Port() != key.Port() {
				return false
			}
		}
	}
	return s.valid(key)
}

// apply makes one change and says whether the router was changed.
func (s *Service) apply(ctx context.Context, c Change, number uint64) (bool, error) {
	if c.Kind == TrackRule {
		s.track(c.Found, number)
		return false, nil
	}
	key := c.Want.Key
	if c.Kind == RemoveRule {
		key = c.Found.Key
	}
	unlock, err := s.locks.lock(ctx, key.Port())
	if err != nil {
		return false, err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	if c.Kind == RemoveRule {
		return s.applyRemove(ctx, c)
	}
	return s.applyWant(ctx, c, number)
}

// applyRemove removes a rule, unless a mapping came to stand behind it meanwhile.
func (s *Service) applyRemove(ctx context.Context, c Change) (bool, error) {
	s.mu.Lock()
	e := s.entries[c.Found.Key]
	stands := e != nil && (e.closing || e.rule.ID == c.Found.ID && e.inner == c.Found.InnerPort && !c.Found.Altered)
	s.mu.Unlock()
	if stands {
		return false, nil
	}
	if err := s.cfg.Router.RemoveRule(ctx, c.Found); err != nil {
		return false, err
	}
	s.log.InfoContext(ctx, "rule removed that no mapping needs", "client", c.Found.Key.Client.String(), "proto", c.Found.Key.Protocol.String(),
		"internal_port", c.Found.Key.InternalPort, "inner_port", c.Found.InnerPort, "rule_id", c.Found.ID)
	return true, nil
}

// applyWant adds or updates the rule of a mapping that is still there and that
// nothing happened to since the snapshot.
func (s *Service) applyWant(ctx context.Context, c Change, number uint64) (bool, error) {
	s.mu.Lock()
	e := s.entries[c.Want.Key]
	if e == nil || e.closing || e.standing >= number {
		s.mu.Unlock()
		return false, nil
	}
	want := s.ruleOfLocked(e)
	c.Want = withID(want, c.Found.ID)
	early := c.CommentOnly() && time.Since(e.written) < commentInterval
	s.mu.Unlock()

	if c.Kind == UpdateRule {
		if early {
			s.track(c.Found, number) // Its id may be another one than before.
			return false, nil
		}
		err := s.updateRule(ctx, e, c.Found, want)
		return err == nil, err
	}
	rule, err := s.cfg.Router.AddRule(ctx, want)
	if err != nil {
		return false, err
	}
	s.noteRule(e, rule)
	s.mu.Lock()
	m := e.mapping()
	s.mu.Unlock()
	s.emit(EventRuleRestored, m, nil)
	return true, nil
}

// track notes how a rule that needs no change is known on the router now.
func (s *Service) track(found Rule, number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[found.Key]; e != nil && !e.closing && e.standing < number {
		e.rule = found
		if e.formed < number {
			e.forms = nil
		}
		e.packets = found.Packets
	}
}
