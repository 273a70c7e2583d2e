package check_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"doublenat/internal/check"
	"doublenat/internal/lab"
)

// strangeRows are rows that somebody may have: a line of a path and words each.
const strangeRows = `
	/ip/firewall/raw chain=prerouting action=drop in-interface=veth1 src-address=!192.168.88.0/24
	/ip/firewall/raw chain=prerouting action=drop src-address=10.0.0.0/8 in-interface-list=WAN
	/ip/firewall/raw chain=prerouting action=notrack protocol=udp dst-port=5351
	/ip/firewall/raw chain=prerouting action=notrack in-interface=veth1
	/ip/firewall/raw chain=prerouting action=jump jump-target=udp protocol=udp
	/ip/firewall/raw chain=udp action=drop port=5351
	/ip/firewall/raw chain=udp action=return in-interface=bridge
	/ip/firewall/raw chain=prerouting action=accept in-interface=wg1
	/ip/firewall/raw chain=output action=drop dst-address=172.16.0.0/12
	/ip/firewall/mangle chain=prerouting action=accept connection-state=established
	/ip/firewall/mangle chain=prerouting action=accept in-interface=wg1
	/ip/firewall/mangle chain=prerouting action=mark-routing in-interface=bridge new-routing-mark=vpn passthrough=true
	/ip/firewall/mangle chain=prerouting action=mark-routing in-interface=bridge dst-address-type=!local new-routing-mark=vpn passthrough=false
	/ip/firewall/mangle chain=prerouting action=mark-routing src-address=172.16.0.0/12 new-routing-mark=vpn passthrough=true
	/ip/firewall/mangle chain=prerouting action=mark-connection in-interface=wg1 connection-state=new new-connection-mark=vpn passthrough=true
	/ip/firewall/mangle chain=prerouting action=mark-routing in-interface=!wg1 connection-mark=vpn new-routing-mark=vpn passthrough=false
	/ip/firewall/mangle chain=prerouting action=mark-routing src-address=192.168.88.10 new-routing-mark=vpn passthrough=true
	/ip/firewall/nat chain=dstnat action=accept src-address=192.168.88.0/25
	/ip/firewall/nat chain=dstnat action=redirect protocol=udp in-interface=bridge to-ports=53
	/ip/firewall/nat chain=srcnat action=accept src-address=172.30.254.0/30
	/ip/firewall/nat chain=srcnat action=masquerade src-address=192.168.88.0/24
	/ip/firewall/nat chain=srcnat action=masquerade out-interface=veth1
	/ip/firewall/filter chain=forward action=drop in-interface=bridge out-interface=!ether1
	/ip/firewall/filter chain=forward action=drop dst-address=10.0.0.0/8
	/ip/firewall/filter chain=forward action=drop in-interface=wg1 protocol=udp
	/ip/firewall/filter chain=forward action=accept connection-nat-state=dstnat
	/ip/firewall/filter chain=forward action=jump jump-target=clients in-interface=bridge
	/ip/firewall/filter chain=clients action=accept protocol=tcp
	/ip/firewall/filter chain=clients action=reject
	/ip/firewall/filter chain=forward action=drop time=8h-16h,mon in-interface=bridge
	/ip/firewall/filter chain=input action=drop src-address=172.30.254.2
	/ip/firewall/filter chain=output action=drop dst-address=172.30.254.2
	/routing/rule src-address=192.168.88.0/24 action=lookup table=vpn
	/routing/rule interface=bridge action=lookup-only-in-table table=vpn
	/routing/rule src-address=172.30.254.0/30 action=lookup table=vpn
	/routing/rule dst-address=10.2.0.1/32 action=lookup-only-in-table table=empty
	/routing/rule src-address=192.168.88.0/24 dst-address=172.30.254.0/30 action=unreachable
	/routing/rule min-prefix=0 action=lookup table=main`

// TestRandomSetups draws set-ups at random. Where the doctor calls the ways of packets
// well the test router has to deliver them, before and after what he prints was typed; and
// what he prints has to end in that, but for the rows of which he cannot tell.
func TestRandomSetups(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(strangeRows), "\n")
	seeds := 150
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 13))
			r := newRig(t, lab.BenchConfig{})
			r.cfg.Self = nil
			r.plain()
			r.add("/routing/table", "name=empty fib=", "")
			var drawn []string
			for range 1 + rng.IntN(8) {
				line := lines[rng.IntN(len(lines))]
				drawn = append(drawn, strings.TrimSpace(line))
				r.drawn(line, rng.IntN(2) == 0)
			}
			told := r.judgeDrawn(drawn, seed)
			for range 3 {
				found := wrong(r.check())
				if len(found) == 0 {
					break
				}
				for _, f := range found {
					r.obey(f.Advice.Commands)
				}
			}
			r.judgeDrawn(drawn, seed)
			for _, f := range wrong(r.check()) {
				if len(f.Advice.Commands) > 0 {
					t.Errorf("seed %d: after three rounds: %s: %s: %s\n%s", seed, f.Probe, f.Seen, f.Advice, strings.Join(drawn, "\n"))
				}
			}
			if told == 0 && seed == 0 {
				t.Log("nothing was wrong with the first one")
			}
		})
	}
}

// drawn adds a row at the end of its table, or before the others.
func (r *rig) drawn(line string, early bool) {
	r.t.Helper()
	path, words, _ := strings.Cut(strings.TrimSpace(line), " ")
	before := ""
	if rows := r.Router.Rows(path); early && len(rows) > 0 {
		before = rows[0][".id"]
	}
	r.add(path, words, before)
}

// judgeDrawn compares the doctor's verdict with what the test router delivers, and
// returns how much the doctor found.
func (r *rig) judgeDrawn(drawn []string, seed int) int {
	r.t.Helper()
	found := wrong(r.check())
	if len(found) > 0 {
		return len(found)
	}
	for _, lost := range r.undelivered([]string{"192.168.88.10", "192.168.88.200"}) {
		r.t.Errorf("seed %d: the doctor says that all is well: %s\n%s", seed, lost, strings.Join(drawn, "\n"))
	}
	return 0
}

// TestEveryStrangeRowIsTold has each of the rows alone, before all others: the doctor
// must not call well what the router loses.
func TestEveryStrangeRowIsTold(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(strings.TrimSpace(strangeRows)) {
		t.Run(strings.TrimSpace(line), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{})
				r.cfg.Self = nil
				r.add("/routing/table", "name=empty fib=", "")
				r.drawn(line, true)
				lost := r.undelivered([]string{"192.168.88.10", "192.168.88.200"})
				found := wrong(r.check())
				losing := slices.ContainsFunc(found, func(f check.Finding) bool {
					return loses(f.Advice.Kind) || slices.Contains([]string{"cannot tell", "clients hidden", "redirect shadowed"}, string(f.Advice.Kind))
				})
				if len(lost) > 0 && !losing {
					t.Errorf("the router loses %v, the doctor found %+v", lost, found)
				}
			})
		})
	}
}
