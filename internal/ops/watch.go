package ops

import (
	"errors"
	"net/netip"
)

const (
	// maxWatchers is how many pages may be open at a time.
	maxWatchers = 128
	// maxWatchersOfHost is how many of them may be of one other host, and reservedWatchers
	// how many are kept for this host.
	maxWatchersOfHost, reservedWatchers = 64, 8
	// backlog is how many pictures may wait for a watcher: one is one too late, four
	// is somebody who does not read.
	backlog = 4
	// firstTries is how often a watcher's first picture is made, where others get one meanwhile.
	firstTries = 3
)

// errTooMany is a watcher too many.
var errTooMany = errors.New("too many watchers")

// Watcher is somebody who is told of each new picture.
type Watcher struct {
	// host is where it reads; the zero value is this host.
	host netip.Addr
	// pictures has what is to be sent. It is closed when the watcher is let go.
	pictures chan []byte
}

// watch returns a watcher at a host, to which the picture of this moment is sent
// first. Where there are too many, one is let go of a host that has more than its share.
func (m *Monitor) watch(host netip.Addr) (*Watcher, error) {
	w := &Watcher{host: host, pictures: make(chan []byte, backlog)}
	first, err := m.firstLocked()
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	w.pictures <- first
	if m.watchers == nil || !m.roomLocked(host) {
		return nil, errTooMany
	}
	m.watchers[w] = struct{}{}
	if len(m.watchers) == 1 {
		m.Changed() // from now on more often
	}
	return w, nil
}

// firstLocked makes a picture for a new watcher, and returns with m.mu held. A picture that
// others were sent meanwhile shows what this one may not, and nobody would send it again.
func (m *Monitor) firstLocked() (first []byte, err error) {
	for range firstTries {
		m.mu.Lock()
		before := m.broadcasts
		m.mu.Unlock()
		first, err = encode(m.Status())
		m.mu.Lock()
		if err != nil || m.broadcasts == before {
			return first, err
		}
		m.mu.Unlock()
	}
	m.mu.Lock()
	return first, nil
}

// roomLocked says whether there is room for a watcher at a host, and makes some where a
// host has more than its share.
func (m *Monitor) roomLocked(host netip.Addr) bool {
	all, foreign := make(map[netip.Addr][]*Watcher), make(map[netip.Addr][]*Watcher)
	others := 0
	for w := range m.watchers {
		all[w.host] = append(all[w.host], w)
		if w.host.IsValid() {
			foreign[w.host] = append(foreign[w.host], w)
			others++
		}
	}
	hosts := all
	switch {
	case host.IsValid() && len(all[host]) >= maxWatchersOfHost:
		return false
	case host.IsValid() && others >= maxWatchers-reservedWatchers:
		hosts = foreign
	case len(m.watchers) < maxWatchers:
		return true
	}
	var greediest []*Watcher
	for _, watchers := range hosts {
		if len(watchers) > len(greediest) {
			greediest = watchers
		}
	}
	if len(greediest) <= len(all[host])+1 {
		return false
	}
	delete(m.watchers, greediest[0])
	close(greediest[0].pictures)
	m.dropped++
	return true
}

// leave forgets a watcher that went away.
func (m *Monitor) leave(w *Watcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.watchers, w)
}

// watching returns how many watchers there are.
func (m *Monitor) watching() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.watchers)
}

// broadcast gives the message to all watchers, which share its bytes. It waits for
// nobody: who has not taken the last ones is let go, and may come again.
func (m *Monitor) broadcast(message []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broadcasts++
	for w := range m.watchers {
		select {
		case w.pictures <- message:
		default:
			delete(m.watchers, w)
			close(w.pictures)
			m.dropped++
		}
	}
}

// letGo ends all watching.
func (m *Monitor) letGo() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for w := range m.watchers {
		close(w.pictures)
	}
	m.watchers = nil
}
