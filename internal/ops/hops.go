package ops

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/internal/realm"
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
	// lately is how old the gateway's last success may be: it is asked every 20 s.
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
		h = h.is(StateDown, "answers cannot be sent").while(remedy.PortsExpire)
		if now.Replies > before.Replies { // one client is out of reach, not all
			h = h.is(StateDegraded, "some answers cannot be sent").while(remedy.PortsWork)
		}
		h.Remedy = "look at the log of this host's firewall and at its route to the clients"
	case now.Panics > before.Panics:
		h.State, h.Summary = StateDegraded, "requests failed inside doublenat"
		h.Remedy = "a bug in doublenat: please report it with the log lines that say \"panic\""
	case now.ReadErrors > before.ReadErrors:
		h = h.is(StateDown, "requests cannot be read").while(remedy.PortsExpire)
		if now.Received > before.Received {
			h = h.is(StateDegraded, h.Summary).while(remedy.PortsWork) // some were, lately
		}
		h.Remedy = "doublenat exits after a minute of this, so that it is restarted: check the log and this host's network"
	case now.Crowded > before.Crowded:
		h.State, h.Summary = StateDegraded, "replies pile up for hosts that do not exist"
		h.Remedy = "somebody forges addresses of the LAN: find out who, or set ALLOWED_CLIENTS to those that exist"
	case now.Overload > before.Overload:
		h.State, h.Summary = StateDegraded, "more requests than doublenat can handle"
		h.Remedy = "look in the log for the client that sends so many, and put it into DENIED_CLIENTS"
	case in.About.ReadOnly:
		h = h.is(StateDegraded, "read-only, clients are refused").while(remedy.PortsExpire)
		h.Remedy = "unset READ_ONLY and DRY_RUN once the log shows what you want"
	case full(in):
		h.State, h.Summary = StateDegraded, "the table is full"
		h.Detail = fmt.Sprintf("%d mappings, and clients that want another one are refused", in.Parts.count())
		h.Remedy = "raise MAX_MAPPINGS, or see in the table which client has so many (MAX_MAPPINGS_PER_CLIENT limits it)"
	case !in.Mismatched.IsZero() && in.Now.Sub(in.Mismatched) < failedFor:
		h.State, h.Summary = StateDegraded, "something replaces clients' addresses"
		h.Detail = fmt.Sprintf("%d requests of PCP came from another address than they name (ADDRESS_MISMATCH), and were refused", in.Parts.Frontend.Mismatches)
		h = h.advised(remedy.Mismatch())
		h.Remedy += "; doublenat check names the router's rule"
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
		return h.fails("not reachable", s.LastError, remedy.Unreachable()).while(remedy.PortsUnsure)
	case !s.Ready:
		return h.fails("cannot be used", s.LastError, remedy.Unreachable()).while(remedy.PortsUnsure)
	case len(s.Denied) > 0:
		policies := strings.Join(s.Denied, " and ")
		return h.fails("the user may not "+policies, s.LastError, remedy.Permission("", policies))
	case ofRouter(core.ReconcileError):
		return h.fails("its rules cannot be kept right", core.ReconcileError, remedy.Unreachable()).while(remedy.PortsPartly)
	case failed:
		return h.fails("the last rule could not be changed", s.ChangeError, remedy.Advice{}).butAnswers()
	case rulesAil(in):
		return h.withAilingRules(in)
	case core.ReconcileSuccess.IsZero():
		return h.is(StateUnknown, "connected, reading the rules")
	case in.Now.Sub(core.ReconcileSuccess) > compared:
		h = h.is(StateDegraded, "takes minutes to list its rules")
	case in.Latency[HopRouter] > slow:
		h = h.is(StateDegraded, "slow")
	default:
		return h
	}
	h.Remedy = "check the router's CPU load and the path to it"
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
		d += ", rules on " + s.InInterface
	}
	return d
}

// gatewayHop judges the gateway beyond the router.
func gatewayHop(in Input) HopStatus {
	s := in.Parts.Gateway
	h := HopStatus{Name: HopGateway, State: StateOK, Summary: "grants leases", Detail: cmp.Or(s.Asked, in.About.Gateway)}
	if s.Kind == gateway.KindPool {
		return h.pooled(s.Ports)
	}
	leaseErr := recentLeaseError(in)
	refusal := result(leaseErr)
	switch {
	case s.State == gateway.StateUnknown:
		return h.is(StateUnknown, "not asked yet")
	case useless(s) != "":
		h = h.is(StateDown, useless(s)).while(remedy.PortsExpire).advised(s.Advice)
	case refusal == natpmp.ResultNotAuthorized, s.State == gateway.StateFailing && result(s.LookError) == natpmp.ResultNotAuthorized:
		h = h.is(StateDown, "allows no mappings").while(remedy.PortsExpire).advised(remedy.ForResult(natpmp.ResultNotAuthorized))
	case s.State == gateway.StateFailing && s.Result == natpmp.ResultNetworkFailure:
		h.Summary = "answers" // What is missing is the public address, the next hop.
	case s.State == gateway.StateFailing:
		h = h.is(StateDown, "answers with "+s.Result.String()).while(remedy.PortsExpire).advised(s.Advice)
	case refusal == natpmp.ResultOutOfResources:
		h = h.is(StateDegraded, "has no port left").advised(remedy.ForResult(refusal))
	case leaseErr != nil && refusal != natpmp.ResultNetworkFailure:
		h = h.fails("answers, but did not grant the last lease", leaseErr, remedy.NothingGranted())
		h.State = StateDegraded
	case in.Now.Sub(s.LastSuccess) > lately && result(s.LookError) == natpmp.ResultSuccess: // A refusal was heard.
		h = h.is(StateDegraded, "was not heard lately").advised(remedy.Silent(in.Parts.Router.Link()))
	case in.Latency[HopGateway] > slow:
		h = h.is(StateDegraded, "slow")
		h.Remedy = "check the path to it: load, loss and distance"
	}
	return h
}

// pooled judges a pool, of which nothing is asked.
func (h HopStatus) pooled(ports int) HopStatus {
	h.Summary, h.Detail = "has ports from a pool", strconv.Itoa(ports)+" ports"
	if ports == 0 {
		h = h.is(StateDown, "the pool has no port").while(remedy.PortsClosed)
		h.Remedy = "put ports into the file that GATEWAY_POOL_FILE names"
	}
	return h
}

// useless says why nothing at all can be asked of the gateway, in a few words; empty if
// something can.
func useless(s gateway.Stats) string {
	switch {
	case s.State == gateway.StateRefused:
		return "refuses " + s.Kind.String()
	case s.State == gateway.StateSilent:
		return "silent"
	case s.Odd != natpmp.OddNone:
		return "its replies cannot be right"
	default:
		return ""
	}
}

// recentLeaseError is why the gateway did not grant the last lease that was asked for,
// nil if it did, or if that is long ago.
func recentLeaseError(in Input) error {
	if in.Now.Sub(in.Parts.Gateway.LeaseErrorAt) >= failedFor {
		return nil
	}
	return in.Parts.Gateway.LeaseError
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
		h = h.is(StateUnknown, "waits for the gateway").before()
	case s.Address.IsValid() && !realm.Public(s.Address):
		h = h.is(StateDegraded, "is private: there is a third NAT").while(remedy.PortsClosed)
		h.Remedy = "there is another NAT behind the gateway, and nobody reaches the ports: choose another server of the VPN, or ask the provider for a public address"
	case s.Address.IsValid() && age > addressFor:
		h = h.is(StateDown, "not confirmed for "+age.Truncate(time.Minute).String()).while(remedy.PortsUnsure).advised(remedy.ForResult(natpmp.ResultNetworkFailure))
	case s.Address.IsValid():
		if s.AddressFrom != "" {
			h.Detail += ", by " + s.AddressFrom
		}
	case s.Kind == gateway.KindPool && !s.AddressAt.IsZero():
		h = h.is(StateDegraded, "not known; ports work, and programs that ask for the address get none")
		h.Remedy = "set PUBLIC_ADDRESS to the address at which the ports of the pool are reached"
	case s.AddressAt.IsZero() && s.LookError == nil:
		h = h.is(StateUnknown, "not told yet")
	default:
		h = h.is(StateDown, "the gateway has none").while(remedy.PortsUnsure).advised(remedy.ForResult(natpmp.ResultNetworkFailure))
	}
	return h
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
		h.Error = err.Error()
	}
	advice, known := remedy.For(err)
	if !known || advice.Hop != hopOf(h.Name) {
		advice = fallback
	}
	return h.advised(advice)
}

// before returns the hop with its detail as what was known earlier.
func (h HopStatus) before() HopStatus {
	if h.Detail != "" {
		h.Detail = "last known: " + h.Detail
	}
	return h
}

// advised returns the hop with what to do about it.
func (h HopStatus) advised(a remedy.Advice) HopStatus {
	h.Remedy, h.Commands = a.Text, a.Typed()
	return h
}

// butAnswers gives better advice about a router that is there and does not do one
// thing: it is neither switched off nor out of reach.
func (h HopStatus) butAnswers() HopStatus {
	if h.Remedy == "" || h.Remedy == remedy.Unreachable().Text {
		h.Commands, h.Remedy = nil, "the router answers other commands: look at its log and its CPU load"
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
