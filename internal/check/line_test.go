package check_test

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

// narrow makes the way to the Internet one by PPPoE.
func (r *rig) narrow() {
	r.set("/interface", "name", "ether1", routerostest.Row{"type": "pppoe-out", "actual-mtu": "1492"})
}

// unset takes an attribute from the first row that has the value.
func (r *rig) unset(path, name, value, attribute string) {
	r.t.Helper()
	if err := r.Router.Unset(path, r.id(path, name, value), attribute); err != nil {
		r.t.Fatal(err)
	}
}

// lineTroubles are those of settings that are about all packets.
func lineTroubles() []trouble {
	return []trouble{
		{
			name: "masquerade of all that IPsec leaves", probe: "masquerade", level: check.Fail, kind: check.KindHidden, text: "out-interface-list=WAN",
			provoke: func(r *rig) {
				r.set(natPath, "comment", "defconf: masquerade", routerostest.Row{"ipsec-policy": "out,none"})
				r.unset(natPath, "comment", "defconf: masquerade", "out-interface-list")
			},
		},
		{
			name: "no address for late packets", probe: "late", level: check.Warn, kind: check.KindLate, text: "out-interface-list=LAN",
			provoke: func(r *rig) { r.remove(natPath, "src-port", "5351") },
		},
		{
			name: "late packets of another host", probe: "late", level: check.Warn, kind: check.KindLate, text: "src-address=172.30.254.2",
			provoke: func(r *rig) {
				r.set(natPath, "src-port", "5351", routerostest.Row{"src-address": "172.30.254.6"})
			},
		},
		{
			name: "late packets from another port", probe: "late", level: check.Warn, kind: check.KindLate, text: "src-port=5351",
			provoke: func(r *rig) { r.set(natPath, "src-port", "5351", routerostest.Row{"src-port": "5350"}) },
		},
		{
			name: "late packets left alone", probe: "late", level: check.Warn, kind: check.KindLate, text: "has its own address",
			provoke: func(r *rig) {
				r.add(natPath, "chain=srcnat action=accept src-address=172.30.254.0/30", r.id(natPath, "src-port", "5351"))
			},
		},
		{
			name: "no late packets on RouterOS 6", version: "6.49", probe: "late", level: check.Warn, kind: check.KindLate, text: "/ip firewall nat add",
			provoke: func(r *rig) { r.remove(natPath, "src-port", "5351") },
		},
		{
			name: "strict filter", probe: "rp-filter", level: check.Fail, kind: check.KindRPFilter, text: "/ip settings set rp-filter=loose",
			provoke: (*rig).strict,
		},
		{
			name: "strict filter with a routing rule", probe: "rp-filter", level: check.Warn, kind: check.KindRPFilter, text: "may drop",
			provoke: func(r *rig) {
				r.ruled()
				r.strict()
			},
		},
		{
			name: "PPPoE without a clamp", probe: "mss", level: check.Warn, kind: check.KindMSS, text: "new-mss=clamp-to-pmtu",
			provoke: (*rig).narrow,
		},
		{
			name: "PPPoE with a clamp of the line alone", probe: "mss", level: check.Warn, kind: check.KindMSS, text: "wg1 goes over ether1",
			provoke: func(r *rig) {
				r.narrow()
				r.add(manglePath, "chain=forward action=change-mss new-mss=1452 protocol=tcp tcp-flags=syn out-interface=ether1", "")
			},
		},
		{
			name: "fasttrack with a routing rule", probe: "fasttrack", level: check.Warn, kind: check.KindFastTrack, text: "may",
			provoke: func(r *rig) {
				r.ruled()
				r.add(filterPath, "chain=forward action=fasttrack-connection connection-state=established,related", r.id(filterPath, "chain", "forward"))
			},
		},
	}
}

// strict makes the reverse path filter strict.
func (r *rig) strict() {
	r.set("/ip/settings", "rp-filter", "no", routerostest.Row{"rp-filter": "strict"})
}

// ruled leads the whole LAN into the tunnel by a routing rule, and marks nothing.
func (r *rig) ruled() {
	r.set("/routing/rule", "comment", "TV", routerostest.Row{"src-address": "192.168.88.0/24"})
	r.remove(manglePath, "action", "mark-connection")
	r.remove(manglePath, "action", "mark-routing")
}

// TestQuietLines has settings that are as they have to be.
func TestQuietLines(t *testing.T) {
	t.Parallel()
	for name, provoke := range map[string]func(*rig){
		"default masquerade": func(r *rig) {
			r.set(natPath, "comment", "defconf: masquerade", routerostest.Row{"ipsec-policy": "out,none"})
		},
		"clamped": func(r *rig) {
			r.narrow()
			r.add(manglePath, "chain=forward action=change-mss new-mss=1360 protocol=tcp tcp-flags=syn tcp-mss=1361-65535 out-interface=wg1", "")
		},
		"clamped everywhere": func(r *rig) {
			r.narrow()
			r.add(manglePath, "chain=forward action=change-mss new-mss=clamp-to-pmtu protocol=tcp tcp-flags=syn", "")
		},
		"strict with the main table": func(r *rig) {
			r.strict()
			r.set("/ip/route", "gateway", "198.51.100.1", routerostest.Row{"gateway": "wg1"})
		},
		"loose": func(r *rig) {
			r.set("/ip/settings", "rp-filter", "no", routerostest.Row{"rp-filter": "loose"})
		},
		"late packets by src-nat": func(r *rig) {
			r.set(natPath, "src-port", "5351", routerostest.Row{"action": "src-nat", "to-addresses": "192.168.88.1", "dst-address": "192.168.88.0/24"})
			r.unset(natPath, "src-port", "5351", "out-interface-list")
		},
		"a routing rule and no fasttrack": (*rig).ruled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lab.BenchConfig{})
				provoke(r)
				for _, f := range wrong(r.check()) {
					t.Errorf("%s: %s (%s)", f.Probe, f.Seen, f.Advice)
				}
			})
		})
	}
}

// A NAT-PMP gateway in the network of the line to the Internet is the provider's box: to name
// that line is what is wanted then.
func TestBoxAtTheLine(t *testing.T) {
	t.Parallel()
	for gateway, want := range map[string]string{
		"198.51.100.1": "ether1 leads to the gateway, which is in its network",
		"203.0.113.9":  "ether1, the way to the Internet, is set as the interface to the gateway",
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, lab.BenchConfig{})
			r.cfg.Gateway, r.cfg.InInterface = netip.AddrPortFrom(netip.MustParseAddr(gateway), natpmp.Port), "ether1"
			for _, f := range r.check().Findings {
				if f.Probe == "interface" && f.Seen != want {
					t.Errorf("%s: %q, want %q", gateway, f.Seen, want)
				}
			}
		})
	}
}
