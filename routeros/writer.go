package routeros

import (
	"fmt"
	"time"
)

// writeBatch is how many bytes of waiting commands are put into one write.
const writeBatch = 16 << 10

// write sends queued commands until the session is over. Only it writes, so
// that a caller can leave at any moment without cutting a sentence in two.
func (s *session) write() {
	var buf []byte
	for {
		select {
		case <-s.over:
			return
		case k := <-s.queue:
			buf = s.take(buf[:0], k)
		}
		for more := true; more && len(buf) < writeBatch; {
			select {
			case k := <-s.queue:
				buf = s.take(buf, k)
			default:
				more = false
			}
		}
		if len(buf) == 0 {
			continue
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(s.client.cfg.CommandTimeout))
		if _, err := s.conn.Write(buf); err != nil {
			s.fail(fmt.Errorf("writing: %w", err))
			return
		}
	}
}

// take appends the call to what is going to be written, unless nobody waits for it any more.
func (s *session) take(buf []byte, k *call) []byte {
	s.mu.Lock()
	if s.err != nil || k.abandoned && !k.control {
		s.mu.Unlock()
		return buf
	}
	k.sent, k.mark = true, s.heard
	if !k.cmd.Endless {
		s.owed++
		s.patience = max(s.patience, k.timeout)
		s.watchLocked(true)
	}
	s.mu.Unlock()
	s.client.commands.Add(1)
	return k.cmd.append(buf, k.tag)
}

// watchLocked sets the time at which the router counts as gone: patience from now
// while it owes an answer, never otherwise. Unless exact is set, a time that is
// a little early is left as it is: a long reply does not set it at each row. It is never
// earlier than the timeout of a call itself, because sending one is exact.
func (s *session) watchLocked(exact bool) {
	var until time.Time
	if s.owed > 0 {
		until = time.Now().Add(s.patience)
		if !exact && until.Sub(s.silentAt) < s.patience/8 {
			return
		}
	}
	if until.Equal(s.silentAt) {
		return
	}
	s.silentAt = until
	_ = s.conn.SetReadDeadline(until)
}
