package ops

import "errors"

const (
	// maxWatchers is how many pages may be open at a time.
	maxWatchers = 128
	// backlog is how many pictures may wait for a watcher: one is one too late, four
	// is somebody who does not read.
	backlog = 4
)

// errTooMany is a watcher too many.
var errTooMany = errors.New("too many watchers")

// Watcher is somebody who is told of each new picture.
type Watcher struct {
	// pictures has what is to be sent. It is closed when the watcher is let go.
	pictures chan []byte
}

// watch returns a watcher, to which the picture of this moment is sent first.
func (m *Monitor) watch() (*Watcher, error) {
	first, err := encode(m.Status())
	if err != nil {
		return nil, err
	}
	w := &Watcher{pictures: make(chan []byte, backlog)}
	w.pictures <- first
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watchers == nil || len(m.watchers) >= maxWatchers {
		return nil, errTooMany
	}
	m.watchers[w] = struct{}{}
	if len(m.watchers) == 1 {
		m.Changed() // from now on more often
	}
	return w, nil
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
