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

// reply is what is sent for a command, and what becomes of the connection then. Its
// sentences are encoded when they are sent: there may be hundreds of thousands.
type reply struct {
	messages []message
	faults   []Fault
	// raw takes the place of the messages, nil for none; it may be no sentence at all.
	raw []byte
	// short is how many bytes of the last sentence are not sent.
	short int
	end   ending
	// restart reboots the router when all is sent.
	restart bool
}

// turns returns how many sentences there are.
func (p *reply) turns() int {
	if p.raw != nil {
		return 1
	}
	return len(p.messages)
}

// appendTurn appends the bytes of one sentence.
func (p *reply) appendTurn(dst []byte, turn int) []byte {
	if p.raw != nil {
		return append(dst, p.raw...)
	}
	dst = p.messages[turn].append(dst, p.faults)
	if turn == len(p.messages)-1 {
		dst = dst[:len(dst)-p.short]
	}
	return dst
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

// sendSize is how many bytes are written at once.
const sendSize = 64 << 10

// send writes replies, one sentence of each in turn.
func (s *session) send(replies []*reply) {
	buf := s.out[:0]
	defer func() { s.out = buf }()
	for turn, left := 0, len(replies); left > 0; turn++ {
		for _, p := range replies {
			if turn < p.turns() {
				buf = p.appendTurn(buf, turn)
			}
			if turn != max(p.turns()-1, 0) {
				continue
			}
			if left--; p.end != endNot || p.restart {
				s.write(buf)
				s.endAfter(p)
				return
			}
		}
		if len(buf) < sendSize {
			continue
		}
		s.write(buf)
		buf = buf[:0]
		if left -= s.interrupt(replies, turn+1); s.gone() {
			return
		}
	}
	s.write(buf)
}

// interrupt cuts the replies off that a /cancel is waiting for, and returns how many
// of them have no more to say. Their end is said when the /cancel is carried out.
func (s *session) interrupt(replies []*reply, sent int) (ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.pending {
		if j.path != cancelPath {
			continue
		}
		tag, one := j.arg("tag")
		for _, p := range replies {
			if p.raw != nil || sent >= len(p.messages) {
				continue
			}
			last := p.messages[len(p.messages)-1]
			if one && (last.tag != tag || !last.tagged) {
				continue
			}
			s.interrupted = append(s.interrupted, &command{tag: last.tag, tagged: last.tagged})
			p.messages = p.messages[:sent]
			ended++
		}
	}
	return ended
}

// endAfter ends the session if that is what follows a reply.
func (s *session) endAfter(p *reply) {
	if p.end != endNot {
		s.end(p.end)
	}
	if p.restart {
		s.router.Reboot(Reboot{Down: rebootTime})
	}
}

// sentAll is the reply that consists of the given messages.
func sentAll(messages []message) []*reply {
	return []*reply{{messages: messages}}
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
	p := &reply{messages: messages, faults: j.faults, end: end, restart: o.restart}
	if o.fatal != "" {
		p.end = endClose
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
		p.short, p.end = 3, endClose
	case FaultReservedLength:
		p = &reply{raw: []byte{0xF8, 0x05, '!', 'd', 'o', 'n', 'e', 0}}
	case FaultHugeLength:
		p = &reply{raw: []byte{0xF0, 0x7F, 0xFF, 0xFF, 0xFF, '!'}}
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
		o = j.bound(r.executeStruckLocked(s.actor, j))
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
			row = it.words(proplistOf(l.session.actor, t, l.command))
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
	s.interrupted = slices.DeleteFunc(s.interrupted, hit)
	s.mu.Unlock()
	var traps, dones []message
	for _, victim := range targets {
		interrupted := trap{message: "interrupted", category: categoryInterrupted}
		traps = append(traps, message{interrupted.sentence(), victim.tag, victim.tagged})
		dones = append(dones, message{routeros.Sentence{"!done"}, victim.tag, victim.tagged})
	}
	return done(), slices.Concat(traps, dones)
}
