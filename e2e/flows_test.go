//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"doublenat/igd/igdtest"
	"doublenat/natpmp/natpmptest"
)

// flow is one story in a world of its own, told from the clients' side.
type flow struct {
	name string
	site site
	run  func(ctx context.Context, w *world) error
}

// flows returns all flows. The longest comes first, so that the others run beside it.
func flows() []flow {
	return []flow{
		{"in_proton", inAllWays(site{gateway: withProfile(natpmptest.Proton())}), askedByItselfToo(askedInAllWays(anyPort))},
		{"in_natpmp", inAllWays(site{gateway: startMiniupnpd}), askedByItselfToo(askedInAllWays(veryPort))},
		{"in_pcp", inAllWays(atLine(startMiniupnpd, byKind("pcp"))), askedInAllWays(veryPort)},
		{"in_igd", inAllWays(atLine(startMiniupnpdThat(speaksUPnP), byUPnP("igd"))), askedInAllWays(veryPort)},
		{"in_pool", inAllWays(atLine(forwarding(3074, 8099), inPool())), askedInAllWays(veryPort)},
		{"transmission_igd", atLine(startMiniupnpdThat(speaksUPnP), calm(byKind("igd"))), withTransmission},
		{"line_natpmp", atLine(startMiniupnpd, lineNATPMP()), atTheLine("natpmp")},
		{"line_pcp", atLine(startMiniupnpd, byKind("pcp")), atTheLine("pcp")},
		{"line_igd", atLine(startMiniupnpdThat(speaksUPnP), byUPnP("igd")), atTheLine("upnp")},
		{"line_auto", atLine(startMiniupnpdThat(speaksAll), byKind("auto")), atTheLine(anyWay)},
		{"line_auto_igd", atLine(startMiniupnpdThat(speaksUPnP), byUPnP("auto")), atTheLine(anyWay)},
		{"cascade", cascaded(byKind("pcp")), atTheLine(anyWay)},
		{"line_igd_permanent", atLine(withDevice(igdtest.Permanent()), byUPnP("igd")), atTheLine("upnp")},
		{"tunnel_down", site{gateway: startMiniupnpd}, tunnelDown},
		{"gateway_restarts", site{gateway: startMiniupnpd}, gatewayRestarts},
		{"gateway_moves_ports", site{gateway: withProfile(natpmptest.Proton())}, gatewayMovesPorts},
		{"kill_keeps_connection", site{gateway: startMiniupnpd}, restartKeepsConnection(killed)},
		{"upgrade_keeps_connection", site{
			gateway: startMiniupnpd, environ: map[string]string{"SHUTDOWN": "keep"},
		}, restartKeepsConnection(upgraded)},
		{"pair_killed", inPair(), takenOver(died())},
		{"pair_stopped", inPair(), takenOver(froze())},
		{"pair_cut_off", inPair(), takenOver(cutOff())},
		{"pair_hand_over", inPair(), takenOver(handedOver())},
		{"pair_keepalived", withKeepalived(), addressFollowsTheLock},
		{"router_reboots", site{gateway: startMiniupnpd}, routerReboots},
		{"address_changes", site{
			gateway: withProfile(old(natpmptest.RFC())), box: boxOnLAN, environ: map[string]string{"ANNOUNCE": "on"},
		}, addressChanges},
		{"every_other_lost_in_tunnel", site{gateway: startMiniupnpd}, everyOtherLost("veth1", "wg1")},
		{"every_other_lost_in_lan", site{gateway: startMiniupnpd}, everyOtherLost("bridge", "veth1")},
		{"libtorrent", site{gateway: withProfile(brief(natpmptest.Proton()))}, withLibtorrent},
		{"transmission_natpmp", atLine(startMiniupnpd, calm(lineNATPMP())), withTransmission},
		{"transmission_pcp", atLine(startMiniupnpd, calm(byKind("pcp"))), withTransmission},
		{"pool", atLine(forwarding(20000, 20001), map[string]string{
			"VPN_GATEWAY": "pool:20000-20001%ether1", "PUBLIC_ADDRESS": publicAddress,
		}), fromAPool},
		{"natpmpc_tcp", site{gateway: startMiniupnpd}, withNATPMPC("tcp")},
		{"natpmpc_udp", site{gateway: startMiniupnpd}, withNATPMPC("udp")},
		{"natpmpc_proton", site{gateway: withProfile(natpmptest.Proton())}, withNATPMPC("tcp")},
		{"natpmpc_on_lan", site{gateway: startMiniupnpd, box: boxOnLAN}, onTheLAN},
		{"go_nat_pmp", site{gateway: startMiniupnpd}, withGoNATPMP},
		{"npm_nat_pmp_tcp", site{gateway: startMiniupnpd}, withNPM("tcp")},
		{"npm_nat_pmp_udp", site{gateway: startMiniupnpd}, withNPM("udp")},
		{"two_clients_one_port", site{gateway: startMiniupnpd}, twoClientsOnePort},
		{"many_at_once", site{gateway: withProfile(natpmptest.RFC())}, manyAtOnce},
		{"open_to_one", site{gateway: startMiniupnpd, environ: map[string]string{"PCP": "on"}}, openToOne},
		{"delete_all", site{gateway: startMiniupnpd}, deleteAll},
		{"renewal_keeps_open", site{gateway: startMiniupnpd}, renewalKeepsOpen},
		{"deletion_closes", site{gateway: startMiniupnpd}, deletionCloses},
		{"expiry_closes", site{gateway: startMiniupnpd}, expiryCloses},
	}
}

// old makes a gateway old, so that its restart is seen in its epoch at once
// (RFC 6886 §3.6).
func old(p natpmptest.Profile) natpmptest.Profile {
	p.EpochStart = 1_000_000
	return p
}

// brief makes a gateway grant eight seconds only.
func brief(p natpmptest.Profile) natpmptest.Profile {
	p.Lifetime = 8 * time.Second
	return p
}

// flowTimeout bounds one flow.
const flowTimeout = 3 * time.Minute

// TestFlows runs every flow with doublenat.
func TestFlows(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	for _, f := range flows() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			ctx, w := newWorld(t, f.site)
			ctx, cancel := context.WithTimeout(ctx, flowTimeout)
			defer cancel()
			err := w.open(ctx)
			if err == nil {
				err = f.run(ctx, w)
			}
			if err := errors.Join(err, w.close(ctx)); err != nil {
				t.Error(err)
			}
		})
	}
}
