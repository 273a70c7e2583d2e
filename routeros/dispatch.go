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
		if err := s.dispatch(words); err != nil {
			return err
		}
	}
}

// dispatch hands a sentence to the call whose tag it has. An error ends the session.
func (s *session) dispatch(words Sentence) error {
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
	known := k != nil && k.sent
	late := !known || k.abandoned
	s.mu.Unlock()
	if late {
		s.client.late.Add(1)
	} else if err := s.collect(k, words); err != nil {
		return err
	}
	if known && kind == replyDone {
		s.finish(k)
	}
	return nil
}

// collect adds the sentence to the reply. Kinds of replies that this package does
// not know mean nothing: RouterOS 7.18 came with a new one, !empty, and broke
// the clients that knew better.
func (s *session) collect(k *call, words Sentence) error {
	switch words[0] {
	case replyRow:
		for _, word := range words {
			k.size += len(word) + attrBytes
		}
		if len(k.reply.Rows) == s.client.cfg.MaxRows || k.size > s.client.cfg.MaxReplyBytes {
			return protocolErrorf("reply to %s of more than %d rows or %d bytes",
				k.cmd.Path, s.client.cfg.MaxRows, s.client.cfg.MaxReplyBytes)
		}
		k.reply.Rows = append(k.reply.Rows, parseRow(words[1:]))
	case replyTrap:
		if len(k.traps) < maxTraps {
			k.traps = append(k.traps, parseTrap(words[1:]))
		}
	case replyDone:
		k.reply.Done = parseRow(words[1:])
	}
	return nil
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
	s.answered = true
	if k.abandoned {
		if !k.control {
			s.abandoned--
		}
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	if len(k.traps) > 0 {
		s.client.traps.Add(1)
		k.result <- result{err: &TrapError{Path: k.cmd.Path, Traps: k.traps}}
		return
	}
	k.result <- result{reply: k.reply}
}
