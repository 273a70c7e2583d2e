package gateway

import "time"

// failedFor is how long it is held against a gateway that it failed to map when
// nobody asked it since, and it answers otherwise.
const failedFor = 10 * time.Minute

// purpose is what a request was for.
type purpose uint8

const (
	forAddress purpose = iota
	forLease
	forRelease
)

// record is what requests told about the gateway, those for the address and those
// for leases apart: there are gateways that map ports and do not tell their address,
// and each of the two would deny what the other says.
type record struct {
	// host is StateRefused or StateSilent, and unknown as soon as there is an answer.
	host health
	// look and lease are what the latest answers of each kind told: unknown, ok, or
	// failing. They are unknown while host is not.
	look, lease health
	// leaseAt is when lease was told.
	leaseAt time.Time
	// away is set while a recovery would be one: something may have been asked in vain.
	away bool
}

// take takes in what a request told.
func (r *record) take(p purpose, h health, now time.Time) {
	if h.state == StateRefused || h.state == StateSilent {
		*r = record{host: h, away: true}
		return
	}
	r.host = health{}
	if p == forAddress {
		// An address that came back, or time, may have ended what leases failed with.
		over := r.look.state == StateFailing || now.Sub(r.leaseAt) >= failedFor
		if h.state == StateOK && over && r.lease.state == StateFailing {
			r.lease = health{}
		}
		r.look = h
		return
	}
	if p == forRelease && h.state == StateOK && r.lease.state == StateFailing {
		return // It takes back, and may give nothing all the same.
	}
	r.lease, r.leaseAt = h, now
	r.away = r.away || h.state == StateFailing
}

// health is how the gateway is doing. Leases are what it is for: the address decides
// only as long as nothing is known of them.
func (r *record) health() health {
	switch {
	case r.host.state != StateUnknown:
		return r.host
	case r.lease.state != StateUnknown:
		return r.lease
	default:
		return r.look
	}
}

// recovered says once, after the gateway was away, that it is back.
func (r *record) recovered() bool {
	back := r.away && r.health().state == StateOK
	if back {
		r.away = false
	}
	return back
}
