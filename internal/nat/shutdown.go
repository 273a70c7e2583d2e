package nat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// shutdown takes down all rules and leases, side by side and within a bounded time.
// The rules are those that the router has, so that none is left of which the
// outcome was unknown; if the router does not say, those that are known of.
//
// What is kept for the next start are the mappings: what was being taken back when
// the stop came still is, for the next start would take it for a mapping.
func (s *Service) shutdown(ctx context.Context) error {
	s.mu.Lock()
	entries, debts := s.sortedLocked(), s.sortedDebtsLocked()
	s.mu.Unlock()
	if s.cfg.KeepOnShutdown {
		all := len(entries)
		entries = slices.DeleteFunc(entries, func(e *entry) bool { return !e.closing })
		s.log.InfoContext(ctx, "leaving rules and leases in place for the next start", "mappings", all-len(entries))
		if len(entries)+len(debts) == 0 {
			return nil
		}
	}

	var rules, leases error
	var layers sync.WaitGroup
	layers.Go(func() { rules = s.removeRules(ctx, entries, debts) })
	layers.Go(func() { leases = s.releaseAll(ctx, entries, debts) })
	layers.Wait()
	if !s.cfg.KeepOnShutdown {
		s.log.InfoContext(ctx, "took down all mappings", "mappings", len(entries), "complete", rules == nil && leases == nil)
	}
	return errors.Join(rules, leases)
}

// removeRules removes the rules, and goes on as long as shutdown may take with a router
// that fails now and then. One that forbids it is asked once.
func (s *Service) removeRules(ctx context.Context, entries []*entry, debts []*debt) error {
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := s.removeRulesOnce(ctx, entries, debts)
		if err == nil || !unreachable(err) || !sleep(ctx, wait) {
			return err
		}
	}
}

func (s *Service) removeRulesOnce(ctx context.Context, entries []*entry, debts []*debt) error {
	var rules []Rule
	for _, e := range entries {
		rules = append(rules, e.rules()...)
	}
	for _, d := range debts {
		if d.hasRule {
			rules = append(rules, d.rule)
		}
	}
	if len(rules) == 0 {
		return nil
	}
	if !s.cfg.KeepOnShutdown {
		if snap, err := s.cfg.Router.Rules(ctx); err == nil {
			rules = snap.Rules
		}
	}
	errs := make([]error, len(rules))
	s.each(len(rules), func(i int) { errs[i] = s.cfg.Router.RemoveRule(ctx, rules[i]) })
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing rules: %w", err)
	}
	return nil
}

func (s *Service) releaseAll(ctx context.Context, entries []*entry, debts []*debt) error {
	errs := make([]error, len(entries)+len(debts))
	s.each(len(errs), func(i int) {
		if i < len(entries) {
			errs[i] = s.releaseFirmly(ctx, entries[i].key.Protocol, entries[i].inner)
			s.emit(EventShutdown, entries[i].mapping(), nil)
			return
		}
		if d := debts[i-len(entries)]; !d.until.IsZero() {
			errs[i] = s.releaseFirmly(ctx, d.key.Protocol, d.inner)
		}
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("releasing leases: %w", err)
	}
	return nil
}

// releaseFirmly releases a lease, and goes on as long as shutdown may take with a
// gateway that is slow: some serve one request after the other, and a stop asks for
// everything at once. One that says no, or is not there, is asked once.
func (s *Service) releaseFirmly(ctx context.Context, p Protocol, inner uint16) error {
	for {
		began := time.Now()
		err := s.cfg.Gateway.Release(ctx, p, inner)
		if err == nil || !unreachable(err) || ctx.Err() != nil || time.Since(began) < time.Second {
			return err
		}
	}
}
