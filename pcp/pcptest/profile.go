package pcptest

import (
	"net/netip"
	"time"

	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
)

// Profile is how a [Gateway] behaves. The zero value grants what is asked to whoever says
// where the packet comes from, from the lowest free port on.
type Profile struct {
	// Profile is what is not of PCP alone. Its Result and ZeroSuggestion are NAT-PMP's
	// codes, which are told in PCP's.
	natpmptest.Profile

	// Speaks is which protocols it has.
	Speaks Languages
	// MinLifetime is the shortest that is granted: what is asked for is raised to it (RFC
	// 6887 §15).
	MinLifetime time.Duration
	// Nonces is what becomes of a request with another nonce than the mapping has.
	Nonces NoncePolicy
	// Client is the address that the client's field must have; the zero Addr means that of
	// the packet's source (RFC 6887 §8.2).
	Client netip.Addr
	// Result is the answer to every MAP request that can be read, when it is not success.
	// Announcements are answered.
	Result pcp.ResultCode
	// DeletionResult is the answer to every deletion, when it is not success.
	DeletionResult pcp.ResultCode
	// ErrorLifetime is that of all failures; 0 means what RFC 6887 §7.4 recommends, and a
	// negative one is 0 seconds.
	ErrorLifetime time.Duration
	// KeepsEpoch leaves the epoch as it is when the public address changes, against RFC
	// 6887 §8.5, as miniupnpd does.
	KeepsEpoch bool
	// IgnoresPreference grants another port to who prefers failure, as one that does not
	// know the option and does not say so.
	IgnoresPreference bool
	// Nonsense is what is wrong with successes to MAP requests.
	Nonsense Nonsense
}

// Languages is which protocols a gateway speaks.
type Languages uint8

// The languages.
const (
	// SpeaksPCP has PCP alone: NAT-PMP is answered as RFC 6887 §9 says.
	SpeaksPCP Languages = iota
	// SpeaksBoth has both.
	SpeaksBoth
	// SpeaksNATPMP has NAT-PMP alone: PCP gets the version error of 8 bytes (RFC 6886 §3.5).
	SpeaksNATPMP
	// SpeaksInTurn answers PCP's requests as one that has PCP and as one that has NAT-PMP
	// alone in turn.
	SpeaksInTurn
)

// NoncePolicy is what becomes of a request with another nonce than the mapping has.
type NoncePolicy uint8

// The policies.
const (
	// NoncesStrict refuses it with NOT_AUTHORIZED, for as long as the mapping lasts (RFC
	// 6887 §11.3).
	NoncesStrict NoncePolicy = iota
	// NoncesLax renews the mapping, which has the new nonce then, and refuses to end it.
	NoncesLax
)

// Nonsense is a fault in successes.
type Nonsense uint8

// The faults.
const (
	// NonsenseNone is a gateway that says what it did.
	NonsenseNone Nonsense = iota
	// NonsenseNonce answers with another nonce.
	NonsenseNonce
	// NonsensePort answers for another internal port.
	NonsensePort
	// NonsenseProtocol answers for the other protocol.
	NonsenseProtocol
	// NonsenseNoPort grants port 0.
	NonsenseNoPort
	// NonsenseNoLifetime grants no time.
	NonsenseNoLifetime
	// NonsenseHeader sends the header alone.
	NonsenseHeader
	// NonsenseRequest sends the request back as it is.
	NonsenseRequest

	nonsenses = iota
)

// Nonsenses returns all faults but [NonsenseNone].
func Nonsenses() []Nonsense {
	var all []Nonsense
	for n := NonsenseNone + 1; n < nonsenses; n++ {
		all = append(all, n)
	}
	return all
}

// Profiles returns all profiles in their default form, each with its name.
func Profiles() []Profile {
	return []Profile{
		RFC(), Miniupnpd(), Short(30 * time.Second), Full(3), Failing(pcp.ResultNetworkFailure), Failing(pcp.ResultNotAuthorized),
		Restarting(time.Hour, false), Lossy(0.2), Slow(), Liar(), NATPMPOnly(), Flipping(), EpochFlipper(2), Suspended(time.Hour, 45*time.Minute),
		Senseless(NonsenseNoPort),
	}
}

// of returns a profile of NAT-PMP in PCP's language, with the shortest lifetime that RFC
// 6887 §15 recommends.
func of(p natpmptest.Profile) Profile { return Profile{Profile: p, MinLifetime: 2 * time.Minute} }

// RFC is a gateway as RFC 6887 describes it: strict about nonces, with lifetimes from two
// minutes to two hours.
func RFC() Profile { return of(natpmptest.RFC()) }

// Miniupnpd is miniupnpd 2.3 as measured: it speaks both protocols, raises lifetimes to
// two minutes, renews with any nonce, makes a second mapping when another port is
// suggested, and keeps its epoch when the address changes.
func Miniupnpd() Profile {
	p := of(natpmptest.Miniupnpd())
	p.Speaks, p.Nonces, p.KeepsEpoch = SpeaksBoth, NoncesLax, true
	return p
}

// Short is [RFC] that grants one short lifetime whatever is asked for.
func Short(lifetime time.Duration) Profile {
	p := of(natpmptest.Short(lifetime))
	p.MinLifetime = 0
	return p
}

// Full is [RFC] that has room for so many leases.
func Full(leases int) Profile { return of(natpmptest.Full(leases)) }

// Failing is [RFC] that answers every MAP request with the result.
func Failing(code pcp.ResultCode) Profile {
	p := RFC()
	p.Name, p.Result = code.String(), code
	return p
}

// Restarting is [RFC] that restarts again and again, with its leases or without.
func Restarting(every time.Duration, keeps bool) Profile {
	return of(natpmptest.Restarting(every, keeps))
}

// Lossy is [RFC] behind a line that loses the given part of the requests and, separately,
// of the replies, delays some for up to 20 seconds, and doubles and reorders others.
func Lossy(loss float64) Profile {
	p, line := RFC(), natpmptest.Lossy(loss)
	p.Name, p.Requests, p.Replies = line.Name, line.Requests, line.Replies
	return p
}

// Slow is [RFC] with one thread and 2 seconds for each request.
func Slow() Profile { return of(natpmptest.Slow()) }

// Liar is [RFC] that tells one lie of each kind in turn before it says the truth.
func Liar() Profile { return of(natpmptest.Liar()) }

// NATPMPOnly is a gateway that speaks NAT-PMP alone.
func NATPMPOnly() Profile {
	p := RFC()
	p.Name, p.Speaks = "natpmp", SpeaksNATPMP
	return p
}

// Flipping is [RFC] that speaks PCP in every other reply only.
func Flipping() Profile {
	p := RFC()
	p.Name, p.Speaks = "flipping", SpeaksInTurn
	return p
}

// EpochFlipper is [RFC] on two machines behind one address, the second of which answers
// every k-th request.
func EpochFlipper(k int) Profile {
	p := RFC()
	p.Name, p.EpochStart, p.FlipEvery, p.FlipEpoch = "flip", 4_000_000, k, 1000
	return p
}

// Suspended is [RFC] as somebody sees it whose own clock stands again and again.
func Suspended(every, lasting time.Duration) Profile {
	return of(natpmptest.Suspended(every, lasting))
}

// Senseless is [RFC] with a fault in its successes.
func Senseless(n Nonsense) Profile {
	p := RFC()
	p.Name, p.Nonsense = "senseless", n
	return p
}
