package exchange

import "time"

const (
	// paceSpan is how far the window moves from where it begins: to this many times as
	// many requests, and down to this part of them.
	paceSpan = 4
	// paceMost is how many requests are in flight at most, unless more are asked for.
	paceMost = 256
	// promptly is how long after a request its reply comes in time in any case: then it is
	// repeated first (RFC 6886 §3.1).
	promptly = 250 * time.Millisecond
	// slack is by how much a reply may be slower than usual without a sign of a queue.
	slack = 10 * time.Millisecond
	// paceMemory is for how long is held against a gateway that it could not cope, and how
	// fast it once was.
	paceMemory = time.Minute
	// paceRest is after how much time without a request nothing is known of how many
	// the gateway can stand.
	paceRest = time.Second
)

// pace knows how many requests may be in flight: more while replies come in time, and half
// as many at once when one does not. It is as TCP's congestion control (RFC 5681): of
// what is between us and the gateway nothing else can be seen. It has no clock of its own.
type pace struct {
	// start, least and most bound size.
	start, least, most int
	// size is how many requests may be in flight now.
	size int
	// limit is the size up to which each reply makes room for one more request; above it
	// each round of replies does. replies counts those of the round.
	limit, replies int
	// cutAt is when size was last reduced: a request that was sent before says nothing new.
	cutAt time.Time
	// fastest is the shortest time of a reply since measuredAt, before in the minute before
	// that; 0 if there was none.
	fastest, before time.Duration
	measuredAt      time.Time
}

// newPace returns a pace that begins with so many requests; 1 stays 1.
func newPace(start int) pace {
	p := pace{start: start, least: max(start/paceSpan, 1), most: max(min(start*paceSpan, paceMost), start), size: start}
	if start == 1 {
		p.most = 1
	}
	p.limit = p.most
	return p
}

// usual is how long a reply takes when nothing holds it up, 0 if that is not known.
func (p *pace) usual() time.Duration {
	if p.fastest == 0 || p.before != 0 && p.before < p.fastest {
		return p.before
	}
	return p.fastest
}

// patience is how long after a request its reply comes in time.
func (p *pace) patience() time.Duration { return max(promptly, 2*p.usual()) }

// brisk is how long a reply takes at most when it met no queue.
func (p *pace) brisk() time.Duration { return p.usual()*3/2 + slack }

// answered takes in the reply to a request that was sent at these moments first and last.
// Full is set if no more requests could be in flight, and oldest is when the oldest of those
// was sent that have no reply yet, zero for none.
//
// To which copy of a repeated request it is cannot be known. The way there and back is
// measured from the first, which is too long if that one was lost; the least counts.
func (p *pace) answered(first, last, now time.Time, full bool, oldest time.Time) {
	p.measure(now.Sub(first), now)
	took := now.Sub(last)
	if took > p.patience() {
		p.late(last, now, true)
		return
	}
	held := !oldest.IsZero() && now.Sub(oldest) > p.brisk()
	if !full || held || took > p.brisk() || p.size >= p.most {
		return
	}
	if now.Sub(p.cutAt) >= paceMemory {
		p.limit = p.most
	}
	if p.size < p.limit {
		p.size++
		return
	}
	if p.replies++; p.replies >= p.size {
		p.size, p.replies = p.size+1, 0
	}
}

// measure takes in how long a reply took.
func (p *pace) measure(took time.Duration, now time.Time) {
	if now.Sub(p.measuredAt) >= paceMemory {
		p.before, p.fastest, p.measuredAt = p.fastest, 0, now
	}
	if p.fastest == 0 || took < p.fastest {
		p.fastest = max(took, 1)
	}
}

// late takes in that there was no reply in time to a request. Others is set if the
// gateway answered others meanwhile: then it cannot cope, else it is away, and will cope
// with as many as before when it is back.
func (p *pace) late(sent, now time.Time, others bool) {
	if sent.Before(p.cutAt) {
		return
	}
	least := p.size == p.least
	p.size, p.replies, p.cutAt = max(p.size/2, p.least), 0, now
	if others && !least {
		p.limit = p.size
	}
}

// rested takes in that nothing was in flight for a while.
func (p *pace) rested() { p.size = min(p.size, p.start) }
