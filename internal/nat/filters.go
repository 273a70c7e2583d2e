package nat

import (
	"errors"
	"slices"
	"time"
)

var (
	errRemotes = errors.New("a mapping can be opened to one prefix and one port of the Internet, or to all")
	errAlone   = errors.New("the mapping of the other protocol is over")
)

// filterOf returns what a request does to who may send to the mapping, once it is known what
// there is:
//
// Who does not speak of filters leaves them (RFC 6887 §13.3 has them added, and taken away by
// a prefix length of 0 only), NAT-PMP too, which has no word for them: a program that asks by
// both must not open by one what it closed by the other.
//
// A companion has the filter of the mapping that it goes with. Its client never asked for
// it, so that without the filter the host could be reached on a port by those whom it shut
// out. When the client does ask for it, it is a new mapping to the client, and as it asks.
func (e *Engine) filterOf(m *mapping, t *ticket) (Filter, error) {
	stands := m.wish.wanted()
	switch {
	case t.by == originCompanion && stands && m.wish.origin != originCompanion:
		return Filter{}, nil // The client's own.
	case t.by == originCompanion:
		other := m.other()
		if other == nil || !other.wish.stands() {
			return Filter{}, &Error{Reason: ReasonDenied, Err: errAlone}
		}
		return Filter{Op: FilterSet, Remote: other.wish.agreed}, nil
	case stands && m.wish.origin == originCompanion:
		alone, _ := t.filter.on(Remote{})
		return Filter{Op: FilterSet, Remote: alone}, nil
	default:
		return t.filter, nil
	}
}

// refilter takes a request's filter in, and returns who may send from now on. An error
// leaves everything as it is.
func (e *Engine) refilter(m *mapping, t *ticket) (Remote, error) {
	filter, err := e.filterOf(m, t)
	if err != nil {
		return Remote{}, err
	}
	var before Remote // What a mapping had before it ended is no filter of a new one.
	if m.wish.wanted() {
		before = m.wish.remote
	}
	after, ok := filter.on(before)
	if !ok {
		return Remote{}, &Error{Reason: ReasonRemotes, Err: errRemotes}
	}
	t.filter = filter
	if t.by == originCompanion && m.wish.origin == originCompanion {
		m.wish.agreed = after // Nobody was told of another one: a change that fails is tried again.
	}
	return after, nil
}

// agree notes that a request is told of a mapping: its filter stays.
func (m *mapping) agree(t *ticket) {
	if after, ok := t.filter.on(m.wish.agreed); ok {
		m.wish.agreed = after
	}
}

// withdraw takes a request's filter back, which is told of a failure (RFC 6887 §7.3). Those
// of the others that are begun stay.
func (e *Engine) withdraw(m *mapping, t *ticket) {
	t.filter = Filter{}
	remote, _ := m.begunFilters(nil)
	e.admitOnly(m, remote)
}

// begunFilters returns who may send when the requests that are begun are carried out in their order,
// up to the last one or all if that is nil, and whether the filter of the last one fits in.
func (m *mapping) begunFilters(last *ticket) (remote Remote, fits bool) {
	remote = m.wish.agreed
	for i := range m.queue {
		q := &m.queue[i]
		if q.state != ticketBegun || q.kind != ticketMap {
			continue
		}
		after, ok := q.filter.on(remote)
		if ok {
			remote = after
		}
		if q == last {
			return remote, ok
		}
	}
	return remote, true
}

// admitOnly changes who may send.
func (e *Engine) admitOnly(m *mapping, remote Remote) {
	if m.wish.remote != remote {
		m.wish.remote = remote
		e.touch(m.unit)
	}
}

// fits says whether what a request wants of the filter is part of what the mapping has or is
// to have.
func (m *mapping) fits(t *ticket) bool {
	if t.state == ticketBegun { // Others that came after it may have set another one.
		_, ok := m.begunFilters(t)
		return ok
	}
	after, ok := t.filter.on(m.wish.remote)
	return ok && after == m.wish.remote
}

// outcome returns what a request is told when what was done for it ended with err, nil for a
// success. Reverted is set if who may send could not be changed and is as it was.
func (e *Engine) outcome(m *mapping, t *ticket, err error, reverted bool) (Grant, error) {
	after, ok := t.filter.on(m.wish.agreed)
	switch {
	case !ok && err == nil: // Another request failed with whose filter this one had fitted.
		return Grant{}, &Error{Reason: ReasonRemotes, Err: errRemotes}
	case err == nil:
		m.wish.told, m.wish.promised = m.lease.external, time.Time{}
		return e.grantFor(m, t), nil
	case reverted && (!ok || after != m.wish.agreed):
		return Grant{}, err
	}
	if grant, ok := e.tableGrant(m, t.lifetime, err); ok {
		return grant, nil
	}
	return Grant{}, err
}

// letsIn says whether the rule lets in the remote and nobody else, in each form in which it
// may stand on the router or will in a moment. Of one that is not there nobody is let in.
func (r *rule) letsIn(remote Remote) bool {
	if (r.state == ruleAdding || r.state == ruleChanging) && r.to.Remote != remote {
		return false
	}
	return !slices.ContainsFunc(r.all(), func(form Rule) bool { return form.Remote != remote })
}
