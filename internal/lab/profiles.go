package lab

import "slices"

// Profile is how a gateway behaves, in words.
type Profile struct {
	// Name is what Options.Profile takes.
	Name string
	// Means says what such a gateway does.
	Means string
	// Shows says what there is to see of one that opens no port; "" if it opens ports.
	Shows string
}

// named returns the profile of a test gateway with the name that a [Profile] has.
func named[P any](all []P, name string, of func(P) string) P {
	return all[slices.IndexFunc(all, func(p P) bool { return of(p) == name })] // TestProfilesAreExplained holds that it is there.
}

// natpmpProfiles describes natpmptest's profiles, the usual one first.
func natpmpProfiles() []Profile {
	return []Profile{
		{Name: "proton", Means: "ProtonVPN: a random port for 60 s whatever is asked, the same for TCP and UDP, five at most"},
		{Name: "rfc", Means: "as RFC 6886 says: the suggested port if it is free, for two hours at most"},
		{Name: "proton-ext", Means: "like proton, but packets reach the router on the public port (GATEWAY_DELIVERY=external)"},
		{Name: "proton-rotate", Means: "like proton, but every renewal moves the port"},
		{Name: "proton-dup", Means: "like proton, but takes a request repeated within 2 s as one for another port"},
		{Name: "proton-refuse", Means: "like proton, but closed for five minutes of every hour"},
		{Name: "miniupnpd", Means: "miniupnpd 2.3: the suggested port or the next free one, for as long as asked"},
		{Name: "short", Means: "leases of 10 s"},
		{Name: "full", Means: "room for three leases"},
		{Name: "noaddr", Means: "no public address: every request fails", Shows: "clients get result 3, network failure"},
		{Name: "unauth", Means: "allows nothing: every request is refused as not authorized", Shows: "clients get no address, and the log says what to switch on"},
		{Name: "restart", Means: "forgets all leases every hour"},
		{Name: "newaddr", Means: "has another public address every hour"},
		{Name: "split", Means: "like proton, but UDP gets the port after TCP's"},
		{Name: "wrongint", Means: "replies for another port than the one asked for", Shows: "doublenat does not believe it, and clients get result 3, network failure"},
		{Name: "lossy", Means: "like proton, over a line that loses, delays and repeats packets"},
		{Name: "liar", Means: "lies once in each way before it tells the truth"},
		{Name: "slow", Means: "takes 2 s for each request, one after the other", Shows: "the first request is not granted in time, and clients have to ask again"},
		{Name: "zeroport", Means: "refuses requests that suggest no port"},
		{Name: "pcp", Means: "speaks PCP only, while doublenat asks by NAT-PMP", Shows: "clients get no address, and the log says that the version is wrong"},
		{Name: "8bit", Means: "cuts port numbers to 8 bits in its replies", Shows: "doublenat does not believe it, and clients get result 3, network failure"},
		{Name: "swapped", Means: "swaps the two ports in its replies", Shows: "doublenat does not believe it, and clients get result 3, network failure"},
		{Name: "flip", Means: "two machines at one address, whose clocks differ"},
		{Name: "suspend", Means: "like proton, seen from a laptop that sleeps 45 minutes of every hour"},
	}
}

// pcpProfiles describes pcptest's profiles, the usual one first.
func pcpProfiles() []Profile {
	return []Profile{
		{Name: "rfc", Means: "as RFC 6887 says: the suggested port if it is free, for two minutes at least"},
		{Name: "miniupnpd", Means: "miniupnpd 2.3, which speaks NAT-PMP too"},
		{Name: "short", Means: "mappings of 30 s"},
		{Name: "full", Means: "room for three mappings"},
		{Name: "network failure", Means: "no connectivity: every mapping fails", Shows: "clients get result 3, network failure"},
		{Name: "not authorized", Means: "allows nothing: every mapping is refused", Shows: "clients get no address, and the log says what to switch on"},
		{Name: "restart", Means: "forgets all mappings every hour"},
		{Name: "lossy", Means: "over a line that loses, delays and repeats packets"},
		{Name: "slow", Means: "takes 2 s for each request, one after the other", Shows: "the first request is not granted in time, and clients have to ask again"},
		{Name: "liar", Means: "lies once in each way before it tells the truth"},
		{Name: "natpmp", Means: "speaks NAT-PMP only, while doublenat asks by PCP", Shows: "clients get no address, and the log says that the version is wrong"},
		{Name: "flipping", Means: "speaks PCP in every other reply only", Shows: "clients get no address, and the log says that the version is wrong"},
		{Name: "flip", Means: "two machines at one address, whose clocks differ"},
		{Name: "suspend", Means: "seen from a laptop that sleeps 45 minutes of every hour"},
		{Name: "senseless", Means: "grants mappings without a port", Shows: "doublenat does not believe it, and clients get result 3, network failure"},
	}
}

// igdProfiles describes igdtest's profiles, the usual one first.
func igdProfiles() []Profile {
	return []Profile{
		{Name: "igd1", Means: "a box of version 1, as most are"},
		{Name: "igd2", Means: "a box of version 2, which can choose another port"},
		{Name: "ppp", Means: "an old box at a DSL line"},
		{Name: "both", Means: "lists a connection that is down before the one that is up"},
		{Name: "permanent", Means: "knows mappings without an end only"},
		{Name: "402", Means: "the same, but says so with the wrong error"},
		{Name: "forgets", Means: "mappings vanish after ten minutes"},
		{Name: "full", Means: "room for three mappings"},
		{Name: "slow", Means: "takes 2 s for each call"},
		{Name: "lossy", Means: "does what it is asked, and loses every third answer"},
		{Name: "flips", Means: "answers differently each time", Shows: "clients get no address, and the log says what the box answered"},
		{Name: "nonsense", Means: "answers calls with a login page", Shows: "clients get no address, and the log says that UPnP cannot be used"},
	}
}
