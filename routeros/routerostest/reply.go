package routerostest

import (
	"slices"
	"time"

	"doublenat/routeros"
)

// The commands of the session itself.
const (
	cancelPath = "/cancel"
	quitPath   = "/quit"
)

// message is a sentence with the tag of the command to which it belongs.
type message struct {
	routeros.Sentence
	tag    string
	tagged bool
}

// reply is what is sent for a command, and what becomes of the connection then.
type reply struct {
	// buf has the bytes of all sentences, ends where each of them ends in it.
	buf  []byte
	ends []int
	end  ending
}

// add appends a sentence that is encoded already.
func (p *reply) add(encoded ...byte) {
	p.buf = append(p.buf, encoded...)
	p.ends = append(p.ends, len(p.buf))
}

// addMessage appends a sentence, its tag where the faults want it.
func (p *reply) addMessage(m message, faults []Fault) {
	p.buf = m.append(p.buf, faults)
	p.ends = append(p.ends, len(p.buf))
}

// carryOut carries out commands that fell due together. Their sentences are
// mixed one by one, as a router with several commands in flight does.
func (s *session) carryOut(batch []*job) {
	s.active = time.Now()
	replies := make([]*reply, 0, len(batch))
	for _, j := range batch {
		if s.gone() {
			return
		}
		p := j.reply
		if p == nil {
			p = s.carryOne(j)
		}
		replies = append(replies, p)
	}
	s.send(replies)
}

// send writes replies, one sentence of each in turn.
func (s *session) send(replies []*reply) {
	if len(replies) == 1 { // nothing to mix
		s.write(replies[0].buf)
		s.endAfter(replies[0])
		return
	}
	var buf []byte
	for turn, left := 0, len(replies); left > 0; turn++ {
		for _, p := range replies {
			if turn < len(p.ends) {
				start := 0
				if turn > 0 {
					start = p.ends[turn-1]
				}
				buf = append(buf, p.buf[start:p.ends[turn]]...)
			}
			if turn != max(len(p.ends)-1, 0) {
				continue
			}
			if left--; p.end != endNot {
				s.write(buf)
				s.endAfter(p)
				return
			}
		}
	}
	s.write(buf)
}

// endAfter ends the session if that is what follows a reply.
func (s *session) endAfter(p *reply) {
	if p.end != endNot {
		s.end(p.end)
	}
}

// sentAll is the reply that consists of the given messages.
func sentAll(messages []message) []*reply {
	p := &reply{}
	for _, m := range messages {
		p.addMessage(m, nil)
	}
	return []*reply{p}
}

// write sends bytes, unless the client is out of reach.
func (s *session) write(b []byte) {
	if len(b) == 0 || s.gone() {
		return
	}
	if _, err := s.conn.Write(b); err != nil {
		s.end(endClose)
	}
}

// carryOne carries out one command and returns what to send now.
func (s *session) carryOne(j *job) *reply {
	for _, f := range j.faults {
		if f.Do != nil {
			f.Do(s.router)
		}
	}
	if s.gone() {
		return &reply{}
	}
	messages, o, end := s.execute(j)
	s.router.changed()
	if o.repeat > 0 {
		s.schedule(&job{command: j.command, repeated: true, until: j.until}, o.repeat)
	}
	p := &reply{end: end, buf: make([]byte, 0, 256*len(messages)), ends: make([]int, 0, len(messages))}
	if o.fatal != "" {
		p.end = endClose
	}
	for _, m := range messages {
		p.addMessage(m, j.faults)
	}
	for _, f := range j.faults {
		if p = s.ruin(f, j, p); p == nil {
			return &reply{}
		}
	}
	return p
}

// ruin applies a fault that concerns the reply as a whole; nil sends nothing now.
func (s *session) ruin(f Fault, j *job, p *reply) *reply {
	switch f.Kind {
	case FaultSilenceReply:
		return nil
	case FaultDelayReply:
		s.schedule(&job{command: j.command, reply: p}, f.Delay)
		return nil
	case FaultCloseReply:
		return &reply{end: endClose}
	case FaultResetReply:
		return &reply{end: endReset}
	case FaultHalfSentence:
		// The last word is cut, and the zero that ends the sentence with it.
		if n := len(p.ends); n > 0 {
			p.buf = p.buf[:len(p.buf)-3]
			p.ends[n-1] = len(p.buf)
		}
		p.end = endClose
	case FaultReservedLength:
		p = &reply{}
		p.add(0xF8, 0x05, '!', 'd', 'o', 'n', 'e', 0)
	case FaultHugeLength:
		p = &reply{}
		p.add(0xF0, 0x7F, 0xFF, 0xFF, 0xFF, '!')
	default:
	}
	return p
}

// execute carries out a command, or what a fault puts in its place, records it,
// and returns the sentences to send.
func (s *session) execute(j *job) (messages []message, o outcome, end ending) {
	r := s.router
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []FaultKind
	replaced := false
	for _, f := range j.faults {
		kinds = append(kinds, f.Kind)
		if !replaced {
			o, end, replaced = f.instead()
		}
	}
	var others []message
	switch {
	case replaced:
	case j.path == loginPath:
		o = r.loginLocked(s, j.command)
	case j.path == quitPath:
		o = outcome{fatal: "session terminated on request"}
	case !s.loggedIn:
		o = beforeLogin()
	case j.path == cancelPath:
		o, others = s.cancelLocked(j.command)
	default:
		o = j.bound(r.executeLocked(s.user, j.command))
	}
	if o.listen != nil {
		o = r.listenLocked(s, j.command, o)
	}
	if !j.repeated {
		r.recordLocked(s, j.command, o, kinds)
	}
	if o.fatal != "" {
		return []message{{Sentence: fatalSentence(o.fatal)}}, o, end
	}
	sentences := o.rows
	if o.done != nil {
		sentences = append(sentences, o.done)
	}
	for _, f := range j.faults {
		sentences = r.spoilLocked(f, sentences)
	}
	messages = make([]message, 0, len(sentences)+len(others))
	// The commands that a /cancel interrupts speak before and after it.
	messages = append(messages, others[:len(others)/2]...)
	for _, sentence := range sentences {
		messages = append(messages, message{sentence, j.tag, j.tagged})
	}
	return append(messages, others[len(others)/2:]...), o, end
}

// bound ends a repeating command whose time would be over before the next turn.
func (j *job) bound(o outcome) outcome {
	now := time.Now()
	if o.repeat > 0 && o.limit > 0 && !j.repeated {
		j.until = now.Add(o.limit)
	}
	if o.repeat > 0 && !j.until.IsZero() && !now.Add(o.repeat).Before(j.until) {
		o.repeat, o.done = 0, routeros.Sentence{"!done"}
	}
	return o
}

// append appends the bytes of the sentence, its tag where the faults want it.
func (m message) append(dst []byte, faults []Fault) []byte {
	at := 1
	empty := false
	for _, f := range faults {
		switch f.Kind {
		case FaultTagLast:
			at = len(m.Sentence)
		case FaultTagMiddle:
			at = (len(m.Sentence) + 1) / 2
		case FaultEmptySentences:
			empty = true
		default:
		}
	}
	if empty {
		dst = append(dst, 0, 0)
	}
	for i, word := range m.Sentence {
		dst = routeros.AppendWord(dst, word)
		if m.tagged && i == at-1 {
			dst = routeros.AppendWord(dst, ".tag="+m.tag)
		}
	}
	if dst = append(dst, 0); empty {
		dst = append(dst, 0)
	}
	return dst
}

// listen is a command that waits for changes of a table.
type listen struct {
	session *session
	*command
	table *table
}

// listenLocked keeps a listening command, unless the session has too many.
func (r *Router) listenLocked(s *session, c *command, o outcome) outcome {
	count := 0
	for _, l := range r.listens {
		if l.session == s {
			count++
		}
	}
	if count >= maxListens {
		return failed(refuse(noCategory, "failure: too many commands"))
	}
	r.listens = append(r.listens, &listen{session: s, command: c, table: o.listen})
	return o
}

// announceLocked tells the listening commands of a changed or removed item.
func (r *Router) announceLocked(t *table, it *item, dead bool) {
	for _, l := range r.listens {
		if l.table != t {
			continue
		}
		row := routeros.Sentence{"!re", "=.id=" + it.id, "=.dead=true"}
		if !dead {
			if pass, ok := l.query.passes(it); !pass || !ok {
				continue
			}
			row = it.words(r.proplistLocked(l.session.user, t, l.command))
		}
		l.session.push(message{row, l.tag, l.tagged})
	}
}

// push hands a sentence to the worker. A client that does not read any more is
// not kept in memory for ever.
func (s *session) push(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.vanished || len(s.events) >= maxPending {
		return
	}
	s.events = append(s.events, m)
	signal(s.wake)
}

// cancelLocked interrupts the commands of this session that have the given tag,
// or all of them. What they say comes in two halves: the traps before the !done
// of the /cancel, their own !done after it.
func (s *session) cancelLocked(c *command) (outcome, []message) {
	tag, one := c.arg("tag")
	var targets []*command
	hit := func(victim *command) bool {
		if one && (victim.tag != tag || !victim.tagged) {
			return false
		}
		targets = append(targets, victim)
		return true
	}
	r := s.router
	r.listens = slices.DeleteFunc(r.listens, func(l *listen) bool { return l.session == s && hit(l.command) })
	s.mu.Lock()
	s.pending = slices.DeleteFunc(s.pending, func(j *job) bool { return hit(j.command) })
	s.mu.Unlock()
	var traps, dones []message
	for _, victim := range targets {
		interrupted := trap{message: "interrupted", category: categoryInterrupted}
		traps = append(traps, message{interrupted.sentence(), victim.tag, victim.tagged})
		dones = append(dones, message{routeros.Sentence{"!done"}, victim.tag, victim.tagged})
	}
	return done(), slices.Concat(traps, dones)
}
