package check_test

import (
	"net/netip"
	"path"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
	"doublenat/routeros/routerostest/facts"
)

// TestSentencesOfEveryRelease lets the daemon and the doctor work with every release of
// the table of facts, through a day with all that makes them write, and holds each
// command that they sent against what that release takes.
func TestSentencesOfEveryRelease(t *testing.T) { //nolint:tparallel // the releases have to end before what they saw is counted
	t.Parallel()
	var mu sync.Mutex
	seen := make(map[string]int)
	t.Run("releases", func(t *testing.T) {
		for i, release := range facts.Releases() {
			if testing.Short() && i%8 != 0 {
				continue
			}
			t.Run(release, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					known, err := facts.Of(release)
					if err != nil {
						t.Fatal(err)
					}
					r := busyDay(t, release)
					for _, e := range r.Router.Journal() {
						if menu := path.Dir(e.Command); !facts.Knows(menu) && !slices.Contains(notInTheTable(), menu) {
							t.Errorf("the table knows nothing of %s", menu)
						}
						_, there := known.Arguments(e.Command)
						if !there && slices.Contains(mayBeMissing(), e.Command) {
							continue
						}
						if err := known.CheckSentence(e.Command, e.Args); err != nil {
							t.Errorf("%v: %s %q", err, e.Command, e.Args)
						}
						mu.Lock()
						seen[e.Command]++
						mu.Unlock()
					}
				})
			})
		}
	})
	// What is not sent is not checked: these have to be among them.
	for _, command := range []string{
		"/login", natPath + "/add", natPath + "/set", natPath + "/remove", natPath + "/print", "/ip/route/check", "/ip/route/print",
		"/interface/print", "/ip/address/print", "/ip/service/print", filterPath + "/print", manglePath + "/print", "/user/print",
		"/system/resource/print", "/ip/firewall/raw/print", "/routing/rule/print",
	} {
		if seen[command] == 0 {
			t.Errorf("%s was never sent", command)
		}
	}
}

// mayBeMissing are commands that are asked for to see whether the router has them.
func mayBeMissing() []string { return []string{"/ip/route/check", "/ip/nat-pmp/print"} }

// notInTheTable are menus that no release of the table has, or that are not in it: nothing is
// asked of them but a print, and a release without them is a router without their rows.
func notInTheTable() []string {
	return []string{"/", "/ip/vrf", "/ip/route/vrf", "/ip/route/rule", "/ip/ipsec/policy"}
}

// busyDay lets a daemon adopt, make, move and remove rules on a router of a release,
// and the doctor look before and after.
func busyDay(t *testing.T, release string) *rig {
	t.Helper()
	r := newRig(t, lab.BenchConfig{
		Router:  routerostest.Config{Version: release, Journal: 100_000},
		Profile: natpmptest.ProtonRotate(4), Environ: map[string]string{"SHUTDOWN": "keep", "LEASE_POLICY": "hold"},
	})
	if err := r.Start(nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	client := netip.MustParseAddr("192.168.88.10")
	for port := range uint16(4) {
		for _, op := range []natpmp.Opcode{natpmp.OpMapUDP, natpmp.OpMapTCP} {
			if _, err := r.Request(client, natpmp.Request{Opcode: op, InternalPort: 6881 + port, Lifetime: 3600}); err != nil {
				t.Fatal(err)
			}
		}
	}
	own := slices.DeleteFunc(r.Router.Rows(natPath), func(row routerostest.Row) bool { return row["to-addresses"] != client.String() })
	if len(own) < 4 {
		t.Fatalf("only %d rules", len(own))
	}
	r.check()
	// Somebody changes a rule, removes one, takes the port of a third and disables a fourth.
	r.must(r.Router.Set(natPath, own[0][".id"], routerostest.Row{"to-ports": "1"}))
	r.must(r.Router.Remove(natPath, own[1][".id"]))
	r.must(r.Router.Disable(natPath, own[2][".id"]))
	r.add(natPath, "chain=dstnat action=dst-nat protocol=tcp in-interface=wg1 dst-port="+own[3]["dst-port"]+" to-addresses=192.168.88.99", own[3][".id"])
	time.Sleep(15 * time.Minute)
	// The router loses the tunnel for a while, and the daemon is started again.
	r.must(r.Router.Disable("/interface", "wg1"))
	time.Sleep(2 * time.Minute)
	r.must(r.Router.Enable("/interface", "wg1"))
	r.Kill()
	if err := r.Start(nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Minute)
	if _, err := r.Request(client, natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 6881}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Minute)
	r.Kill() // or its own changes would count as the doctor's
	r.check()
	return r
}

// must ends the test on an error.
func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}
