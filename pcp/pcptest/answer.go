package pcptest

import (
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
)

// speak answers a packet in its language.
func (g *Gateway) speak(d *natpmptest.Desk, payload []byte) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	isNATPMP := len(payload) > 0 && payload[0] == natpmp.Version
	switch g.profile.Speaks {
	case SpeaksBoth:
		if isNATPMP {
			return d.NATPMP(payload)
		}
	case SpeaksNATPMP:
		return d.NATPMP(payload)
	case SpeaksInTurn:
		if g.turns++; isNATPMP || g.turns%2 == 0 {
			return d.NATPMP(payload)
		}
	case SpeaksPCP:
	}
	return g.answerLocked(d, payload)
}

// answerLocked returns the reply to a packet of PCP, nil for none.
func (g *Gateway) answerLocked(d *natpmptest.Desk, payload []byte) []byte {
	req, err := pcp.ParseRequest(payload)
	if err != nil {
		code, answer := pcp.ResultOf(err)
		if !answer {
			return nil
		}
		return g.refusalLocked(d, payload, code, 0)
	}
	client := g.profile.Client
	if !client.IsValid() {
		client = d.Client
	}
	if req.Client != client {
		return g.refusalLocked(d, payload, pcp.ResultAddressMismatch, 0)
	}
	resp := pcp.Response{Opcode: req.Opcode, Map: req.Map}
	var lasts time.Duration
	if req.Opcode == pcp.OpMap {
		lasts = g.mapLocked(d, req, &resp)
	}
	if resp.Result != pcp.ResultSuccess {
		return g.refusalLocked(d, payload, resp.Result, lasts)
	}
	resp.Epoch = d.Epoch
	return g.profile.Nonsense.apply(resp, payload)
}

// refusalLocked returns a failure. It lasts as the profile says or, without a word from
// it, for the given time; 0 means what RFC 6887 §7.4 recommends.
func (g *Gateway) refusalLocked(d *natpmptest.Desk, payload []byte, code pcp.ResultCode, lasts time.Duration) []byte {
	switch {
	case g.profile.ErrorLifetime != 0:
		lasts = max(g.profile.ErrorLifetime, 0)
	case lasts == 0:
		lasts = code.Lifetime()
	}
	return pcp.AppendError(nil, payload, code, seconds(lasts), d.Epoch)
}

// mapLocked carries a MAP request out. It returns how long a failure lasts, 0 if that is
// the usual time.
func (g *Gateway) mapLocked(d *natpmptest.Desk, req pcp.Request, resp *pcp.Response) time.Duration {
	m := req.Map
	mine := holder{d.Client, opcodeOf(m.Protocol), m.InternalPort}
	if resp.Result = g.verdictLocked(req); resp.Result != pcp.ResultSuccess {
		return 0
	}
	lease, stands := d.Lease(mine.protocol, m.InternalPort)
	other := stands && g.nonces[mine] != m.Nonce
	switch {
	case other && (g.profile.Nonces == NoncesStrict || req.Lifetime == 0):
		resp.Result = pcp.ResultNotAuthorized
		return lease.Expires.Sub(d.Now)
	case req.Lifetime == 0:
		d.Unmap(mine.protocol, m.InternalPort) // The suggestions come back (RFC 6887 §15).
	case !d.Address().IsValid():
		resp.Result = pcp.ResultNetworkFailure
	case g.prefersFailure(req) && g.unavailable(d, mine, m.ExternalPort):
		resp.Result = pcp.ResultCannotProvideExternal
	default:
		g.grantLocked(d, req, resp, mine)
	}
	return 0
}

// verdictLocked returns what is wrong with a request, or what the profile says to all.
func (g *Gateway) verdictLocked(req pcp.Request) pcp.ResultCode {
	switch {
	case req.Options.ThirdParty.IsValid(), req.Options.Filtered > 0:
		return pcp.ResultUnsupportedOption
	case req.Map.Protocol != pcp.TCP && req.Map.Protocol != pcp.UDP, req.Map.InternalPort == 0:
		return pcp.ResultUnsupportedProtocol
	case req.Lifetime == 0:
		return g.profile.DeletionResult
	case g.profile.Result != pcp.ResultSuccess:
		return g.profile.Result
	default:
		return resultOf(g.profile.Profile.Result)
	}
}

// prefersFailure says whether a request wants the very port or none, and gets what it wants.
func (g *Gateway) prefersFailure(req pcp.Request) bool {
	return req.Options.PreferFailure && !g.profile.IgnoresPreference
}

// unavailable says whether a client cannot have the very port.
func (*Gateway) unavailable(d *natpmptest.Desk, mine holder, external uint16) bool {
	if lease, stands := d.Lease(mine.protocol, mine.port); stands {
		return lease.ExternalPort != external
	}
	return d.Taken(mine.protocol, external)
}

// grantLocked makes or renews a mapping.
func (g *Gateway) grantLocked(d *natpmptest.Desk, req pcp.Request, resp *pcp.Response, mine holder) {
	got := d.Map(natpmp.Request{
		Opcode: mine.protocol, InternalPort: mine.port, SuggestedExternalPort: req.Map.ExternalPort,
		Lifetime: max(req.Lifetime, seconds(g.profile.MinLifetime)),
	})
	if resp.Result = resultOf(got.Result); resp.Result != pcp.ResultSuccess {
		return
	}
	if g.prefersFailure(req) && got.ExternalPort != req.Map.ExternalPort {
		d.Unmap(mine.protocol, mine.port)
		resp.Result = pcp.ResultCannotProvideExternal
		return
	}
	g.nonces[mine] = req.Map.Nonce
	resp.Lifetime, resp.Map.ExternalPort, resp.Map.ExternalAddress = got.Lifetime, got.ExternalPort, d.Address()
}

// resultOf returns what a result of NAT-PMP is in PCP.
func resultOf(code natpmp.ResultCode) pcp.ResultCode {
	switch code {
	case natpmp.ResultSuccess:
		return pcp.ResultSuccess
	case natpmp.ResultNotAuthorized:
		return pcp.ResultNotAuthorized
	case natpmp.ResultOutOfResources:
		return pcp.ResultNoResources
	default:
		return pcp.ResultNetworkFailure
	}
}

// apply returns a success as it is sent: with the fault.
func (n Nonsense) apply(resp pcp.Response, request []byte) []byte {
	if resp.Opcode != pcp.OpMap {
		return resp.Append(nil)
	}
	switch n {
	case NonsenseNonce:
		resp.Map.Nonce[0]++
	case NonsensePort:
		resp.Map.InternalPort++
	case NonsenseProtocol:
		resp.Map.Protocol = pcp.TCP + pcp.UDP - resp.Map.Protocol
	case NonsenseNoPort:
		resp.Map.ExternalPort = 0
	case NonsenseNoLifetime:
		resp.Lifetime = 0
	case NonsenseHeader:
		resp.Opcode |= pcp.ResponseBit // Of an opcode that is none nothing but the header is written.
	case NonsenseRequest:
		return request
	case NonsenseNone:
	}
	return resp.Append(nil)
}

// seconds returns a time as PCP has it.
func seconds(d time.Duration) uint32 { return uint32(d / time.Second) } //nolint:gosec // a profile's times fit
