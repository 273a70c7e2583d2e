package routerostest

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"doublenat/routeros"
)

// Entry is one command in the journal.
type Entry struct {
	// Number counts the commands of this router from 1.
	Number uint64
	// Time is when the command was carried out, or lost to a fault.
	Time time.Time
	// Session counts the connections of this router from 1.
	Session uint64
	// Peer is the address from which the connection came: it tells clients apart that share
	// a user and connect again.
	Peer netip.Addr
	// User is who was logged in, empty before the login.
	User string
	// Command is the first word, for example "/ip/firewall/nat/add".
	Command string
	// Args are the other words as they came, without the tag and with passwords masked.
	Args routeros.Sentence
	// Wrote is set when the command changed what the router stores.
	Wrote bool
	// Changed is set when the command changed anything: entries of address lists that have a
	// timeout are kept in memory only.
	Changed bool
	// Rows is how many rows the reply had.
	Rows int
	// Ret is the value that the !done carried, for example the id of a new rule.
	Ret string
	// Trap is the message of the first !trap or of the !fatal, empty for success.
	Trap string
	// Faults are the faults that struck the command; nil for none.
	Faults []FaultKind
}

// Stats are counters since the router was made.
type Stats struct {
	// Connections were accepted.
	Connections uint64
	// Refused connections: the router was down, the service off, or the sessions all taken.
	Refused uint64
	// Logins that succeeded.
	Logins uint64
	// FailedLogins were refused.
	FailedLogins uint64
	// Commands were carried out or lost to a fault; a login is one.
	Commands uint64
	// Reads are those among them that read a table: print, get, find, route check.
	Reads uint64
	// Writes are those that changed what the router stores: the measure of flash wear.
	Writes uint64
	// Rows were sent.
	Rows uint64
	// Traps are the commands that were refused.
	Traps uint64
}

// journal keeps the last commands in a ring.
type journal struct {
	entries []Entry
	limit   int
	// next is where the next entry goes once the ring is full.
	next  int
	total uint64
}

// add keeps an entry, if need be instead of the oldest one.
func (j *journal) add(e Entry) {
	j.total++
	e.Number = j.total
	if len(j.entries) < j.limit {
		j.entries = append(j.entries, e)
		return
	}
	j.entries[j.next] = e
	j.next = (j.next + 1) % j.limit
}

// after returns the entries with a higher number, oldest first.
func (j *journal) after(number uint64) []Entry {
	all := slices.Concat(j.entries[j.next:], j.entries[:j.next])
	first := slices.IndexFunc(all, func(e Entry) bool { return e.Number > number })
	if first < 0 {
		return nil
	}
	return all[first:]
}

// Mark is a point in the journal; see [Router.Since].
type Mark struct {
	number uint64
	stats  Stats
}

// Mark returns the point up to which the journal is written.
func (r *Router) Mark() Mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Mark{number: r.journal.total, stats: r.stats}
}

// Since returns the commands after a point, oldest first. Those that no longer
// fit in the journal are missing; [Router.StatsSince] counts them.
func (r *Router) Since(m Mark) []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.journal.after(m.number)
}

// Journal returns the last commands, oldest first.
func (r *Router) Journal() []Entry { return r.Since(Mark{}) }

// Stats returns the counters.
func (r *Router) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// StatsSince returns what the counters have grown by since a point.
func (r *Router) StatsSince(m Mark) Stats {
	s := r.Stats()
	return Stats{
		Connections:  s.Connections - m.stats.Connections,
		Refused:      s.Refused - m.stats.Refused,
		Logins:       s.Logins - m.stats.Logins,
		FailedLogins: s.FailedLogins - m.stats.FailedLogins,
		Commands:     s.Commands - m.stats.Commands,
		Reads:        s.Reads - m.stats.Reads,
		Writes:       s.Writes - m.stats.Writes,
		Rows:         s.Rows - m.stats.Rows,
		Traps:        s.Traps - m.stats.Traps,
	}
}

// FaultCounts returns how often each kind of fault has struck.
func (r *Router) FaultCounts() map[FaultKind]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.injected)
}

// recordLocked writes a command into the journal and the counters.
func (r *Router) recordLocked(s *session, c *command, o outcome, faults []FaultKind) {
	e := Entry{
		Time: time.Now(), Session: s.number, Peer: s.remote, User: s.user, Command: c.path,
		Args: c.masked(), Wrote: o.wrote, Changed: o.wrote || o.changed, Faults: faults, Trap: o.fatal,
	}
	rows := uint64(0)
	for _, row := range o.rows {
		if row[0] == "!re" {
			rows++
		}
	}
	e.Rows = int(rows)
	if len(o.traps) > 0 {
		e.Trap = o.traps[0].message
		r.stats.Traps++
	}
	if len(o.done) > 1 && c.path != loginPath {
		e.Ret = strings.TrimPrefix(o.done[1], "=ret=")
	}
	r.stats.Commands++
	r.stats.Rows += rows
	if kindOf(c.action) != writes {
		r.stats.Reads++
	}
	if o.wrote {
		r.stats.Writes++
		r.writesSinceBoot++
	}
	r.journal.add(e)
}

// masked returns the words of the command without its tag and without secrets.
func (c *command) masked() routeros.Sentence {
	words := make(routeros.Sentence, 0, len(c.words))
	for _, word := range c.words {
		switch {
		case strings.HasPrefix(word, ".tag="):
			continue
		case strings.HasPrefix(word, "=password="):
			word = "=password=…"
		case strings.HasPrefix(word, "=response="):
			word = "=response=…"
		}
		words = append(words, word)
	}
	return words
}
