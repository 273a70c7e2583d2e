package routeros

import (
	"errors"
	"fmt"
	"os"
)

// attrBytes is what a word of a reply takes in memory besides its bytes.
const attrBytes = 32

// read hands sentences to their calls until the connection fails.
func (s *session) read() error {
	for {
		words, err := s.reader.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errSilent
		}
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		if err := s.dispatch(words, s.reader.long != nil); err != nil {
			return err
		}
	}
}

// dispatch hands a sentence to the call whose tag it has. Cut is set if the
// sentence was too long: then only its first words and the tag are there. An error
// ends the session.
func (s *session) dispatch(words Sentence, cut bool) error {
	kind := words[0]
	if kind == replyFatal {
		return &FatalError{Reason: fatalReason(words[1:])}
	}
	if kind[0] != '!' {
		return protocolErrorf("%.40q is no reply", kind)
	}
	tag, ok := findTag(words[1:])
	if !ok {
		return protocolErrorf("reply %.40q without a tag of ours", kind)
	}
	s.mu.Lock()
	s.heard++
	s.watchLocked(false)
	k := s.calls[tag]
	if k == nil || !k.sent {
		s.mu.Unlock()
		s.client.late.Add(1)
		return nil
	}
	err := s.collectLocked(k, words, cut)
	streams := err == nil && kind == replyRow && !cut && !k.abandoned && k.each != nil
	s.mu.Unlock()
	if streams {
		err = k.hand(s.row(words[1:]))
	}
	switch {
	case err != nil:
		s.stop(k, err)
	case kind == replyDone:
		s.finish(k)
	}
	return nil
}

// row returns the words as a row, in memory that the next row uses again.
func (s *session) row(words Sentence) Row {
	clear(s.lent)
	s.lent = appendRow(s.lent[:0], words)
	return s.lent
}

// collectLocked adds the sentence to the reply, unless nobody waits for it any
// more. An error ends the call. Kinds of replies that this package does not know
// mean nothing: RouterOS 7.18 came with a new one, !empty, and broke the clients
// that knew better.
func (s *session) collectLocked(k *call, words Sentence, cut bool) error {
	if k.abandoned {
		s.client.late.Add(1)
		return nil
	}
	switch words[0] {
	case replyRow:
		k.touch()
		if cut {
			k.reply.Skipped++
			s.client.skipped.Add(1)
			return nil
		}
		if k.each != nil {
			return nil
		}
		if len(k.reply.Rows) == s.client.cfg.MaxRows {
			return &LimitError{Path: k.cmd.Path, Text: fmt.Sprintf("reply of more than %d rows", s.client.cfg.MaxRows)}
		}
		if err := s.holdLocked(k, words); err != nil {
			return err
		}
		k.reply.Rows = append(k.reply.Rows, parseRow(words[1:]))
	case replyTrap:
		if len(k.traps) < maxTraps {
			k.traps = append(k.traps, parseTrap(words[1:]))
		}
	case replyDone:
		if k.err = s.holdLocked(k, words); k.err == nil {
			k.reply.Done = parseRow(words[1:])
		}
	}
	return nil
}

// holdLocked accounts for the memory of a sentence that is kept for the call.
func (s *session) holdLocked(k *call, words Sentence) error {
	size := attrBytes
	for _, word := range words {
		size += len(word) + attrBytes
	}
	if limit := s.client.cfg.MaxReplyBytes; s.held+size > limit {
		return &LimitError{Path: k.cmd.Path, Text: fmt.Sprintf("replies of more than %d bytes together", limit)}
	}
	k.size += size
	s.held += size
	return nil
}

// releaseLocked gives the memory of the call's reply back: its caller has it, or
// nobody.
func (s *session) releaseLocked(k *call) {
	s.held -= k.size
	k.size = 0
}

// holds returns how many bytes the replies in the making take.
func (s *session) holds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// hand gives a row to the caller's function, unless the caller has gone.
func (k *call) hand(row Row) error {
	k.turn <- struct{}{}
	defer func() { <-k.turn }()
	if k.gone {
		return nil
	}
	return k.each(row)
}

// leave returns when the caller's function does not run and never will again.
func (k *call) leave() {
	k.turn <- struct{}{}
	defer func() { <-k.turn }()
	k.gone = true
}

// stop ends a call before its reply has ended: the caller gets the error, what
// still comes is dropped, and the router is asked to stop.
func (s *session) stop(k *call, err error) {
	s.mu.Lock()
	if s.calls[k.tag] != k || k.abandoned {
		s.mu.Unlock()
		return // the session has failed or the caller has gone in this moment
	}
	k.abandoned = true
	s.abandoned++
	s.dropLocked(k)
	idle, tooMany := s.retired && s.idleLocked(), s.abandoned > s.client.cfg.MaxInFlight
	s.mu.Unlock()
	s.client.abandoned.Add(1)
	k.result <- result{err: err}
	switch {
	case idle:
		s.fail(ErrRenewed)
	case tooMany:
		s.fail(s.tooMany())
	default:
		s.cancel(k)
	}
}

// dropLocked forgets what was collected for a call that nobody waits for any more.
func (s *session) dropLocked(k *call) {
	s.releaseLocked(k)
	k.reply, k.traps = nil, nil
}

// finish takes the call off the books and gives its result to whom it may concern.
func (s *session) finish(k *call) {
	s.mu.Lock()
	if s.calls[k.tag] != k {
		s.mu.Unlock()
		return // the session has failed in this moment
	}
	delete(s.calls, k.tag)
	if !k.cmd.Endless {
		s.owed--
	}
	if s.owed == 0 {
		s.patience = 0
	}
	s.watchLocked(false)
	if k.abandoned {
		if !k.control {
			s.abandoned--
		}
		s.mu.Unlock()
		return
	}
	s.releaseLocked(k)
	r := result{reply: k.reply, err: k.err}
	if len(k.traps) > 0 {
		s.client.traps.Add(1)
		r = result{err: &TrapError{Path: k.cmd.Path, Traps: k.traps}}
	}
	s.proven = s.proven || k.cmd.Proves && r.err == nil
	idle := s.retired && s.idleLocked()
	s.mu.Unlock()
	if r.err != nil {
		r.reply = nil
	}
	k.result <- r
	if idle {
		s.fail(ErrRenewed)
	}
}
