package router

import "time"

// rightsAge is how old what is known of the user's rights may get before a read of the
// table reads them again: a change is known a minute later.
const rightsAge = 30 * time.Second

// login is what is known of the rights with which we are logged in. A session of
// RouterOS keeps the policies that its user had at the login.
type login struct {
	rights   rights      // what the user's group had then
	known    bool        // the router tells
	rightsAt time.Time   // when it was looked at last
	stale    bool        // a new login may have other rights
	due      *time.Timer // makes a stale login anew when it is old enough; nil if there is none
	renewed  bool        // the connection is being made anew for other rights
}

// end forgets the login.
func (l *login) end(renewed bool) {
	if l.due != nil {
		l.due.Stop()
	}
	*l = login{renewed: renewed}
}

// loginAnew ends the connection because another login may have other rights, and reports
// whether it did. At most one login a minute is made for that: one that is younger
// is made anew as soon as it is old enough.
func (r *Router) loginAnew() bool {
	if r.api == nil {
		return false // the connection is somebody else's
	}
	wait := r.api.Renew()
	if wait == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.login.stale = true
	if r.login.due == nil && !r.closed {
		r.login.due = time.AfterFunc(wait, r.loginDue)
	}
	return false
}

// loginDue makes the login anew if that is still of use.
func (r *Router) loginDue() {
	r.mu.Lock()
	stale := r.login.stale
	r.login.due = nil
	r.mu.Unlock()
	if stale {
		r.api.Renew()
	}
}
