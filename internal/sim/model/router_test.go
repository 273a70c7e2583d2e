package model_test

import (
	"slices"
	"strconv"
	"time"

	"doublenat/internal/nat"
)

// router is a router's NAT table as the core sees it.
type router struct {
	day   *Day
	rules []nat.Rule
	// used are ports that others take.
	used    map[nat.Protocol]*nat.PortSet
	lastID  int
	latency time.Duration
	mood    mood
	until   time.Time
	// meets are the commands that meet its mood, as bits.
	meets commands
	// upset is when it last did anything but what it was asked, or somebody changed it.
	upset time.Time
	// unsure is when it last did what the core could not know of.
	unsure time.Time
	// meddled is when somebody changed it last.
	meddled time.Time
	// seen is when it was read last, found when that showed what somebody had done.
	seen, found time.Time
}

// surprise notes that the router did now, or somebody to it, what the core cannot know of.
func (r *router) surprise() { r.upset, r.unsure = r.day.now, r.day.now }

// commands is a set of what the core asks of the router, as bits.
type commands uint8

const (
	reads commands = 1 << iota
	writes
)

// meet returns how long a command takes, and how it fails if it does.
func (r *router) meet(what commands, limit time.Duration) (took time.Duration, done bool, err error) {
	took = r.latency
	if took > limit {
		r.surprise()
		return limit, true, fault(nat.HopRouter, nat.ReasonUnreachable, true)
	}
	if !r.until.After(r.day.now) || r.meets&what == 0 {
		return took, true, nil
	}
	if r.upset = r.day.now; r.mood == silent || r.mood == deaf || what == reads {
		r.surprise()
	}
	switch r.mood {
	case silent:
		return limit, false, fault(nat.HopRouter, nat.ReasonUnreachable, true)
	case deaf:
		return limit, true, fault(nat.HopRouter, nat.ReasonUnreachable, true)
	case refuses, full:
		return took, false, fault(nat.HopRouter, nat.ReasonDenied, false)
	case away:
		return 0, false, fault(nat.HopRouter, nat.ReasonUnreachable, false)
	case well:
	}
	return took, true, nil
}

func (r *router) read(limit time.Duration) (time.Duration, nat.Snapshot, error) {
	took, _, err := r.meet(reads, limit)
	if err != nil {
		return took, nat.Snapshot{}, err
	}
	if r.unseen() {
		r.found = r.day.now
	}
	r.seen = r.day.now
	return took, nat.Snapshot{Rules: slices.Clone(r.rules), Used: r.used}, nil
}

// add makes a rule, unless one with its comment is there: then it is found, as the real
// adapter does.
func (r *router) add(rule nat.Rule, limit time.Duration) (time.Duration, nat.Rule, error) {
	took, done, err := r.meet(writes, limit)
	if !done {
		return took, rule, err
	}
	i := slices.IndexFunc(r.rules, func(have nat.Rule) bool { return sameComment(have, rule) && !have.Altered })
	if i >= 0 {
		return took, r.rules[i], err
	}
	rule.ID = r.newID()
	r.rules = append(r.rules, rule)
	return took, rule, err
}

func (r *router) newID() string {
	r.lastID++
	return "*" + strconv.FormatInt(int64(r.lastID), 16)
}

func (r *router) change(found, want nat.Rule, limit time.Duration) (time.Duration, error) {
	took, done, err := r.meet(writes, limit)
	if !done {
		return took, err
	}
	i := slices.IndexFunc(r.rules, func(have nat.Rule) bool { return have.ID == found.ID && have.Key == found.Key })
	if i < 0 {
		return took, fault(nat.HopRouter, nat.ReasonUnreachable, false)
	}
	want.ID, want.Edited, want.Displaced = found.ID, false, false
	r.rules[i] = want
	return took, err
}

func (r *router) remove(forms []nat.Rule, limit time.Duration) (time.Duration, error) {
	took, done, err := r.meet(writes, limit)
	if !done {
		return took, err
	}
	for _, form := range forms {
		r.rules = slices.DeleteFunc(r.rules, func(have nat.Rule) bool {
			return have.ID == form.ID && have.Key == form.Key || form.ID == "" && sameComment(have, form)
		})
	}
	return took, err
}

func sameComment(a, b nat.Rule) bool {
	return a.Key == b.Key && a.InnerPort == b.InnerPort && a.ExternalPort == b.ExternalPort && a.Lifetime == b.Lifetime
}

// target returns to which mapping's client a packet for the port goes.
func (r *router) target(p nat.Protocol, port uint16) (nat.Key, bool) {
	for _, rule := range r.rules {
		if rule.Key.Protocol == p && !rule.Altered && slices.Contains(rule.Match[:], port) {
			return rule.Key, true
		}
	}
	return nat.Key{}, false
}

// untidy says whether somebody changed the table so lately, or it was read so seldom since, that not
// all of that may be mended.
func (r *router) untidy() bool {
	return recent(r.day, r.meddled, reconciled) || r.unseen() || recent(r.day, r.found, aftermath)
}

// well says whether nothing went wrong with the router lately: what had no answer then is over.
func (r *router) well() bool {
	return !r.untidy() && !recent(r.day, r.upset, 3*time.Minute) && r.until.Add(3*time.Minute).Before(r.day.now)
}

// unseen says whether the table was not read in a calm moment since somebody changed it.
func (r *router) unseen() bool {
	return !r.meddled.IsZero() && r.seen.Before(r.meddled.Add(6*time.Minute))
}

// says tells whether a mapping's rule names the protocol in which it was asked for.
func (r *router) says(key nat.Key, by nat.Way) bool {
	return slices.ContainsFunc(r.rules, func(have nat.Rule) bool { return have.Key == key && have.By == by })
}

// names says whether a rule is that of a lease.
func (r *router) names(key slot) bool {
	return slices.ContainsFunc(r.rules, func(have nat.Rule) bool {
		return have.Key.Protocol == key.protocol && have.InnerPort == key.inner && !have.Altered
	})
}

// meddle lets somebody change the table.
func (r *router) meddle() {
	if len(r.rules) == 0 {
		return
	}
	r.meddled = r.day.now
	r.surprise()
	i := r.day.rng.IntN(len(r.rules))
	switch r.day.rng.IntN(6) {
	case 0:
		r.rules = slices.Delete(r.rules, i, i+1)
	case 1:
		r.rules[i].Altered = true
	case 2:
		r.rules[i].Edited = true
	case 3:
		twin := r.rules[i]
		twin.ID = r.newID()
		r.rules = append(r.rules, twin)
	case 4: // A reboot gives new ids.
		for i := range r.rules {
			r.rules[i].ID = r.newID()
		}
	case 5:
		taken := new(nat.PortSet)
		taken.Add(r.rules[i].InnerPort)
		r.used = map[nat.Protocol]*nat.PortSet{r.rules[i].Key.Protocol: taken}
	}
}
