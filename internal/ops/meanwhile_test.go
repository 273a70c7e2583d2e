package ops_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/internal/ops"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/natpmp"
)

// Each trouble says how open ports fare; without one, or where no port is open, nothing is said.
func TestMeanwhile(t *testing.T) {
	t.Parallel()
	refused := func(code natpmp.ResultCode) func(*ops.Input) {
		return func(in *ops.Input) {
			in.Parts.Gateway.LeaseError, in.Parts.Gateway.LeaseErrorAt = &natpmp.ResultError{Result: code}, noon()
		}
	}
	tests := map[string]struct {
		hop    ops.Hop
		change func(*ops.Input)
		want   remedy.OpenPorts
	}{
		"answers cannot be sent":      {ops.HopLAN, func(in *ops.Input) { in.Parts.Server.SendErrors = 1 }, remedy.PortsExpire},
		"some answers cannot be sent": {ops.HopLAN, func(in *ops.Input) { in.Parts.Server.SendErrors, in.Parts.Server.Replies = 1, 1 }, remedy.PortsWork},
		"requests cannot be read": {ops.HopLAN, func(in *ops.Input) {
			in.Parts.Server.ReadErrors, in.Before.Received = 1, in.Parts.Server.Received
		}, remedy.PortsExpire},
		"some requests cannot be read": {ops.HopLAN, func(in *ops.Input) { in.Parts.Server.ReadErrors = 1 }, remedy.PortsWork},
		"read-only":                    {ops.HopLAN, func(in *ops.Input) { in.About.ReadOnly = true }, remedy.PortsExpire},
		"full":                         {ops.HopLAN, func(in *ops.Input) { in.About.MaxMappings = 1 }, remedy.PortsWork},
		"router lost": {ops.HopRouter, func(in *ops.Input) {
			in.Parts.Router = router.Status{LastError: errors.New("connection refused")}
		}, remedy.PortsUnsure},
		"no right to write": {ops.HopRouter, func(in *ops.Input) { in.Parts.Router.Denied = []string{"write"} }, remedy.PortsWork},
		"rules not kept right": {ops.HopRouter, func(in *ops.Input) {
			in.Parts.Core.ReconcileError = &nat.Error{Hop: nat.HopRouter, Err: errors.New("refused")}
		}, remedy.PortsPartly},
		"contested":      {ops.HopRouter, func(in *ops.Input) { in.Parts.Core.ContestedSince = noon() }, remedy.PortsPartly},
		"taken":          {ops.HopRouter, func(in *ops.Input) { in.Parts.Core.TakenBy = "*7" }, remedy.PortsPartly},
		"invalid":        {ops.HopRouter, func(in *ops.Input) { in.Parts.Router.Invalid = make([]router.InvalidRule, 1) }, remedy.PortsPartly},
		"slow router":    {ops.HopRouter, func(in *ops.Input) { in.Latency[ops.HopRouter] = time.Minute }, remedy.PortsWork},
		"silent":         {ops.HopGateway, func(in *ops.Input) { in.Parts.Gateway.State = gateway.StateSilent }, remedy.PortsExpire},
		"refuses":        {ops.HopGateway, func(in *ops.Input) { in.Parts.Gateway.State = gateway.StateRefused }, remedy.PortsExpire},
		"not authorized": {ops.HopGateway, refused(natpmp.ResultNotAuthorized), remedy.PortsExpire},
		"no port left":   {ops.HopGateway, refused(natpmp.ResultOutOfResources), remedy.PortsWork},
		"empty pool":     {ops.HopGateway, func(in *ops.Input) { in.Parts.Gateway.Kind = gateway.KindPool }, remedy.PortsClosed},
		"no address": {ops.HopAddress, func(in *ops.Input) {
			in.Parts.Gateway.Address = netip.Addr{}
		}, remedy.PortsUnsure},
		"old address": {ops.HopAddress, func(in *ops.Input) { in.Parts.Gateway.AddressAt = noon().Add(-time.Hour) }, remedy.PortsUnsure},
		"third NAT": {ops.HopAddress, func(in *ops.Input) {
			in.Parts.Gateway.Address = netip.MustParseAddr("100.64.0.7")
		}, remedy.PortsClosed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := fine()
			in.Parts.Mappings = make([]nat.Mapping, 1)
			tt.change(&in)
			hops := ops.Assess(in).Hops
			at := slices.IndexFunc(hops, func(h ops.HopStatus) bool { return h.Name == tt.hop })
			if h := hops[at]; h.OpenPorts != tt.want || h.Meanwhile == "" || h.State == ops.StateOK {
				t.Errorf("%+v, want %q", h, tt.want)
			}
			for i, h := range hops {
				if i != at && h.State == ops.StateOK && h.Meanwhile+string(h.OpenPorts) != "" {
					t.Errorf("%+v says how ports fare", h)
				}
			}
			in.Parts.Mappings, in.About.MaxMappings = nil, 0
			for _, h := range ops.Assess(in).Hops {
				if h.Meanwhile+string(h.OpenPorts) != "" {
					t.Errorf("without a port: %+v", h)
				}
			}
		})
	}
}

// A gateway that answers that it has no address was heard all the same.
func TestGatewayWithoutAddressIsHeard(t *testing.T) {
	t.Parallel()
	in := fine()
	in.Parts.Gateway.LastSuccess = noon().Add(-time.Hour)
	in.Parts.Gateway.LookError = &natpmp.ResultError{Result: natpmp.ResultNetworkFailure}
	if h := ops.Assess(in).Hops[2]; h.State != ops.StateOK {
		t.Errorf("%+v", h)
	}
	in.Parts.Gateway.LookError = nil
	if h := ops.Assess(in).Hops[2]; h.State != ops.StateDegraded {
		t.Errorf("%+v", h)
	}
}
