package daemon

import (
	"net/netip"
	"sync"

	"doublenat/internal/nat"
)

// holders knows which clients have a mapping, from the core's events: the answer
// is needed for each packet, whatever the core is at.
type holders struct {
	mu   sync.Mutex // guards what follows; held for moments only
	keys map[nat.Key]struct{}
	// count has how many of the keys are a client's; never 0.
	count map[netip.Addr]int
}

func newHolders() *holders {
	return &holders{keys: make(map[nat.Key]struct{}), count: make(map[netip.Addr]int)}
}

// observe learns from one event.
func (h *holders) observe(ev nat.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := ev.Mapping.Key
	_, known := h.keys[key]
	switch ev.Kind {
	case nat.EventCreated, nat.EventAdopted:
		if !known {
			h.keys[key] = struct{}{}
			h.count[key.Client]++
		}
	case nat.EventDeleted, nat.EventExpired, nat.EventLost, nat.EventEvicted, nat.EventShutdown:
		if known {
			delete(h.keys, key)
			if h.count[key.Client]--; h.count[key.Client] == 0 {
				delete(h.count, key.Client)
			}
		}
	case nat.EventPortChanged, nat.EventRuleRestored:
	}
}

// has says whether the client has a mapping.
func (h *holders) has(client netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[client] > 0
}
