package frontend

import (
	"context"
	"log/slog"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
)

var _ natpmp.Handler = (*Frontend)(nil)

// ServeNATPMP decides about one request. How long it may take counts from its arrival.
func (f *Frontend) ServeNATPMP(ctx context.Context, from natpmp.Arrival, req natpmp.Request) natpmp.Reply {
	out, ok := f.serve(ctx, from, ofNATPMP(req))
	if !ok {
		return natpmp.Silence()
	}
	result := resultNATPMP(out.err)
	if !out.silent {
		f.count.answered(req.Opcode, result)
	}
	if f.log.Enabled(ctx, slog.LevelDebug) { // a line that nobody reads costs a dozen allocations
		f.log.DebugContext(ctx, "request answered", "client", from.Client, "opcode", req.Opcode,
			"internal_port", req.InternalPort, "suggested_port", req.SuggestedExternalPort, "requested", req.Lifetime,
			"result", result, "silent", out.silent, "external_port", out.port, "lifetime", int64(out.lifetime/time.Second), "took", time.Since(from.At))
	}
	switch {
	case out.silent:
		return natpmp.Silence()
	case result != natpmp.ResultSuccess:
		return natpmp.Failure(result)
	case req.Opcode == natpmp.OpExternalAddress:
		return natpmp.Address(out.address)
	case req.Lifetime == 0:
		return natpmp.Deleted()
	default:
		return natpmp.Mapped(out.port, uint32(out.lifetime/time.Second)) //nolint:gosec // never more than was asked for
	}
}

// AtOnce is for [natpmp.ResponderConfig]: it answers requests for the public address as long
// as that is known. It relies on Admit having let the client in.
func (f *Frontend) AtOnce(from natpmp.Arrival, req natpmp.Request) (natpmp.Reply, bool) {
	if req.Opcode != natpmp.OpExternalAddress {
		return natpmp.Reply{}, false
	}
	addr, ok := f.external()
	if !ok {
		return natpmp.Reply{}, false
	}
	f.count.answered(req.Opcode, natpmp.ResultSuccess)
	if f.log.Enabled(context.Background(), slog.LevelDebug) { // this is the way of floods
		f.log.Debug("request answered", "client", from.Client, "opcode", req.Opcode, "external_address", addr)
	}
	return natpmp.Address(addr), true
}

// zeroWish is what scripts for ProtonVPN suggest with internal port 0. It means
// "the same port on both sides" and not port 1.
const zeroWish = 1

// ofNATPMP returns what a request of NAT-PMP asks for. Its opcode is known.
func ofNATPMP(req natpmp.Request) request {
	r := request{
		want: wantMapping, by: nat.NATPMP, protocol: protocolOf(req.Opcode), internalPort: req.InternalPort,
		suggested: req.SuggestedExternalPort, lifetime: time.Duration(req.Lifetime) * time.Second,
	}
	switch {
	case req.Opcode == natpmp.OpExternalAddress:
		return request{want: wantAddress, by: nat.NATPMP}
	case req.Lifetime == 0:
		r.want = wantEnd
	case req.InternalPort == 0 && req.SuggestedExternalPort == zeroWish:
		r.suggested = 0
	}
	return r
}

// protocolOf returns the protocol that an opcode of NAT-PMP maps, 0 for one that maps none.
func protocolOf(op natpmp.Opcode) nat.Protocol {
	switch op {
	case natpmp.OpMapTCP:
		return nat.TCP
	case natpmp.OpMapUDP:
		return nat.UDP
	default:
		return 0
	}
}

// resultNATPMP returns what a client is told of an error (RFC 6886 §3.5), and success
// for nil. What nobody gave a reason for is "network failure".
func resultNATPMP(err error) natpmp.ResultCode {
	if err == nil {
		return natpmp.ResultSuccess
	}
	switch reasonOf(err) {
	case nat.ReasonDenied:
		return natpmp.ResultNotAuthorized
	case nat.ReasonResources, nat.ReasonPort, nat.ReasonRemotes:
		return natpmp.ResultOutOfResources
	case nat.ReasonUnreachable:
	}
	return natpmp.ResultNetworkFailure
}
