//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"doublenat/routeros/routerostest"
)

const (
	// pairLease is LOCK_LEASE, and pairGap how long nobody may answer: until the lease of who died has
	// run out, and two seconds. A hand-over takes a second at most.
	pairLease = 6 * time.Second
	pairGap   = pairLease + 2*time.Second
	handOver  = time.Second
	// crowded is what is allowed besides on a machine on which ten worlds run at once. What was measured is
	// in the log: make e2e FLOW=pair_killed.
	crowded  = 3 * time.Second
	pairPort = 8080
	// knocking is how often a client asks, and knockPatience how long it waits: natpmpc sends its
	// second packet after 250 ms.
	knocking, knockPatience = 200 * time.Millisecond, 400 * time.Millisecond
)

// partnerAddress is the host of the second doublenat, at a veth pair of its own.
var partnerAddress = netip.MustParseAddr("172.30.253.2")

// inPair has a router whose redirect is the one that setup prints, and a doublenat that shares its lock.
func inPair() site {
	return site{
		gateway: startMiniupnpd,
		environ: map[string]string{"LOCK": "router", "LOCK_LEASE": "6s", "LOCK_NAME": "first"},
		tables: func(router *routerostest.Router) error {
			row, ok := router.Find(natPath, "comment", "NAT-PMP for the LAN")
			if !ok {
				return errors.New("the router redirects nobody")
			}
			_, err := router.Add("/interface", routerostest.Row{"name": "veth2", "type": "veth", "running": "true"})
			_, more := router.Add("/ip/address", routerostest.Row{"address": "172.30.253.1/30", "network": "172.30.253.0", "interface": "veth2", "actual-interface": "veth2"})
			first := router.Rows(filterPath)[0][".id"]
			return errors.Join(err, more, router.Set(natPath, row[".id"], routerostest.Row{"comment": "NAT-PMP to doublenat"}), rows(filterPath,
				"chain=input action=accept in-interface=veth2 protocol=tcp dst-port=8728 place-before="+first)(router))
		},
	}
}

// partner makes the second doublenat, which does not run yet.
func (w *world) partner(ctx context.Context) (*doublenat, error) {
	box := namespaceFor(context.WithoutCancel(ctx), w.t, strings.TrimSuffix(w.box.name, "-box"), "box2")
	err := errors.Join(
		w.router.ip(ctx, "link add veth2 type veth peer name eth0 netns "+box.name, "address add 172.30.253.1/30 dev veth2", "link set veth2 up"),
		box.ip(ctx, "address add "+partnerAddress.String()+"/30 dev eth0", "link set eth0 up", "route add default via 172.30.253.1"))
	environ := inPair().environ
	maps.Copy(environ, map[string]string{"LOCK_NAME": "second"})
	return newDoublenat(w.t, box, netip.MustParseAddr("172.30.253.1"), environ), err
}

// visitor asks for one mapping again and again, as a client that renews far too often.
type visitor struct {
	asked chan struct{} // closed when it has stopped

	answered []time.Time
	ports    map[uint16]bool
}

// visit has alice ask with natpmpc until ctx ends.
func (w *world) visit(ctx context.Context, port uint16) *visitor {
	v := &visitor{asked: make(chan struct{}), ports: make(map[uint16]bool)}
	go func() {
		defer close(v.asked)
		for ctx.Err() == nil {
			asking, cancel := context.WithTimeout(ctx, knockPatience)
			m, err := natpmpc(asking, w.alice, "tcp", port, time.Minute, "-g", w.alice.asks.String())
			cancel()
			if err == nil {
				v.answered = append(v.answered, time.Now())
				v.ports[m.external] = true
			}
			pause(ctx, knocking)
		}
	}()
	return v
}

// gap returns the longest time without an answer.
func (v *visitor) gap() (longest time.Duration) {
	for i := 1; i < len(v.answered); i++ {
		longest = max(longest, v.answered[i].Sub(v.answered[i-1]))
	}
	return longest
}

// fault is what becomes of the active one of a pair.
type fault struct {
	// gap is how long nobody may answer, and follows how long clients take to be led to the other one.
	gap, follows time.Duration
	// strike has it happen, and mend undoes it, once the other one is active. Nil is that it stays as it is.
	strike, mend func(ctx context.Context, w *world) error
}

// takenOver has a second doublenat take over while a client renews and talks through both NATs.
func takenOver(f fault) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		second, err := w.partner(ctx)
		if err != nil {
			return err
		}
		first := w.doublenat
		second.start(ctx)
		err = errors.Join(w.takeOver(ctx, f, second), w.onlyOneWrote(partnerAddress), first.stop(), second.stop())
		redirect, _ := w.office.Find(natPath, "comment", "NAT-PMP to doublenat")
		back := w.office.Set(natPath, redirect[".id"], routerostest.Row{"to-addresses": routerostest.ContainerAddress})
		return errors.Join(err, back, w.leaveToOne(ctx, first.ns, netip.MustParseAddr("172.30.254.1")))
	}
}

// leaveToOne starts a doublenat that is alone: what both have left is its own, and it takes it down.
func (w *world) leaveToOne(ctx context.Context, on *namespace, router netip.Addr) error {
	w.doublenat = newDoublenat(w.t, on, router, nil)
	err := w.open(ctx)
	_, adopted := w.alice.request("tcp", pairPort, 0, time.Minute) // It is answered when the rules were read.
	return errors.Join(err, adopted)
}

// takeOver is its story.
func (w *world) takeOver(ctx context.Context, f fault, second *doublenat) error {
	w.alice.serve(ctx, w.t, "tcp", pairPort)
	visiting, leave := context.WithCancel(ctx)
	v := w.visit(visiting, pairPort)
	defer func() { leave(); <-v.asked }()
	m, err := w.alice.request("tcp", pairPort, 0, time.Minute)
	if err != nil {
		return err
	}
	if err := w.reach(ctx, m, w.alice); err != nil {
		return err
	}
	t, err := w.internet.call(ctx, "tcp", w.public(m), w.alice)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := errors.Join(t.say(), eventually(ctx, patience, func() error { return second.says("standing by") })); err != nil {
		return err
	}
	if err := f.strike(ctx, w); err != nil {
		return err
	}
	if err := eventually(ctx, pairGap+patience, func() error { return second.says("active: this doublenat has the lock") }); err != nil {
		return err
	}
	if f.mend != nil {
		if err := f.mend(ctx, w); err != nil {
			return err
		}
		if err := eventually(ctx, pairGap+patience, func() error { return w.doublenat.says("lost the lock") }); err != nil {
			return err
		}
	}
	pause(ctx, f.follows+2*time.Second) // the visitor comes some times more
	leave()
	<-v.asked
	w.t.Logf("%d answers, at most %v without one", len(v.answered), v.gap().Round(10*time.Millisecond))
	if v.gap() > f.gap+crowded {
		err = fmt.Errorf("nobody answered for %v, at most %v are allowed", v.gap(), f.gap+crowded)
	}
	if len(v.ports) != 1 || !v.ports[m.external] {
		err = errors.Join(err, fmt.Errorf("the port was %d, and then %v", m.external, v.ports))
	}
	return errors.Join(err, t.say(), w.reach(ctx, m, w.alice), w.layers(ctx, 1))
}

// says returns an error unless the daemon has logged a text.
func (d *doublenat) says(text string) error {
	if !strings.Contains(d.process.log.String(), text) {
		return fmt.Errorf("doublenat does not say %q", text)
	}
	return nil
}

// onlyOneWrote returns an error if one doublenat changed the router after the other one had, within the
// lease that the other one may still have believed in: the first may never write once the second did.
func (w *world) onlyOneWrote(second netip.Addr) error {
	var taken time.Time
	for _, e := range w.office.Journal() {
		switch {
		case !e.Wrote || e.User != routerostest.LeastUser:
		case e.Peer == second && taken.IsZero():
			taken = e.Time
		case e.Peer != second && !taken.IsZero():
			return fmt.Errorf("%v wrote %s %v after the other one took over", e.Peer, e.Command, e.Time.Sub(taken))
		}
	}
	if taken.IsZero() {
		return errors.New("the second doublenat changed nothing")
	}
	return nil
}

// died is SIGKILL, without a word to anybody.
func died() fault {
	return fault{gap: pairGap, strike: func(_ context.Context, w *world) error {
		w.doublenat.kill()
		return nil
	}}
}

// froze is SIGSTOP for longer than the lease: when it goes on it must not write anything.
func froze() fault {
	return fault{
		gap: pairGap,
		strike: func(_ context.Context, w *world) error {
			return w.doublenat.process.cmd.Process.Signal(syscall.SIGSTOP)
		},
		mend: func(_ context.Context, w *world) error {
			return w.doublenat.process.cmd.Process.Signal(syscall.SIGCONT)
		},
	}
}

// cutOff has nothing arrive from the active one any more, or at it, until the other one has taken over.
func cutOff() fault {
	return fault{
		gap: pairGap,
		strike: func(ctx context.Context, w *world) error {
			return w.box.nft(ctx, "table ip partition { chain in { type filter hook input priority 0; drop; }; chain out { type filter hook output priority 0; drop; }; }")
		},
		mend: func(ctx context.Context, w *world) error { return w.box.nft(ctx, "delete table ip partition") },
	}
}

// handedOver is SIGTERM, as for an upgrade.
func handedOver() fault {
	return fault{gap: handOver, strike: func(_ context.Context, w *world) error { return w.doublenat.stop() }}
}
