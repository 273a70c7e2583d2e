package sim_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"doublenat/internal/nat"
	"doublenat/routeros/routerostest"
)

// looks is how often the layers are compared until they must agree: between two
// packets they never do, and a lease ends a moment before the daemon knows.
const looks = 4

// longestLease is how long a lease lives that nobody renews.
const longestLease = 2*time.Hour + 10*time.Minute

// verify holds the world against the invariants that need a quiet moment.
func (w *world) verify() {
	w.tally.add("check: quiet", 1)
	var wrong []string
	for range looks {
		if wrong = w.disagreements(); len(wrong) == 0 {
			return
		}
		w.run(1300 * time.Millisecond)
	}
	for _, what := range wrong {
		w.fail("%s", what)
	}
}

// disagreements returns what is wrong at this moment.
func (w *world) disagreements() []string {
	mappings := w.bench.Daemon().Mappings()
	wrong := slices.Concat(w.ruleDisagreements(mappings), w.leaseDisagreements(mappings), w.watch.untold(mappings))
	if !w.bench.OthersUntouched() {
		wrong = append(wrong, "(e) other people's rules were changed")
	}
	for _, c := range w.clients {
		for _, wt := range c.living() {
			if what := w.disappointed(c, wt); what != "" {
				wrong = append(wrong, "(b) "+what)
			}
		}
	}
	return wrong
}

// ruleDisagreements checks invariant a: one rule of ours for each mapping, and no other.
func (w *world) ruleDisagreements(mappings []nat.Mapping) (wrong []string) {
	rules := make(map[nat.Key][]string) // the ports that they match
	for _, r := range w.bench.OurRules("default") {
		key, err := keyOf(r["protocol"], r["to-addresses"], r["to-ports"])
		if err != nil || r["disabled"] == "true" {
			wrong = append(wrong, fmt.Sprintf("(a) rule %s is not as it should be: %v", r[".id"], r))
		}
		rules[key] = append(rules[key], r["dst-port"])
	}
	for _, m := range mappings {
		found, port := rules[m.Key], strconv.Itoa(int(w.arrival(m)))
		if len(found) != 1 || m.Closing || !slices.Contains(strings.Split(found[0], ","), port) {
			wrong = append(wrong, fmt.Sprintf("(a) rules for port %s of %v, closing %v: %v", port, m.Key, m.Closing, found))
		}
		delete(rules, m.Key)
	}
	for key, ports := range rules {
		wrong = append(wrong, fmt.Sprintf("(a) a rule without a mapping: %v, ports %v", key, ports))
	}
	return wrong
}

// arrival returns the port at which a mapping's packets come to the router.
func (w *world) arrival(m nat.Mapping) uint16 {
	if w.bench.Gateway.Profile().DeliversExternal {
		return m.ExternalPort
	}
	return m.InnerPort
}

// leaseDisagreements checks invariant b: each mapping has its lease.
//
// There may be leases beside them. A copy of a request may reach the gateway after the
// lease was given back, or a lease be granted to a daemon that is dead by then. Nobody
// knows of such a lease, no rule leads from it anywhere, and it expires.
func (w *world) leaseDisagreements(mappings []nat.Mapping) (wrong []string) {
	type end struct {
		protocol nat.Protocol
		inner    uint16
	}
	leases := make(map[end][]uint16)
	for _, l := range w.bench.Passes() {
		at := end{l.Protocol, l.Inner}
		leases[at] = append(leases[at], l.External)
	}
	for _, m := range mappings {
		at := end{m.Key.Protocol, m.InnerPort}
		moved := w.wayward() && len(leases[at]) > 0
		if m.Refused && len(leases[at]) == 0 {
			w.tally.add("check: mapping that the gateway refuses", 1)
			continue
		}
		if !moved && !slices.Contains(leases[at], m.ExternalPort) && !w.watch.undone(m.Key) {
			wrong = append(wrong, fmt.Sprintf("(b) %v has no lease of port %d to inner port %d, but of %d",
				m.Key, m.ExternalPort, m.InnerPort, leases[at]))
		}
		delete(leases, at)
	}
	for at, ports := range leases {
		if w.kind != byPool && !w.watch.gatewayTrouble(longestLease) {
			wrong = append(wrong, fmt.Sprintf("(f) a lease without a mapping: %v port %d to inner port %d", at.protocol, ports, at.inner))
		}
	}
	return wrong
}

// wayward says whether the gateway moves ports at renewals. It moves those of both
// protocols when one of them is renewed, and tells the daemon half of it.
func (w *world) wayward() bool {
	p := w.bench.Gateway.Profile()
	return p.RotateEvery > 0 || p.RepeatWindow > 0
}

// untold checks invariant b: each mapping has the port that its client was told
// last, or a change of it was noticed that the client learns of at its renewal.
func (w *watch) untold(mappings []nat.Mapping) (wrong []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range mappings {
		t, ok := w.told[m.Key]
		if !ok || t.void || m.ToldPort == 0 && time.Now().After(t.until) {
			continue // adopted, and its client never heard of it, or of one before it
		}
		if t.port != m.ExternalPort && t.moved.IsZero() && !w.undoneLocked(m.Key) {
			wrong = append(wrong, fmt.Sprintf("(b) %v has port %d and its client was told %d", m.Key, m.ExternalPort, t.port))
		}
	}
	return wrong
}

// disappointed returns what is wrong with what a client thinks it has: a packet from
// the Internet has to arrive.
func (w *world) disappointed(c *client, wt *want) string {
	port := c.believes(wt)
	t := w.watch.last(wt.key)
	if port == 0 || t.port != port || t.void || !t.moved.IsZero() {
		return ""
	}
	arrives, ok := w.bench.Passed(wt.key.Protocol, port)
	switch {
	case !ok && (w.wayward() || w.watch.undone(wt.key) || w.refused(wt.key)):
		return ""
	case !ok:
		return fmt.Sprintf("%v believes in port %d, which the gateway does not know", wt.key, port)
	}
	to, _, _ := w.bench.Router.Match(wt.key.Protocol.String(), routerostest.TunnelInterface, arrives)
	if to != netip.AddrPortFrom(wt.key.Client, wt.key.InternalPort) {
		return fmt.Sprintf("%v believes in port %d, whose packets go to %v", wt.key, port, to)
	}
	return ""
}

// refused says whether the gateway refuses to renew the lease of a mapping: its client
// hears of that when it asks, and gets it back when there is room again.
func (w *world) refused(key nat.Key) bool {
	return slices.ContainsFunc(w.bench.Daemon().Mappings(), func(m nat.Mapping) bool { return m.Key == key && m.Refused })
}

// last returns what the client was told last about a mapping.
func (w *watch) last(key nat.Key) telling {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told[key]
}

// undone says whether the lease of a mapping may have been ended by a packet that was
// overtaken, or never have been, because a late reply was taken for that to the next
// request: NAT-PMP has no numbers to tell (RFC 6886 §3.5). The next renewal mends it.
func (w *watch) undone(key nat.Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.undoneLocked(key)
}

func (w *watch) undoneLocked(key nat.Key) bool {
	last := w.overtaking.last
	return w.overtaking.active > 0 || !last.IsZero() && w.told[key].stood.Before(last.Add(inFlight))
}

// gatewayTrouble says whether anything was wrong on the way to the gateway in the last while.
func (w *watch) gatewayTrouble(d time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gateway.within(d)
}

// othersUntouched checks invariant e.
func (w *world) othersUntouched() {
	if !w.bench.OthersUntouched() {
		w.fail("(e) other people's rules were changed")
	}
}
