package ops

import (
	"fmt"
	"net/netip"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// hops judges each hop.
func hops(in Input) []HopStatus {
	var all []HopStatus
	if in.standsBy() {
		all = standbyHops(in)
	} else {
		all = []HopStatus{lanHop(in), routerHop(in), gatewayHop(in)}
		all = append(all, addressHop(in, all[2]))
	}
	for i := range all {
		all[i] = all[i].settled(in.Parts.count())
		h := &all[i]
		h.Title = h.Name.Title()
		h.Commands = orNone(h.Commands)
		if took := in.Latency[h.Name]; took > 0 && h.State != StateDown { // it does not take long to refuse
			h.LatencyMS = milliseconds(took)
		}
		if since := in.Since[h.Name]; since.State == h.State {
			h.Since = since.At
		}
	}
	return all
}

// Assess makes the picture. It is a pure function: the same input gives the same
// picture.
func Assess(in Input) Status {
	all := hops(in)
	s := Status{
		Time: in.Now, Started: in.About.Started, Version: in.About.Version, Instance: in.About.Instance,
		PublicAddress: in.address(), Hops: all, Lock: in.Parts.Lock,
		Mappings: mappings(in), Events: in.Events, Series: in.Series,
	}
	s.Verdict = verdict(in, all)
	s.Events, s.Verdict.Commands = orNone(s.Events), orNone(s.Verdict.Commands)
	return visible(s)
}

// orNone returns a list that is not nil: in JSON it is none, and not null.
func orNone[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// verdict says in one sentence how it all stands. Of several broken hops it names
// the one next to the client: what is behind it may be broken because of it.
func verdict(in Input, hops []HopStatus) Verdict {
	if in.Parts.Stopping {
		return Verdict{
			State: StateDown, Hop: HopLAN, Title: "doublenat is stopping",
			Detail: "Mappings are being taken down, or kept for the next start.",
		}
	}
	if in.standsBy() {
		return standby(in, hops)
	}
	var worst HopStatus
	for _, want := range []State{StateUnknown, StateDegraded, StateDown} {
		for _, h := range hops {
			if h.State == want {
				worst = h
				break
			}
		}
	}
	switch worst.State {
	case StateDown, StateDegraded:
		return Verdict{
			State: worst.State, Hop: worst.Name, Title: trouble(worst),
			Detail: worst.Detail, Remedy: worst.Remedy, Commands: worst.Commands, Ready: worst.State == StateDegraded && mappable(in),
		}
	case StateUnknown:
		return Verdict{State: StateUnknown, Hop: worst.Name, Title: "doublenat is starting", Detail: worst.Title + ": " + worst.Summary}
	default:
		return well(in)
	}
}

// mappable says of parts that work whether a client can get a new mapping at all: not
// where nothing may be changed, where the table is full, or where the gateway has no
// port left for anybody.
func mappable(in Input) bool {
	return !in.About.ReadOnly && !full(in) && result(recentLeaseError(in)) != natpmp.ResultOutOfResources
}

// full says whether the table has as many mappings as it may have.
func full(in Input) bool {
	return in.About.MaxMappings > 0 && in.Parts.count() >= in.About.MaxMappings
}

// trouble is the headline about a hop.
func trouble(h HopStatus) string { return h.Title + ": " + h.Summary }

// well is the verdict when nothing is broken.
func well(in Input) Verdict {
	v := Verdict{State: StateOK, Ready: true}
	open := 0
	for _, m := range in.Parts.Mappings {
		if !m.Closing {
			open++
		}
	}
	switch open {
	case 0:
		v.Title = "Ready, no port is open yet"
		v.Detail = "A port opens as soon as a program on the LAN asks for one."
	case 1:
		v.Title = "1 port is open"
		v.Detail = fmt.Sprintf("The Internet reaches it at %s.", in.address())
	default:
		v.Title = fmt.Sprintf("%d ports are open", open)
		v.Detail = fmt.Sprintf("The Internet reaches them at %s.", in.address())
	}
	return v
}

// mappings turns the core's mappings into what is shown.
func mappings(in Input) []Mapping {
	all := make([]Mapping, 0, len(in.Parts.Mappings))
	for _, m := range in.Parts.Mappings {
		shown := Mapping{
			Protocol: m.Key.Protocol.String(), ExternalPort: m.ExternalPort, InnerPort: m.InnerPort,
			Client: m.Key.Client, InternalPort: m.Key.InternalPort,
			By: m.By.String(), Description: shorten(m.Description), Kind: kind(in, m), Closing: m.Closing, Created: m.Created, Ends: m.Until,
			LeaseEnds: m.LeaseUntil, LeaseSeconds: m.Granted.Seconds(), Packets: m.Packets, Remote: m.Remote.String(),
		}
		if a := in.address(); a.IsValid() {
			shown.Public = netip.AddrPortFrom(a, m.ExternalPort)
		}
		all = append(all, shown)
	}
	return all
}

// longest is how many characters of a client's text are shown.
const longest = 64

// shorten cuts a text that somebody on the LAN wrote to what is shown of it.
func shorten(text string) string {
	n := 0
	for i := range text {
		if n++; n > longest {
			return text[:i] + "…"
		}
	}
	return text
}

// protocolName returns what people call the protocol in which a client asked, "" if it is not
// known.
func protocolName(by nat.Way) string {
	switch by {
	case nat.NATPMP:
		return "NAT-PMP"
	case nat.PCP:
		return "PCP"
	case nat.IGD:
		return "UPnP"
	default:
		return ""
	}
}

// kind says who wanted the mapping.
func kind(in Input, m nat.Mapping) Kind {
	switch {
	case in.About.Static[m.Key]:
		return KindStatic
	case m.Adopted:
		return KindAdopted
	case m.Companion:
		return KindCompanion
	default:
		return KindClient
	}
}

// milliseconds returns a duration as the API has it, to a hundredth.
func milliseconds(d time.Duration) *float64 {
	ms := float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
	return &ms
}
