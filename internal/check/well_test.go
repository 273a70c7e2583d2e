package check_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/routeros/routerostest"
)

// TestAllWell looks at the test router as it is, in each of its versions, with a
// daemon that holds a mapping.
func TestAllWell(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"6.49", "7.5", "7.12", "7.17", "7.18", "7.20", "7.22"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{Router: routerostest.Config{Version: version}})
				r.serve()
				report := r.check()
				for _, f := range wrong(report) {
					t.Errorf("%s: %v: %s (%s)", f.Probe, f.Level, f.Seen, f.Advice)
				}
				var got []string
				for _, f := range report.Findings {
					got = append(got, f.Probe)
				}
				want := strings.Fields("login rights version clock interface redirect requests masquerade late nat-pmp api upstream filter replies fasttrack rules gateway address")
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("probes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestReportInWords has all that is said when all is well.
func TestReportInWords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		r.serve()
		var got []string
		r.cfg.OnFinding = func(f check.Finding) { got = append(got, f.Advice.Hop.String()+": "+f.Seen) }
		r.check()
		want := []string{
			`router: logged in at 192.168.88.1 as "doublenat", without TLS`,
			"router: the user may do what is needed, and no more",
			"router: RouterOS 7.22 (stable) on hAP ax^3, called MikroTik",
			"router: the clocks here and there agree",
			"router: wg1 is the tunnel, by /ip/route/check",
			"router: UDP 5351 from the LAN goes to 172.30.254.2",
			"router: client requests reach doublenat, and its replies get back",
			"router: clients keep their addresses on the way to doublenat",
			"router: what doublenat sends later comes from the router, by *C (NAT-PMP from doublenat)",
			"router: the router does not answer NAT-PMP itself",
			"router: doublenat reaches the API",
			"router: doublenat reaches the gateway 10.2.0.1 through wg1, and its replies reach doublenat",
			"router: the forward chain lets mapped packets from wg1 through",
			"router: replies leave through wg1, by the connection mark vpn",
			"router: FastTrack leaves marked connections alone",
			"router: 1 rules of the instance default, all on wg1",
			"gateway: 10.2.0.1:5351 answers NAT-PMP",
			"gateway: the public address is 5.6.7.8, the router's own on wg1 10.2.0.2",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
	})
}

// TestLimitedRedirect has limits that keep the Internet out, and rules before the
// redirect that do not take what it is for.
func TestLimitedRedirect(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(r *rig)
		seen   string
	}{
		"a network":        {func(r *rig) { r.limitRedirect("src-address", "192.168.88.0/24") }, "limited to 192.168.88.0/24"},
		"a range":          {func(r *rig) { r.limitRedirect("src-address", "10.0.0.1-10.0.0.99") }, "limited to 10.0.0.1-10.0.0.99"},
		"one host":         {func(r *rig) { r.limitRedirect("src-address", "192.168.88.10") }, "limited to 192.168.88.10"},
		"a list":           {func(r *rig) { r.limitRedirect("src-address-list", "friends") }, "limited by the address list friends"},
		"a list of others": {func(r *rig) { r.add(natPath, "chain=dstnat action=accept src-address-list=enemies", "*3") }, "172.30.254.2"},
		"some host":        {func(r *rig) { r.add(natPath, "chain=dstnat action=accept src-address=192.168.88.7", "*3") }, "172.30.254.2"},
		"a loop": {func(r *rig) {
			r.add(natPath, "chain=dstnat action=jump jump-target=loop", "*3")
			r.add(natPath, "chain=loop action=jump jump-target=loop", "")
		}, "172.30.254.2"},
		"another bridge": {func(r *rig) {
			r.set(natPath, "dst-port", "5351", routerostest.Row{"in-interface-list": "", "in-interface": "ether3"})
			r.add(natPath, "chain=dstnat action=accept in-interface=bridge", "*3")
		}, "172.30.254.2"},
		"twice": {func(r *rig) {
			r.add(natPath, "chain=dstnat action=dst-nat to-addresses=172.30.254.2 protocol=udp dst-port=5351 in-interface=bridge", "*3")
		}, "172.30.254.2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{})
				tt.change(r)
				for _, f := range r.check().Findings {
					if f.Level != check.OK || f.Probe == "redirect" && !strings.Contains(f.Seen, tt.seen) {
						t.Errorf("%s: %v: %s (%s), want %q", f.Probe, f.Level, f.Seen, f.Advice, tt.seen)
					}
				}
			})
		})
	}
}

// TestPlainRoutingMarks has LANs whose packets are marked one by one, as a VPN for
// all is set up: replies go back without any mark on their connection.
func TestPlainRoutingMarks(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{
		"", "src-address=192.168.88.0/24", "src-address=192.168.0.0/16 dst-address=!192.168.0.0/16", "dst-address-type=!local",
		"src-address-list=home dst-address-list=!home", "connection-mark=no-mark", "connection-mark=!other",
	} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{})
				r.add("/ip/firewall/address-list", "list=home address=192.168.88.0/24", "")
				r.markPlainly(limit)
				r.add(filterPath, "chain=forward action=fasttrack-connection in-interface=!wg1 out-interface=!wg1", r.id(filterPath, "chain", "forward"))
				var got []string
				for _, f := range r.check().Findings {
					if f.Level != check.OK || f.Probe == "replies" || f.Probe == "fasttrack" {
						got = append(got, f.Level.String()+": "+f.Seen)
					}
				}
				want := []string{"ok: replies leave through wg1, by the routing mark vpn", "ok: FastTrack leaves connections of wg1 alone"}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("findings (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestReportInJSON has one of each kind of finding.
func TestReportInJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		r.set("/ip/nat-pmp", "enabled", "false", routerostest.Row{"enabled": "true"})
		report := r.check()
		report.Findings = append(report.Findings[:1:1], wrong(report)...)
		got, err := json.MarshalIndent(report, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		const want = `{
 "level": "warn",
 "findings": [
  {
   "probe": "login",
   "hop": "router",
   "level": "ok",
   "seen": "logged in at 192.168.88.1 as \"doublenat\", without TLS"
  },
  {
   "probe": "nat-pmp",
   "hop": "router",
   "level": "warn",
   "seen": "the router's own NAT-PMP server is enabled, on the same port",
   "kind": "built-in nat-pmp",
   "remedy": "disable it",
   "commands": [
    "/ip nat-pmp set enabled=no"
   ]
  }
 ]
}`
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
	})
}
