package lab

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// The names of the four who talk to each other.
const (
	theClient    = "client"
	theDaemon    = "doublenat"
	theGateway   = "gateway"
	theRouter    = "router"
	natTable     = "/ip/firewall/nat"
	loginCommand = "/login"
)

// event is something that one said to another.
type event struct {
	at       time.Time
	from, to string
	text     string
}

// moment is a point in the journals of gateway and router.
type moment struct {
	at   time.Time
	mark routerostest.Mark
	// questions is how many the gateway had been asked.
	questions uint64
}

// now returns the present moment.
func (w *world) now() moment {
	return moment{at: time.Now(), mark: w.router.Mark(), questions: w.box.questions()}
}

// since returns what was said to gateway and router since a moment, and what the
// caller knows besides, in the order in which it happened.
func (w *world) since(m moment, known ...event) []event {
	known = append(known, w.box.said(m.at)...)
	for _, entry := range w.router.Since(m.mark) {
		known = append(known, event{at: entry.Time, from: theDaemon, to: theRouter, text: entryText(entry)})
	}
	slices.SortStableFunc(known, func(a, b event) int { return a.at.Compare(b.at) })
	return known
}

// packetEvent tells of a packet in the gateway's journal. False is one that says
// nothing.
func packetEvent(p natpmptest.Packet) (event, bool) {
	if p.Kind == natpmptest.PacketDelivered {
		request, err := natpmp.ParseRequest(p.Payload)
		return event{at: p.At, from: theDaemon, to: theGateway, text: requestText(request)}, err == nil
	}
	response, err := natpmp.ParseResponse(p.Payload)
	return event{at: p.At, from: theGateway, to: theDaemon, text: responseText(response)}, err == nil
}

// requestText says what a NAT-PMP request asks for.
func requestText(r natpmp.Request) string {
	switch {
	case r.Opcode == natpmp.OpExternalAddress:
		return "what is the public address?"
	case r.Lifetime == 0:
		return fmt.Sprintf("end the lease of %s %d", transport(r.Opcode), r.InternalPort)
	case r.SuggestedExternalPort == 0:
		return fmt.Sprintf("lease %s %d for %d s", transport(r.Opcode), r.InternalPort, r.Lifetime)
	default:
		return fmt.Sprintf("lease %s %d for %d s, as public port %d if possible", transport(r.Opcode), r.InternalPort, r.Lifetime, r.SuggestedExternalPort)
	}
}

// responseText says what a NAT-PMP response answers.
func responseText(r natpmp.Response) string {
	switch {
	case r.Result != natpmp.ResultSuccess:
		return fmt.Sprintf("no: %v", r.Result)
	case r.Opcode == natpmp.OpExternalAddress:
		return r.Address.String()
	case r.Lifetime == 0:
		return fmt.Sprintf("%s %d is ended", transport(r.Opcode), r.InternalPort)
	default:
		return fmt.Sprintf("%s %d has public port %d for %d s", transport(r.Opcode), r.InternalPort, r.ExternalPort, r.Lifetime)
	}
}

// transport returns the protocol of a map opcode.
func transport(op natpmp.Opcode) string {
	if op == natpmp.OpMapUDP {
		return "udp"
	}
	return "tcp"
}

// entryText says what a command to the router did.
func entryText(e routerostest.Entry) string {
	text := e.Command
	switch {
	case e.Trap != "":
		return text + ": " + e.Trap
	case e.Command == loginCommand:
		return text + " as " + e.User
	case e.Command == natTable+"/add":
		return fmt.Sprintf("%s %s: %s %s → %s:%s", text, e.Ret, argument(e, "protocol"), argument(e, "dst-port"), argument(e, "to-addresses"), argument(e, "to-ports"))
	case e.Command == natTable+"/remove":
		return text + " " + cmp.Or(argument(e, ".id"), argument(e, "numbers"))
	case !e.Wrote && e.Rows == 1:
		return text + ": 1 row"
	case !e.Wrote && e.Rows > 0:
		return fmt.Sprintf("%s: %d rows", text, e.Rows)
	default:
		return text
	}
}

// argument returns the value of an attribute word ("=name=value").
func argument(e routerostest.Entry, name string) string {
	for _, word := range e.Args {
		if value, ok := strings.CutPrefix(word, "="+name+"="); ok {
			return value
		}
	}
	return ""
}
