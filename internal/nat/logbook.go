package nat

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// logSummary is after which pause a [logbook] sums up what was not logged.
const logSummary = 10 * time.Second

// lineBound is so many lines at once, and then so many a second.
type lineBound struct{ burst, perSecond float64 }

// clientLines bounds what clients do, each for reasons of its own. What gateway and router
// do, or what one cause ends, comes for all mappings at once: a few lines of each kind say
// as much.
func clientLines() lineBound { return lineBound{64, 2} }
func layerLines() lineBound  { return lineBound{8, .8} }

// logbook bounds the lines about mappings that others cause: clients by making and
// ending them, gateway and router by changing and losing them. Whoever can do that as
// fast as a network carries packets could fill a disk. What goes beyond is counted, and
// told in one line. Clients do not use up the lines of the rest, which say more.
type logbook struct {
	log *slog.Logger

	mu sync.Mutex // guards what follows; held for moments only
	// clients is what is left for what they do, layers for each kind of the rest.
	clients lineBudget
	layers  map[string]*lineBudget
	// untold counts what was not logged since the time.
	untold map[string]int
	since  time.Time
}

// lineBudget is a bucket of log lines.
type lineBudget struct {
	left float64
	at   time.Time // when left was counted, zero for never
}

// take says whether one more line may be written now.
func (b *lineBudget) take(now time.Time, bound lineBound) bool {
	if b.at.IsZero() {
		b.left = bound.burst
	} else {
		b.left = min(bound.burst, b.left+bound.perSecond*max(now.Sub(b.at), 0).Seconds())
	}
	b.at = later(b.at, now) // Of two who write at once the later may come first.
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// mayTell says whether an event gets a line of its own, and counts it if not.
func (l *logbook) mayTell(kind EventKind, now time.Time) bool {
	switch kind {
	case EventCreated, EventDeleted:
		return l.may(kind.String(), now, func() bool { return l.clients.take(now, clientLines()) })
	case EventExpired: // A client can cause it, and the gateway for all.
		return l.may(kind.String(), now, func() bool { return l.few(kind.String(), now) && l.clients.take(now, clientLines()) })
	case EventLost, EventPortChanged, EventEvicted, EventAdopted:
		return l.mayOf(kind.String(), now)
	default:
		return true // They are for who debugs.
	}
}

// mayWarn is mayTell for what a layer does to a mapping and is no event.
func (l *logbook) mayWarn(what string) bool { return l.mayOf(what, time.Now()) }

// mayOf is may for what has a budget of its own.
func (l *logbook) mayOf(what string, now time.Time) bool {
	return l.may(what, now, func() bool { return l.few(what, now) })
}

// few takes a line from the budget of a kind; mu is held.
func (l *logbook) few(what string, now time.Time) bool {
	if l.layers == nil {
		l.layers = make(map[string]*lineBudget)
	}
	if l.layers[what] == nil {
		l.layers[what] = new(lineBudget)
	}
	return l.layers[what].take(now, layerLines())
}

// may says whether there is a line for something, and counts it if not. It takes the line
// with mu held.
func (l *logbook) may(what string, now time.Time, take func() bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if take() {
		return true
	}
	if l.untold == nil {
		l.untold, l.since = make(map[string]int), now
	}
	l.untold[what]++
	return false
}

// due returns when the next summary is, zero for none.
func (l *logbook) due() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.untold == nil {
		return time.Time{}
	}
	return l.since.Add(logSummary)
}

// sumUp tells what was not logged, if it is time or the end has come.
func (l *logbook) sumUp(ctx context.Context, now time.Time, end bool) {
	l.mu.Lock()
	untold, since := l.untold, l.since
	if untold == nil || !end && now.Before(since.Add(logSummary)) {
		l.mu.Unlock()
		return
	}
	l.untold = nil
	l.mu.Unlock()
	args := []any{"seconds", int(now.Sub(since).Round(time.Second).Seconds())}
	for _, what := range slices.Sorted(maps.Keys(untold)) {
		args = append(args, what, untold[what])
	}
	l.log.InfoContext(ctx, "more mapping events, not logged one by one", args...)
}
