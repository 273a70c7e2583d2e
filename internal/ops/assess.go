package ops

import (
	"fmt"
	"net/netip"
	"time"

	"doublenat/internal/nat"
)

// Assess makes the picture. It is a pure function: the same input gives the same
// picture.
func Assess(in Input) Status {
	hops := []HopStatus{lanHop(in), routerHop(in), gatewayHop(in)}
	hops = append(hops, addressHop(in, hops[2]))
	for i := range hops {
		h := &hops[i]
		h.Title = h.Name.Title()
		if took := in.Latency[h.Name]; took > 0 && h.State != StateDown { // it does not take long to refuse
			h.LatencyMS = milliseconds(took)
		}
		if since := in.Since[h.Name]; since.State == h.State {
			h.Since = since.At
		}
	}
	s := Status{
		Time: in.Now, Started: in.About.Started, Version: in.About.Version, Instance: in.About.Instance,
		PublicAddress: in.address(), Hops: hops,
		Mappings: mappings(in), Events: in.Events, Series: in.Series,
	}
	if s.Events == nil {
		s.Events = []Event{}
	}
	s.Verdict = verdict(in, hops)
	return s
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
	case StateDown:
		return Verdict{
			State: StateDown, Hop: worst.Name, Title: trouble(worst),
			Detail: worst.Detail, Remedy: worst.Remedy,
		}
	case StateDegraded:
		return Verdict{
			State: StateDegraded, Hop: worst.Name, Title: trouble(worst),
			Detail: worst.Detail, Remedy: worst.Remedy, Ready: true,
		}
	case StateUnknown:
		return Verdict{State: StateUnknown, Hop: worst.Name, Title: "doublenat is starting", Detail: worst.Title + ": " + worst.Summary}
	default:
		return well(in)
	}
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
			Kind: kind(in, m), Closing: m.Closing, Created: m.Created, Ends: m.Until,
			LeaseEnds: m.LeaseUntil, LeaseSeconds: m.Granted.Seconds(), Packets: m.Packets,
		}
		if a := in.address(); a.IsValid() {
			shown.Public = netip.AddrPortFrom(a, m.ExternalPort)
		}
		all = append(all, shown)
	}
	return all
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
