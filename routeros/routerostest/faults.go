package routerostest

import (
	"slices"
	"strings"
	"time"

	"doublenat/routeros"
)

// FaultKind is what goes wrong with a command.
type FaultKind uint8

// The faults. "Executed" are those in which the router does what it was asked,
// so that the client cannot know.
const (
	// FaultNone lets the command work; for a Fault that only has a Do.
	FaultNone FaultKind = iota
	// FaultDelay carries the command out later by Fault.Delay.
	FaultDelay
	// FaultDelayReply executes the command in time and replies later by Fault.Delay.
	FaultDelayReply
	// FaultSilence ignores the command for ever.
	FaultSilence
	// FaultSilenceReply executes the command and never replies.
	FaultSilenceReply
	// FaultClose closes the connection instead of executing the command.
	FaultClose
	// FaultCloseReply executes the command and closes the connection before the reply.
	FaultCloseReply
	// FaultHalfSentence executes the command, sends half of the reply and closes the connection.
	FaultHalfSentence
	// FaultReset cuts the connection with an RST instead of executing the command.
	FaultReset
	// FaultResetReply executes the command and cuts the connection before the reply.
	FaultResetReply
	// FaultVanish executes nothing on this connection from this command on, neither
	// replies nor closes: the cable was pulled.
	FaultVanish
	// FaultTrap refuses the command with Fault.Message and Fault.Category.
	FaultTrap
	// FaultDoubleTrap refuses it with that trap and another one before the !done.
	FaultDoubleTrap
	// FaultFatal answers a !fatal with Fault.Message as a bare word and closes the connection.
	FaultFatal
	// FaultEmpty executes the command and puts an !empty before the !done.
	FaultEmpty
	// FaultReservedLength sends a length with a reserved first byte (0xF8) as the reply.
	FaultReservedLength
	// FaultHugeLength sends the length of a word of 2 GiB as the reply.
	FaultHugeLength
	// FaultEmptySentences puts empty sentences around every sentence of the reply.
	FaultEmptySentences
	// FaultTagLast puts the tag at the end of every sentence of the reply.
	FaultTagLast
	// FaultTagMiddle puts the tag between the properties.
	FaultTagMiddle
	// FaultShuffle sends the properties of every row in random order.
	FaultShuffle
	// FaultExtraProperties adds properties to every row that nobody has heard of.
	FaultExtraProperties
	// FaultMissingProperties leaves those of Fault.Properties out of every row.
	FaultMissingProperties
	// FaultBinaryComment gives rows without a comment one that is not UTF-8.
	FaultBinaryComment
	// FaultQueryIgnored lets every row through, as for a query word that this version
	// accepts and does not understand.
	FaultQueryIgnored
	// FaultUnsettled makes what the command adds or changes read invalid for Fault.Delay,
	// though it works; see [Router.Unsettle].
	FaultUnsettled

	faultKinds
)

// faultNames are the names of the kinds in their order.
func faultNames() [faultKinds]string {
	return [...]string{
		"none", "delay", "delay reply", "silence", "silence reply", "close", "close reply", "half sentence", "reset",
		"reset reply", "vanish", "trap", "double trap", "fatal", "empty", "reserved length", "huge length",
		"empty sentences", "tag last", "tag middle", "shuffle", "extra properties", "missing properties", "binary comment",
		"query ignored", "unsettled",
	}
}

// String returns the name of the kind, for example "close reply".
func (k FaultKind) String() string {
	if names := faultNames(); int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// FaultKinds lists all kinds but FaultNone.
func FaultKinds() []FaultKind {
	kinds := make([]FaultKind, 0, faultKinds-1)
	for k := FaultNone + 1; k < faultKinds; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// Fault says which commands are struck, and by what.
type Fault struct {
	// Kind is what goes wrong.
	Kind FaultKind
	// Command is the path that is struck, "/ip/firewall/nat/add" or "/login"; empty for any.
	Command string
	// Skip lets that many matching commands pass first.
	Skip int
	// Times is how many are struck then: 0 means one, -1 all of them.
	Times int
	// Delay is the time of FaultDelay, FaultDelayReply and FaultUnsettled.
	Delay time.Duration
	// Message is the text of a trap or fatal; empty for "action timed out - try
	// again, if error continues contact MikroTik support and send a supout file
	// (13)", or "session terminated" in a fatal.
	Message string
	// Category is the number that goes with a trap, "2" for example; empty sends none.
	Category string
	// Properties are those that FaultMissingProperties leaves out.
	Properties []string
	// Do, if not nil, is called when the fault strikes, before the command is
	// carried out: the administrator who edits a rule at the wrong moment. It must
	// not close the router.
	Do func(*Router)
}

// armedFault is a fault that waits for its commands.
type armedFault struct {
	Fault
	skip, left int
}

// Inject arms a fault. Several that match one command strike it together. The
// returned function takes the fault away again.
func (r *Router) Inject(f Fault) (disarm func()) {
	armed := &armedFault{Fault: f, skip: f.Skip, left: max(f.Times, 1)}
	if f.Times < 0 {
		armed.left = -1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, armed)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.faults = slices.DeleteFunc(r.faults, func(a *armedFault) bool { return a == armed })
	}
}

// ClearFaults takes all faults away. Commands already struck stay struck.
func (r *Router) ClearFaults() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = nil
}

// strikeLocked takes the faults for a command that has arrived.
func (r *Router) strikeLocked(path string) []Fault {
	var struck []Fault
	spent := false
	for _, a := range r.faults {
		switch {
		case a.Command != "" && a.Command != path:
			continue
		case a.skip > 0:
			a.skip--
			continue
		case a.left > 0:
			a.left--
			spent = spent || a.left == 0
		}
		r.injected[a.Kind]++
		struck = append(struck, a.Fault)
	}
	if spent {
		r.faults = slices.DeleteFunc(r.faults, func(a *armedFault) bool { return a.left == 0 })
	}
	return struck
}

// ending is what becomes of the connection after a reply.
type ending uint8

const (
	endNot ending = iota
	// endClose closes in order, endReset with an RST, endVanish not at all.
	endClose
	endReset
	endVanish
)

// instead returns what a fault puts in the place of executing the command, and
// whether it does so.
func (f Fault) instead() (o outcome, end ending, replaced bool) {
	switch f.Kind {
	case FaultSilence:
		return outcome{}, endNot, true
	case FaultClose:
		return outcome{}, endClose, true
	case FaultReset:
		return outcome{}, endReset, true
	case FaultVanish:
		return outcome{}, endVanish, true
	case FaultTrap:
		return failed(traps{f.trap()}), endNot, true
	case FaultDoubleTrap:
		return failed(traps{f.trap(), {message: "action failed", category: noCategory}}), endNot, true
	case FaultFatal:
		if f.Message == "" {
			f.Message = "session terminated"
		}
		return outcome{fatal: f.Message}, endNot, true
	default:
		return outcome{}, endNot, false
	}
}

// trap returns the trap of the fault.
func (f Fault) trap() trap {
	t := trap{message: f.Message, category: f.Category}
	if t.message == "" {
		t.message = "action timed out - try again, if error continues contact MikroTik support and send a supout file (13)"
	}
	return t
}

// spoilLocked changes the sentences of a reply, without their tags.
func (r *Router) spoilLocked(f Fault, reply []routeros.Sentence) []routeros.Sentence {
	switch f.Kind {
	case FaultEmpty:
		if n := len(reply); n > 0 {
			reply = slices.Insert(reply, n-1, routeros.Sentence{"!empty"})
		}
	case FaultShuffle, FaultExtraProperties, FaultMissingProperties, FaultBinaryComment:
		for i, s := range reply {
			if s[0] == "!re" {
				reply[i] = r.spoilRowLocked(f, slices.Clone(s))
			}
		}
	default:
	}
	return reply
}

// spoilRowLocked changes one row.
func (r *Router) spoilRowLocked(f Fault, row routeros.Sentence) routeros.Sentence {
	switch f.Kind {
	case FaultShuffle:
		r.random.Shuffle(len(row)-1, func(i, j int) { row[i+1], row[j+1] = row[j+1], row[i+1] })
	case FaultExtraProperties:
		row = append(row, "=.nextid=*FFFFFFFF", "=from-the-future=", "=x.y=a=b=c")
	case FaultMissingProperties:
		row = slices.DeleteFunc(row, func(w string) bool {
			return slices.ContainsFunc(f.Properties, func(name string) bool { return strings.HasPrefix(w, "="+name+"=") })
		})
	case FaultBinaryComment:
		if !slices.ContainsFunc(row, func(w string) bool { return strings.HasPrefix(w, "=comment=") }) {
			row = append(row, "=comment=\xff\xfeT\xfcr \xc3\x28\x00")
		}
	default:
	}
	return row
}
