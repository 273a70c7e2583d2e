//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"testing"
	"time"

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
		{"tunnel_down", site{gateway: startMiniupnpd}, tunnelDown},
		{"gateway_restarts", site{gateway: startMiniupnpd}, gatewayRestarts},
		{"gateway_moves_ports", site{gateway: withProfile(natpmptest.Proton())}, gatewayMovesPorts},
		{"kill_keeps_connection", site{gateway: startMiniupnpd}, restartKeepsConnection(killed)},
		{"upgrade_keeps_connection", site{
			gateway: startMiniupnpd, environ: map[string]string{"SHUTDOWN": "keep"},
		}, restartKeepsConnection(upgraded)},
		{"router_reboots", site{gateway: startMiniupnpd}, routerReboots},
		{"address_changes", site{
			gateway: withProfile(old(natpmptest.RFC())), onLAN: true, environ: map[string]string{"ANNOUNCE": "on"},
		}, addressChanges},
		{"every_other_lost_in_tunnel", site{gateway: startMiniupnpd}, everyOtherLost("veth1", "wg1")},
		{"every_other_lost_in_lan", site{gateway: startMiniupnpd}, everyOtherLost("bridge", "veth1")},
		{"libtorrent", site{gateway: withProfile(brief(natpmptest.Proton()))}, withLibtorrent},
		{"natpmpc_tcp", site{gateway: startMiniupnpd}, withNATPMPC("tcp")},
		{"natpmpc_udp", site{gateway: startMiniupnpd}, withNATPMPC("udp")},
		{"natpmpc_proton", site{gateway: withProfile(natpmptest.Proton())}, withNATPMPC("tcp")},
		{"natpmpc_on_lan", site{gateway: startMiniupnpd, onLAN: true}, onTheLAN},
		{"go_nat_pmp", site{gateway: startMiniupnpd}, withGoNATPMP},
		{"npm_nat_pmp_tcp", site{gateway: startMiniupnpd}, withNPM("tcp")},
		{"npm_nat_pmp_udp", site{gateway: startMiniupnpd}, withNPM("udp")},
		{"two_clients_one_port", site{gateway: startMiniupnpd}, twoClientsOnePort},
		{"many_at_once", site{gateway: withProfile(natpmptest.RFC())}, manyAtOnce},
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
