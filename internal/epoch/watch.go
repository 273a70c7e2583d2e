package epoch

import (
	"slices"
	"sync"
	"time"
)

const (
	// patience is how many jumps in a row make an epoch unreliable.
	patience = 3
	// calm is how long an epoch has to run steadily until earlier jumps are
	// forgotten or, at first, until it is trusted again. The latter doubles up to
	// maxCalm each time that trust is lost, and starts over once it lasted that long.
	calm    = 2 * time.Minute
	maxCalm = time.Hour
	// calmPackets is how many packets have to show it.
	calmPackets = 3
)

// News is what the epoch of a packet tells.
type News uint8

// What an epoch can tell.
const (
	// Steady is a clock that runs on, or one that is not trusted.
	Steady News = iota
	// Lost is a gateway that lost its mappings (RFC 6886 §3.6, RFC 6887 §8.5).
	Lost
	// Ahead is a gateway for which more time has passed than for us: our own clock
	// stood, as that of a suspended machine does, and leases that we think stand may be
	// over. RFC 6887 §8.5 compares in this direction too.
	Ahead
	// Unreliable is an epoch that jumped several times in a row, as that of two
	// machines behind one address does. It is reported once; jumps that follow are not.
	Unreliable
	// Reliable is an epoch that is trusted again. Something may have been lost
	// while it was not.
	Reliable
)

// Watch is the client's side of the epoch: it notices when a gateway has lost its
// mappings (RFC 6886 §3.6, RFC 6887 §8.5), or when our own clock stood. Every reply of the gateway has
// to be shown to it, failures included. The zero value has seen none and is ready for
// use. It is safe for concurrent use.
//
// Going back to a clock that was seen before is no loss, because a gateway that lost
// its state starts a new one: it is the reply before it that came late, or from another
// machine with the same address.
type Watch struct {
	mu sync.Mutex // guards what follows
	// lines are the clocks that were seen, the present one last.
	lines []line
	// jumps counts since the epoch was last steady, jumpedAt is when the latest came,
	// and packets is how many steady packets came after it.
	jumps, packets int
	jumpedAt       time.Time
	// distrust is how long the epoch has to be steady until it is trusted; 0 while it is.
	distrust time.Duration
	// penalty is how long distrust was last time, and trustedAt is when it ended.
	penalty   time.Duration
	trustedAt time.Time
}

// Observe takes the epoch of a packet that came at the given time and returns what it
// tells. Each loss is reported once. The first packet tells nothing.
//
// A counter that wraps after 136 years looks like a loss, which does no harm.
func (w *Watch) Observe(rule Rule, epoch uint32, now time.Time) News {
	s := sample{epoch: epoch, at: now}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lines) == 0 {
		w.lines = append(w.lines, newLine(s))
		return Steady
	}
	present := &w.lines[len(w.lines)-1]
	news := present.judge(rule, s)
	if news == Steady {
		present.add(s)
		return w.steadyLocked(now)
	}
	if i := w.knownLocked(s); i >= 0 {
		known := w.lines[i]
		known.add(s)
		w.lines = append(slices.Delete(w.lines, i, i+1), known)
		return w.jumpedLocked(Steady, now)
	}
	if len(w.lines) == maxLines {
		w.lines = slices.Delete(w.lines, 0, 1)
	}
	w.lines = append(w.lines, newLine(s))
	return w.jumpedLocked(news, now)
}

// Reset forgets all packets.
func (w *Watch) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines, w.jumps, w.packets, w.distrust, w.penalty = nil, 0, 0, 0, 0
	w.jumpedAt, w.trustedAt = time.Time{}, time.Time{}
}

// Suspect says whether [Watch.Observe] would report a jump, and takes in nothing:
// for packets that anybody may have sent.
func (w *Watch) Suspect(rule Rule, epoch uint32, now time.Time) bool {
	s := sample{epoch: epoch, at: now}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lines) == 0 || w.distrust > 0 {
		return false
	}
	return w.lines[len(w.lines)-1].judge(rule, s) != Steady && w.knownLocked(s) < 0
}

// knownLocked returns the index of an earlier clock that the packet continues, or -1.
func (w *Watch) knownLocked(s sample) int {
	for i := len(w.lines) - 2; i >= 0; i-- {
		if w.lines[i].continues(s) {
			return i
		}
	}
	return -1
}

// steadyLocked takes in a packet on which the clock runs on.
func (w *Watch) steadyLocked(now time.Time) News {
	if w.jumps == 0 {
		return Steady
	}
	w.packets++
	if w.packets < calmPackets || now.Sub(w.jumpedAt) < max(w.distrust, calm) {
		return Steady
	}
	trusted := w.distrust == 0
	w.jumps, w.distrust = 0, 0
	if trusted {
		return Steady
	}
	w.trustedAt = now
	return Reliable
}

// jumpedLocked takes in a packet at which the clock jumped, and returns the news unless
// there were too many of the kind.
func (w *Watch) jumpedLocked(news News, now time.Time) News {
	w.jumps++
	w.packets, w.jumpedAt = 0, now
	switch {
	case w.distrust > 0:
		return Steady
	case w.jumps < patience:
		return news
	}
	if now.Sub(w.trustedAt) >= maxCalm {
		w.penalty = 0
	}
	w.penalty = min(max(2*w.penalty, calm), maxCalm)
	w.distrust = w.penalty
	return Unreliable
}
