package igdtest

import (
	"time"

	"doublenat/igd"
)

// Profile is how a [Gateway] behaves. The zero value is a generous IGD:1. Start from one
// of the functions that return a Profile and change what the test is about.
type Profile struct {
	// Name is for messages.
	Name string

	// Version is that of the device, 1 or 2; 0 means 1.
	Version int
	// PPP has a WANPPPConnection and no WANIPConnection.
	PPP bool
	// Both has both: that of PPP is connected, the other one is not.
	Both bool

	// OnlyPermanent refuses every lease but 0 with [igd.CodeOnlyPermanent].
	OnlyPermanent bool
	// InvalidLease refuses it with [igd.CodeInvalidArgs].
	InvalidLease bool
	// IgnoresLease makes every mapping permanent, whatever was asked.
	IgnoresLease bool
	// MaxLease cuts leases without a word; 0 means never.
	MaxLease time.Duration
	// NoRenewal takes the same mapping again for a conflict.
	NoRenewal bool
	// Secure is the answer to a mapping for another host than the one that asks: 606, 718
	// or, with 0, that it is made.
	Secure igd.Code
	// Conflict is the answer when a port is taken; 0 means 718.
	Conflict igd.Code
	// SamePorts refuses external ports that differ from the internal one.
	SamePorts bool
	// MaxMappings is how many there may be, each protocol counting; 0 means no limit.
	MaxMappings int
	// Unknown has the actions that the box does not know.
	Unknown []string
	// Empty says yes and maps nothing.
	Empty bool
	// ForgetAfter is when a mapping vanishes whatever its lease; 0 means never.
	ForgetAfter time.Duration
	// Answers are the failures with which actions are answered in turn, 0 for the truth;
	// nil means always the truth.
	Answers []igd.Code
	// Address is what is told as the public address, whatever it is; "" means the true one.
	Address string

	// Location is what searches are told instead of where the description is.
	Location string
	// Control is the control URL instead of the true one.
	Control string
	// Description and Response are what is sent instead of the documents; nil means these.
	Description, Response func() []byte
	// Status is the status of all answers to actions; 0 means the right one.
	Status int
	// Redirect is where all answers send whoever asks; "" means nowhere.
	Redirect string
	// Wire is how answers are written.
	Wire Wire

	// Silent reads requests and neither does nor answers anything.
	Silent bool
	// ServiceTime passes before a request is carried out.
	ServiceTime time.Duration
	// LoseAnswers closes the connection instead of every so-many-th answer to an action
	// that was carried out; 0 means never.
	LoseAnswers int
	// HangAnswers says nothing instead, and keeps the connection.
	HangAnswers bool

	// NoSearch answers no search.
	NoSearch bool
	// Targets are the targets of searches that are answered; nil means all that fit.
	Targets []string
	// SearchDelay passes before the answer to a search.
	SearchDelay time.Duration
	// SearchCopies is how many more answers there are to each search.
	SearchCopies int
}

// Wire is how answers are written.
type Wire struct {
	// Chunked sends bodies in chunks.
	Chunked bool
	// Open says no length: the end of the connection is that of the body.
	Open bool
	// Close ends the connection after each answer.
	Close bool
	// BareLF ends lines of headers without a carriage return.
	BareLF bool
	// Padding is how many bytes of headers are added that mean nothing.
	Padding int
	// Prefix is the namespace prefix of SOAP; "" means s.
	Prefix string
}

// IGD1 is a box as most are: version 1, with leases.
func IGD1() Profile { return Profile{Name: "igd1", Secure: igd.CodeConflict} }

// IGD2 is a box of version 2, which knows AddAnyPortMapping and refuses foreign clients with 606.
func IGD2() Profile { return Profile{Name: "igd2", Version: 2, Secure: igd.CodeNotAuthorized} }

// PPP is an old box at a DSL line.
func PPP() Profile {
	return Profile{Name: "ppp", PPP: true, Wire: Wire{Close: true, BareLF: true, Prefix: "SOAP-ENV"}}
}

// Both is a box that lists a connection which is not there before the one that is.
func Both() Profile { return Profile{Name: "both", Both: true} }

// Permanent is a box that knows only mappings for ever.
func Permanent() Profile { return Profile{Name: "permanent", OnlyPermanent: true} }

// Invalid402 is one that says so with 402.
func Invalid402() Profile { return Profile{Name: "402", InvalidLease: true, Wire: Wire{Chunked: true}} }

// Forgetful is a box whose mappings vanish after a while.
func Forgetful(after time.Duration) Profile { return Profile{Name: "forgets", ForgetAfter: after} }

// Full is a box that has room for so many mappings.
func Full(mappings int) Profile { return Profile{Name: "full", MaxMappings: mappings} }

// Slow is a box that takes its time for each request.
func Slow(each time.Duration) Profile { return Profile{Name: "slow", ServiceTime: each} }

// Lossy is a box that does what it is asked, and loses every so-many-th answer.
func Lossy(every int) Profile { return Profile{Name: "lossy", LoseAnswers: every} }

// Flipping is a box that says now this and now that.
func Flipping() Profile {
	return Profile{Name: "flips", Answers: []igd.Code{0, igd.CodeActionFailed, 0, igd.CodeConflict, igd.CodeOutOfMemory}}
}

// Nonsense is a box, or something else, that answers actions with a page.
func Nonsense() Profile {
	return Profile{Name: "nonsense", Response: func() []byte { return []byte("<html><body>Please log in<br></body></html>") }}
}

// Profiles returns all of them in their default form, each with its name. Each of them
// maps ports sometimes, but for the last.
func Profiles() []Profile {
	return []Profile{
		IGD1(), IGD2(), PPP(), Both(), Permanent(), Invalid402(), Forgetful(10 * time.Minute), Full(3), Slow(2 * time.Second),
		Lossy(3), Flipping(), Nonsense(),
	}
}
