package sim_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"doublenat/internal/nat"
)

// shutdownLimit is how long the daemon may take to stop whatever is broken.
const shutdownLimit = 10 * time.Second

// daemonFaults are what happens to the daemon itself.
func daemonFaults() []fault {
	return []fault{
		{"daemon: killed, starts again at once", func(w *world) func() {
			w.kill()
			w.start()
			return nil
		}},
		{"daemon: killed, starts again later", func(w *world) func() {
			w.kill()
			return w.start
		}},
		{"daemon: stopped, starts again later", func(w *world) func() {
			w.stop()
			return w.start
		}},
	}
}

// start runs the daemon unless it runs. Whether it will keep its mappings when it is
// stopped is decided by chance.
func (w *world) start() {
	if w.bench.Daemon() != nil {
		return
	}
	shutdown := pick(w.rng, "clean", "keep")
	w.tally.add("daemon: started, SHUTDOWN="+shutdown, 1)
	w.note("starting, SHUTDOWN=%s", shutdown)
	w.keep = shutdown == "keep"
	w.watch.restarted(w.ruled())
	w.started = time.Now()
	if w.kind == byPool {
		w.forward(w.forwards) // A file that has a mistake would keep it from starting.
	}
	if err := w.bench.Start(map[string]string{"SHUTDOWN": shutdown}); err != nil {
		w.fail("starting the daemon: %v", err)
	}
}

// kill ends the daemon without a chance to say anything.
func (w *world) kill() {
	if w.bench.Daemon() == nil {
		return
	}
	w.mute()
	w.bench.Kill()
	w.watch.orphaned()
	w.note("killed")
}

// stop ends the daemon in order. It must end in time, whatever is broken.
func (w *world) stop() {
	began := time.Now()
	err := w.bench.Stop()
	took := time.Since(began)
	w.note("stopped after %v: %v", took, err)
	if w.keep {
		w.watch.orphaned() // of a rule that somebody had taken away just before
	}
	if took > shutdownLimit {
		w.fail("(f) the daemon took %v to stop", took)
	}
}

// ruled returns whether there is a rule on the router for a key: what a daemon that
// starts can know of.
func (w *world) ruled() func(nat.Key) bool {
	rules := make(map[nat.Key]bool)
	for _, r := range w.bench.OurRules("default") {
		if key, err := keyOf(r["protocol"], r["to-addresses"], r["to-ports"]); err == nil && r["disabled"] != "true" {
			rules[key] = true
		}
	}
	return func(key nat.Key) bool { return rules[key] }
}

// keyOf returns the key that a rule is for.
func keyOf(protocol, address, port string) (nat.Key, error) {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return nat.Key{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nat.Key{}, err
	}
	for _, p := range nat.Protocols() {
		if p.String() == protocol {
			return nat.Key{Client: addr, Protocol: p, InternalPort: uint16(n)}, nil
		}
	}
	return nat.Key{}, fmt.Errorf("protocol %q", protocol)
}
