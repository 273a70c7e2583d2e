package routerostest

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doublenat/routeros"
)

// maxListens is how many listening commands a session may have.
const maxListens = 64

// maxPending is how many commands of one connection wait; the router stops
// reading while there are more.
const maxPending = 1024

// actor is somebody who gives commands. The policies are those that his group had at
// the login: what becomes of the group is for the next login.
type actor struct {
	user     string
	policies []string
}

// may reports whether the actor has a policy.
func (a actor) may(policy string) bool { return slices.Contains(a.policies, policy) }

// session is one connection. Its reader takes commands in, its worker carries
// them out when they fall due and is the only one who writes.
type session struct {
	router  *Router
	conn    net.Conn
	reader  *routeros.Reader
	service string
	remote  netip.Addr
	number  uint64
	// remotePort is the client's, row the id of the connection's row in /ip/service, ""
	// as long as nobody has looked; the router's lock guards it.
	remotePort int
	row        string

	// actor and what the login needs belong to the worker, which holds the
	// router's lock as well when it changes them.
	actor

	loggedIn  bool
	challenge []byte
	failures  int
	// active is when the last command was carried out.
	active time.Time
	// out is the buffer for replies.
	out []byte

	// wake tells the worker of news, room the reader of room among the pending.
	wake, room chan struct{}
	// done is closed when the session has to end, ended when it has.
	done, ended chan struct{}

	// mu guards all that follows. It may be taken while the router's lock is held.
	mu sync.Mutex
	// pending are the commands that wait for their time, soonest first.
	pending []*job
	arrived uint64
	// events are the sentences of listening commands that wait to be sent.
	events []message
	over   bool
	// interrupted are the commands that a /cancel cut off while rows were being sent.
	interrupted []*command
	// vanished stops all work without a word; from mute on, bytes that still come
	// are answered with an RST, never if mute is zero.
	vanished bool
	mute     time.Time
}

// job is a command on its way.
type job struct {
	*command
	due    time.Time
	number uint64
	faults []Fault
	// reply is what remains to be sent of a command that was carried out already.
	reply *reply
	// repeated is set from the second time on that an endless command runs, until is
	// when it ends, zero for never.
	repeated bool
	until    time.Time
}

// signal puts a token into a channel with room for one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run serves the connection until it ends.
func (s *session) run() {
	defer s.router.working.Done()
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.read()
	}()
	s.work()
	s.end(endClose)
	<-read
	s.router.forget(s)
	close(s.ended)
}

// forget takes an ended session out of the router.
func (r *Router) forget(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s)
	r.listens = slices.DeleteFunc(r.listens, func(l *listen) bool { return l.session == s })
}

// read takes commands in until the connection ends.
func (s *session) read() {
	for {
		sentence, err := s.reader.ReadSentence()
		if err != nil {
			s.end(endClose)
			return
		}
		if s.ignored() {
			continue
		}
		s.receive(parseCommand(sentence))
		for s.full() {
			select {
			case <-s.room:
			case <-s.done:
				return
			}
		}
	}
}

// ignored reports whether what came is lost, because the router was rebooted or
// the cable pulled. A router that is up again answers the unknown connection with an RST.
func (s *session) ignored() bool {
	s.mu.Lock()
	vanished, mute := s.vanished, s.mute
	s.mu.Unlock()
	if vanished && !mute.IsZero() && !time.Now().Before(mute) {
		s.end(endReset)
	}
	return vanished
}

// receive lets a command arrive, after its time on the way.
func (s *session) receive(c *command) {
	way := c.way(s.router.config.Seed, s.router.config.Jitter)
	if way == 0 {
		s.arrive(c)
		return
	}
	time.AfterFunc(way, func() {
		if !s.ignored() && !s.gone() {
			s.arrive(c)
		}
	})
}

// arrive puts a command among those that wait, with the faults that strike it.
func (s *session) arrive(c *command) {
	r := s.router
	r.mu.Lock()
	faults := r.strikeLocked(c.path)
	latency, own := r.latencies[c.path]
	if !own {
		latency = r.config.Latency
	}
	r.mu.Unlock()
	if c.path == cancelPath {
		latency = 0
	}
	for _, f := range faults {
		if f.Kind == FaultDelay {
			latency += f.Delay
		}
	}
	s.schedule(&job{command: c, faults: faults}, latency)
}

// schedule lets a job wait for its time.
func (s *session) schedule(j *job, wait time.Duration) {
	j.due = time.Now().Add(wait)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrived++
	j.number = s.arrived
	at, _ := slices.BinarySearchFunc(s.pending, j, func(a, b *job) int {
		if a.due.Equal(b.due) {
			return -1 // after all that are due at the same time
		}
		return a.due.Compare(b.due)
	})
	s.pending = slices.Insert(s.pending, at, j)
	signal(s.wake)
}

// full reports whether the reader has to wait.
func (s *session) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) > maxPending
}

// work carries commands out until the session is done.
func (s *session) work() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		batch, events, due := s.next()
		switch {
		case events != nil:
			s.send(sentAll(events))
			continue
		case batch != nil:
			s.carryOut(batch)
			signal(s.room)
			continue
		}
		if idle, limited := s.idleUntil(); limited {
			if time.Until(idle) <= 0 {
				return
			}
			due = earlier(due, idle)
		}
		// Without anything to wait for there is no timer either: in virtual time it
		// would hide a deadlock.
		var expired <-chan time.Time
		if !due.IsZero() {
			timer.Reset(time.Until(due))
			expired = timer.C
		}
		select {
		case <-s.done:
			return
		case <-s.wake:
		case <-expired:
		}
	}
}

// earlier returns the earlier of two times; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// next takes what can be done now: the sentences of listening commands, or the
// commands that are due. If there is nothing it returns when there will be, the
// zero time if only the client or the end can tell.
func (s *session) next() (batch []*job, events []message, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.vanished {
		return nil, nil, time.Time{}
	}
	if len(s.events) > 0 {
		events, s.events = s.events, nil
		return nil, events, time.Time{}
	}
	now := time.Now()
	n := 0
	for n < len(s.pending) && !s.pending[n].due.After(now) {
		n++
		// The replies of tagged commands may mix; without a tag nobody could tell.
		if !s.pending[n-1].tagged || n < len(s.pending) && !s.pending[n].tagged {
			break
		}
	}
	if n > 0 {
		batch = slices.Clone(s.pending[:n])
		s.pending = slices.Delete(s.pending, 0, n)
		return batch, nil, time.Time{}
	}
	if len(s.pending) > 0 {
		return nil, nil, s.pending[0].due
	}
	return nil, nil, time.Time{}
}

// idleUntil returns when the session has been idle for too long, and whether the
// user is logged out for it at all (RouterOS 7.16 and later).
func (s *session) idleUntil() (time.Time, bool) {
	r := s.router
	if !r.behavior.maxSessions {
		return time.Time{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	user := r.userLocked(s.user)
	if user == nil || user.value("inactivity-policy") != "logout" {
		return time.Time{}, false
	}
	limit, ok := parseDuration(user.value("inactivity-timeout"))
	return s.active.Add(limit), ok
}

// gone reports whether nothing can reach the client any more.
func (s *session) gone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over || s.vanished
}

// forgotten reports whether the router was rebooted since and knows the session no more.
func (s *session) forgotten() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vanished && !s.mute.IsZero()
}

// vanish stops the session without a word. From until on it answers with an RST,
// never if until is zero.
func (s *session) vanish(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vanished, s.mute = true, until
	s.pending, s.events = nil, nil
	signal(s.room)
}

// end ends the session; the first end counts.
func (s *session) end(how ending) {
	if how == endVanish {
		s.vanish(time.Time{})
		return
	}
	s.mu.Lock()
	over := s.over
	s.over = true
	s.mu.Unlock()
	if over {
		return
	}
	close(s.done)
	if how == endReset {
		cut(s.conn)
		return
	}
	_ = s.conn.Close()
}
