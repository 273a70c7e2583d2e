package epoch

import "time"

const (
	// lines is how many clocks behind one address are told apart.
	maxLines = 4
	// slack is how far an epoch may be off, whatever the time between two packets (RFC 6886
	// §3.6, RFC 6887 §8.5); a part of that time, one in [Rule.Drift], comes on top.
	slack = 2 * time.Second
	// highSpan is for how long, and at most twice as long, the earliest packet counts.
	highSpan = time.Minute
	// lineMemory is how long a clock is remembered that is not the present one. To
	// continue it a packet may be off by one part in lineDrift of the time: real clocks
	// are better, and a new epoch must not be taken for an old one.
	lineMemory = time.Hour
	lineDrift  = 128
)

// sample is the epoch of a packet and when it came.
type sample struct {
	epoch uint32
	at    time.Time
}

// since returns how much time passed since an earlier sample, by the gateway's clock
// and by ours.
func (s sample) since(o sample) (theirs, ours time.Duration) {
	return time.Duration(int64(s.epoch)-int64(o.epoch)) * time.Second, max(s.at.Sub(o.at), 0)
}

// Rule is how far a protocol lets a gateway's clock be off.
type Rule struct {
	// Drift is which part of the time: one in so many.
	Drift time.Duration
	// Back is by how much the clock may run backwards, however little time passed; 0 for
	// as much as the slack.
	Back time.Duration
}

// behind says whether a clock counted less time than the other one did, by more than
// slack and drift allow.
func (r Rule) behind(one, other time.Duration) bool { return one < other-other/r.Drift-slack }

// lost says whether the gateway's clock started again.
func (r Rule) lost(theirs, ours time.Duration) bool {
	return r.behind(theirs, ours) || r.Back > 0 && theirs < -r.Back
}

// line is a clock of a gateway, by the packets that showed it.
type line struct {
	last sample
	// high has the earliest packets, those with the highest epoch for their time, of
	// two spans of time, the present one first. A packet that took long on its way makes
	// those that follow look early: only what is ahead of all of these is.
	high  [2]sample
	began time.Time // the present span
}

// newLine returns a clock that one packet showed.
func newLine(s sample) line {
	return line{last: s, high: [2]sample{s, s}, began: s.at}
}

// judge says what a packet would tell if it came from this clock.
func (l *line) judge(r Rule, s sample) News {
	theirs, ours := s.since(l.last)
	if r.lost(theirs, ours) {
		return Lost
	}
	for _, o := range [...]sample{l.last, l.high[0], l.high[1]} {
		if theirs, ours := s.since(o); !r.behind(ours, theirs) {
			return Steady
		}
	}
	return Ahead
}

// continues says whether a packet fits this clock so well that it is the same one.
func (l *line) continues(s sample) bool {
	theirs, ours := s.since(l.last)
	return ours <= lineMemory && (theirs-ours).Abs() <= slack+ours/lineDrift
}

// add takes in a packet.
func (l *line) add(s sample) {
	l.last = s
	theirs, ours := s.since(l.high[0])
	switch {
	case s.at.Sub(l.began) >= highSpan:
		l.high[1], l.high[0], l.began = l.high[0], s, s.at
	case theirs > ours:
		l.high[0] = s
	}
}
