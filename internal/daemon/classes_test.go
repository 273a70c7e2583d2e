package daemon_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

// The shape of a row: a fault lasts for some minutes, in which it begins anew with each beat,
// and then there is time for all to come right.
const (
	beat      = 25 * time.Second
	beats     = 12
	afterward = 4 * time.Minute
)

// classWorld is a row as it is lived: the whole daemon between a router, clients, and something
// beyond the router that fails.
type classWorld struct {
	*rig

	row  classRow
	kind classKind

	mu sync.Mutex // guards what follows
	// told is what clients were told last, as long as the mapping lives.
	told map[nat.Key]telling
	// passed says when a port was last passed on to the router.
	passed map[lab.Pass]time.Time
	// creates and renewals count what was told, stale what was not true any more.
	creates, renewals, stale int
}

// telling is what a client was told last about a mapping.
type telling struct {
	port uint16
	// until is when that is over.
	until time.Time
	// stood is when it was last seen to be true.
	stood time.Time
	// moved is set once there is another port, which the next answer tells.
	moved bool
}

// ear is the daemon's socket, at which each answer is looked at in the moment in which it is given.
type ear struct {
	net.PacketConn

	w *classWorld
}

// WriteTo sends an answer and looks at it.
func (e *ear) WriteTo(b []byte, to net.Addr) (int, error) {
	if resp, err := natpmp.ParseResponse(b); err == nil && resp.Opcode != natpmp.OpExternalAddress {
		if client, ok := to.(*net.UDPAddr); ok {
			e.w.answered(client.AddrPort().Addr().Unmap(), resp)
		}
	}
	return e.PacketConn.WriteTo(b, to)
}

// answered holds an answer against the truth. What a client gets for the first time has to be
// true. A renewal may say what was true before, for as long as nobody could know better. So may
// every answer where nobody is asked, as with a pool, and where packets overtake each other: NAT-PMP
// has no numbers that tell a reply from a late one (RFC 6886 §3.5), nor a deletion from its copy.
func (w *classWorld) answered(client netip.Addr, resp natpmp.Response) {
	key := nat.Key{Client: client, Protocol: nat.Protocol(resp.Opcode), InternalPort: resp.InternalPort}
	holds := resp.Result == natpmp.ResultSuccess && w.reaches(key, resp.ExternalPort)
	w.mu.Lock()
	defer w.mu.Unlock()
	before, renewal := w.told[key]
	switch {
	case resp.Result != natpmp.ResultSuccess:
		return
	case resp.Lifetime == 0:
		delete(w.told, key)
		return
	case renewal:
		w.renewals++
	default:
		w.creates++
	}
	now := telling{port: resp.ExternalPort, until: time.Now().Add(time.Duration(resp.Lifetime) * time.Second), stood: before.stood}
	switch {
	case holds:
		now.stood = time.Now()
	case renewal && before.port == now.port && time.Since(before.stood) <= w.row.blind, w.passedBefore(key, now.port):
		w.stale++
	default:
		w.t.Errorf("%v was told %+v (renewal: %v, true until %v ago): %s", key, resp, renewal, time.Since(before.stood), w.state())
	}
	for other, t := range w.told {
		if other.Client != client && t.port == now.port && time.Now().Before(t.until) && t.stood.Equal(now.stood) {
			w.t.Errorf("port %d was told to %v and to %v", now.port, other, key)
		}
	}
	w.told[key] = now
}

// passedBefore says whether the port was passed on so shortly before that nobody could know
// that it is not any more.
func (w *classWorld) passedBefore(key nat.Key, port uint16) bool {
	limit := w.row.copies
	if w.kind.unasked {
		limit = w.row.blind
	}
	for p, at := range w.passed {
		if p.Protocol == key.Protocol && p.External == port && limit > 0 && time.Since(at) <= limit {
			return true
		}
	}
	return false
}

// happened forgets what clients were told of a mapping that ended: from then on it is made anew.
func (w *classWorld) happened(ev nat.Event) {
	switch ev.Kind {
	case nat.EventDeleted, nat.EventExpired, nat.EventLost, nat.EventEvicted, nat.EventShutdown:
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.told, ev.Mapping.Key)
	case nat.EventPortChanged:
		w.mu.Lock()
		defer w.mu.Unlock()
		if t, ok := w.told[ev.Mapping.Key]; ok {
			t.moved = t.port != ev.Mapping.ExternalPort
			w.told[ev.Mapping.Key] = t
		}
	default:
	}
}

// reaches says whether a packet from the Internet for the port comes to the client.
func (w *classWorld) reaches(key nat.Key, port uint16) bool {
	arrives, ok := w.Passed(key.Protocol, port)
	if !ok {
		return false
	}
	to, _, ok := w.Router.Match(key.Protocol.String(), w.kind.iface, arrives)
	return ok && to == netip.AddrPortFrom(key.Client, key.InternalPort)
}

// state tells how it all is, for people.
func (w *classWorld) state() string {
	return fmt.Sprintf("beyond %v, rules %v", w.Passes(), w.marked())
}

// noted notes what is passed on to the router now.
func (w *classWorld) noted() {
	now := w.Passes()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range now {
		w.passed[p] = time.Now()
	}
}

// witness notes what is true now of what clients were told.
func (w *classWorld) witness() {
	w.noted()
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, t := range w.told {
		if w.reaches(key, t.port) {
			t.stood = time.Now()
			w.told[key] = t
		}
	}
}

// pass lets time pass, second by second.
func (w *classWorld) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		w.witness()
	}
}

// habit is a client: what it wants, how often it asks, and what else it does.
type habit struct {
	key   nat.Key
	every time.Duration
	// lifetime is what it asks for.
	lifetime time.Duration
	// from is when it comes; deletes is how often it asks between two deletions, 0 for never.
	from    time.Duration
	deletes int
}

// habits are the clients of a row. Some have what they want before the fault begins, some come
// and go in its course, one vanishes, and one does not ask again before all is over.
func habits() []habit {
	carol, dave, erin := netip.MustParseAddr("192.168.88.12"), netip.MustParseAddr("192.168.88.13"), netip.MustParseAddr("192.168.88.14")
	early, late := time.Duration(0), time.Minute+7*time.Second
	key := func(client netip.Addr, p nat.Protocol, port uint16) nat.Key {
		return nat.Key{Client: client, Protocol: p, InternalPort: port}
	}
	return []habit{
		{key(alice, nat.TCP, 6881), 40 * time.Second, time.Hour, early, 0},
		{key(alice, nat.UDP, 6881), 40 * time.Second, time.Hour, early, 0},
		{key(bob, nat.TCP, 51413), 33 * time.Second, 2 * time.Hour, early + time.Second, 3},
		{key(carol, nat.UDP, 27015), 29 * time.Second, 10 * time.Minute, late, 0},
		{key(carol, nat.TCP, 80), 47 * time.Second, 20 * time.Minute, late + 2*time.Second, 2},
		{key(dave, nat.TCP, 9000), time.Hour, 2 * time.Minute, early + 2*time.Second, 0},
		{key(erin, nat.TCP, 22000), time.Hour, 2 * time.Hour, early + 3*time.Second, 0},
	}
}

// passersby are clients that ask once while the fault is on, and never again.
func passersby() []habit {
	var all []habit
	for n := range 4 {
		key := nat.Key{Client: netip.AddrFrom4([4]byte{192, 168, 88, byte(20 + n)}), Protocol: nat.Protocols()[n%2], InternalPort: 7000}
		all = append(all, habit{key, time.Hour, 2 * time.Hour, time.Minute + time.Duration(10+61*n)*time.Second, 0})
	}
	return all
}

// live is a client until the context ends.
func (w *classWorld) live(ctx context.Context, h habit) {
	for n := 0; ; n++ {
		wait := h.every
		if n == 0 {
			wait = h.from
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		req := natpmp.Request{Opcode: natpmp.Opcode(h.key.Protocol), InternalPort: h.key.InternalPort, Lifetime: uint32(h.lifetime / time.Second)}
		if h.deletes > 0 && n%(h.deletes+1) == h.deletes {
			req.Lifetime = 0
		}
		_, _ = w.Request(h.key.Client, req) // It may come to nothing: the ear hears what is told.
	}
}

// TestFaultClasses: whatever fails beyond the router, in each of the twelve ways in which
// something can and for each kind of it: no success is told that is none, once the fault is over
// each rule has its port there and each client what it was told, and at the end nothing is left.
func TestFaultClasses(t *testing.T) {
	t.Parallel()
	for _, kind := range classKinds() {
		if kind.variant && testing.Short() {
			continue
		}
		rows := kind.rows()
		var names []string
		for _, row := range rows {
			names = append(names, row.class)
			t.Run(kind.name+"/"+row.class, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { liveThrough(t, kind, row) })
			})
		}
		if !slices.Equal(names, faultClasses()) {
			t.Errorf("%s has the classes %v", kind.name, names)
		}
	}
}

// liveThrough lives a row.
func liveThrough(t *testing.T, kind classKind, row classRow) {
	t.Helper()
	cfg := kind.bench(t)
	w := &classWorld{row: row, kind: kind, told: make(map[nat.Key]telling), passed: make(map[lab.Pass]time.Time)}
	cfg.OnPass = func() { w.noted() }
	cfg.Options = func(o *daemon.Options) {
		listen := o.Network.Listen
		o.Network.Listen = func(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
			conn, err := listen(ctx, at)
			return &ear{conn, w}, err
		}
		o.OnEvent = w.happened
	}
	b, err := lab.NewBench(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.rig = &rig{Bench: b, t: t}
	defer func() {
		if err := b.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}()
	synctest.Wait() // until what is beyond the router has its sockets
	kind.mend(w)
	w.start(nil)
	ctx, leave := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for _, h := range append(habits(), passersby()...) {
		clients.Go(func() { w.live(ctx, h) })
	}
	w.pass(time.Minute)
	for n := range beats {
		row.strike(w, n)
		w.pass(beat)
	}
	kind.mend(w)
	w.pass(afterward)
	w.settled()
	leave()
	clients.Wait()
	time.Sleep(row.lasting)
	w.wellAgain()
	w.gone()
	t.Logf("%d creates, %d renewals, %d of them stale", w.creates, w.renewals, w.stale)
	if w.creates < 8 || w.renewals < 20 {
		t.Errorf("hardly anything was told: %d creates, %d renewals", w.creates, w.renewals)
	}
}

// settled checks that each rule has its port and each client what it was told.
func (w *classWorld) settled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.marked() {
		inner, err := strconv.ParseUint(r["dst-port"], 10, 16)
		if !slices.ContainsFunc(w.Passes(), func(p lab.Pass) bool {
			return err == nil && p.Protocol.String() == r["protocol"] && p.Arrives == uint16(inner)
		}) {
			w.t.Errorf("a rule without its port: %v: %s", r, w.state())
		}
	}
	for key, t := range w.told {
		if time.Now().Before(t.until) && !t.moved && !w.row.mute && !w.reaches(key, t.port) {
			w.t.Errorf("%v has not got port %d, which it was told: %s", key, t.port, w.state())
		}
	}
}

// wellAgain checks that everybody gets a port now, if there is one for all.
func (w *classWorld) wellAgain() {
	for _, h := range habits() {
		if got := w.ask(h.key.Client, natpmp.Opcode(h.key.Protocol), h.key.InternalPort, 0); got.Result != natpmp.ResultSuccess {
			w.t.Errorf("%v gets %+v once all is well", h.key, got)
		}
	}
	w.pass(2 * time.Second)
	w.settled()
}

// gone stops the daemon and checks that nothing is left: at once, or, of what only a copy of a
// request made, when its time is over.
func (w *classWorld) gone() {
	if err := w.Stop(); err != nil {
		w.t.Errorf("stop: %v", err)
	}
	if left := w.marked(); len(left) > 0 {
		w.t.Errorf("rules are left: %v", left)
	}
	left := w.Lent()
	if len(left) > 0 && w.row.copies > 0 {
		time.Sleep(2*time.Hour + time.Minute)
		left = w.Lent()
	}
	if len(left) > 0 {
		w.t.Errorf("left beyond the router: %v", left)
	}
	if !w.OthersUntouched() {
		w.t.Error("other people's rules were changed")
	}
}

// cloud is a fault of the router's when it is asked for its public address.
func (w *classWorld) cloud(kind routerostest.FaultKind) {
	w.Router.Inject(routerostest.Fault{Kind: kind, Command: "/ip/cloud/print", Times: -1, Delay: 2 * time.Second})
}

// must fails the row if an act of its own failed.
func (w *classWorld) must(err error) {
	if err != nil {
		w.t.Errorf("the test itself: %v", err)
	}
}
