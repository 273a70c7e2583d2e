package daemon_test

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// A renewal's time begins when its packet arrives, however many wait before it: a
// thousand hosts that hold a mapping each renew them five times a second, far more often
// than the gateway can be asked, and another one has its answer in time.
func TestFloodOfRenewals(t *testing.T) {
	t.Parallel()
	const holders, each = 1000, 5
	cfg := lab.BenchConfig{
		Profile: natpmptest.RFC(),
		Environ: map[string]string{
			"LEASE_POLICY": "client", "CREATE_RATE": "0", "NEW_CLIENT_RATE": "0", "MAX_MAPPINGS": strconv.Itoa(2 * holders),
		},
	}
	cfg.Profile.ReplyDelay = 30 * time.Millisecond
	seconds := int(shorter(10*time.Second, 3*time.Second) / time.Second)
	onBench(t, cfg, func(r *rig) {
		granted := r.mapped(alice, natpmp.OpMapTCP, 6881)
		hosts := make([]netip.Addr, holders)
		for i := range hosts {
			hosts[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			r.mapped(hosts[i], natpmp.OpMapTCP, 6881)
		}
		answered := r.answered()
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.renewals(hosts, each, seconds)
		}()
		worst := time.Duration(0)
		for renewal := range 2*seconds - 2 {
			time.Sleep(500*time.Millisecond + time.Duration(renewal)*time.Millisecond)
			began := time.Now()
			again := r.ask(alice, natpmp.OpMapTCP, 6881, granted.ExternalPort)
			worst = max(worst, time.Since(began))
			if again.Result != natpmp.ResultSuccess || again.ExternalPort != granted.ExternalPort {
				r.t.Errorf("renewal %d was answered %+v", renewal, again)
			}
		}
		<-done
		time.Sleep(time.Second)
		r.t.Logf("worst renewal %v, %d of %d answered", worst, r.answered()-answered, seconds*each*holders)
		if worst > renewalBudget {
			r.t.Errorf("the slowest renewal took %v, want at most %v", worst, renewalBudget)
		}
		if n := r.answered() - answered; n < uint64(seconds*each*holders*9/10) {
			r.t.Errorf("%d renewals of %d were answered", n, seconds*each*holders)
		}
	})
}

// renewals has each host renew its mapping so often a second, evenly spread.
func (r *rig) renewals(hosts []netip.Addr, each, seconds int) {
	to := netip.MustParseAddrPort(routerostest.LANAddress + ":5351")
	for i := range seconds * each * len(hosts) {
		req := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881, Lifetime: 3600, SuggestedExternalPort: uint16(i)}
		r.Net.Inject(netip.AddrPortFrom(hosts[i%len(hosts)], uint16(1024+i%60000)), to, req.Append(nil))
		if i%each == each-1 {
			time.Sleep(time.Millisecond)
		}
	}
}

// answered returns how many requests were answered with success.
func (r *rig) answered() (n uint64) {
	_, stats := r.Daemon().PacketStats()
	for answer, count := range stats.Answers {
		if answer.Result == natpmp.ResultSuccess {
			n += count
		}
	}
	return n
}
