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

// reply is what is sent for a command: the bytes of each sentence, and what
// becomes of the connection then.
type reply struct {
	sentences [][]byte
	end       ending
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
	var buf []byte
	for len(replies) > 0 {
		for i := 0; i < len(replies); i++ {
			p := replies[i]
			if len(p.sentences) > 0 {
				buf = append(buf, p.sentences[0]...)
				p.sentences = p.sentences[1:]
			}
			if len(p.sentences) > 0 {
				continue
			}
			if p.end != endNot {
				s.write(buf)
				s.end(p.end)
				return
			}
			replies = slices.Delete(replies, i, i+1)
			i--
		}
	}
	s.write(buf)
}

// sentAll is the reply that consists of the given messages.
func sentAll(messages []message) []*reply {
	p := &reply{}
	for _, m := range messages {
		p.sentences = append(p.sentences, m.encode(nil))
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
	p := &reply{end: end}
	if o.fatal != "" {
		p.end = endClose
	}
	for _, m := range messages {
		p.sentences = append(p.sentences, m.encode(j.faults))
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
		if n := len(p.sentences); n > 0 {
			last := p.sentences[n-1]
			p.sentences[n-1] = last[:len(last)/2]
		}
		p.end = endClose
	case FaultReservedLength:
		return &reply{sentences: [][]byte{{0xF8, 0x05, '!', 'd', 'o', 'n', 'e', 0}}}
	case FaultHugeLength:
		return &reply{sentences: [][]byte{{0xF0, 0x7F, 0xFF, 0xFF, 0xFF, '!'}}}
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
		r.listens = append(r.listens, &listen{session: s, command: j.command, table: o.listen})
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
	for _, sentence := range sentences {
		messages = append(messages, message{sentence, j.tag, j.tagged})
	}
	// The commands that a /cancel interrupts speak before and after it.
	half := len(others) / 2
	return slices.Concat(others[:half], messages, others[half:]), o, end
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

// encode returns the bytes of the sentence, its tag where the faults want it.
func (m message) encode(faults []Fault) []byte {
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
	sentence := m.Sentence
	if m.tagged {
		sentence = slices.Insert(slices.Clone(sentence), at, ".tag="+m.tag)
	}
	var b []byte
	if empty {
		b = append(b, 0, 0)
	}
	if b = routeros.AppendSentence(b, sentence); empty {
		b = append(b, 0)
	}
	return b
}

// listen is a command that waits for changes of a table.
type listen struct {
	session *session
	*command
	table *table
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
			row = printed(it, l.proplist, r.hiddenLocked(l.session.user, t))
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
