package daemon_test

import (
	"net/netip"
	"testing"
	"time"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
	"doublenat/pcp/pcptest"
	"doublenat/routeros/routerostest"
)

// faultClasses are the ways in which something beyond the router fails.
func faultClasses() []string {
	return []string{
		"silence", "refusal", "loss", "late", "duplicate", "restart", "other port", "other address", "full", "nonsense", "slow", "flipping",
	}
}

// classKind is a kind of what is beyond the router.
type classKind struct {
	name string
	// variant is one that behaves otherwise than another of its kind.
	variant bool
	// iface is where ports arrive at the router.
	iface string
	// unasked is one that is never asked, so that answers cannot tell how it is.
	unasked bool
	// bench has one that is well, mend makes it well again.
	bench func(t *testing.T) lab.BenchConfig
	mend  func(w *classWorld)
	rows  func() []classRow
}

// classRow is a fault of a kind.
type classRow struct {
	class string
	// is says what the class is for the kind.
	is string
	// strike begins the fault at beat 0, and goes on with it at the others.
	strike func(w *classWorld, n int)
	// blind is for how long a renewal may be answered with what is not true any more: as
	// long as nobody can know.
	blind time.Duration
	// copies is how much older a request or a reply can be than those that were sent later
	// and came before: what it tells is not true any more, and what it makes is nobody's and
	// expires. 0 is where none can.
	copies time.Duration
	// lasting is for how long the gateway said that its refusals last, beyond the fault.
	lasting time.Duration
	// mute is a change that no protocol tells of before the next renewal.
	mute bool
}

const (
	// outOfReach is how long a mapping may be answered from the table (docs/design.md), with
	// the lease that was granted last.
	outOfReach = 11 * time.Minute
	// overtaking is how much later a packet can come than those that were sent after it, and
	// queued the same where the gateway takes one after the other, and two seconds for each.
	overtaking, queued = 30 * time.Second, 2 * time.Minute
	// byEpoch is when a gateway's loss is noticed at the latest, and all is asked for again:
	// it is looked at every 20 s.
	byEpoch = 25 * time.Second
	// byLook is the same with a box that is looked at every minute.
	byLook = 65 * time.Second
	// byFile is the same with a file that is read every 15 s, the time to change a rule included.
	byFile = 17 * time.Second
)

// classKinds returns each kind once, and variants of them.
func classKinds() []classKind {
	all := []classKind{natpmpClass("natpmp", natpmptest.RFC()), pcpClass("pcp", pcptest.RFC()), igdClass("igd", igdtest.Permanent()), poolClass()}
	for _, k := range []classKind{
		natpmpClass("natpmp proton", natpmptest.Proton()), pcpClass("pcp miniupnpd", pcptest.Miniupnpd()),
		igdClass("igd igd1", igdtest.IGD1()), igdClass("igd igd2", igdtest.IGD2()),
	} {
		k.variant = true
		all = append(all, k)
	}
	return all
}

// first is a fault that begins once.
func first(do func(w *classWorld)) func(w *classWorld, n int) {
	return func(w *classWorld, n int) {
		if n == 0 {
			do(w)
		}
	}
}

// rarely is a fault that strikes now and again, with time to notice each.
func rarely(do func(w *classWorld)) func(w *classWorld, n int) {
	return func(w *classWorld, n int) {
		if n%5 == 0 {
			do(w)
		}
	}
}

// packets are the faults that datagrams have whatever is in them.
var (
	lossy   = natpmptest.Faults{Loss: 0.4}
	tardy   = natpmptest.Faults{Delay: time.Second, Jitter: 9 * time.Second}
	doubled = natpmptest.Faults{Duplicate: 1, Jitter: 2 * time.Second}
)

func natpmpClass(name string, well natpmptest.Profile) classKind {
	well.MaxPorts = 0 // There is one for each client.
	set := func(change func(p *natpmptest.Profile)) func(w *classWorld, n int) {
		return first(func(w *classWorld) { w.Gateway.Adjust(change) })
	}
	return classKind{
		name: name, iface: routerostest.TunnelInterface,
		bench: func(*testing.T) lab.BenchConfig { return lab.BenchConfig{Profile: well, Seed: 1} },
		mend: func(w *classWorld) {
			w.Gateway.Refuse(false)
			w.Gateway.Adjust(func(p *natpmptest.Profile) { *p = well })
		},
		rows: func() []classRow {
			return []classRow{
				{"silence", "requests are read and not carried out", set(func(p *natpmptest.Profile) { p.Silent = true }), outOfReach, 0, 0, false},
				{"refusal", "the port is closed (ICMP)", first(func(w *classWorld) { w.Gateway.Refuse(true) }), outOfReach, 0, 0, false},
				{"loss", "requests and replies vanish", set(func(p *natpmptest.Profile) { p.Requests, p.Replies = lossy, lossy }), outOfReach, overtaking, 0, false},
				{"late", "requests and replies come late and out of order", set(func(p *natpmptest.Profile) { p.Requests, p.Replies = tardy, tardy }), outOfReach, overtaking, 0, false},
				{"duplicate", "requests and replies come twice", set(func(p *natpmptest.Profile) { p.Requests, p.Replies = doubled, doubled }), outOfReach, overtaking, 0, false},
				{"restart", "the leases are lost", rarely(func(w *classWorld) { w.Gateway.Restart(false) }), byEpoch, 0, 0, false},
				{"other port", "all leases move to other ports, without a word", first(func(w *classWorld) { w.Gateway.MovePorts() }), untilRenewed(well), 0, 0, true},
				{"other address", "the public address changes, and the leases are lost", rarely(moved(func(w *classWorld) { w.Gateway.Restart(false) })), byEpoch, 0, 0, false},
				{"full", "there is room for two leases", set(func(p *natpmptest.Profile) { p.MaxLeases = 2 }), 0, 0, 0, false},
				{"nonsense", "replies are of all wrong forms", set(func(p *natpmptest.Profile) { p.Lies, p.LiesOnly = natpmptest.Liar().Lies, true }), outOfReach, overtaking, 0, false},
				{"slow", "each request takes two seconds, one after the other", set(func(p *natpmptest.Profile) { p.ServiceTime = 2 * time.Second }), outOfReach, queued, 0, false},
				{"flipping", "two machines at one address, and other results all the time", func(w *classWorld, n int) {
					w.Gateway.Adjust(func(p *natpmptest.Profile) {
						p.FlipEvery, p.FlipEpoch = 2, 1000
						p.Result = []natpmp.ResultCode{0, natpmp.ResultNotAuthorized, 0, natpmp.ResultOutOfResources, 0, natpmp.ResultNetworkFailure}[n%6]
					})
				}, outOfReach, 0, 0, false},
			}
		},
	}
}

// untilRenewed is how long a changed port is told that no protocol tells of: until the lease is renewed.
func untilRenewed(p natpmptest.Profile) time.Duration { return p.Lifetime/2 + time.Second }

// moved is a change of the public address, and more.
func moved(more func(w *classWorld)) func(w *classWorld) {
	return func(w *classWorld) {
		w.Gateway.SetAddress(w.Gateway.Address().Next())
		more(w)
	}
}

func pcpClass(name string, well pcptest.Profile) classKind {
	set := func(change func(p *pcptest.Profile)) func(w *classWorld, n int) {
		return first(func(w *classWorld) { w.PCP.Adjust(change) })
	}
	return classKind{
		name: name, iface: routerostest.TunnelInterface,
		bench: func(*testing.T) lab.BenchConfig { return lab.BenchConfig{Beyond: lab.Beyond{PCP: &well}, Seed: 1} },
		mend: func(w *classWorld) {
			w.PCP.Refuse(false)
			w.PCP.Adjust(func(p *pcptest.Profile) { *p = well })
		},
		rows: func() []classRow {
			return []classRow{
				{"silence", "requests are read and not carried out", set(func(p *pcptest.Profile) { p.Silent = true }), outOfReach, 0, 0, false},
				{"refusal", "the port is closed (ICMP)", first(func(w *classWorld) { w.PCP.Refuse(true) }), outOfReach, 0, 0, false},
				{"loss", "requests and replies vanish", set(func(p *pcptest.Profile) { p.Requests, p.Replies = lossy, lossy }), outOfReach, overtaking, 0, false},
				{"late", "requests and replies come late and out of order", set(func(p *pcptest.Profile) { p.Requests, p.Replies = tardy, tardy }), outOfReach, overtaking, 0, false},
				{"duplicate", "requests and replies come twice", set(func(p *pcptest.Profile) { p.Requests, p.Replies = doubled, doubled }), outOfReach, overtaking, 0, false},
				{"restart", "the mappings are lost", rarely(func(w *classWorld) { w.PCP.Restart(false) }), byEpoch, 0, 0, false},
				{"other port", "all mappings move to other ports, and the epoch begins anew", rarely(func(w *classWorld) { w.PCP.MovePorts(); w.PCP.Restart(true) }), byEpoch, 0, 0, false},
				{"other address", "the public address changes, and the mappings are lost", rarely(func(w *classWorld) {
					w.PCP.SetAddress(w.PCP.Address().Next())
					w.PCP.Restart(false)
				}), byEpoch, 0, 0, false},
				{"full", "there is room for two mappings", set(func(p *pcptest.Profile) { p.MaxLeases = 2 }), 0, 0, 0, false},
				{"nonsense", "successes have another nonce, port or protocol, no port, no time, or are no responses", func(w *classWorld, n int) {
					w.PCP.Adjust(func(p *pcptest.Profile) { p.Nonsense = pcptest.Nonsenses()[n%len(pcptest.Nonsenses())] })
				}, outOfReach, overtaking, 0, false},
				{"slow", "each request takes two seconds, one after the other", set(func(p *pcptest.Profile) { p.ServiceTime = 2 * time.Second }), outOfReach, queued, 0, false},
				{"flipping", "PCP in every other reply only, two epochs, and other results all the time", func(w *classWorld, n int) {
					w.PCP.Adjust(func(p *pcptest.Profile) {
						p.Speaks, p.FlipEvery, p.FlipEpoch = pcptest.SpeaksInTurn, 2, 1000
						p.Result = []pcp.ResultCode{0, pcp.ResultNotAuthorized, 0, pcp.ResultNoResources, 0, pcp.ResultNetworkFailure}[n%6]
					})
				}, outOfReach, 0, pcp.LongErrorLifetime, false},
			}
		},
	}
}

func igdClass(name string, well igdtest.Profile) classKind {
	set := func(change func(p *igdtest.Profile)) func(w *classWorld, n int) {
		return first(func(w *classWorld) { w.Box.Adjust(change) })
	}
	return classKind{
		name: name, iface: routerostest.TunnelInterface,
		bench: func(*testing.T) lab.BenchConfig { return lab.BenchConfig{Beyond: lab.Beyond{UPnP: &well}, Seed: 1} },
		mend: func(w *classWorld) {
			w.Box.Adjust(func(p *igdtest.Profile) { *p = well })
			w.Place.Move(5000)
		},
		rows: func() []classRow {
			return []classRow{
				{"silence", "calls are read and not carried out", set(func(p *igdtest.Profile) { p.Silent = true }), outOfReach, 0, 0, false},
				{"refusal", "UPnP is switched off", first(func(w *classWorld) { w.Place.Move(0) }), outOfReach, 0, 0, false},
				{"loss", "calls are carried out, and two of three answers never come", set(func(p *igdtest.Profile) { p.LoseAnswers, p.HangAnswers = 2, true }), outOfReach, 0, 0, false},
				{"late", "calls are carried out when nobody waits for them any more", set(func(p *igdtest.Profile) { p.ServiceTime = 7 * time.Second }), outOfReach, 0, 0, false},
				{"duplicate", "searches are answered six times, and calls are made again whose answers were cut", set(func(p *igdtest.Profile) { p.SearchCopies, p.LoseAnswers = 5, 2 }), outOfReach, 0, 0, false},
				{"restart", "the mappings are forgotten", rarely(func(w *classWorld) { w.Box.Restart(false) }), byLook, 0, 0, false},
				{"other port", "another host has our ports since the box forgot them", rarely(func(w *classWorld) {
					ours := w.Box.Mappings()
					w.Box.Restart(false)
					for i, m := range ours {
						if m.Client = netip.MustParseAddr("10.2.0.9"); i%2 == 0 {
							w.Box.Put(igd.Mapping{Protocol: m.Protocol, External: m.External, Client: m.Client, Internal: 1, Lease: 3 * time.Minute})
						}
					}
				}), byLook, 0, 0, false},
				{"other address", "the public address changes, the box answers at another port, and has forgotten all", rarely(func(w *classWorld) {
					w.Box.SetAddress(netip.AddrFrom4([4]byte{5, 6, 7, byte(time.Now().Unix() % 200)}))
					w.Place.Move(uint16(5001 + time.Now().Unix()%100))
					w.Box.Restart(false)
				}), byLook, 0, 0, false},
				{"full", "there is room for two mappings", set(func(p *igdtest.Profile) { p.MaxMappings = 2 }), 0, 0, 0, false},
				{"nonsense", "calls are carried out and answered with a page to log in", set(func(p *igdtest.Profile) { p.Response = igdtest.Nonsense().Response }), outOfReach, 0, 0, false},
				{"slow", "each call takes three seconds", set(func(p *igdtest.Profile) { p.ServiceTime = 3 * time.Second }), outOfReach, 0, 0, false},
				{"flipping", "calls are refused now for this reason and now for that", set(func(p *igdtest.Profile) { p.Answers = igdtest.Flipping().Answers }), outOfReach, 0, 0, false},
			}
		},
	}
}
