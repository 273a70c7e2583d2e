package nat

import (
	"log/slog"
	"slices"
	"time"
)

const (
	// feudRounds looks at the router within feudWindow that find our rules changed by
	// somebody else are no accident any more.
	feudRounds = 4
	feudWindow = 10 * time.Minute
	// feudPauseMax bounds the time between two mends while that goes on; it begins with a
	// minute and doubles.
	feudPauseMax = 10 * time.Minute
)

// feud notices that something else keeps changing doublenat's rules: a script, or another
// doublenat of our name. To mend them each minute for ever would wear the router's flash
// and settle nothing.
type feud struct {
	// rounds are when looks at the router found changes, of the last feudWindow.
	rounds []time.Time
	// since is when this became a feud, zero while it is none.
	since time.Time
	// mendAt is when what others changed is mended again, pauses how often that was put off.
	mendAt time.Time
	pauses int
	// strange are the ids of the rules of the last look that have our mark and that we
	// never made.
	strange map[string]bool
}

// contest returns the changes that are to be made now. In a feud the rules of others with
// our mark stay, and what others did to ours is mended ever more seldom.
func (e *Engine) contest(changes []Change, found []Rule) []Change {
	meddled := slices.ContainsFunc(changes, e.meddled)
	f := &e.reader.feud
	// What could not be mended is found once more, and nobody has to have done it again.
	if f.strangers(found) || meddled && e.reader.last == nil {
		f.rounds = append(f.rounds, e.now)
	}
	e.judge()
	if f.since.IsZero() {
		return changes
	}
	mend := !e.now.Before(f.mendAt)
	if mend && meddled {
		f.mendAt = e.now.Add(min(time.Minute<<min(f.pauses, 10), feudPauseMax))
		f.pauses++
	}
	return slices.DeleteFunc(changes, func(c Change) bool {
		if c.Kind == RemoveRule && c.Found.Alien {
			return true
		}
		later := !mend && e.meddled(c) && !e.surplus(c)
		if later {
			e.leaveForLater(c)
		}
		return later
	})
}

// leaveForLater notes what others did to a rule that is not mended now.
func (e *Engine) leaveForLater(c Change) {
	m := e.mapping(c.Want.Key)
	if m == nil {
		return
	}
	switch c.Kind {
	case AddRule:
		m.rule.state = ruleMissing
	case UpdateRule:
		m.rule.see(c.Found, e.reader.number)
		m.rule.state = ruleMeddled
	case RemoveRule, TrackRule:
	}
	e.touch(m.unit)
}

// strangers notes the rules with our mark that we never made, and says whether there are
// others than at the last look.
func (f *feud) strangers(found []Rule) (fresh bool) {
	strange := make(map[string]bool)
	for _, r := range found {
		if r.Alien {
			strange[r.ID] = true
			fresh = fresh || !f.strange[r.ID]
		}
	}
	f.strange = strange
	return fresh
}

// judge says when a feud begins and when it is over.
func (e *Engine) judge() {
	f := &e.reader.feud
	f.rounds = slices.DeleteFunc(f.rounds, func(at time.Time) bool { return e.now.Sub(at) >= feudWindow })
	switch {
	case f.since.IsZero() && len(f.rounds) >= feudRounds:
		e.declare(len(f.strange) > 0)
	case !f.since.IsZero() && len(f.rounds) == 0 && len(f.strange) == 0:
		e.do(LogAction{Level: slog.LevelInfo, Text: "rules are left alone again", Args: []any{"contested_for", e.now.Sub(f.since).Round(time.Second)}})
		*f = feud{}
	}
}

// declare says, once, that somebody else is at work on our rules.
func (e *Engine) declare(aliens bool) {
	e.reader.feud.since = e.now
	e.do(LogAction{
		Level: slog.LevelError, Text: "somebody else changes or removes our rules on the router again and again",
		Args: []any{"rules_never_made_here", aliens, "remedy", e.cfg.Contested},
	})
}

// meddled says whether a change undoes what somebody else did to our rules.
func (e *Engine) meddled(c Change) bool {
	switch c.Kind {
	case AddRule:
		return e.seen(c.Want.Key) != nil // It was there before.
	case RemoveRule:
		return c.Found.Altered && e.seen(c.Found.Key) != nil || e.surplus(c)
	case UpdateRule:
		return c.Found.Edited
	case TrackRule:
	}
	return false
}

// surplus says whether a change removes a second rule of a mapping.
func (e *Engine) surplus(c Change) bool {
	m := e.seen(c.Found.Key)
	return c.Kind == RemoveRule && m != nil && m.rule.have.ID != c.Found.ID && !c.Found.Altered
}

// seen returns the mapping of a key that people see, nil if there is none.
func (e *Engine) seen(key Key) *mapping {
	if m := e.mapping(key); m != nil && m.visible() {
		return m
	}
	return nil
}
