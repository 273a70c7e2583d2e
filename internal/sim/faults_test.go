package sim_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// fault is a way to break the world.
type fault struct {
	name string
	// do breaks it and returns how to mend it, nil if it passes at once.
	do func(w *world) (mend func())
}

// tally counts the faults of all simulations of a run.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) add(name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[string]int)
	}
	t.counts[name] += n
}

func (t *tally) of(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[name]
}

// String lists all counts, one a line.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.counts)) {
		fmt.Fprintf(&b, "%10d  %s\n", t.counts[name], name)
	}
	return b.String()
}

// strike breaks something for a while.
func (w *world) strike(f fault, lasting time.Duration) {
	w.tally.add(f.name, 1)
	w.note("FAULT %s for %v", f.name, lasting.Round(time.Millisecond))
	mend := f.do(w)
	if mend == nil {
		return
	}
	w.faults++
	id := w.faults
	w.undo[id] = func() {
		w.note("mended %s", f.name)
		delete(w.undo, id)
		mend()
	}
	w.agenda.after(lasting, func() {
		if undo := w.undo[id]; undo != nil {
			undo()
		}
	})
}

// heal mends all that is broken.
func (w *world) heal() {
	for _, id := range slices.Sorted(maps.Keys(w.undo)) {
		w.undo[id]()
	}
	w.bench.Router.ClearFaults()
}

// faultTable returns all faults of a kind, in a fixed order.
func faultTable(k kind) []fault {
	return slices.Concat(networkFaults(k), beyondFaults(k), routerFaults(), replyFaults(), handFaults(), daemonFaults())
}

// networkFaults are what happens to datagrams, on each of the four ways. A box is asked by TCP,
// whose troubles it has itself, and about a pool nobody.
func networkFaults(k kind) []fault {
	var all []fault
	for d := range paths {
		if (d == toGateway || d == fromGateway) && (k == byUPnP || k == byPool) {
			continue
		}
		for name, f := range map[string]natpmptest.Faults{
			"loss":      {Loss: 0.4},
			"delay":     {Jitter: 2 * time.Second},
			"duplicate": {Duplicate: 0.5, Jitter: 700 * time.Millisecond},
			"reorder":   {Reorder: 0.3, Hold: 1500 * time.Millisecond},
			"silence":   {Blackhole: true},
		} {
			all = append(all, fault{fmt.Sprintf("network: %s, %v", name, d), func(w *world) func() {
				mend := w.obstruct(d, f)
				if d != toGateway && d != fromGateway {
					return mend
				}
				end := w.watch.begin(&w.watch.gateway)
				if f.Jitter+f.Hold == 0 {
					return func() { mend(); end() }
				}
				passed := w.watch.begin(&w.watch.overtaking)
				return func() { mend(); end(); passed() }
			}})
		}
	}
	slices.SortFunc(all, func(a, b fault) int { return strings.Compare(a.name, b.name) })
	return all
}

// unnoticed is how soon after a restart of the gateway another one cannot be seen in
// its epoch, by a daemon that asks once in a minute (RFC 6886 §3.6).
const unnoticed = 2 * time.Minute

// gatewayFaults are what the gateway does.
func gatewayFaults() []fault {
	result := func(code natpmp.ResultCode) func(w *world) func() {
		return adjust(func(p *natpmptest.Profile) { p.Result = code }, func(p *natpmptest.Profile) { p.Result = 0 })
	}
	return []fault{
		{"gateway: restart without its leases", func(w *world) func() {
			if time.Since(w.restarted) < unnoticed {
				return nil
			}
			w.restarted = time.Now()
			w.bench.Gateway.Restart(false)
			w.watch.tampered(&w.watch.gateway)
			return nil
		}},
		{"gateway: restart with its leases", func(w *world) func() {
			w.bench.Gateway.Restart(true)
			w.watch.tampered(&w.watch.gateway)
			return nil
		}},
		{"gateway: other ports, where leases are short", func(w *world) func() {
			w.movePorts()
			return nil
		}},
		{"gateway: other address", func(w *world) func() {
			w.bench.Gateway.SetAddress(w.bench.Gateway.Address().Next())
			if w.chance(0.5) {
				w.movePorts()
			}
			w.watch.tampered(&w.watch.gateway)
			return nil
		}},
		{"gateway: no address", func(w *world) func() {
			had := w.bench.Gateway.Address()
			w.bench.Gateway.SetAddress(netip.Addr{})
			return func() { w.bench.Gateway.SetAddress(had) }
		}},
		{"gateway: refuses", func(w *world) func() {
			end := w.watch.begin(&w.watch.gateway)
			w.bench.Gateway.Refuse(true)
			return func() { w.bench.Gateway.Refuse(false); end() }
		}},
		{"gateway: silent", adjust(
			func(p *natpmptest.Profile) { p.Silent = true }, func(p *natpmptest.Profile) { p.Silent = false },
		)},
		{"gateway: slow", late(adjust(
			func(p *natpmptest.Profile) { p.ServiceTime = 700 * time.Millisecond }, func(p *natpmptest.Profile) { p.ServiceTime = 0 },
		))},
		{"gateway: lies", late(adjust(
			func(p *natpmptest.Profile) { p.Lies = natpmptest.Liar().Lies }, func(p *natpmptest.Profile) { p.Lies = nil },
		))},
		{"gateway: result 2", result(natpmp.ResultNotAuthorized)},
		{"gateway: result 3", result(natpmp.ResultNetworkFailure)},
		{"gateway: result 4", result(natpmp.ResultOutOfResources)},
	}
}

// late is a fault that makes requests or replies come when they are out of date.
func late(do func(w *world) func()) func(w *world) func() {
	return func(w *world) func() {
		end := w.watch.begin(&w.watch.overtaking)
		mend := do(w)
		return func() { mend(); end() }
	}
}

// movePorts lets the gateway change its mind about all ports. It says so at the next
// renewal and not before: where leases are long nothing can come right in a quiet
// time, and the ports stay.
func (w *world) movePorts() {
	if p := w.bench.Gateway.Profile(); p.FixedLifetime && p.Lifetime <= time.Minute {
		w.tally.add("gateway: ports moved", 1)
		w.bench.Gateway.MovePorts()
		w.watch.tampered(&w.watch.gateway)
	}
}

// adjust is a fault of the gateway that is a change of its profile.
func adjust(do, undo func(p *natpmptest.Profile)) func(w *world) func() {
	return func(w *world) func() {
		end := w.watch.begin(&w.watch.gateway)
		w.bench.Gateway.Adjust(do)
		return func() { w.bench.Gateway.Adjust(undo); end() }
	}
}

// routerFaults are what the router does as a whole.
func routerFaults() []fault {
	reboot := func(how routerostest.Reboot) func(w *world) func() {
		return func(w *world) func() {
			how.Down = w.duration(90 * time.Second)
			w.foreign(func() { w.bench.Router.Reboot(how) })
			return nil
		}
	}
	return []fault{
		{"router: disconnect", func(w *world) func() {
			w.bench.Router.Disconnect()
			return nil
		}},
		{"router: reboot in order", reboot(routerostest.Reboot{Cut: true})},
		{"router: power cut", reboot(routerostest.Reboot{})},
		{"router: power cut, loses the last rules", reboot(routerostest.Reboot{LoseLast: 20 * time.Second})},
		{"router: reboot, new ids", reboot(routerostest.Reboot{Renumber: true})},
		{"router: no right to write", rights("read,api,test")},
		{"router: no right to read", rights("write,api,test")},
		{"router: api switched off", func(w *world) func() {
			end := w.watch.begin(&w.watch.router)
			w.must(w.bench.Router.Disable("/ip/service", "api"))
			w.bench.Router.Disconnect()
			return func() { w.must(w.bench.Router.Enable("/ip/service", "api")); end() }
		}},
	}
}

// rights takes rights from the daemon's user.
func rights(policy string) func(w *world) func() {
	return func(w *world) func() {
		end := w.watch.begin(&w.watch.router)
		set := func(policy string) {
			w.must(w.bench.Router.Set("/user/group", "doublenat", routerostest.Row{"policy": policy}))
			w.bench.Router.Disconnect() // rights are those of the login
		}
		set(policy)
		return func() { set("read,write,api,test"); end() }
	}
}

// replyFaults strike single commands, or many of them in a storm.
func replyFaults() []fault {
	var all []fault
	for _, f := range []struct {
		kind  routerostest.FaultKind
		times int
	}{
		{routerostest.FaultDelay, 3},
		{routerostest.FaultDelayReply, 3},
		{routerostest.FaultSilence, 2},
		{routerostest.FaultSilenceReply, 2},
		{routerostest.FaultClose, 1},
		{routerostest.FaultCloseReply, 1},
		{routerostest.FaultHalfSentence, 1},
		{routerostest.FaultReset, 1},
		{routerostest.FaultResetReply, 1},
		{routerostest.FaultVanish, 1},
		{routerostest.FaultTrap, 20},
		{routerostest.FaultDoubleTrap, 20},
		{routerostest.FaultFatal, 1},
		{routerostest.FaultEmpty, 20},
		{routerostest.FaultReservedLength, 1},
		{routerostest.FaultHugeLength, 1},
		{routerostest.FaultEmptySentences, 20},
		{routerostest.FaultTagLast, 20},
		{routerostest.FaultShuffle, 20},
		{routerostest.FaultExtraProperties, 20},
		{routerostest.FaultBinaryComment, 20},
	} {
		all = append(all, fault{"router: " + f.kind.String(), func(w *world) func() {
			end := w.watch.begin(&w.watch.router)
			stalls := func() {}
			if f.kind == routerostest.FaultDelay {
				stalls = w.watch.begin(&w.watch.stalled)
			}
			disarm := w.bench.Router.Inject(routerostest.Fault{
				Kind: f.kind, Times: f.times, Delay: w.between(500*time.Millisecond, 6*time.Second), Skip: w.rng.IntN(3),
				Command: pick(w.rng, "", natPath+"/add", natPath+"/add", natPath+"/remove", natPath+"/print", natPath+"/set"),
			})
			return func() { disarm(); end(); stalls() }
		}})
	}
	return all
}

// must fails the simulation if an act of its own failed.
func (w *world) must(err error) {
	if err != nil {
		w.fail("the simulation itself: %v", err)
	}
}
