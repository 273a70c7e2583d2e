package igd

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	// paceBurst is how many searches of a client are answered at once: some programs send
	// one for each of six targets, two or three times, and a host has several programs.
	paceBurst = 40
	// paceEvery is after how long it has one more.
	paceEvery = 100 * time.Millisecond
	// paceCells is how many clients there can be that do not share their bound with others.
	paceCells = 1024
)

// pace bounds how many answers to searches are sent to one address: whoever forges that
// must not flood it. It has a place for each of so many sums of addresses, which nobody
// outside can foretell, so that it never grows.
type pace struct {
	seed maphash.Seed

	mu sync.Mutex // guards what follows; held for moments only
	// full is when each place has its whole burst again.
	full [paceCells]time.Time
}

func newPace() *pace { return &pace{seed: maphash.MakeSeed()} }

// allow says whether one more answer may go to the address.
func (p *pace) allow(to netip.Addr, now time.Time) bool {
	cell := maphash.Comparable(p.seed, to) % paceCells
	p.mu.Lock()
	defer p.mu.Unlock()
	full := p.full[cell]
	if full.Before(now) {
		full = now
	}
	if full.Sub(now) > (paceBurst-1)*paceEvery {
		return false
	}
	p.full[cell] = full.Add(paceEvery)
	return true
}
