package sim_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"doublenat/igd/igdtest"
	"doublenat/internal/lab"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp/pcptest"
)

var flagKind = flag.String("kind", "", "what is beyond the router: natpmp, pcp, igd or pool; the seed decides if it is not given")

// kind is what is beyond the router.
type kind string

// The kinds.
const (
	byNATPMP kind = "natpmp"
	byPCP    kind = "pcp"
	byUPnP   kind = "igd"
	byPool   kind = "pool"
)

// kinds are all of them.
func kinds() []kind { return []kind{byNATPMP, byPCP, byUPnP, byPool} }

// chance returns dice of their own for something that came later than the first seeds: their
// days with NAT-PMP stay what they were.
func chance(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6b696e64)) }

// drawKind returns the kind of a seed, unless the command line says another one.
func drawKind(seed uint64) kind {
	if *flagKind != "" {
		return kind(*flagKind)
	}
	switch n := chance(seed).IntN(100); {
	case n < 70:
		return byNATPMP
	case n < 82:
		return byPCP
	case n < 91:
		return byUPnP
	default:
		return byPool
	}
}

// beyond puts what is of the kind beyond the router.
func (w *world) beyond(cfg *lab.BenchConfig) error {
	if w.kind == byNATPMP {
		return nil
	}
	rng := chance(w.seed ^ 1<<63)
	cfg.Environ["GATEWAY_DELIVERY"] = "internal"
	cfg.Profile = natpmptest.RFC()
	switch w.kind {
	case byPCP:
		p := pcpProfile(rng)
		cfg.Beyond.PCP, w.like = &p, "pcp "+p.Name
	case byUPnP:
		p := boxProfile(rng)
		cfg.Beyond.UPnP, w.like = &p, "igd "+p.Name
	case byPool:
		cfg.Environ["PUBLIC_ADDRESS"] = "5.6.7.8"
		cfg.Beyond.PoolDir = w.t.TempDir()
		w.pool = w.entries(rng)
		w.like = fmt.Sprintf("pool of %d entries", len(w.pool))
	case byNATPMP:
	default:
		return fmt.Errorf("no kind %q; there are %v", w.kind, kinds())
	}
	return nil
}

// pcpProfile chooses a gateway that speaks PCP.
func pcpProfile(rng *rand.Rand) pcptest.Profile {
	p := pick(rng, pcptest.RFC(), pcptest.RFC(), pcptest.Miniupnpd(), pcptest.Short(10*time.Minute))
	// Refusals that last for half an hour outlast a quiet time.
	p.ErrorLifetime = pick(rng, -1, 10*time.Second, 30*time.Second)
	return p
}

// boxProfile chooses a box.
func boxProfile(rng *rand.Rand) igdtest.Profile {
	cuts := igdtest.IGD1()
	cuts.Name, cuts.MaxLease = "cuts", 30*time.Minute
	same := igdtest.IGD1()
	same.Name, same.SamePorts = "same", true
	stubborn := igdtest.IGD1()
	stubborn.Name, stubborn.NoRenewal = "stubborn", true
	ignores := igdtest.IGD1()
	ignores.Name, ignores.IgnoresLease = "ignores", true
	return pick(rng, igdtest.IGD1(), igdtest.IGD2(), igdtest.IGD2(), igdtest.PPP(), igdtest.Both(), igdtest.Permanent(), igdtest.Invalid402(), cuts, same, stubborn, ignores)
}

// entries returns what a provider forwards: a few ports for each client, some of one protocol
// only, some that arrive at another port than their own.
func (w *world) entries(rng *rand.Rand) []string {
	var all []string
	inner, shift := 20000+rng.IntN(200), 0
	for range 7 + rng.IntN(10) {
		inner += 1 + rng.IntN(500)
		entry := fmt.Sprint(inner)
		if rng.IntN(3) == 0 {
			shift++
			entry = fmt.Sprintf("%d:%d", 40000+shift, inner)
		}
		all = append(all, entry+pick(rng, "", "", "", "", "/tcp", "/udp"))
	}
	return all
}

// provide makes the entries those that the provider forwards from now on.
func (w *world) provide(entries []string) {
	w.watch.tampered(&w.watch.gateway)
	w.forward(entries)
}

// forward makes the entries those that the provider forwards.
func (w *world) forward(entries []string) {
	w.forwards = entries
	w.must(w.bench.Forward(strings.Join(entries, "\n") + "\n"))
}
