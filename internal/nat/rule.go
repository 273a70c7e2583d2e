package nat

import (
	"slices"
	"time"
)

// ruleState says how a mapping's rule stands on the router as far as is known.
type ruleState uint8

const (
	// ruleAbsent is no rule.
	ruleAbsent ruleState = iota
	// ruleAdding is one that is being made.
	ruleAdding
	// ruleStanding is one that is there, as the last look found or the last change made it.
	ruleStanding
	// ruleChanging is one that is being changed in place.
	ruleChanging
	// ruleMeddled is one that somebody else edited, again and again: it is mended at a
	// later look.
	ruleMeddled
	// ruleMissing is one that was there and is not any more: it is made again after a
	// look, which may be a later one.
	ruleMissing
	// ruleDoubtful is one of which it is unknown whether and in which form it is there.
	ruleDoubtful
	// ruleRemoving is one that is being removed.
	ruleRemoving
)

// String returns the state in one word.
func (s ruleState) String() string {
	return [...]string{"absent", "adding", "standing", "changing", "meddled", "missing", "doubtful", "removing"}[s]
}

// rule is what is known of a mapping's rule on the router.
type rule struct {
	state ruleState
	op    OpID // of what is under way
	// have is the rule as it is known, and to what it is being made.
	have, to Rule
	// forms are what it may have become by changes whose outcome is unknown, and formed is
	// the number of the last look that had begun when it came into doubt: a later one shows it.
	forms  []Rule
	formed uint64
	// standing is the number of the last look that had begun when the rule was known to
	// stand: only a later one can show that it is missing. written is when it was changed.
	standing uint64
	written  time.Time
	// mendAt is when a difference is written that no packet notices; zero for not.
	mendAt time.Time
	// round is the look in whose course it is changed.
	round uint64
	// retryAt is when its removal is tried again, after so many failures.
	retryAt  time.Time
	failures int
	err      error
}

// busy says whether a command is under way.
func (r *rule) busy() bool {
	return r.state == ruleAdding || r.state == ruleChanging || r.state == ruleRemoving
}

// gone says whether the rule is known to be missing.
func (r *rule) gone() bool {
	return r.state == ruleAbsent || r.state == ruleAdding || r.state == ruleMissing
}

// unknown says whether the rule was never seen: its making had no answer.
func (r *rule) unknown() bool { return r.state == ruleDoubtful && r.have == (Rule{}) }

// stand notes how the rule stands on the router now.
func (r *rule) stand(have Rule, look uint64, now time.Time) {
	r.state, r.have, r.forms, r.err = ruleStanding, have, nil, nil
	r.standing, r.written, r.failures = look, now, 0
}

// see notes how a look found it.
func (r *rule) see(found Rule, look uint64) {
	r.state, r.have = ruleStanding, found
	if r.formed < look {
		r.forms = nil
	}
}

// doubt notes that a change failed. If it may have been made all the same, the rule may
// stand in that form too.
func (r *rule) doubt(err error, look uint64) {
	r.state, r.err, r.formed = ruleStanding, err, look
	if !ambiguous(err) {
		return
	}
	r.state = ruleDoubtful
	if !slices.Contains(r.forms, r.to) {
		r.forms = append(r.forms[max(len(r.forms)-maxForms+1, 0):], r.to)
	}
}

// maxForms bounds how many forms of a rule are remembered. The next look finds what was
// forgotten.
const maxForms = 4

// matches says whether the rule takes the packets for a port, or may.
func (r *rule) matches(port uint16) bool { return r.takes(port, func(Rule) bool { return true }) }

// takes says the same of the forms of the rule that are meant.
func (r *rule) takes(port uint16, meant func(Rule) bool) bool {
	return r.state != ruleAbsent && slices.ContainsFunc(r.all(), func(form Rule) bool { return form.Match.covers(MatchPorts{port}) && meant(form) })
}

// all returns the rule in each form in which it may stand on the router.
func (r *rule) all() []Rule {
	if r.have == (Rule{}) {
		return slices.Clone(r.forms)
	}
	return append([]Rule{r.have}, r.forms...)
}

func withID(r Rule, id string) Rule {
	r.ID = id
	return r
}
