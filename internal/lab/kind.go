package lab

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// DefaultKind is the gateway that most people have.
const DefaultKind = "natpmp"

// kind is what the gateway is, and all that differs with it but what it says.
type kind struct {
	name string
	// means says in one sentence what such a gateway is.
	means string
	// profiles are the ways in which one behaves, first the one unless another is wanted;
	// nil if there is one way only.
	profiles []Profile
	// lends is what the gateway calls what it gives.
	lends string
	// costs says what the gateway was asked in so many questions.
	costs func(questions uint64) string
	// sameAtBoth is one whose public ports are mostly the router's too, so that they cannot
	// be at one address.
	sameAtBoth bool
	// make makes one that behaves as the profile says.
	make func(w *world, profile string) (box, error)
}

// kinds returns all kinds of gateways.
func kinds() []kind {
	return []kind{
		{
			name: "natpmp", lends: "lease", costs: counted("packet", "packets", "to the gateway"),
			means:    "a VPN provider's, which leases public ports to NAT-PMP clients for a limited time.",
			profiles: natpmpProfiles(),
			make:     makeNATPMP,
		},
		{
			name: "pcp", lends: "mapping", costs: counted("packet", "packets", "to the gateway"),
			means:    "a newer box or a carrier's, which lends public ports for a time to whoever asks by PCP.",
			profiles: pcpProfiles(),
			make:     makePCP,
		},
		{
			name: "igd", lends: "mapping", costs: counted("call", "calls", "of the box"),
			means:    "a home router, found by searching, which opens public ports for UPnP clients.",
			profiles: igdProfiles(), sameAtBoth: true,
			make: makeIGD,
		},
		{
			name: "pool", lends: "forward", costs: func(uint64) string { return "no word to the provider" },
			means: "a provider's, which forwards some ports to the router for good; doublenat asks nobody and gives them to programs.",
			make:  makePool,
		},
	}
}

// counted returns what says a number of questions in words.
func counted(one, more, whose string) func(uint64) string {
	return func(n uint64) string {
		noun := more
		if n == 1 {
			noun = one
		}
		return fmt.Sprintf("%d %s %s", n, noun, whose)
	}
}

// Kinds lists what Options.Kind may be.
func Kinds() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// Profiles lists how a kind of gateway may behave, the usual way first; nothing if there is
// no choice.
func Profiles(name string) []Profile {
	for _, k := range kinds() {
		if k.name == name {
			return k.profiles
		}
	}
	return nil
}

// names returns the names of the profiles.
func (k kind) names() string {
	names := make([]string, len(k.profiles))
	for i, p := range k.profiles {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

// choose returns the kind of gateway with a name and its profile. The errors say what to
// change.
func choose(name, profile string) (kind, Profile, error) {
	name = cmp.Or(name, DefaultKind)
	all := kinds()
	i := slices.Index(Kinds(), name)
	if i < 0 {
		return kind{}, Profile{}, fmt.Errorf("lab: there is no kind of gateway %q; allowed: %s", name, strings.Join(Kinds(), ", "))
	}
	k := all[i]
	at := slices.IndexFunc(k.profiles, func(p Profile) bool { return p.Name == profile || profile == "" })
	switch {
	case at >= 0:
		return k, k.profiles[at], nil
	case profile == "":
		return k, Profile{}, nil
	case k.profiles == nil:
		return kind{}, Profile{}, fmt.Errorf("lab: a gateway of the kind %s has no profiles, so %q cannot be one: leave --profile out", name, profile)
	case name == DefaultKind:
		return kind{}, Profile{}, fmt.Errorf("lab: there is no gateway profile %q; allowed: %s", profile, k.names())
	default:
		return kind{}, Profile{}, fmt.Errorf("lab: there is no gateway profile %q of the kind %s: leave --profile out, or take one of %s", profile, name, k.names())
	}
}
