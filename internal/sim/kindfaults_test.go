package sim_test

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
)

// beyondFaults are what the kind's gateway does, or its provider.
func beyondFaults(k kind) []fault {
	switch k {
	case byPCP:
		return pcpFaults()
	case byUPnP:
		return boxFaults()
	case byPool:
		return poolFaults()
	default:
		return gatewayFaults()
	}
}

// forgets is a fault that loses state. Too soon after the last one it does not happen: it could
// not be noticed.
func forgets(do func(w *world)) func(w *world) func() {
	return func(w *world) func() {
		if time.Since(w.restarted) < unnoticed {
			return nil
		}
		w.restarted = time.Now()
		do(w)
		w.watch.tampered(&w.watch.gateway)
		return nil
	}
}

// pcpFaults are what a gateway does that speaks PCP.
func pcpFaults() []fault {
	set := func(do, undo func(p *pcptest.Profile)) func(w *world) func() {
		return func(w *world) func() {
			end := w.watch.begin(&w.watch.gateway)
			w.bench.PCP.Adjust(do)
			return func() { w.bench.PCP.Adjust(undo); end() }
		}
	}
	result := func(code pcp.ResultCode) func(w *world) func() {
		return set(func(p *pcptest.Profile) { p.Result = code }, func(p *pcptest.Profile) { p.Result = 0 })
	}
	return []fault{
		{"pcp: restart without its mappings", forgets(func(w *world) { w.bench.PCP.Restart(false) })},
		{"pcp: restart with its mappings", func(w *world) func() {
			w.bench.PCP.Restart(true)
			w.watch.tampered(&w.watch.gateway)
			return nil
		}},
		{"pcp: other ports", forgets(func(w *world) { w.bench.PCP.MovePorts(); w.bench.PCP.Restart(true) })},
		{"pcp: other address", forgets(func(w *world) { w.bench.PCP.SetAddress(w.bench.PCP.Address().Next()) })},
		{"pcp: no address", func(w *world) func() {
			end := w.watch.begin(&w.watch.gateway)
			w.bench.PCP.SetAddress(netip.Addr{})
			return func() { w.bench.PCP.SetAddress(publicAddress); end() }
		}},
		{"pcp: refuses", func(w *world) func() {
			end := w.watch.begin(&w.watch.gateway)
			w.bench.PCP.Refuse(true)
			return func() { w.bench.PCP.Refuse(false); end() }
		}},
		{"pcp: silent", set(func(p *pcptest.Profile) { p.Silent = true }, func(p *pcptest.Profile) { p.Silent = false })},
		{"pcp: slow", late(set(func(p *pcptest.Profile) { p.ServiceTime = 700 * time.Millisecond }, func(p *pcptest.Profile) { p.ServiceTime = 0 }))},
		{"pcp: lies", late(set(func(p *pcptest.Profile) { p.Lies = natpmptest.Liar().Lies }, func(p *pcptest.Profile) { p.Lies = nil }))},
		{"pcp: speaks NAT-PMP in turn", set(
			func(p *pcptest.Profile) { p.Speaks = pcptest.SpeaksInTurn }, func(p *pcptest.Profile) { p.Speaks = pcptest.SpeaksPCP },
		)},
		{"pcp: nonsense", func(w *world) func() {
			n := pick(w.rng, pcptest.Nonsenses()...)
			return set(func(p *pcptest.Profile) { p.Nonsense = n }, func(p *pcptest.Profile) { p.Nonsense = 0 })(w)
		}},
		{"pcp: full", set(func(p *pcptest.Profile) { p.MaxLeases = 3 }, func(p *pcptest.Profile) { p.MaxLeases = 0 })},
		{"pcp: not authorized", result(pcp.ResultNotAuthorized)},
		{"pcp: network failure", result(pcp.ResultNetworkFailure)},
		{"pcp: no resources", result(pcp.ResultNoResources)},
		{"pcp: quota", result(pcp.ResultUserExceededQuota)},
		{"pcp: address mismatch", result(pcp.ResultAddressMismatch)},
	}
}

// boxFaults are what a box does that speaks UPnP.
func boxFaults() []fault {
	set := func(change func(p *igdtest.Profile)) func(w *world) func() {
		return func(w *world) func() {
			end := w.watch.begin(&w.watch.gateway)
			w.box(change)
			return func() { w.box(nil); end() }
		}
	}
	code := func(c igd.Code) func(w *world) func() {
		return set(func(p *igdtest.Profile) { p.Answers = []igd.Code{c} })
	}
	return []fault{
		{"igd: forgets all", forgets(func(w *world) { w.bench.Box.Restart(false) })},
		{"igd: restart with its mappings", func(w *world) func() {
			w.bench.Box.Restart(true)
			w.watch.tampered(&w.watch.gateway)
			return nil
		}},
		{"igd: forgets one", forgets(func(w *world) { w.steal(false) })},
		{"igd: forgets one, whose port another host gets", forgets(func(w *world) { w.steal(true) })},
		{"igd: answers at another port", func(w *world) func() {
			end := w.watch.begin(&w.watch.gateway)
			w.bench.Place.Move(uint16(5001 + w.rng.IntN(1000)))
			return end
		}},
		{"igd: other address", func(w *world) func() {
			w.bench.Box.SetAddress(netip.AddrFrom4([4]byte{5, 6, 7, byte(w.rng.IntN(256))}))
			w.watch.tampered(&w.watch.gateway)
			return nil
		}},
		{"igd: no address", func(w *world) func() {
			w.bench.Box.SetAddress(netip.Addr{})
			return func() { w.bench.Box.SetAddress(publicAddress) }
		}},
		{"igd: switched off", func(w *world) func() {
			end := w.watch.begin(&w.watch.gateway)
			w.bench.Place.Move(0)
			return func() { w.bench.Place.Move(5000); end() }
		}},
		{"igd: silent", set(func(p *igdtest.Profile) { p.Silent = true })},
		{"igd: loses answers", set(func(p *igdtest.Profile) { p.LoseAnswers = 2 })},
		{"igd: answers never come", set(func(p *igdtest.Profile) { p.LoseAnswers, p.HangAnswers = 2, true })},
		{"igd: slow", set(func(p *igdtest.Profile) { p.ServiceTime = 700 * time.Millisecond })},
		{"igd: late", late(set(func(p *igdtest.Profile) { p.ServiceTime = 7 * time.Second }))},
		{"igd: full", set(func(p *igdtest.Profile) { p.MaxMappings = 3 })},
		{"igd: nonsense", set(func(p *igdtest.Profile) { p.Response = igdtest.Nonsense().Response })},
		{"igd: flipping", set(func(p *igdtest.Profile) { p.Answers = igdtest.Flipping().Answers })},
		{"igd: fails", code(igd.CodeActionFailed)},
		{"igd: not authorized", code(igd.CodeNotAuthorized)},
		{"igd: conflicts", code(igd.CodeConflict)},
		{"igd: no memory", code(igd.CodeOutOfMemory)},
	}
}

// box changes how the box behaves, or, with nil, lets it behave as it does when it is well.
func (w *world) box(change func(p *igdtest.Profile)) {
	w.bench.Box.Adjust(func(p *igdtest.Profile) {
		*p = *w.profile.UPnP
		if change != nil {
			change(p)
		}
	})
}

// steal lets the box forget a mapping of ours, and give its port to another host for a while.
func (w *world) steal(give bool) {
	all := w.bench.Box.Mappings()
	all = slices.DeleteFunc(all, func(m igd.Mapping) bool { return m.Client == stranger })
	if len(all) == 0 {
		return
	}
	m := all[w.rng.IntN(len(all))]
	w.bench.Box.Forget(m.Protocol, m.External)
	if give {
		w.bench.Box.Put(igd.Mapping{Protocol: m.Protocol, External: m.External, Client: stranger, Internal: 1, Lease: time.Hour})
	}
}

// publicAddress is what gateways have at first.
var publicAddress = netip.AddrFrom4([4]byte{5, 6, 7, 8})

// stranger is another host that has mappings at the box.
var stranger = netip.AddrFrom4([4]byte{10, 2, 0, 9})

// poolFaults are what a provider does, and the script that writes the file.
func poolFaults() []fault {
	// provides is a change of what is forwarded. It is over when it is mended.
	provides := func(change func(w *world, now []string) []string) func(w *world) func() {
		return func(w *world) func() {
			end := w.watch.begin(&w.watch.gateway)
			w.provide(change(w, slices.Clone(w.pool)))
			return func() { w.provide(w.pool); end() }
		}
	}
	// spoils is a file that cannot be read: all stays as it was.
	spoils := func(file func(w *world)) func(w *world) func() {
		return func(w *world) func() {
			if w.watch.unread() {
				return func() {} // The daemon may not have read yet what is forwarded, and could not now.
			}
			file(w)
			return func() { w.provide(w.pool) }
		}
	}
	writes := func(text func(w *world) string) func(w *world) func() {
		return spoils(func(w *world) { w.must(w.bench.WritePool(text(w))) })
	}
	return []fault{
		{"pool: entries are taken away", provides(func(w *world, now []string) []string {
			return slices.DeleteFunc(now, func(string) bool { return w.chance(0.3) })
		})},
		{"pool: most entries are taken away", provides(func(w *world, now []string) []string {
			return slices.DeleteFunc(now, func(string) bool { return w.chance(0.8) })
		})},
		{"pool: other external ports", provides(func(_ *world, now []string) []string {
			for i, entry := range now {
				ports, protocol, limited := strings.Cut(entry, "/")
				_, inner, shifted := strings.Cut(ports, ":")
				if !shifted {
					inner = ports
				}
				if now[i] = "5" + inner[1:] + ":" + inner; limited {
					now[i] += "/" + protocol
				}
			}
			return now
		})},
		{"pool: empty", provides(func(*world, []string) []string { return nil })},
		{"pool: the file is gone", spoils(func(w *world) {
			w.must(w.bench.WritePool("")) // It may be gone already.
			w.must(w.bench.Forward(strings.Join(w.pool, "\n")))
			w.must(w.bench.RemovePool())
		})},
		{"pool: the file is nonsense", writes(func(w *world) string { return pick(w.rng, "<html>", "6881-", "70000", "1:2:3", "x") })},
		{"pool: a port twice", writes(func(w *world) string { return strings.Join(append(slices.Clone(w.pool), w.pool[0]), "\n") })},
	}
}
