package frontend

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"doublenat/internal/datagram"
	"doublenat/internal/nat"
	"doublenat/pcp"
)

var _ pcp.Handler = (*Frontend)(nil)

// ServePCP decides about one request, as ServeNATPMP does: both ask for the same mappings,
// and what one has made the other may renew or end.
func (f *Frontend) ServePCP(ctx context.Context, from pcp.Arrival, req pcp.Request) pcp.Reply {
	r := ofPCP(req)
	filter, code := filterOf(&req.Options)
	var lasts time.Duration
	if r.filter = filter; code == pcp.ResultSuccess {
		code, lasts = f.refusePCP(from, req, r)
	}
	var out outcome
	if code == pcp.ResultSuccess {
		var ok bool
		if out, ok = f.serve(ctx, from, r); !ok || out.silent {
			return pcp.Silence()
		}
		code = resultPCP(out.err)
	}
	f.count.pcp[code].Add(1)
	if f.log.Enabled(ctx, slog.LevelDebug) {
		f.log.DebugContext(ctx, "request answered", "client", from.Client, "by", "pcp", "opcode", req.Opcode, "proto", req.Map.Protocol,
			"internal_port", req.Map.InternalPort, "suggested_port", req.Map.ExternalPort, "requested", req.Lifetime,
			"result", code, "external_port", out.port, "lifetime", int64(out.lifetime/time.Second), "took", time.Since(from.At))
	}
	switch {
	case code != pcp.ResultSuccess:
		return pcp.Failure(code, lasts)
	case r.want == wantEnd:
		return pcp.Deleted()
	}
	f.keepers.note(r.key(from.Client.Addr()), keeper{nonce: r.nonce, filter: r.filter, from: from, until: time.Now().Add(out.lifetime)})
	return pcp.Mapped(out.address, out.port, out.lifetime)
}

// Mismatch is for [pcp.ResponderConfig]: it counts requests that a NAT on their way changed,
// and warns of them when they are all that come.
func (f *Frontend) Mismatch(from pcp.Arrival) {
	f.count.mismatches.Add(1)
	f.alarms.mismatched(from.Client.Addr(), time.Now())
}

// ofPCP returns what a request of PCP asks for.
func ofPCP(req pcp.Request) request {
	r := request{
		want: wantMapping, by: nat.PCP, protocol: ProtocolOf(uint8(req.Map.Protocol)), internalPort: req.Map.InternalPort,
		suggested: req.Map.ExternalPort, lifetime: time.Duration(req.Lifetime) * time.Second, nonce: nonce(req.Map.Nonce),
	}
	if req.Options.PreferFailure {
		r.only = r.suggested
	}
	if req.Lifetime == 0 {
		r.want = wantEnd
	}
	return r
}

// refusePCP says what PCP refuses and NAT-PMP does not know: another address than ours where
// nothing else will do, and the mapping of another nonce. The duration is 0 for that of the
// code.
func (f *Frontend) refusePCP(from datagram.Arrival, req pcp.Request, r request) (pcp.ResultCode, time.Duration) {
	if wish := req.Map.ExternalAddress; r.only != 0 && wish.IsValid() && !wish.IsUnspecified() {
		if ours, ok := f.external(); ok && ours != wish {
			return pcp.ResultCannotProvideExternal, 0
		}
	}
	if lasts := f.keepers.refused(from.Client.Addr(), r, time.Now()); lasts > 0 {
		return pcp.ResultNotAuthorized, lasts
	}
	return pcp.ResultSuccess, 0
}

// resultPCP returns what a client is told of an error (RFC 6887 §7.4), and success for nil.
func resultPCP(err error) pcp.ResultCode {
	if err == nil {
		return pcp.ResultSuccess
	}
	switch reasonOf(err) {
	case nat.ReasonDenied:
		return pcp.ResultNotAuthorized
	case nat.ReasonPort:
		return pcp.ResultCannotProvideExternal
	case nat.ReasonRemotes:
		return pcp.ResultExcessiveRemotePeers
	case nat.ReasonResources:
		if errors.Is(err, nat.ErrClientFull) || errors.Is(err, errHasty) {
			return pcp.ResultUserExceededQuota
		}
		return pcp.ResultNoResources
	case nat.ReasonUnreachable:
	}
	return pcp.ResultNetworkFailure
}
