package router

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"doublenat/internal/lock"
	"doublenat/routeros"
)

// entry is a row of the list of the lock.
type entry struct {
	id      string
	address string
	comment string
	left    time.Duration // how long it lives still; -1 for ever
	mark    lockComment   // zero if the comment is not one of ours
}

// stuck reports whether the entry never goes by itself.
func (e entry) stuck() bool { return e.left < 0 }

// holder returns whose it is, who is not us.
func (e entry) holder() lock.Holder {
	if e.mark.token != "" {
		return lock.Holder{Name: e.mark.name}
	}
	return lock.Holder{Name: clean(e.comment)}
}

// look is what the list of the lock had in it at a moment.
type look struct {
	entries    []entry // those of the lock's address
	trials     []entry // those of other addresses, from trying
	sent       time.Time
	connection uint64
}

// split returns our entry, the zero one for none, and those of others.
func (s look) split(token string) (own entry, others []entry) {
	for _, e := range s.entries {
		if e.mark.token == token {
			own = e
		} else {
			others = append(others, e)
		}
	}
	return own, others
}

// hold returns an entry as one that is ours.
func (s look) hold(e entry) held {
	return held{id: e.id, connection: s.connection, until: s.sent.Add(e.left - early)}
}

// look reads the list of the lock, as it is on the connection that the result names. A router that
// does not understand the query sends all lists, so that each row is looked at again.
func (l *Lock) look(ctx context.Context) (look, error) {
	for {
		seen := look{sent: time.Now(), connection: l.r.connection()}
		unknown := seen.connection == 0 && l.r.api != nil
		cmd := routeros.Command{
			Path: addressListPath + "/print", Properties: []string{".id", "list", "address", "timeout", "dynamic", "comment"},
			Queries: []string{routeros.Equal("list", l.list)}, Connection: seen.connection, Timeout: l.timeout(),
		}
		_, err := l.r.each(ctx, cmd, func(row routeros.Row) error {
			if row.Value("list") != l.list || len(seen.entries)+len(seen.trials) >= maxEntries {
				return nil
			}
			if e := parseEntry(row.Clone(), l.r.cfg.Instance); e.address == lockAddress {
				seen.entries = append(seen.entries, e)
			} else {
				seen.trials = append(seen.trials, e)
			}
			return nil
		})
		switch {
		case err != nil && unknown:
			return look{}, err
		case unknown || isOtherConnection(err):
			continue // There is one now, or there was another one.
		case err != nil:
			return look{}, err
		}
		l.note(seen)
		return seen, nil
	}
}

// maxEntries is how many rows of the list are looked at. There is one, and some while routers are tried.
const maxEntries = 64

// parseEntry reads a row of the list.
func parseEntry(row routeros.Row, instance string) entry {
	e := entry{id: row.Value(".id"), address: strings.TrimSuffix(row.Value("address"), "/32"), comment: row.Value("comment"), left: -1}
	if left, ok := parseTime(row.Value("timeout")); ok {
		e.left = left
	}
	if mark, ok := parseLockComment(e.comment); ok && mark.instance == instance {
		e.mark = mark
	}
	return e
}

// parseLockComment reads a comment that String wrote, and no other one.
func parseLockComment(comment string) (lockComment, bool) {
	rest, ours := strings.CutPrefix(comment, commentPrefix)
	words := strings.Split(rest, " ")
	if !ours || len(words) != 6 || words[1] != "lock" {
		return lockComment{}, false
	}
	count, errCount := strconv.Atoi(strings.TrimPrefix(words[3], "n="))
	since, errSince := strconv.ParseInt(strings.TrimPrefix(words[4], "since="), 10, 64)
	name, errName := url.PathUnescape(strings.TrimPrefix(words[5], "by="))
	c := lockComment{instance: words[0], token: words[2], count: count, since: time.Unix(since, 0), name: name}
	ok := errCount == nil && errSince == nil && errName == nil && c.token != "" && validInstance(c.instance)
	return c, ok && c.String() == comment
}

// parseTime reads a duration as RouterOS prints it: 1w2d3h4m5s, 1d00:00:05 or 00:00:05.
func parseTime(s string) (time.Duration, bool) {
	units := map[byte]time.Duration{'w': 7 * 24 * time.Hour, 'd': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	const most = 1000 * 7 * 24 * time.Hour
	var total time.Duration
	for rest := s; rest != ""; {
		n := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if n <= 0 {
			return 0, false
		}
		if rest[n] == ':' {
			clock, err := time.Parse(time.TimeOnly, rest)
			return total + clock.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)), err == nil
		}
		count, err := strconv.ParseUint(rest[:n], 10, 20)
		unit := units[rest[n]]
		if rest = rest[n+1:]; unit == time.Minute && strings.HasPrefix(rest, "s") {
			unit, rest = time.Millisecond, rest[1:]
		}
		if total += time.Duration(count) * unit; err != nil || unit == 0 || total > most {
			return 0, false
		}
	}
	return total, s != ""
}

// clean cuts a text of the router's to what can be shown.
func clean(text string) string {
	return escapeName(strings.ToValidUTF8(text, "?"))
}

// stuck returns the error for an entry that never goes.
func (l *Lock) stuck(e entry) error { return &StuckError{List: l.list, Comment: clean(e.comment)} }

// LockEntry is the lock as the router has it.
type LockEntry struct {
	// Name is what its holder calls itself, or the comment of an entry that doublenat did not make.
	Name string
	// Since is when it was taken, by the holder's clock; zero if that is not known.
	Since time.Time
	// Left is how long it lasts unless it is renewed.
	Left time.Duration
}

// LookAtLock returns who has the lock of an instance, nil for nobody, over a connection that is
// somebody else's. It only reads. The error is a [*StuckError] if it is an entry that never goes,
// or what the commander returned.
func LookAtLock(ctx context.Context, to Commander, instance string) (*LockEntry, error) {
	l := onlooker(to, Config{Instance: instance}).NewLock(LockConfig{})
	seen, err := l.look(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("looking for the lock: %w", err)
	case len(seen.entries) == 0:
		return nil, nil //nolint:nilnil // nobody has it
	}
	e := seen.entries[0]
	if e.stuck() {
		return nil, l.stuck(e)
	}
	found := &LockEntry{Name: e.holder().Name, Left: e.left}
	if e.mark.token != "" {
		found.Since = e.mark.since
	}
	return found, nil
}

// TryLock tries whether a router can keep the lock of an instance, over a connection that is
// somebody else's. It takes some three seconds and writes entries of other addresses, which go by
// themselves. The error is an [*UnfitError], a [*PermissionError], or what the commander returned.
func TryLock(ctx context.Context, to Commander, instance string) error {
	l := onlooker(to, Config{Instance: instance}).NewLock(LockConfig{})
	return l.trial.pass(ctx, l)
}
