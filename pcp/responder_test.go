package pcp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"doublenat/internal/datagram"
	"doublenat/pcp"
)

// handler decides as a test says, and notes what it was asked.
type handler struct {
	reply pcp.Reply
	asked []pcp.Request
}

func (h *handler) ServePCP(_ context.Context, _ pcp.Arrival, req pcp.Request) pcp.Reply {
	h.asked = append(h.asked, req)
	return h.reply
}

// respond has a responder deal with a packet as a server does: nil is no answer.
func respond(tb testing.TB, h pcp.Handler, packet []byte) (reply []byte, kind datagram.Kind) {
	tb.Helper()
	r, err := pcp.NewResponder(pcp.ResponderConfig{Handler: h, Epoch: func() uint32 { return 77 }})
	if err != nil {
		tb.Fatal(err)
	}
	if len(packet) == 0 || r.Discard(packet) != datagram.Keep {
		return nil, datagram.KindDone
	}
	from := pcp.Arrival{Client: netip.AddrPortFrom(ownAddr, 40000), At: time.Now()}
	if reply, kind = r.AtOnce(nil, packet, from); kind != datagram.KindLater {
		return reply, kind
	}
	req := r.Request(packet, from)
	clear(packet) // The buffer is the reader's.
	return req.Serve(tb.Context()), datagram.KindLater
}

// mapAsked is a request for a TCP mapping.
func mapAsked(change func(*pcp.Request)) []byte {
	req := pcp.Request{
		Opcode: pcp.OpMap, Lifetime: 7200, Client: ownAddr,
		Map: pcp.Map{Nonce: pcp.Nonce{9}, Protocol: pcp.TCP, InternalPort: 80, ExternalPort: 8080, ExternalAddress: netip.IPv4Unspecified()},
	}
	if change != nil {
		change(&req)
	}
	return req.Append(nil)
}

// Successes, and the bytes that the RFC wants in them.
func TestResponderAnswers(t *testing.T) {
	t.Parallel()
	h := &handler{reply: pcp.Mapped(publicAddr, 40080, time.Minute)}
	reply, _ := respond(t, h, mapAsked(nil))
	want := pcp.Response{Opcode: pcp.OpMap, Lifetime: 60, Epoch: 77, Map: pcp.Map{
		Nonce: pcp.Nonce{9}, Protocol: pcp.TCP, InternalPort: 80, ExternalPort: 40080, ExternalAddress: publicAddr,
	}}
	if got, err := pcp.ParseResponse(reply); err != nil || got != want || len(reply) != 60 {
		t.Errorf("mapped: %d bytes, %+v, %v", len(reply), got, err)
	}
	if !bytes.Equal(reply[12:24], make([]byte, 12)) {
		t.Errorf("reserved bits: %x", reply[12:24])
	}
	if len(h.asked) != 1 || h.asked[0].Map.ExternalPort != 8080 {
		t.Errorf("asked %+v", h.asked)
	}

	h.reply = pcp.Deleted()
	reply, _ = respond(t, h, mapAsked(func(r *pcp.Request) { r.Lifetime = 0 }))
	if got, err := pcp.ParseResponse(reply); err != nil || got.Result != 0 || got.Lifetime != 0 || got.Map.ExternalPort != 8080 {
		t.Errorf("deleted: %+v, %v", got, err)
	}

	announce := pcp.Request{Opcode: pcp.OpAnnounce, Client: ownAddr}
	reply, kind := respond(t, h, announce.Append(nil))
	if got, err := pcp.ParseResponse(reply); err != nil || kind != datagram.KindDone || got != (pcp.Response{Opcode: pcp.OpAnnounce, Epoch: 77}) || len(reply) != 24 {
		t.Errorf("announce: %+v, %v", got, err)
	}
}

// Failures are copies of the request with the header of a response, whoever decided.
func TestResponderRefuses(t *testing.T) {
	t.Parallel()
	other := func(r *pcp.Request) { r.Client = publicAddr }
	for name, tt := range map[string]struct {
		packet []byte
		reply  pcp.Reply
		want   pcp.ResultCode
		lasts  uint32
		kind   datagram.Kind
		size   int
	}{
		"version 1":       {packet: append([]byte{1}, mapAsked(nil)[1:]...), want: pcp.ResultUnsupportedVersion, lasts: 1800, kind: datagram.KindVersion, size: 24},
		"version 3":       {packet: []byte{3, 1}, want: pcp.ResultUnsupportedVersion, lasts: 1800, kind: datagram.KindVersion, size: 24},
		"odd length":      {packet: append(mapAsked(nil), 0), want: pcp.ResultMalformedRequest, lasts: 1800, kind: datagram.KindDone, size: 64},
		"too short":       {packet: mapAsked(nil)[:32], want: pcp.ResultMalformedRequest, lasts: 1800, kind: datagram.KindDone, size: 32},
		"peer":            {packet: mapAsked(func(r *pcp.Request) { r.Opcode = 2 }), want: pcp.ResultUnsupportedOpcode, lasts: 1800, kind: datagram.KindOpcode, size: 24},
		"another address": {packet: mapAsked(other), want: pcp.ResultAddressMismatch, lasts: 1800, kind: datagram.KindDone, size: 60},
		"announce by NAT": {packet: (&pcp.Request{Opcode: pcp.OpAnnounce, Client: publicAddr}).Append(nil), want: pcp.ResultAddressMismatch, lasts: 1800, kind: datagram.KindDone, size: 24},
		"third party":     {packet: mapAsked(func(r *pcp.Request) { r.Options.ThirdParty = publicAddr }), want: pcp.ResultUnsupportedOption, lasts: 1800, kind: datagram.KindDone, size: 80},
		"all protocols":   {packet: mapAsked(func(r *pcp.Request) { r.Map.Protocol, r.Map.InternalPort = 0, 0 }), want: pcp.ResultUnsupportedProtocol, lasts: 1800, kind: datagram.KindDone, size: 60},
		"all ports":       {packet: mapAsked(func(r *pcp.Request) { r.Map.InternalPort = 0 }), want: pcp.ResultUnsupportedProtocol, lasts: 1800, kind: datagram.KindDone, size: 60},
		"filter of an end": {packet: mapAsked(func(r *pcp.Request) {
			r.Lifetime, r.Options.Filtered, r.Options.Filters[0] = 0, 1, pcp.Filter{Remote: netip.MustParsePrefix("203.0.113.7/32")}
		}), want: pcp.ResultMalformedOption, lasts: 1800, kind: datagram.KindDone, size: 84},
		"unknown option": {packet: append(mapAsked(nil), 100, 0, 0, 0), want: pcp.ResultUnsupportedOption, lasts: 1800, kind: datagram.KindDone, size: 64},
		"handler's":      {packet: mapAsked(nil), reply: pcp.Failure(pcp.ResultNoResources, 0), want: pcp.ResultNoResources, lasts: 30, size: 60},
		"handler's time": {packet: mapAsked(nil), reply: pcp.Failure(pcp.ResultNotAuthorized, 90*time.Second), want: pcp.ResultNotAuthorized, lasts: 90, size: 60},
		"no decision":    {packet: mapAsked(nil), want: pcp.ResultNetworkFailure, lasts: 30, size: 60},
		"no port":        {packet: mapAsked(nil), reply: pcp.Mapped(publicAddr, 0, time.Minute), want: pcp.ResultNetworkFailure, lasts: 30, size: 60},
		"no time":        {packet: mapAsked(nil), reply: pcp.Mapped(publicAddr, 1, time.Second/2), want: pcp.ResultNetworkFailure, lasts: 30, size: 60},
		"not a deletion": {packet: mapAsked(nil), reply: pcp.Deleted(), want: pcp.ResultNetworkFailure, lasts: 30, size: 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			was := bytes.Clone(tt.packet)
			reply, kind := respond(t, &handler{reply: tt.reply}, tt.packet)
			if len(reply) != tt.size || kind != tt.kind {
				t.Fatalf("%d bytes of kind %d: %x", len(reply), kind, reply)
			}
			if reply[0] != pcp.Version || reply[1] != was[1]|128 || reply[3] != byte(tt.want) || binary.BigEndian.Uint32(reply[4:]) != tt.lasts || binary.BigEndian.Uint32(reply[8:]) != 77 {
				t.Errorf("header %x, want result %v for %d s", reply[:12], tt.want, tt.lasts)
			}
			if rest := reply[24:]; !bytes.HasPrefix(rest, was[min(24, len(was)):]) && tt.size > 24 {
				t.Errorf("what follows is no copy: %x", rest)
			}
		})
	}
}

// What is silence stays silence.
func TestResponderSilence(t *testing.T) {
	t.Parallel()
	h := &handler{reply: pcp.Silence()}
	if reply, kind := respond(t, h, mapAsked(nil)); reply != nil || kind != datagram.KindLater {
		t.Errorf("%x, %d", reply, kind)
	}
	for _, packet := range [][]byte{{2}, {2, 1, 0, 0}, {2, 129, 0, 0, 0, 0}, append([]byte{2, 129}, mapAsked(nil)[2:]...)} {
		if reply, _ := respond(t, h, packet); reply != nil {
			t.Errorf("answered %x", reply)
		}
	}
	if len(h.asked) != 1 {
		t.Errorf("the handler was asked %d times", len(h.asked))
	}
}

// A deletion of everything and a request for one of the mappings are about the same, and
// copies are told.
func TestResponderSubjects(t *testing.T) {
	t.Parallel()
	r, err := pcp.NewResponder(pcp.ResponderConfig{Handler: new(handler), Epoch: func() uint32 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	of := func(change func(*pcp.Request)) datagram.Request {
		return r.Request(mapAsked(change), pcp.Arrival{Client: netip.AddrPortFrom(ownAddr, 40000)})
	}
	for _, tt := range []struct {
		change func(*pcp.Request)
		want   datagram.Subject
	}{
		{nil, datagram.Subject{Effect: datagram.Makes, Protocol: 6, Port: 80}},
		{func(r *pcp.Request) { r.Map.Protocol = pcp.UDP }, datagram.Subject{Effect: datagram.Makes, Protocol: 17, Port: 80}},
		{func(r *pcp.Request) { r.Lifetime = 0 }, datagram.Subject{Effect: datagram.Ends, Protocol: 6, Port: 80}},
		{func(r *pcp.Request) { r.Lifetime, r.Map.InternalPort, r.Map.Protocol = 0, 0, 0 }, datagram.Subject{Effect: datagram.Ends}},
		{func(r *pcp.Request) { r.Opcode = pcp.OpAnnounce }, datagram.Subject{}},
	} {
		if got := of(tt.change).Subject(); got != tt.want {
			t.Errorf("about %+v, want %+v", got, tt.want)
		}
	}
	if !of(nil).Same(of(nil)) || of(nil).Same(of(func(r *pcp.Request) { r.Map.Nonce = pcp.Nonce{1} })) {
		t.Error("copies are told by all that they ask")
	}
	filtered := of(func(r *pcp.Request) {
		r.Options.Filtered, r.Options.Filters[0] = 1, pcp.Filter{Remote: netip.MustParsePrefix("203.0.113.7/32")}
	})
	if filtered.Same(of(nil)) {
		t.Error("another filter is no copy")
	}
}

// Whatever comes, a reply is a response of the request's opcode, of a size that packets have.
func FuzzResponder(f *testing.F) {
	f.Add(mapAsked(nil))
	f.Add(mapAsked(func(r *pcp.Request) { r.Options.PreferFailure = true }))
	f.Add((&pcp.Request{Opcode: pcp.OpAnnounce, Client: ownAddr}).Append(nil))
	f.Add([]byte{3, 0})
	f.Add(append(mapAsked(nil), 128, 0, 0, 3, 1, 2, 3, 0))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) > pcp.MaxPacket {
			return // The server does not hand them over.
		}
		was := bytes.Clone(packet)
		reply, _ := respond(t, &handler{reply: pcp.Mapped(publicAddr, 40080, time.Minute)}, packet)
		if reply == nil {
			return
		}
		if len(reply) < 24 || len(reply)%4 != 0 || len(reply) > pcp.MaxPacket || reply[0] != pcp.Version || reply[1] != was[1]|128 || was[1]&128 != 0 {
			t.Errorf("%x is answered with %x", was, reply)
		}
		if _, err := pcp.ParseResponse(reply); err != nil && reply[3] == 0 {
			t.Errorf("%x is answered with a success that cannot be read: %v", was, err)
		}
	})
}
