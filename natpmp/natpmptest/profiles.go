package natpmptest

import (
	"time"

	"doublenat/natpmp"
)

// Profiles returns all profiles in their default form, each with its name.
func Profiles() []Profile {
	return []Profile{
		RFC(), Proton(), ProtonExternal(), ProtonRotate(1), ProtonDuplicate(), ProtonRefuse(time.Hour, 5*time.Minute),
		Miniupnpd(), Short(10 * time.Second), Full(3), NoAddress(), Unauthorized(), Restarting(time.Hour, false),
		NewAddress(time.Hour, false), Split(), WrongInternal(), Lossy(0.2), Liar(), Slow(),
		RefusesZero(natpmp.ResultOutOfResources), PCPOnly(), CutPorts(), SwappedPorts(), EpochFlipper(2), Suspended(time.Hour, 45*time.Minute),
	}
}

// RFC is a gateway as RFC 6886 describes it: it grants the suggested port when it
// is free, reserves the companion port for the same client, and grants 7200
// seconds at most (§3.3).
func RFC() Profile {
	return Profile{
		Name:              "rfc",
		Lifetime:          7200 * time.Second,
		MinPort:           49152,
		Ports:             PortsSuggested,
		ReservesCompanion: true,
	}
}

// Proton is the gateway inside a ProtonVPN tunnel: 60 seconds whatever is asked,
// random ports whatever is suggested, the same one for both protocols, about five
// of them for each tunnel, and a symmetric port for those who ask for internal port 0.
func Proton() Profile {
	return Profile{
		Name:          "proton",
		EpochStart:    4_000_000,
		Lifetime:      60 * time.Second,
		FixedLifetime: true,
		MinPort:       34000,
		MaxPort:       65500,
		Ports:         PortsRandom,
		Symmetric:     true,
		Companion:     CompanionSame,
		MaxPorts:      5,
	}
}

// ProtonExternal is [Proton] that delivers on the external port although it
// echoes the internal one, as one project reports.
func ProtonExternal() Profile {
	p := Proton()
	p.Name, p.DeliversExternal = "proton-ext", true
	return p
}

// ProtonRotate is [Proton] that moves a lease to another port at every k-th renewal.
func ProtonRotate(k int) Profile {
	p := Proton()
	p.Name, p.RotateEvery = "proton-rotate", k
	return p
}

// ProtonDuplicate is [Proton] that takes a request repeated within 2 seconds for
// a wish for another port.
func ProtonDuplicate() Profile {
	p := Proton()
	p.Name, p.RepeatWindow = "proton-dup", 2*time.Second
	return p
}

// ProtonRefuse is [Proton] that closes its port again and again.
func ProtonRefuse(every, lasting time.Duration) Profile {
	p := Proton()
	p.Name, p.Refusal = "proton-refuse", Outage{Every: every, For: lasting}
	return p
}

// Miniupnpd is miniupnpd 2.3 as measured: the suggested port or the next higher
// one, no limit of lifetimes, a second lease when a client suggests another port,
// and a delete-all that ends both protocols' leases.
func Miniupnpd() Profile {
	return Profile{
		Name:               "miniupnpd",
		Ports:              PortsUpward,
		DropsHugeLifetimes: true,
		DoublesMappings:    true,
		WipesBothProtocols: true,
		EchoesErrors:       true,
	}
}

// Short is [RFC] that grants one short lifetime whatever is asked for. With 0 it
// answers a success that is none.
func Short(lifetime time.Duration) Profile {
	p := RFC()
	p.Name, p.Lifetime, p.FixedLifetime = "short", lifetime, true
	return p
}

// Full is [RFC] that has room for so many leases.
func Full(leases int) Profile {
	p := RFC()
	p.Name, p.MaxLeases = "full", leases
	return p
}

// NoAddress is a gateway that has no connectivity: result 3 to everything.
func NoAddress() Profile {
	p := RFC()
	p.Name, p.Result = "noaddr", natpmp.ResultNetworkFailure
	return p
}

// Unauthorized is a gateway that allows nothing: result 2 to everything.
func Unauthorized() Profile {
	p := RFC()
	p.Name, p.Result = "unauth", natpmp.ResultNotAuthorized
	return p
}

// Restarting is [RFC] that restarts again and again, with its leases or without.
func Restarting(every time.Duration, keeps bool) Profile {
	p := RFC()
	p.Name, p.RestartEvery, p.RestartKeeps = "restart", every, keeps
	return p
}

// NewAddress is [RFC] whose public address changes again and again, and with it
// the external ports if they move.
func NewAddress(every time.Duration, moves bool) Profile {
	p := RFC()
	p.Name, p.ReaddressEvery, p.ReaddressMoves = "newaddr", every, moves
	return p
}

// Split is [Proton] that gives UDP the port after TCP's.
func Split() Profile {
	p := Proton()
	p.Name, p.Companion = "split", CompanionNext
	return p
}

// WrongInternal is [RFC] that answers with another internal port than was asked for.
func WrongInternal() Profile {
	p := RFC()
	p.Name, p.WrongInternal = "wrongint", true
	return p
}

// Lossy is [Proton] behind a line that loses the given part of the requests and,
// separately, of the replies, delays some for up to 20 seconds, and doubles and reorders others.
func Lossy(loss float64) Profile {
	p := Proton()
	p.Name = "lossy"
	line := Faults{Loss: loss, Duplicate: 0.05, Reorder: 0.05, Hold: 20 * time.Second, Delay: 10 * time.Millisecond, Jitter: 50 * time.Millisecond}
	p.Requests, p.Replies = line, line
	return p
}

// Liar is [RFC] that tells one lie of each kind in turn before it says the truth.
func Liar() Profile {
	p := RFC()
	p.Name = "liar"
	p.Lies = []Lie{LieElsewhere, LieOpcode, LieVersion, LieLate, LieTruncated, LiePadded, LieShortError}
	return p
}

// Slow is [RFC] with one thread and 2 seconds for each request.
func Slow() Profile {
	p := RFC()
	p.Name, p.ServiceTime = "slow", 2*time.Second
	return p
}

// RefusesZero is [RFC] that refuses a new lease with the given result when port 0 is
// suggested, which stands for any port, and grants any other suggestion.
func RefusesZero(code natpmp.ResultCode) Profile {
	p := RFC()
	p.Name, p.ZeroSuggestion = "zeroport", code
	return p
}

// PCPOnly is a gateway that speaks PCP and no NAT-PMP.
func PCPOnly() Profile { return Profile{Name: "pcp", PCPOnly: true} }

// CutPorts is [RFC] that keeps 8 bits of each port in its replies.
func CutPorts() Profile {
	p := RFC()
	p.Name, p.Garble = "8bit", GarbleCut
	return p
}

// SwappedPorts is [RFC] that mixes the two ports up in its replies.
func SwappedPorts() Profile {
	p := RFC()
	p.Name, p.Garble = "swapped", GarbleSwap
	return p
}

// EpochFlipper is [Proton] on two machines behind one address, the second of which
// answers every k-th request.
func EpochFlipper(k int) Profile {
	p := Proton()
	p.Name, p.FlipEvery, p.FlipEpoch = "flip", k, 1000
	return p
}

// Suspended is [Proton] as somebody sees it whose own clock stands again and again,
// like that of a laptop: more time has passed for the gateway than for its client.
func Suspended(every, lasting time.Duration) Profile {
	p := Proton()
	p.Name, p.SkipEvery, p.SkipFor = "suspend", every, lasting
	return p
}
