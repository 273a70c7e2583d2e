package router

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"doublenat/internal/lock"
	"doublenat/routeros"
)

const (
	// addressListPath is the table in which the lock is an entry.
	addressListPath = "/ip/firewall/address-list"
	// lockAddress is the address of that entry. It is one for documentation (RFC 5737), which
	// no packet has, so that the list is of no consequence if somebody uses it in a rule.
	lockAddress = "192.0.2.1"
	// lockListPrefix and the instance are the name of the list.
	lockListPrefix = "doublenat-lock-"
)

// early is how much sooner than it was told to the router may drop an entry: it counts seconds.
const early = time.Second

var _ lock.Store = (*Lock)(nil)

// LockConfig is what a [Lock] needs to know.
type LockConfig struct {
	// Name is what we call ourselves to others, any text; it does not have to be unique.
	Name string
	// Token tells our entries from those of others: 8 or more letters and digits that nobody
	// else has. Empty is a random one.
	Token string
}

// Lock keeps the lock of an instance on the router: an entry of /ip/firewall/address-list with a
// timeout. Such an entry is dynamic: RouterOS keeps it in memory, drops it when its time is over
// and when it restarts, and does not take the same address into the same list a second time.
// So adding it takes the lock, setting its timeout renews it, and it runs out by itself.
//
// The manual says that it is in memory and that a restart drops it; that it is refused twice and
// can be renewed is what live programs rely on. Nobody has tried it for doublenat on a device:
// the lock tries it on each router, with another address, before it is believed; see [UnfitError].
//
// # What keeps two from having it
//
// An entry is ours if its comment has our token, whatever its name: the reply to an add may have
// got lost. A set or a remove names the entry by its id, and RouterOS may give the id of an entry
// that is gone to another one. So it is only sent over the connection on which the id was read,
// for ids may start anew with a restart, and only as long as the entry surely stands: from before
// the request that made or renewed it, on the monotonic and the wall clock, less the second to
// which the router counts. If the reply comes later than that, the entry is read again. What is
// left is a set that is on its way for longer than the entry has to live, and that meets another
// entry with the same id: that one would live for a lease. It takes a router that hands out ids
// again within a connection, which nobody has seen, and the lock does not believe such a reply.
//
// A restart makes the router forget who had the lock, and that one may still believe in it. So nobody
// else takes it before the router has been up for a lease (uptime in /system/resource), which is
// hardly more than a restart takes.
//
// # What it costs the router
//
// Active: a set for each renewal and nothing else, 12 commands a minute with a lease of 15 s
// that is renewed each 5 s. Standing by: a print of one list for each [Lock.Acquire], 60 to 75 a
// minute, and 120 a minute with [Lock.Watch] as long as the router does not push changes. All of
// it is in memory: nothing is written to the flash. TestLockCosts counts.
//
// Acquire, Renew and Release are called by one goroutine at a time; Watch and Freed by any.
type Lock struct {
	r     *Router
	list  string
	name  string
	token string
	trial trial
	adds  int  // of ours, so that no two comments are the same
	held  held // what we have; zero for nothing that is known
	// ours is until when nobody else can have had the lock, unless an entry says so.
	ours  time.Time
	freed chan struct{}
	// patience is how long a command may take in nanoseconds; 0 for changeTimeout.
	patience atomic.Int64

	mu   sync.Mutex
	last sighting // guarded by mu
}

// held is an entry of ours.
type held struct {
	id         string
	connection uint64    // on which the id was read
	until      time.Time // when it may be gone at the earliest
}

// sure reports whether the entry surely stands. A suspended machine does not notice by its
// monotonic clock how much time has passed.
func (h held) sure() bool { return h.id != "" && ahead(h.until) }

// ahead reports whether a moment is yet to come by both clocks.
func ahead(at time.Time) bool {
	now := time.Now()
	return now.Before(at) && now.Round(0).Before(at.Round(0))
}

// NewLock returns the lock of the router's instance. It sends nothing.
func (r *Router) NewLock(cfg LockConfig) *Lock {
	token := cfg.Token
	if token == "" {
		token = rand.Text()[:16]
	}
	return &Lock{r: r, list: lockListPrefix + r.cfg.Instance, name: cfg.Name, token: token, freed: make(chan struct{}, 1)}
}

// Acquire implements [lock.Store]. The first time it tries what the router does with such an
// entry, for some three seconds; if ctx ends before that, the next call goes on with it. The
// error is an [*UnfitError] if the router cannot keep a lock, a [*StuckError] if an entry without
// a timeout is in its place, and a [*PermissionError] without the policy write.
func (l *Lock) Acquire(ctx context.Context, lease time.Duration) (lock.Holder, error) {
	l.hurry(lease)
	if err := l.trial.pass(ctx, l); err != nil {
		return lock.Holder{}, fmt.Errorf("trying whether the router can keep a lock: %w", err)
	}
	if holder, fresh := l.watched(); fresh {
		return holder, nil
	}
	seen, err := l.look(ctx)
	if err != nil {
		return lock.Holder{}, fmt.Errorf("looking for the lock: %w", err)
	}
	if len(seen.entries) > 0 {
		return l.taken(ctx, seen, lease)
	}
	if err := l.outlast(ctx, lease); err != nil {
		return lock.Holder{}, err
	}
	sent := time.Now()
	id, err := l.add(ctx, lockAddress, l.comment(sent), lease)
	if err != nil {
		if refused(err) {
			return l.beaten(ctx, err, lease)
		}
		return lock.Holder{}, fmt.Errorf("taking the lock: %w", err)
	}
	return l.confirm(ctx, id, sent.Add(lease-early))
}

// outlast returns an error as long as somebody may believe in a lock that the router forgot when it
// was restarted: for a lease from then on, unless that was us. Whoever had it asked for it before.
func (l *Lock) outlast(ctx context.Context, lease time.Duration) error {
	if ahead(l.ours) {
		return nil
	}
	rows, err := l.r.printIfAny(ctx, "/system/resource", "uptime")
	if err != nil || len(rows) == 0 {
		return err
	}
	if up, ok := parseTime(rows[0].Value("uptime")); ok && up < lease {
		return fmt.Errorf("the router was restarted %v ago and forgot who had the lock: waiting for another %v until that has run out", up, lease-up)
	}
	return nil
}

// confirm looks whether an entry that was added is there, and alone.
func (l *Lock) confirm(ctx context.Context, id string, until time.Time) (lock.Holder, error) {
	seen, err := l.look(ctx)
	if err != nil {
		return lock.Holder{}, fmt.Errorf("looking whether the lock was taken: %w", err)
	}
	own, others := seen.split(l.token)
	switch {
	case len(others) > 0 && own.id == "":
		return others[0].holder(), nil // Ours went and theirs came, or the router is not to be believed.
	case len(others) > 0:
		_ = l.remove(ctx, held{id: own.id, connection: seen.connection, until: until})
		return lock.Holder{}, unfit("keeps the same address in one list twice")
	case own.id != id:
		return lock.Holder{}, errors.New("the lock is gone as soon as it was taken")
	case own.stuck():
		return lock.Holder{}, l.unstick(ctx, seen, own)
	}
	l.held, l.ours = held{id: id, connection: seen.connection, until: until}, until
	return lock.Holder{Name: l.name, Mine: true}, nil
}

// beaten is for an add that the router refused: mostly somebody was faster.
func (l *Lock) beaten(ctx context.Context, refusal error, lease time.Duration) (lock.Holder, error) {
	seen, err := l.look(ctx)
	switch {
	case err != nil:
		return lock.Holder{}, fmt.Errorf("looking who was faster: %w", err)
	case len(seen.entries) == 0:
		return lock.Holder{}, fmt.Errorf("taking the lock: %w", refusal)
	default:
		return l.taken(ctx, seen, lease)
	}
}

// taken says who has a lock that somebody has. What we have ourselves is renewed.
func (l *Lock) taken(ctx context.Context, seen look, lease time.Duration) (lock.Holder, error) {
	own, others := seen.split(l.token)
	switch {
	case len(others) > 0 && others[0].stuck():
		return lock.Holder{}, l.stuck(others[0])
	case len(others) > 0:
		l.ours = time.Time{}
		return others[0].holder(), nil
	case own.stuck():
		return lock.Holder{}, l.unstick(ctx, seen, own)
	}
	l.held = seen.hold(own)
	if err := l.extend(ctx, lease); err != nil {
		return lock.Holder{}, fmt.Errorf("renewing the lock, which was ours already: %w", err)
	}
	return lock.Holder{Name: l.name, Mine: true}, nil
}

// Renew implements [lock.Store]. In the rule it is one command.
func (l *Lock) Renew(ctx context.Context, lease time.Duration) error {
	l.hurry(lease)
	if !l.known() {
		if err := l.find(ctx); err != nil {
			return err
		}
	}
	err := l.extend(ctx, lease)
	if errors.Is(err, routeros.ErrOtherConnection) { // It was lost just now, and the router may have been restarted.
		if err = l.find(ctx); err == nil {
			err = l.extend(ctx, lease)
		}
	}
	if err != nil && !errors.Is(err, lock.ErrLost) {
		return fmt.Errorf("renewing the lock: %w", err)
	}
	return err
}

// known reports whether the id of our entry is surely ours. Where ids come again somebody may have
// removed the entry by hand, and another one have it.
func (l *Lock) known() bool {
	return l.held.sure() && l.r.connection() == l.held.connection && !l.trial.reuses
}

// find looks for our entry by its token.
func (l *Lock) find(ctx context.Context) error {
	l.held = held{}
	seen, err := l.look(ctx)
	if err != nil {
		return fmt.Errorf("looking for the lock: %w", err)
	}
	own, others := seen.split(l.token)
	switch {
	case len(others) > 0:
		l.ours = time.Time{}
		return fmt.Errorf("%w to %s", lock.ErrLost, others[0].holder().Name)
	case own.id == "":
		return fmt.Errorf("%w: the router has no entry of it any more", lock.ErrLost)
	case own.stuck():
		return l.unstick(ctx, seen, own)
	}
	l.held = seen.hold(own)
	l.ours = l.held.until
	return nil
}

// unstick removes an entry of ours that has no timeout, as a router may have made of it when it
// was restarted, so that the next call can take the lock anew. It returns what was there.
func (l *Lock) unstick(ctx context.Context, seen look, own entry) error {
	err := l.stuck(own)
	if errRemove := l.remove(ctx, held{id: own.id, connection: seen.connection, until: time.Now().Add(changeTimeout)}); errRemove != nil {
		return errors.Join(err, errRemove)
	}
	return fmt.Errorf("%w: %w; removed", lock.ErrLost, err)
}

// extend sets the timeout of what we have. The command is not sent once the entry may be gone.
func (l *Lock) extend(ctx context.Context, lease time.Duration) error {
	before := l.held
	bounded, cancel := context.WithDeadline(ctx, before.until)
	defer cancel()
	sent := time.Now()
	err := l.setTimeout(bounded, before, lease)
	switch {
	case routeros.IsNoSuchItem(err):
		l.held = held{}
		return fmt.Errorf("%w: %w", lock.ErrLost, err)
	case err != nil:
		return err
	case before.sure() && !l.trial.reuses:
		l.held.until = sent.Add(lease - early)
		l.ours = l.held.until
		return nil
	default:
		return l.find(ctx) // It may have been carried out too late, on somebody else's entry.
	}
}

// setTimeout sets the timeout of an entry.
func (l *Lock) setTimeout(ctx context.Context, h held, lasts time.Duration) error {
	_, err := l.r.do(ctx, routeros.Command{
		Path: addressListPath + "/set", Args: []routeros.Attr{{Name: ".id", Value: h.id}, {Name: "timeout", Value: seconds(lasts)}},
		Connection: h.connection, Timeout: l.timeout(),
	})
	return err
}

// Release implements [lock.Store].
func (l *Lock) Release(ctx context.Context) error {
	if l.adds == 0 {
		return nil
	}
	l.ours = time.Time{}
	if !l.known() {
		if err := l.find(ctx); err != nil {
			return given(err)
		}
	}
	err := l.remove(ctx, l.held)
	if errors.Is(err, routeros.ErrOtherConnection) {
		if err = l.find(ctx); err == nil {
			err = l.remove(ctx, l.held)
		}
	}
	if err = given(err); err != nil {
		return fmt.Errorf("giving the lock away: %w", err)
	}
	l.held = held{}
	return nil
}

// given is nil for an error that says that we have the lock no more.
func given(err error) error {
	if errors.Is(err, lock.ErrLost) || routeros.IsNoSuchItem(err) {
		return nil
	}
	return err
}

// remove removes an entry of ours. The command is not sent once the entry may be gone.
func (l *Lock) remove(ctx context.Context, h held) error {
	bounded, cancel := context.WithDeadline(ctx, h.until)
	defer cancel()
	_, err := l.r.do(bounded, routeros.Command{
		Path: addressListPath + "/remove", Args: []routeros.Attr{{Name: ".id", Value: h.id}}, Connection: h.connection, Timeout: l.timeout(),
	})
	return err
}

// hurry bounds the time of a command by the lease: a connection on which nothing comes any more has
// to be known as dead, and made anew, within the time for a renewal.
func (l *Lock) hurry(lease time.Duration) { l.patience.Store(int64(min(changeTimeout, lease/5))) }

// timeout returns how long a command may take.
func (l *Lock) timeout() time.Duration {
	return cmp.Or(time.Duration(l.patience.Load()), changeTimeout)
}

// add adds an entry with a timeout and returns its id.
func (l *Lock) add(ctx context.Context, address, comment string, lasts time.Duration) (id string, err error) {
	if address == lockAddress {
		l.adds++
	}
	reply, err := l.r.do(ctx, routeros.Command{Path: addressListPath + "/add", Timeout: l.timeout(), Args: []routeros.Attr{
		{Name: "list", Value: l.list}, {Name: "address", Value: address}, {Name: "timeout", Value: seconds(lasts)}, {Name: "comment", Value: comment},
	}})
	if err != nil {
		return "", err
	}
	return reply.Done.Value("ret"), nil
}

// seconds writes a time to live as the router takes it, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(max(1, (d+time.Second-1)/time.Second)), 10) + "s"
}

// connection returns the number of the connection to the router; 0 where that is not ours.
func (r *Router) connection() uint64 {
	if r.api == nil {
		return 0
	}
	return r.api.Connection()
}

// comment returns the comment of the entry that is added next.
func (l *Lock) comment(now time.Time) string {
	return lockComment{instance: l.r.cfg.Instance, token: l.token, count: l.adds + 1, since: now, name: l.name}.String()
}

// lockComment is what the comment of the lock says.
type lockComment struct {
	instance string
	token    string
	count    int // of the takings of this holder
	since    time.Time
	name     string
}

// maxLockName is how much of a name is written down, in bytes: a comment has room for 247.
const maxLockName = 100

// String returns the comment, for example
//
//	doublenat:default lock 7Q2XK4M5PZTN3AWD n=2 since=1767225600 by=left%20one
func (c lockComment) String() string {
	return fmt.Sprintf("%s%s lock %s n=%d since=%d by=%s", commentPrefix, c.instance, c.token, c.count, c.since.Unix(), escapeName(c.name))
}

// escapeName writes a name in printable characters of ASCII without blanks.
func escapeName(name string) string {
	var b strings.Builder
	for _, r := range name {
		part := string(r)
		if r <= ' ' || r > '~' || strings.ContainsRune(`%"\$`, r) {
			part = ""
			for _, c := range []byte(string(r)) {
				part += fmt.Sprintf("%%%02X", c)
			}
		}
		if b.Len()+len(part) > maxLockName {
			break
		}
		b.WriteString(part)
	}
	return b.String()
}
