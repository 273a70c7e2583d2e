package sim_test

import (
	"fmt"
	"strconv"
	"time"

	"doublenat/internal/nat"
	"doublenat/routeros/routerostest"
)

const natPath = "/ip/firewall/nat"

// byHand is the host to which the administrator forwards ports by himself.
const byHand = "192.168.88.77"

// handFaults are what an administrator does who should not.
func handFaults() []fault {
	return []fault{
		{"hand: removes a rule of ours", onRule(func(w *world, rule routerostest.Row) {
			w.must(w.bench.Router.Remove(natPath, rule[".id"]))
		})},
		{"hand: edits a rule of ours", onRule(func(w *world, rule routerostest.Row) {
			w.must(w.bench.Router.Set(natPath, rule[".id"], pick(w.rng,
				routerostest.Row{"to-addresses": "192.168.88.200"}, routerostest.Row{"to-ports": "1"},
				routerostest.Row{"dst-port": "19999"}, routerostest.Row{"disabled": "true"},
			)))
		})},
		{"hand: writes into a comment of ours", onRule(func(w *world, rule routerostest.Row) {
			w.must(w.bench.Router.Set(natPath, rule[".id"], routerostest.Row{"comment": "why is this here? " + rule["comment"]}))
		})},
		{"hand: copies a rule of ours", onRule(func(w *world, rule routerostest.Row) {
			delete(rule, ".id")
			_, err := w.bench.Router.Add(natPath, rule)
			w.must(err)
		})},
		{"hand: adds a rule of ours that is none", func(w *world) func() {
			port := 30000 + w.rng.IntN(1000)
			w.tampered() // There may be one from before, which was adopted.
			w.add(routerostest.Row{
				"protocol": "tcp", "dst-port": strconv.Itoa(port), "to-addresses": "192.168.88.99", "to-ports": "80",
				"comment": fmt.Sprintf("doublenat:default tcp 192.168.88.99:80 inner=%d ext=%d life=3600", port, port),
			})
			w.tampered()
			return func() { // The daemon leaves it where somebody changes its rules again and again.
				for row, ok := w.bench.Router.Find(natPath, "to-addresses", "192.168.88.99"); ok; row, ok = w.bench.Router.Find(natPath, "to-addresses", "192.168.88.99") {
					w.tampered()
					w.must(w.bench.Router.Remove(natPath, row[".id"]))
				}
			}
		}},
		{"hand: adds a rule of his own", func(w *world) func() {
			low := 20000 + w.rng.IntN(9000)
			w.foreign(func() {
				w.add(routerostest.Row{
					"protocol": pick(w.rng, "tcp", "udp"), "dst-port": fmt.Sprintf("%d-%d", low, low+200),
					"to-addresses": byHand, "comment": "by hand",
				})
			})
			return func() {
				w.foreign(func() {
					if row, ok := w.bench.Router.Find(natPath, "comment", "by hand"); ok {
						w.must(w.bench.Router.Remove(natPath, row[".id"]))
					}
				})
			}
		}},
	}
}

// onRule does something to one of our rules, if there is one.
func onRule(do func(w *world, rule routerostest.Row)) func(w *world) func() {
	return func(w *world) func() {
		rules := w.bench.OurRules("default")
		if len(rules) == 0 {
			return nil
		}
		w.tampered() // The watch looks at the rules as soon as they change.
		do(w, rules[w.rng.IntN(len(rules))])
		w.tampered()
		return nil
	}
}

// add makes a dst-nat rule on the tunnel interface.
func (w *world) add(row routerostest.Row) {
	row["chain"], row["action"], row["in-interface"] = "dstnat", "dst-nat", routerostest.TunnelInterface
	_, err := w.bench.Router.Add(natPath, row)
	w.must(err)
}

// foreign does something to rules that are not the daemon's: up to this moment
// they must have been as they were, and from now on they are as they are.
func (w *world) foreign(do func()) {
	w.othersUntouched()
	do()
	w.bench.AcceptOthers()
	w.tampered()
}

// tampered notes that the router's rules were changed behind the daemon's back. A
// daemon that was just started may not have seen what was there before.
func (w *world) tampered() {
	w.watch.tampered(&w.watch.router)
	d := w.bench.Daemon()
	if d == nil || time.Since(w.started) < reconciled {
		w.watch.orphaned() // Without its rule nobody will know of a lease.
	}
	if d != nil && time.Since(w.started) < reconciled {
		known := make(map[nat.Key]bool)
		for _, m := range d.Mappings() {
			known[m.Key] = true
		}
		ruled := w.ruled()
		w.watch.forget(func(key nat.Key) bool { return known[key] || ruled(key) })
	}
}
