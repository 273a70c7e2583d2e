package router

import (
	"strconv"
	"sync"

	"doublenat/internal/nat"
)

// deeds remembers which rows of the NAT table are this process's doing: what it made,
// and what it found when it started. A row of ours stays ours whatever somebody writes
// into its comment, and one that has our comment and that nobody here made is noticed.
// It is bounded by the rows that the router has.
type deeds struct {
	mu sync.Mutex
	// looks counts the looks at the table. started is set once the first has ended.
	looks   uint64
	started bool
	rows    map[string]deed  // by id
	made    map[owned]uint64 // comments that were written or found, with the look since which they were not seen
}

// deed is one row.
type deed struct {
	owned   owned
	dstPort string // the ports that it matches
	look    uint64 // the last look that had begun when this was noted, or that showed it
}

// keepMade is for how many looks a comment is remembered that is not on the router: a
// slow router may carry out an add long after it was given up.
const keepMade = 10

func newDeeds() *deeds {
	return &deeds{rows: make(map[string]deed), made: make(map[owned]uint64)}
}

// intend notes a comment that is about to be written.
func (d *deeds) intend(o owned) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made[o] = d.looks
}

// did notes a row that was made or changed.
func (d *deeds) did(id string, o owned, match nat.MatchPorts) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rows[id] = deed{owned: o, dstPort: matcher(match), look: d.looks}
	d.made[o] = d.looks
}

// undid notes that rows were removed. One with this comment that comes back is nobody's
// doing here.
func (d *deeds) undid(o owned, ids ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range ids {
		delete(d.rows, id)
	}
	for _, other := range d.rows {
		if other.owned == o {
			return
		}
	}
	delete(d.made, o)
}

// still returns what a row of ours is or was, going by its id: it has to take the same
// packets still, or to lead to the same place. Ids may change.
func (d *deeds) still(r natRow) (owned, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known, ok := d.rows[r.id]
	if !ok || r.dynamic || r.protocol != known.owned.key.Protocol.String() {
		return owned{}, false
	}
	o := known.owned
	leads := r.toAddresses == o.key.Client.String() && r.toPorts == strconv.Itoa(int(o.rule().Target()))
	return o, leads || r.dstPort == known.dstPort
}

// knows reports whether a comment is this process's, or was there when it started.
func (d *deeds) knows(o owned) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.made[o]
	return ok
}

// none reports whether nothing was read yet.
func (d *deeds) none() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.started
}

// empty reports whether no row of ours is known to stand.
func (d *deeds) empty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.rows) == 0
}

// look begins a look at the table.
func (d *deeds) look() (number uint64, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looks++
	return d.looks, !d.started
}

// seen ends a look that showed these rows of ours, and forgets what is not there.
// Rows that are not our doing are not among them.
func (d *deeds) seen(number uint64, rows map[string]deed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.started = true
	for id, row := range rows {
		if have, ok := d.rows[id]; !ok || have.look < number {
			row.look = number
			d.rows[id] = row
			d.made[row.owned] = number
		}
	}
	for id, row := range d.rows {
		if row.look < number {
			delete(d.rows, id)
		}
	}
	for o, look := range d.made {
		if look+keepMade < number {
			delete(d.made, o)
		}
	}
}
