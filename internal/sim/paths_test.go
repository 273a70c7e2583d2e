package sim_test

import (
	"net/netip"
	"time"

	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// direction is a way that packets go.
type direction int

const (
	toDaemon direction = iota
	toClient
	toGateway
	fromGateway
	paths
)

func (d direction) String() string {
	return [...]string{"client → daemon", "daemon → client", "daemon → gateway", "gateway → daemon"}[d]
}

// path has what is wrong on a way, by the number of the fault.
type path map[uint64]natpmptest.Faults

// jitter is what all packets have. It keeps two packets from arriving in the same
// instant, in which the scheduler would decide which is first.
const jitter = 2 * time.Millisecond

// repave tells the network what happens on all ways.
func (w *world) repave() {
	daemon, gateway := netip.MustParsePrefix("192.168.88.1/32"), netip.MustParsePrefix(routerostest.GatewayAddress+"/32")
	for d, p := range map[direction]natpmptest.Path{
		toDaemon: {To: daemon}, toClient: {From: daemon}, toGateway: {To: gateway}, fromGateway: {From: gateway},
	} {
		sum := natpmptest.Faults{Jitter: jitter}
		for _, f := range w.paths[d] {
			sum.Loss = max(sum.Loss, f.Loss)
			sum.Duplicate = max(sum.Duplicate, f.Duplicate)
			sum.Reorder = max(sum.Reorder, f.Reorder)
			sum.Hold = max(sum.Hold, f.Hold)
			sum.Jitter = max(sum.Jitter, f.Jitter)
			sum.Blackhole = sum.Blackhole || f.Blackhole
		}
		w.bench.Net.SetFaults(p, sum)
	}
}

// obstruct puts a fault on a way and returns how to take it away.
func (w *world) obstruct(d direction, f natpmptest.Faults) func() {
	w.faults++
	id := w.faults
	if w.paths[d] == nil {
		w.paths[d] = make(path)
	}
	w.paths[d][id] = f
	w.repave()
	return func() {
		delete(w.paths[d], id)
		w.repave()
	}
}
