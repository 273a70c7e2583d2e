package frontend

import (
	"net/netip"
	"sync"
	"time"

	"doublenat/internal/datagram"
	"doublenat/internal/nat"
)

// nonce is the number by which a client of PCP shows that a mapping is its own (RFC 6887
// §11.1). It is zero for a request that has none.
type nonce [12]byte

// keeper is the client of PCP that asked for a mapping last.
type keeper struct {
	nonce nonce
	// filter is what it said last of who may send, zero if it never did.
	filter nat.Filter
	// era is the loss of state after which the nonce came.
	era int
	// from is how its request came in, and until when it was told to have the mapping.
	from  datagram.Arrival
	until time.Time
}

// keepers has the clients of PCP by their mappings. Programs of the field draw another nonce
// whenever they start, and as long as NAT-PMP is answered at the same port a nonce protects
// nothing that is asked for: so it guards ends only, unless it is strict.
type keepers struct {
	strict bool
	mapped func(nat.Key) bool

	mu sync.Mutex // guards what follows; held for moments only
	of map[nat.Key]keeper
	// era counts losses of state: after one clients may come with other nonces (RFC 6887
	// §11.1).
	era int
}

// sweepAt is how many keepers there may be before those without a mapping are looked for.
const sweepAt = 4096

// refused says for how long a request is refused because the mapping is another's, 0 if it
// is not.
func (k *keepers) refused(client netip.Addr, req request, now time.Time) time.Duration {
	if req.want != wantEnd && !k.strict {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if req.internalPort != 0 {
		return k.ofAnotherLocked(req.key(client), req.nonce, now)
	}
	var longest time.Duration
	for key := range k.of {
		if key.Client == client && (req.protocol == 0 || req.protocol == key.Protocol) {
			longest = max(longest, k.ofAnotherLocked(key, req.nonce, now))
		}
	}
	return longest
}

// ofAnotherLocked returns for how long a mapping is another's than the nonce's, 0 if it is not.
func (k *keepers) ofAnotherLocked(key nat.Key, n nonce, now time.Time) time.Duration {
	has, ok := k.of[key]
	if !ok || has.nonce == n || has.era != k.era || !has.until.After(now) {
		return 0
	}
	return max(has.until.Sub(now), time.Second)
}

// keeperOf returns who asked for a mapping by PCP last, false if nobody did.
func (k *keepers) keeperOf(key nat.Key) (keeper, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	has, ok := k.of[key]
	return has, ok
}

// repeats says whether a request asks for the filter for which the last one did.
func (k *keepers) repeats(key nat.Key, filter nat.Filter) bool {
	has, _ := k.keeperOf(key)
	return filter.Op == nat.FilterKeep || filter == has.filter
}

// note notes who asked for a mapping that stands.
func (k *keepers) note(key nat.Key, has keeper) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.of[key]; !known && len(k.of) >= sweepAt {
		for other := range k.of {
			if !k.mapped(other) {
				delete(k.of, other)
			}
		}
	}
	if has.filter.Op == nat.FilterKeep {
		has.filter = k.of[key].filter
	}
	has.era = k.era
	k.of[key] = has
}

// forget forgets whose a mapping was.
func (k *keepers) forget(key nat.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.of, key)
}

// stateLost has no nonce guard anything any more.
func (k *keepers) stateLost() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.era++
}
