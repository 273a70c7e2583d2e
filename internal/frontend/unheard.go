package frontend

import (
	"net/netip"
	"sync"
	"time"

	"doublenat/internal/nat"
)

const (
	// maxUnheard bounds how many mappings are remembered of which nobody heard.
	maxUnheard = 256
	// unheardFor is for how long: longer than the core takes to make one.
	unheardFor = 30 * time.Second
)

// unheard has the mappings that are being made for clients of UPnP that hung up. One that ends
// its mapping then names it by the external port, by which nobody else knows it yet. The zero
// value is ready for use.
type unheard struct {
	mu sync.Mutex // guards what follows; held for moments only
	of map[outerPort]making
}

// outerPort is an external port as a client asked for it.
type outerPort struct {
	client   netip.Addr
	protocol nat.Protocol
	external uint16
}

// making is a mapping that is being made.
type making struct {
	key   nat.Key
	until time.Time // when that is over for sure
}

// note remembers a mapping, unless there are too many.
func (u *unheard) note(at outerPort, key nat.Key, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for other, m := range u.of {
		if !m.until.After(now) {
			delete(u.of, other)
		}
	}
	if u.of == nil {
		u.of = make(map[outerPort]making)
	}
	if len(u.of) < maxUnheard {
		u.of[at] = making{key, now.Add(unheardFor)}
	}
}

// take returns the mapping that is being made for an external port, and forgets it.
func (u *unheard) take(at outerPort, now time.Time) (nat.Key, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	m, ok := u.of[at]
	delete(u.of, at)
	return m.key, ok && m.until.After(now)
}
