package daemon_test

import (
	"strings"
	"testing"
	"time"

	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

// Who cannot have the lock because of an entry that never goes says in the log which command mends
// that, and needs no restart then.
func TestPairLockThatNeverGoes(t *testing.T) {
	t.Parallel()
	withLock(t, onRouter, func(p *pair) {
		const list = "/ip/firewall/address-list"
		id, err := p.bench.Router.Add(list, routerostest.Row{"list": "doublenat-lock-default", "address": "192.0.2.1", "comment": "mine"})
		if err != nil {
			p.t.Fatal(err)
		}
		p.serve(p.a, nil)
		const command = "/ip firewall address-list remove [find list=doublenat-lock-default and address=192.0.2.1]"
		if log := p.a.log.String(); !strings.Contains(log, command) {
			p.t.Errorf("the log does not say what to do:\n%s", log)
		}
		if err := p.bench.Router.Remove(list, id); err != nil {
			p.t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if resp, err := p.a.Request(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881, Lifetime: 3600}); err != nil || resp.Result != natpmp.ResultSuccess {
			p.t.Errorf("a answers %+v, %v\n%s", resp, err, p.a.log)
		}
	})
}

// Who takes over knows at once that the router leads UPnP to it, and tells clients the router's address:
// it looks after it has moved the redirect, and not only before.
func TestPairLeadsUPnPAtOnce(t *testing.T) {
	t.Parallel()
	withLock(t, inMemory, func(p *pair) {
		for _, row := range []routerostest.Row{
			{"protocol": "udp", "dst-port": "5351", "dst-address-type": "local", "comment": "NAT-PMP to doublenat"},
			{"protocol": "tcp", "dst-port": "5000", "dst-address": routerostest.LANAddress, "to-ports": "49000", "comment": "UPnP to doublenat"},
		} {
			row["chain"], row["action"], row["to-addresses"] = "dstnat", "dst-nat", "192.168.88.9"
			if _, err := p.bench.Router.Add("/ip/firewall/nat", row); err != nil {
				p.t.Fatal(err)
			}
		}
		p.serve(p.a, map[string]string{"LOCK_REDIRECT": "on", "UPNP": "on", "UPNP_ADDR": "192.168.88.2:49000"})
		if log := p.a.log.String(); !strings.Contains(log, "router redirects UPnP") {
			p.t.Errorf("it does not know the way in:\n%s", log)
		}
	})
}
