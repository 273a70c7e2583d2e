package ops

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/natpmp"
)

const (
	// slow is how long a hop may take before that is worth a word: clients repeat
	// their request after 250 ms, and some give up after two repetitions.
	slow = time.Second
	// failedFor is how long a change that failed is held against a hop when nothing
	// was tried since. Clients that still want the mapping ask more often.
	failedFor = 10 * time.Minute
	// lately is how old the gateway's last success may be: it is asked each minute.
	lately = 3 * time.Minute
	// compared is how old the last comparison with the router may be. They are made
	// each minute.
	compared = 3 * time.Minute
	// addressFor is how long the public address is good for without confirmation;
	// clients are not told an older one.
	addressFor = 10 * time.Minute
)

// lanHop judges doublenat itself, as its clients see it.
func lanHop(in Input) HopStatus {
	h := HopStatus{Name: HopLAN, State: StateOK, Summary: "clients are answered", Detail: "on " + in.About.Listen}
	now, before := in.Parts.Server, in.Before
	switch {
	case now.SendErrors > before.SendErrors:
		h.State, h.Summary = StateDown, "answers cannot be sent"
		if now.Replies > before.Replies { // one client is out of reach, not all
			h.State, h.Summary = StateDegraded, "some answers cannot be sent"
		}
		h.Remedy = "look at the log of this host's firewall and at its route to the clients"
	case now.Panics > before.Panics:
		h.State, h.Summary = StateDegraded, "requests failed inside doublenat"
		h.Remedy = "a mistake of doublenat's: report it with the lines of the log that say \"panic\""
	case now.Overload > before.Overload:
		h.State, h.Summary = StateDegraded, "more requests than can be worked on"
		h.Remedy = "look in the log for the client that sends so many, and put it into DENIED_CLIENTS"
	case in.About.ReadOnly:
		h.State, h.Summary = StateDegraded, "read-only, clients are refused"
		h.Remedy = "unset READ_ONLY and DRY_RUN once the log shows what you want"
	case now.Received == 0:
		h.Summary = "no client has asked yet"
	}
	return h
}

// routerHop judges the router.
func routerHop(in Input) HopStatus {
	s, core := in.Parts.Router, in.Parts.Core
	h := HopStatus{Name: HopRouter, State: StateOK, Summary: "rules can be made", Detail: describe(s, in.About.Router)}
	failed := s.ChangeError != nil && in.Now.Sub(s.ChangeErrorAt) < failedFor
	switch {
	case !s.Ready && s.LastError == nil:
		return h.is(StateUnknown, "connecting")
	case !s.Connected, !s.Ready && !lacking(s.LastError): // it comes and goes
		return h.fails("not reachable", s.LastError, remedy.Unreachable())
	case !s.Ready:
		return h.fails("cannot be used", s.LastError, remedy.Unreachable())
	case len(s.Denied) > 0:
		policies := strings.Join(s.Denied, " and ")
		return h.fails("the user may not "+policies, s.LastError, remedy.Permission("", policies))
	case ofRouter(core.ReconcileError):
		return h.fails("its rules cannot be kept right", core.ReconcileError, remedy.Unreachable())
	case failed:
		return h.fails("the last rule could not be changed", s.ChangeError, remedy.Advice{}).butAnswers()
	case core.ReconcileSuccess.IsZero():
		return h.is(StateUnknown, "connected, reading the rules")
	case in.Now.Sub(core.ReconcileSuccess) > compared:
		h = h.is(StateDegraded, "takes minutes to list its rules")
	case in.Latency[HopRouter] > slow:
		h = h.is(StateDegraded, "slow")
	default:
		return h
	}
	h.Remedy = "look at the router's CPU load, and at the way to it"
	return h
}

// describe says which router it is.
func describe(s router.Status, address string) string {
	if s.Version == "" {
		return address
	}
	d := fmt.Sprintf("RouterOS %s", s.Version)
	if s.Board != "" {
		d = s.Board + ", " + d
	}
	if s.InInterface != "" {
		d += ", tunnel " + s.InInterface
	}
	return d
}

// gatewayHop judges the VPN gateway.
func gatewayHop(in Input) HopStatus {
	s := in.Parts.Gateway
	h := HopStatus{Name: HopGateway, State: StateOK, Summary: "grants leases", Detail: in.About.Gateway}
	leaseErr := s.LeaseError
	if in.Now.Sub(s.LeaseErrorAt) >= failedFor {
		leaseErr = nil
	}
	refusal := result(leaseErr)
	switch {
	case s.State == gateway.StateUnknown:
		return h.is(StateUnknown, "not asked yet")
	case s.State == gateway.StateRefused:
		h = h.is(StateDown, "refuses NAT-PMP")
		h.Remedy = s.Remedy
	case s.State == gateway.StateSilent:
		h = h.is(StateDown, "silent")
		h.Remedy = s.Remedy
	case refusal == natpmp.ResultNotAuthorized, s.State == gateway.StateFailing && result(s.LookError) == natpmp.ResultNotAuthorized:
		h = h.is(StateDown, "allows no mappings")
		h.Remedy = remedy.ForResult(natpmp.ResultNotAuthorized).String()
	case s.State == gateway.StateFailing && s.Result == natpmp.ResultNetworkFailure:
		h.Summary = "answers" // What is missing is the public address, the next hop.
	case s.State == gateway.StateFailing:
		h = h.is(StateDown, "answers with "+s.Result.String())
		h.Remedy = s.Remedy
	case refusal == natpmp.ResultOutOfResources:
		h = h.is(StateDegraded, "has no port left")
		h.Remedy = remedy.ForResult(refusal).String()
	case leaseErr != nil && refusal != natpmp.ResultNetworkFailure:
		h = h.fails("answers, but did not grant the last lease", leaseErr, remedy.NothingGranted())
		h.State = StateDegraded
	case in.Now.Sub(s.LastSuccess) > lately:
		h = h.is(StateDegraded, "was not heard lately")
		h.Remedy = remedy.Silent().String()
	case in.Latency[HopGateway] > slow:
		h = h.is(StateDegraded, "slow")
		h.Remedy = "look at the tunnel: its load, its loss, and how far away the server is"
	}
	return h
}

// addressHop judges the public address. What a broken gateway said about it is
// neither good nor bad.
func addressHop(in Input, gw HopStatus) HopStatus {
	s := in.Parts.Gateway
	h := HopStatus{Name: HopAddress, State: StateOK, Summary: "confirmed"}
	age := in.Now.Sub(s.AddressAt)
	if s.Address.IsValid() {
		h.Detail = s.Address.String()
	}
	switch {
	case gw.State == StateDown || gw.State == StateUnknown:
		h = h.is(StateUnknown, "waits for the VPN gateway")
	case s.Address.IsValid() && !public(s.Address):
		h = h.is(StateDegraded, "is not a public one")
		h.Remedy = "there is another NAT behind the VPN gateway, and nobody reaches the ports: choose another server"
	case s.Address.IsValid() && age > addressFor:
		h = h.is(StateDown, "not confirmed for "+age.Truncate(time.Minute).String())
		h.Remedy = remedy.ForResult(natpmp.ResultNetworkFailure).String()
	case s.Address.IsValid():
	case s.AddressAt.IsZero() && s.LookError == nil:
		h = h.is(StateUnknown, "not told yet")
	default:
		h = h.is(StateDown, "the gateway has none")
		h.Remedy = remedy.ForResult(natpmp.ResultNetworkFailure).String()
	}
	return h
}

// public says whether the Internet may know the address: it is not private, of a
// provider's NAT (RFC 6598), or of this host or link.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10).Contains(a)
}

// is returns the hop in another state.
func (h HopStatus) is(state State, summary string) HopStatus {
	h.State, h.Summary = state, summary
	return h
}

// fails returns the hop as down because of err, with what helps against it.
func (h HopStatus) fails(summary string, err error, fallback remedy.Advice) HopStatus {
	h = h.is(StateDown, summary)
	if err != nil {
		h.Detail = err.Error()
	}
	advice, known := remedy.For(err)
	if !known || advice.Hop != hopOf(h.Name) {
		advice = fallback
	}
	h.Remedy = advice.String()
	return h
}

// butAnswers gives better advice about a router that is there and does not do one
// thing: it is neither switched off nor out of reach.
func (h HopStatus) butAnswers() HopStatus {
	if h.Remedy == "" || h.Remedy == remedy.Unreachable().String() {
		h.Remedy = "the router answers other commands: look at its log and its CPU load"
	}
	return h
}

// hopOf is the hop as the core calls it.
func hopOf(h Hop) nat.Hop {
	if h == HopRouter {
		return nat.HopRouter
	}
	return nat.HopGateway
}

// lacking says whether the router was asked, and something about it is not as it has
// to be. Other failures are of the connection.
func lacking(err error) bool {
	advice, _ := remedy.For(err)
	return advice.Kind == remedy.KindInterface || advice.Kind == remedy.KindPermission || advice.Kind == remedy.KindRejected
}

// ofRouter says whether the router is to blame for the error.
func ofRouter(err error) bool {
	fault, ok := errors.AsType[*nat.Error](err)
	return ok && fault.Hop == nat.HopRouter
}

// result is the failure that the gateway answered with, success if it is none.
func result(err error) natpmp.ResultCode {
	if answer, ok := errors.AsType[*natpmp.ResultError](err); ok {
		return answer.Result
	}
	return natpmp.ResultSuccess
}
