package lab

import (
	"fmt"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
)

// pcpEvent tells of a packet of PCP in the gateway's journal. False is one that says nothing.
func pcpEvent(p natpmptest.Packet) (event, bool) {
	if p.Kind == natpmptest.PacketDelivered {
		request, err := pcp.ParseRequest(p.Payload)
		return event{at: p.At, from: theDaemon, to: theGateway, text: pcpRequestText(request)}, err == nil
	}
	e := event{at: p.At, from: theGateway, to: theDaemon}
	if version, only := pcp.VersionOf(p.Payload); only {
		e.text = fmt.Sprintf("no: version %d is spoken here", version)
		return e, true
	}
	response, err := pcp.ParseResponse(p.Payload)
	e.text = pcpResponseText(response)
	return e, err == nil
}

// pcpRequestText says what a PCP request asks for.
func pcpRequestText(r pcp.Request) string {
	if r.Opcode != pcp.OpMap {
		return "are you there?"
	}
	return requestText(natpmp.Request{
		Opcode: opcodeOf(r.Map.Protocol), InternalPort: r.Map.InternalPort,
		SuggestedExternalPort: r.Map.ExternalPort, Lifetime: r.Lifetime,
	})
}

// pcpResponseText says what a PCP response answers.
func pcpResponseText(r pcp.Response) string {
	switch {
	case r.Result != pcp.ResultSuccess:
		return fmt.Sprintf("no: %v", r.Result)
	case r.Opcode != pcp.OpMap:
		return "yes"
	}
	text := responseText(natpmp.Response{
		Opcode: opcodeOf(r.Map.Protocol), InternalPort: r.Map.InternalPort,
		ExternalPort: r.Map.ExternalPort, Lifetime: r.Lifetime,
	})
	if r.Lifetime > 0 {
		text += fmt.Sprintf(", at %v", r.Map.ExternalAddress)
	}
	return text
}

// opcodeOf returns what a protocol is in NAT-PMP.
func opcodeOf(p pcp.Protocol) natpmp.Opcode {
	if p == pcp.UDP {
		return natpmp.OpMapUDP
	}
	return natpmp.OpMapTCP
}
