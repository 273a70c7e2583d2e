package frontend

import (
	"slices"
	"sync/atomic"

	"doublenat/igd"
	"doublenat/natpmp"
	"doublenat/pcp"
)

// Answer is a kind of reply. It is comparable.
type Answer struct {
	// Opcode is of the request: address, UDP or TCP.
	Opcode natpmp.Opcode
	// Result is what was answered.
	Result natpmp.ResultCode
}

// Stats counts requests since the frontend was made.
type Stats struct {
	// Answers is the replies decided, by their kind. Kinds that did not occur are
	// missing; there are 12 at most.
	Answers map[Answer]uint64
	// PCP is the replies decided to map requests of PCP, by their result. Results that did
	// not occur are missing; nil is none.
	PCP map[pcp.ResultCode]uint64
	// IGD is the answers to actions of UPnP that make or end a mapping, by their error code,
	// 0 for success. Codes that did not occur are missing; nil is none.
	IGD map[igd.Code]uint64
	// Updates is packets that told clients of PCP of another external port.
	Updates uint64
	// Mismatches is requests of PCP that came from another address than they name.
	Mismatches uint64
	// Duplicates is copies of requests in work that got no reply of their own.
	Duplicates uint64
	// Shared is requests that were answered by the work for another one.
	Shared uint64
	// NotAllowed is packets dropped because no allowed prefix has their source.
	NotAllowed uint64
	// Denied is packets dropped because a denied prefix has their source.
	Denied uint64
	// Excluded is packets dropped because their source is no client's address.
	Excluded uint64
	// TooFast is packets dropped because their client sends more than it may.
	TooFast uint64
	// TooManyNew is packets dropped because more new clients came than may.
	TooManyNew uint64
	// TooManyCreates is requests answered with "out of resources" because their client
	// asks for more new mappings than it may. They are in Answers as well.
	TooManyCreates uint64
	// TooManyInAll is requests left without an answer because all clients together ask
	// for more new mappings than they may.
	TooManyInAll uint64
	// Visitors is how many clients are remembered at this moment.
	Visitors int
}

// The opcodes and results that a frontend answers with, as far as the arrays of
// the counters go.
const (
	opcodes = int(natpmp.OpMapTCP) + 1
	results = int(natpmp.ResultOutOfResources) + 1

	pcpResults = int(pcp.ResultExcessiveRemotePeers) + 1
)

// counters is Stats while it grows.
type counters struct {
	answers                                           [opcodes][results]atomic.Uint64
	duplicates, shared, notAllowed, denied, excluded  atomic.Uint64
	tooFast, tooManyNew, tooManyCreates, tooManyInAll atomic.Uint64
	pcp                                               [pcpResults]atomic.Uint64
	igd                                               [6]atomic.Uint64 // in the order of igdCodes
	mismatches, updates                               atomic.Uint64
}

// answered counts a reply. The server hands over known opcodes only.
func (c *counters) answered(op natpmp.Opcode, result natpmp.ResultCode) {
	if int(op) < opcodes && int(result) < results {
		c.answers[op][result].Add(1)
	}
}

// Stats returns the counts so far. It may be called at any time.
func (f *Frontend) Stats() Stats {
	s := Stats{
		Answers:    make(map[Answer]uint64),
		Mismatches: f.count.mismatches.Load(),
		Updates:    f.count.updates.Load(),
		Duplicates: f.count.duplicates.Load(),
		Shared:     f.count.shared.Load(),
		NotAllowed: f.count.notAllowed.Load(),
		Denied:     f.count.denied.Load(),
		Excluded:   f.count.excluded.Load(),
		TooFast:    f.count.tooFast.Load(),
		TooManyNew: f.count.tooManyNew.Load(),

		TooManyCreates: f.count.tooManyCreates.Load(),
		TooManyInAll:   f.count.tooManyInAll.Load(),
		Visitors:       f.gate.size(),
	}
	for op := range f.count.answers {
		for result := range f.count.answers[op] {
			if n := f.count.answers[op][result].Load(); n > 0 {
				s.Answers[Answer{Opcode: natpmp.Opcode(op), Result: natpmp.ResultCode(result)}] = n
			}
		}
	}
	for result := range f.count.pcp {
		if n := f.count.pcp[result].Load(); n > 0 {
			if s.PCP == nil {
				s.PCP = make(map[pcp.ResultCode]uint64)
			}
			s.PCP[pcp.ResultCode(result)] = n
		}
	}
	for i, code := range igdCodes() {
		if n := f.count.igd[i].Load(); n > 0 {
			if s.IGD == nil {
				s.IGD = make(map[igd.Code]uint64)
			}
			s.IGD[code] = n
		}
	}
	return s
}

// igdCodes are the codes with which actions of UPnP are answered here.
func igdCodes() [6]igd.Code {
	return [...]igd.Code{0, igd.CodeActionFailed, igd.CodeNotAuthorized, igd.CodeNoSuchEntry, igd.CodeConflict, igd.CodeNoPortsLeft}
}

// igdAnswered counts an answer to an action of UPnP.
func (c *counters) igdAnswered(code igd.Code) {
	codes := igdCodes()
	if i := slices.Index(codes[:], code); i >= 0 {
		c.igd[i].Add(1)
	}
}
