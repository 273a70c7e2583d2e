package upnp

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"doublenat/igd"
	"doublenat/internal/nat"
)

const (
	// looksAtOnce is how many mappings are looked at in one look, each with a call; the
	// others have their turns in the next ones.
	looksAtOnce = 32
	// maxEntries is how many mappings of a box are read.
	maxEntries = 512
	// inventoryTime bounds how long that takes: leases wait for it.
	inventoryTime = 5 * time.Second
	// adoptTime is how long after Adopted a mapping from before is left to those who may
	// ask for it.
	adoptTime = 2 * time.Minute
	// maxLook is the longest time between looks at mappings of a box that denies them all.
	maxLook = time.Hour
	// blindAfter is after how many refusals in a row a box is one that does not tell of single
	// mappings, or does not list them.
	blindAfter = 5
	// cutSlack is by how much a lease may be shorter than it was asked for without a word.
	cutSlack = time.Minute
)

// looks is how the looks at the box go. Guarded by Gateway.mu.
type looks struct {
	// due is set when one is asked for before its time.
	due bool
	// taken is set once all mappings of the box were read, unlisted is how often it refused to
	// list them.
	taken    bool
	unlisted int
	// refused is how many looks in a row the box refused to tell of single mappings.
	refused int
	// vain is how often in a row mappings were gone that had been made since.
	vain int
	// mappingsAt is when mappings are looked at next.
	mappingsAt time.Time
	// adopted is when the core began to ask for what it adopted; zero for not yet.
	adopted time.Time
}

// Adopted says that the core has read its rules and asks for the leases that it wants to
// go on with. What this doublenat made for ever before it crashed, and what nobody has
// asked for two minutes later, is then removed. Only the first call counts.
func (g *Gateway) Adopted() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.looks.adopted.IsZero() {
		g.looks.adopted = time.Now()
	}
}

// look looks at the public address and at the mappings, and returns when to look again.
func (g *Gateway) look(ctx context.Context) time.Time {
	if !g.lookAtAddress(ctx) {
		g.ageAddress()
		return time.Now().Add(retryAfter)
	}
	if taken, unlisted := g.inventory(); !taken && !unlisted {
		g.takeInventory(ctx)
	}
	g.lookAtMappings(ctx)
	g.disown(ctx)
	return time.Now().Add(g.cfg.Look)
}

// lookAtAddress asks for the public address. It returns false if there was no answer.
func (g *Gateway) lookAtAddress(ctx context.Context) bool {
	var said netip.Addr
	err := g.call(ctx, func(ctx context.Context) (err error) {
		said, err = g.client.ExternalAddress(ctx)
		return err
	})
	g.note(kindLook, err)
	if err == nil {
		g.setAddress(said)
	} else if igd.CodeOf(err) != 0 {
		g.ageAddress()
	}
	answered := err == nil || igd.CodeOf(err) != 0
	if answered || misbehaves(err) {
		g.settle.Do(func() { close(g.settled) })
	}
	return answered
}

// lookAtMappings asks for some mappings, and reports what the box forgot.
func (g *Gateway) lookAtMappings(ctx context.Context) {
	now := time.Now()
	g.mu.Lock()
	skip := g.looks.mappingsAt.After(now)
	g.mu.Unlock()
	if skip {
		return
	}
	lost, seen := 0, 0
	for _, s := range g.table.standing(looksAtOnce, now) {
		if !s.tryEnter() {
			continue // It is being asked for.
		}
		stands, err := g.lookAt(ctx, s)
		s.leave()
		if err != nil {
			break
		}
		if seen++; !stands {
			lost++
		}
	}
	if seen == 0 {
		return
	}
	g.mu.Lock()
	g.looks.vain++
	if lost == 0 {
		g.looks.vain = 0
	}
	// A box that forgets everything at once, or says so, is not asked for it all the time.
	again := min(g.cfg.Look<<min(max(g.looks.vain-1, 0), 10), maxLook)
	g.looks.mappingsAt = now.Add(again - g.cfg.Look/2)
	g.mu.Unlock()
	if lost > 0 {
		g.lose(ctx, lost)
	}
}

// lose reports that the box forgot mappings.
func (g *Gateway) lose(ctx context.Context, mappings int) {
	g.mu.Lock()
	g.count.stateLosses++
	g.mu.Unlock()
	g.log.WarnContext(context.WithoutCancel(ctx), "gateway lost mappings", "mappings", mappings)
	g.cfg.OnStateLost()
}

// lookAt asks for one mapping and says whether it stands as it was granted.
func (g *Gateway) lookAt(ctx context.Context, s *slot) (stands bool, err error) {
	ports := g.table.at(s)
	if len(ports) == 0 {
		return true, nil
	}
	var m igd.Mapping
	asked := time.Now()
	err = g.call(ctx, func(ctx context.Context) (err error) {
		m, err = g.client.Find(ctx, igd.Protocol(s.key.protocol), ports[0])
		return err
	})
	switch code := igd.CodeOf(err); {
	case err == nil:
		g.shows()
		return g.compare(ctx, s, m, asked), nil
	case code == igd.CodeNoSuchEntry, code == igd.CodePortNotFound:
		g.shows()
		g.table.setLost(s)
		return false, nil
	case code != igd.CodeInvalidAction && code != igd.CodeNotImplemented && code != igd.CodeNotAuthorized:
	case g.hides(asked):
		g.log.WarnContext(ctx, "gateway does not show its mappings: lost ones are noticed when they are renewed", "error", err)
	}
	return false, err
}

// shows notes that the box tells of single mappings.
func (g *Gateway) shows() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looks.refused = 0
}

// hides notes that it refused to, and says whether it is found just now that it never does. Boxes
// refuse this and that while they start: one that goes on is asked again now and then.
func (g *Gateway) hides(now time.Time) (found bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.looks.refused++; g.looks.refused >= blindAfter {
		g.looks.mappingsAt = now.Add(maxLook)
	}
	return g.looks.refused == blindAfter
}

// compare says whether a mapping of the box is as it was granted.
func (g *Gateway) compare(ctx context.Context, s *slot, m igd.Mapping, now time.Time) bool {
	if m.Internal != s.key.inner || m.Client.IsValid() && m.Client != g.table.clientOf(s) || m.Disabled {
		g.table.setLost(s)
		if m.Client.IsValid() && m.Client != g.table.clientOf(s) {
			g.table.gone(s, m.External) // It is somebody else's now.
		}
		return false
	}
	if m.Lease == 0 && !g.known().permanent {
		g.learn(ctx, func(h *habits) bool {
			first := !h.keeps
			h.keeps, g.looks.taken = true, g.looks.taken && !first // It has what was over before.
			return first
		}, "the gateway keeps for ever what it grants for a while, ending that here")
	}
	total, cut := g.table.compareLease(s, m.Lease, now)
	if !cut {
		return true
	}
	g.learn(ctx, func(h *habits) bool { h.longest = max(total, time.Minute); return true },
		"the gateway cuts leases", "lifetime", total)
	return false
}

// endMappings removes mappings that are over and that the box would keep for ever.
func (g *Gateway) endMappings(ctx context.Context) {
	for _, s := range g.table.ended(time.Now()) {
		if ctx.Err() != nil || !s.tryEnter() {
			continue
		}
		for _, port := range g.table.at(s) {
			if !g.table.over(s, time.Now()) {
				break // It was renewed meanwhile.
			}
			if err := g.removeOnce(ctx, s, port); err != nil {
				g.log.DebugContext(ctx, "ending a mapping", "external_port", port, "error", err)
			}
		}
		s.leave()
	}
}

// disown ends what is left from before a crash.
func (g *Gateway) disown(ctx context.Context) {
	g.mu.Lock()
	adopted := g.looks.adopted
	g.mu.Unlock()
	if adopted.IsZero() || time.Since(adopted) < adoptTime {
		return
	}
	if n := g.table.disown(time.Now()); n > 0 {
		g.log.InfoContext(ctx, "removing mappings of an earlier run that nobody asks for", "mappings", n)
	}
}

// inventory says whether the table has what the box had at the start, and whether the box
// does not say what it has.
func (g *Gateway) inventory() (taken, unlisted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.looks.taken, g.looks.unlisted >= blindAfter
}

// takeInventory reads the box's mappings that lead to us.
func (g *Gateway) takeInventory(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, inventoryTime)
	defer cancel()
	now, self := time.Now(), g.cfg.Self()
	err := g.entries(ctx, func(m igd.Mapping) {
		if m.Client == self {
			g.table.imported(m, m.Description == g.description(), now)
		}
	})
	if err != nil {
		g.log.DebugContext(ctx, "reading the gateway's mappings", "error", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.looks.taken = err == nil; errors.Is(err, errUnlisted) {
		g.looks.unlisted++
	}
}

// trace looks for a mapping whose port the box chose and did not get to tell.
func (g *Gateway) trace(ctx context.Context, s *slot) error {
	self := g.cfg.Self()
	err := g.entries(ctx, func(m igd.Mapping) {
		if m.Client == self && nat.Protocol(m.Protocol) == s.key.protocol && m.Internal == s.key.inner {
			_ = g.table.reserve(s, m.External)
		}
	})
	if err != nil && !errors.Is(err, errUnlisted) {
		return err
	}
	g.table.setStray(s, false) // Or nobody can know.
	return nil
}

// errUnlisted is a box that does not list its mappings.
var errUnlisted = errors.New("the gateway does not list its mappings")

// entries calls f for each mapping of the box.
func (g *Gateway) entries(ctx context.Context, f func(igd.Mapping)) error {
	for i := range maxEntries {
		var m igd.Mapping
		err := g.call(ctx, func(ctx context.Context) (err error) {
			m, err = g.client.Entry(ctx, i)
			return err
		})
		switch code := igd.CodeOf(err); {
		case err == nil:
			f(m)
		case code == igd.CodeInvalidAction, code == igd.CodeNotImplemented, code == igd.CodeNotAuthorized:
			return errUnlisted
		case code != 0:
			return nil // The end, by whatever code.
		default:
			return err
		}
	}
	return nil
}

// description is what the box's own page shows of a mapping. It is plain, for some boxes
// do not escape it.
func (g *Gateway) description() string {
	name := make([]byte, 0, 32)
	for _, c := range []byte(g.cfg.Instance) {
		if len(name) < cap(name) && (c == '-' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') {
			name = append(name, c)
		}
	}
	return "doublenat-" + string(name)
}
