package sim_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

// The patience of the invariants.
const (
	// heldOver is how long a renewal may be answered from the table while the
	// gateway is out of reach, a last grant of half a minute and the retry included.
	heldOver = 10*time.Minute + 30*time.Second + 30*time.Second
	// reconciled is the time in which a rule that was taken away comes back once
	// the router answers.
	reconciled = 3 * time.Minute
	// aftermath is how long what somebody did to the rules may be seen.
	aftermath = 15 * time.Minute
	// unwritten is how long a changed external port may not be in the rule's comment yet: it
	// is written every ten minutes at most, by the reconcile.
	unwritten = 12 * time.Minute
	// inFlight is how old an answer of a layer can be when the client gets its own.
	inFlight = 15 * time.Second
	// reread is how long a change of a pool may not be known: the file is read every 15 s,
	// and then rules have to be changed.
	reread = 20 * time.Second
)

// watch sees every answer in the moment in which it leaves the daemon, and every
// event, and holds them against the layers.
type watch struct {
	bench *lab.Bench
	trace *trace
	fail  func(format string, args ...any)

	mu sync.Mutex // guards what follows
	// told is what each client was told last about each of its mappings.
	told map[nat.Key]telling
	// born says since when the daemon has its mappings.
	born map[nat.Key]time.Time
	// changed says when the external port of a mapping changed last.
	changed map[nat.Key]time.Time
	// holders says to whom an external port was told last.
	holders map[outer]nat.Key
	// gateway and router say when something was last wrong with a layer.
	gateway, router trouble
	// overtaking says when packets to or from the gateway last overtook each other: a
	// copy of a deletion may then end the lease that was made after it.
	overtaking trouble
	// stalled says when the router last carried commands out late.
	stalled trouble
	// since is when the daemon that runs was started: what one before it promised is
	// kept for a lease's time.
	since time.Time
	// answers counts what was told, by kind.
	answers map[string]int
	// unasked is set with a pool: what changes there shows when the file is read again.
	unasked bool
	// wayward is set with a gateway that moves a port when a request is repeated or a
	// lease renewed: a slow reply to the first copy is out of date when it comes.
	wayward bool
}

// telling is a grant as its client knows it.
type telling struct {
	port  uint16
	at    time.Time
	until time.Time
	// stood is when the lease was last seen to stand as the client was told of it.
	stood time.Time
	// moved is when the port changed without the client's knowledge, zero if it did not.
	moved time.Time
	// void is set when the mapping ended; the client may not know.
	void bool
	// left is set when the client has asked to delete it; it may not have been.
	left bool
}

// outer is a port at the public address.
type outer struct {
	protocol nat.Protocol
	port     uint16
}

// trouble is what is wrong with a layer.
type trouble struct {
	// active counts the faults that are on, last is when the latest one went.
	active int
	last   time.Time
	// changed is when what the layer holds was last changed behind the daemon's back.
	changed time.Time
}

// within says whether there was trouble in the last while.
func (tr trouble) within(d time.Duration) bool {
	return tr.active > 0 || !tr.last.IsZero() && time.Since(tr.last) < d
}

// changedWithin says whether the layer's contents were changed in the last while.
func (tr trouble) changedWithin(d time.Duration) bool {
	return !tr.changed.IsZero() && time.Since(tr.changed) < d
}

func newWatch(tr *trace, fail func(string, ...any)) *watch {
	return &watch{
		trace: tr, fail: fail,
		told: make(map[nat.Key]telling), born: make(map[nat.Key]time.Time),
		changed: make(map[nat.Key]time.Time), holders: make(map[outer]nat.Key), answers: make(map[string]int),
	}
}

// socket is the daemon's socket with the watch on it.
type socket struct {
	net.PacketConn

	watch *watch
}

// WriteTo sends a reply and looks at it in the same moment. A process that was
// killed writes nothing, which the socket tells by an error.
func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := s.PacketConn.WriteTo(b, to)
	if client, ok := to.(*net.UDPAddr); ok && err == nil {
		s.watch.answered(client.AddrPort().Addr().Unmap(), b)
	}
	return n, err
}

// answered takes in one reply to a client.
func (w *watch) answered(client netip.Addr, b []byte) {
	resp, err := natpmp.ParseResponse(b)
	if err != nil {
		w.fail("the daemon sent %x to %v: %v", b, client, err)
		return
	}
	if resp.Opcode == natpmp.OpExternalAddress {
		return
	}
	key := nat.Key{Client: client, Protocol: nat.Protocol(resp.Opcode), InternalPort: resp.InternalPort}
	w.trace.note("answer %v: %v ext %d life %d epoch %d", key, resp.Result, resp.ExternalPort, resp.Lifetime, resp.Epoch)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case resp.Result != natpmp.ResultSuccess:
		w.answers[fmt.Sprintf("result %d", resp.Result)]++
	case resp.Lifetime == 0 && resp.ExternalPort == 0:
		w.answers["deleted"]++
	case resp.Lifetime == 0 || resp.ExternalPort == 0:
		w.fail("success that is none: %v %+v", key, resp)
	default:
		w.grantedLocked(key, resp)
	}
}

// grantedLocked checks a grant: both layers stand (invariant c), and nobody else
// was told the port (invariant d).
func (w *watch) grantedLocked(key nat.Key, resp natpmp.Response) {
	before, known := w.told[key]
	renewal := known && !before.void || w.accompaniedLocked(key)
	if renewal {
		w.answers["renewed"]++
	} else {
		w.answers["created"]++
	}
	if why := w.brokenLocked(key, resp.ExternalPort, renewal); why != "" {
		w.fail("(c) %v was told port %d for %d s (renewal: %v): %s", key, resp.ExternalPort, resp.Lifetime, renewal, why)
	}
	for _, p := range nat.Protocols() {
		at := outer{p, resp.ExternalPort}
		if holder, ok := w.holders[at]; ok && holder.Client != key.Client && w.validLocked(holder, resp.ExternalPort) && !w.told[holder].left {
			w.fail("(d) port %d was told to %v and now to %v", resp.ExternalPort, holder, key)
		}
	}
	now := time.Now()
	t := telling{
		port: resp.ExternalPort, at: now, until: now.Add(time.Duration(resp.Lifetime) * time.Second), stood: before.stood,
	}
	if _, why := w.leaseOf(key, resp.ExternalPort); why == "" {
		t.stood = now
	}
	w.told[key] = t
	w.holders[outer{key.Protocol, resp.ExternalPort}] = key
}

// accompaniedLocked says whether the daemon has made the mapping for its client before
// that one asked for it.
func (w *watch) accompaniedLocked(key nat.Key) bool {
	born, ok := w.born[key]
	return ok && time.Since(born) > 0
}

// leaves notes that a client asks to delete a mapping: its port may become another's also if it is
// told that its rule is still there.
func (w *watch) leaves(key nat.Key) {
	if w == nil {
		return // Two doublenats are watched by others.
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, ok := w.told[key]; ok {
		t.left = true
		w.told[key] = t
	}
}

// validLocked says whether a client has reason to believe that it has the port.
func (w *watch) validLocked(key nat.Key, port uint16) bool {
	t := w.told[key]
	return t.port == port && !t.void && t.moved.IsZero() && time.Now().Before(t.until)
}

// brokenLocked returns why a packet from the Internet would not reach the client
// although it is told so now; empty if it would, or if it need not: a renewal is
// answered from the table while the gateway is out of reach, and a rule that was
// taken away is put back by the next reconcile.
func (w *watch) brokenLocked(key nat.Key, port uint16, renewal bool) string {
	lease, why := w.leaseOf(key, port)
	if why != "" {
		switch {
		case renewal && w.gateway.within(heldOver):
			w.answers["from the table"]++
		case renewal && w.router.within(reconciled):
			// The other protocol of the port waits for the router, and this one for its turn.
			w.answers["from the table, held up by the router"]++
		case w.unasked && w.gateway.changedWithin(reread):
			w.answers["the pool has changed meanwhile"]++
		case w.gateway.changedWithin(inFlight):
			w.answers["overtaken by the gateway"]++
		case w.overtaking.within(inFlight), renewal && w.undoneLocked(key):
			w.answers["undone by a packet that was overtaken"]++
		case w.wayward && (renewal || w.gateway.within(inFlight)):
			w.answers["moved by the gateway meanwhile"]++
		default:
			return why
		}
		return ""
	}
	to, _, ok := w.bench.Router.Match(key.Protocol.String(), routerostest.TunnelInterface, lease)
	if ok && to == netip.AddrPortFrom(key.Client, key.InternalPort) {
		return ""
	}
	if ok && renewal && w.gateway.within(heldOver) {
		w.answers["from the table, of a port that is another client's by now"]++
		return ""
	}
	if w.unasked && w.gateway.changedWithin(reread) {
		w.answers["the pool has changed meanwhile"]++
		return ""
	}
	if ok && w.stalled.within(reconciled) {
		w.answers["taken by a rule that was made late"]++ // see doubled
		return ""
	}
	if ok && w.router.changedWithin(reconciled) {
		w.answers["taken by a new rule of others"]++ // the next reconcile learns of it, and moves away
		return ""
	}
	if renewal && (w.router.within(reconciled) || w.router.changedWithin(reconciled)) || w.router.changedWithin(time.Second) {
		w.answers["rule away"]++
		return ""
	}
	return fmt.Sprintf("packets to inner port %d go to %v", lease, to)
}

// leaseOf returns the inner port to which the gateway delivers what comes to the
// port, or why it does not deliver it to us.
func (w *watch) leaseOf(key nat.Key, port uint16) (inner uint16, why string) {
	arrives, ok := w.bench.Passed(key.Protocol, port)
	if !ok {
		return 0, "the gateway has no lease of that port"
	}
	return arrives, ""
}

// ruled looks at our rules after each change of the router's table: there are never
// two for one mapping, unless somebody copied one or lately changed the table.
func (w *watch) ruled() {
	seen := make(map[string]bool)
	for _, r := range w.bench.OurRules("default") {
		what := r["protocol"] + " " + r["to-addresses"] + ":" + r["to-ports"]
		if seen[what] && !w.doubled() {
			w.fail("(a) two rules for %s at the same time", what)
		}
		seen[what] = true
	}
}

// doubled says whether two rules for one mapping are nothing to wonder at: somebody
// copied one, or the router was so slow to carry an add out that the look whether it
// had done so came before.
func (w *watch) doubled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.router.changedWithin(aftermath) || w.stalled.within(reconciled)
}

// happened takes in an event of the daemon.
func (w *watch) happened(ev nat.Event) {
	w.trace.note("event %v %v inner %d ext %d rule %s", ev.Kind, ev.Mapping.Key, ev.Mapping.InnerPort, ev.Mapping.ExternalPort, ev.Mapping.RuleID)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[ev.Kind.String()]++
	switch ev.Kind {
	case nat.EventCreated, nat.EventAdopted:
		w.born[ev.Mapping.Key] = ev.At
	case nat.EventDeleted, nat.EventExpired, nat.EventLost, nat.EventEvicted, nat.EventShutdown:
		delete(w.born, ev.Mapping.Key)
	default:
	}
	t, ok := w.told[ev.Mapping.Key]
	last, moved := w.changed[ev.Mapping.Key]
	if ev.Kind == nat.EventPortChanged {
		w.changed[ev.Mapping.Key] = ev.At
	}
	if !ok {
		return
	}
	if early := t.until.Sub(ev.At); ev.Kind == nat.EventExpired && early > time.Second && !t.void && t.at.After(w.since) {
		w.fail("(b) %v ended %v before the time that its client was told", ev.Mapping.Key, early)
	}
	switch ev.Kind {
	case nat.EventDeleted, nat.EventExpired, nat.EventLost, nat.EventEvicted, nat.EventShutdown:
		t.void = true
	case nat.EventAdopted:
		// Somebody may have edited its rule, and the comment told enough.
		t.void = t.void && t.port != ev.Mapping.ExternalPort
		if t.port != ev.Mapping.ExternalPort && moved && ev.At.Sub(last) < unwritten {
			t.moved = ev.At
		}
	case nat.EventPortChanged:
		if t.port != ev.Mapping.ExternalPort {
			t.moved = ev.At
		} else {
			t.moved = time.Time{}
		}
	default:
	}
	w.told[ev.Mapping.Key] = t
}

// forget voids what clients were told about mappings for which keep says no.
func (w *watch) forget(keep func(nat.Key) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, t := range w.told {
		if !keep(key) {
			t.void = true
			w.told[key] = t
		}
	}
}

// begin notes that a fault of a layer is on, and returns how to note that it is off.
func (w *watch) begin(layer *trouble) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	layer.active++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		layer.active--
		layer.last = time.Now()
	}
}

// unread says whether the daemon may not have read yet what the pool forwards.
func (w *watch) unread() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gateway.active > 0 || w.gateway.changedWithin(reread)
}

// restarted notes that a new daemon begins, which finds what keep says.
func (w *watch) restarted(keep func(nat.Key) bool) {
	w.forget(keep)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Now()
	clear(w.born)
}

// orphaned notes that leases may stand of which nobody knows.
func (w *watch) orphaned() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gateway.last = time.Now()
}

// tampered notes that a layer's contents were changed behind the daemon's back.
func (w *watch) tampered(layer *trouble) {
	w.mu.Lock()
	defer w.mu.Unlock()
	layer.changed, layer.last = time.Now(), time.Now()
}
