package nat

import (
	"log/slog"
	"slices"
	"time"
)

const (
	// maxMoves is how often a mapping gives way to rules of others within moveWindow.
	maxMoves   = 3
	moveWindow = time.Hour
)

// move is the way of a unit to another inner port, because somebody else took the one that
// it had. Its leases are given back first: some gateways have few, and give their port to
// the next; others keep the port as long as one of both protocols has it. The rules are
// changed in place after that, so that connections go on.
type move struct {
	// to is the new inner port, 0 where only the external one is taken.
	to uint16
	// moving are the mappings that move.
	moving []*mapping
	// cause is why they do.
	cause moveCause
}

// moveCause is why mappings move.
type moveCause uint8

const (
	// causeTaken is that somebody else took the port, who may do so again and again.
	causeTaken moveCause = iota
	// causePool is that the pool has the port of one of them no more.
	causePool
)

// giveWay begins to move the mappings whose port on the router somebody else has taken: a
// port that others use is left to them, and a mapping that they cover is no mapping.
func (e *Engine) giveWay(all []*mapping) {
	var last *unit
	for _, m := range all {
		if m.unit != last && m.unit.move == nil && e.displaced(m) {
			last = m.unit
			e.displace(m.unit)
		}
	}
}

// displaced says whether somebody else uses the port on which the mapping's packets
// arrive at the router, or none of them arrives there any more.
func (e *Engine) displaced(m *mapping) bool {
	return m.wish.stands() && (e.innerTaken(m) || e.cfg.onExternal() && e.ports.used[m.key.Protocol].Has(m.lease.external))
}

func (e *Engine) innerTaken(m *mapping) bool {
	return e.cfg.Delivery != DeliverExternal && (e.ports.used[m.key.Protocol].Has(m.inner) || !e.ports.pool.allows(m.key.Protocol, m.inner))
}

// stuck says whether a mapping stands on a port of others and cannot move.
func (e *Engine) stuck(m *mapping) bool { return m.place == placeStuck && e.displaced(m) }

// displace begins to give both protocols of a client port another inner port, if there is
// one and they may move.
func (e *Engine) displace(u *unit) {
	mv := e.moveOf(u)
	may, inner := true, slices.ContainsFunc(mv.moving, e.innerTaken)
	for _, m := range mv.moving {
		may = may && (mv.cause == causePool || e.mayMove(m))
	}
	if may && inner {
		mv.to, may = e.ports.takeElsewhere(mv.moving[0].key, e.cfg.Random())
		if !may && len(mv.moving) == 1 {
			mv.to, may = e.ports.takeSingle(mv.moving[0].key)
		}
	}
	for _, m := range mv.moving {
		if !may {
			m.place = placeStuck
		} else {
			m.place = min(m.place, placeTaken)
		}
	}
	if may {
		u.move = mv
		e.goOn(u)
	}
	e.touch(u)
}

// moveOf returns which mappings of a unit move together, and why.
func (e *Engine) moveOf(u *unit) *move {
	mv := &move{}
	for _, m := range u.current {
		if m == nil || !m.wish.stands() {
			continue
		}
		mv.moving = append(mv.moving, m)
		if !e.ports.pool.allows(m.key.Protocol, m.inner) {
			mv.cause = causePool
		}
	}
	return mv
}

// mayMove says whether a mapping gives way once more to a rule of somebody else. One
// that had to several times in the last hour is chased, and stays where it is.
func (e *Engine) mayMove(m *mapping) bool {
	m.moves = slices.DeleteFunc(m.moves, func(at time.Time) bool { return e.now.Sub(at) >= moveWindow })
	if len(m.moves) < maxMoves {
		return true
	}
	if f := &e.reader.feud; len(f.rounds) == 0 || f.rounds[len(f.rounds)-1] != e.now {
		f.rounds = append(f.rounds, e.now) // It goes on as long as the mapping cannot move.
	}
	if e.reader.feud.since.IsZero() {
		e.declare(false)
	}
	return false
}

// vacated goes on with a move when a lease was given back. If the gateway did not confirm
// that, nothing moves, and the leases that may be gone are asked for again: one protocol
// may be reached as it is.
func (e *Engine) vacated(m *mapping, err error) {
	u, mv := m.unit, m.unit.move
	if !slices.Contains(mv.moving, m) {
		return
	}
	if err != nil {
		u.move = nil
		e.releasePort(mv)
		for _, back := range mv.moving {
			if back.wish.stands() && back.lease.state != leaseHeld {
				back.lease.nextAt = e.now
			}
			e.askAgain(back)
		}
		return
	}
	e.goOn(u)
}

// goOn moves the mappings of a unit if all of their leases are given back.
func (e *Engine) goOn(u *unit) {
	mv := u.move
	if slices.ContainsFunc(mv.moving, func(m *mapping) bool { return m.wish.stands() && m.lease.state != leaseAbsent }) {
		return
	}
	u.move = nil
	for _, m := range mv.moving {
		if m.wish.stands() {
			e.moveTo(m, mv.to, mv.cause)
		}
	}
	e.releasePort(mv)
}

// moving says whether the mapping is on its way to another inner port, and its rule not yet.
func (m *mapping) moving() bool {
	return m.unit.move != nil || m.lease.busy() && m.rule.have.InnerPort != m.inner
}

// releasePort ends the reservation of the new port: the mappings stand on it by themselves.
func (e *Engine) releasePort(mv *move) {
	if mv.to != 0 {
		e.ports.leave(mv.to)
	}
}

// moveTo gives a mapping whose lease was given back another inner port, or only another
// lease.
func (e *Engine) moveTo(m *mapping, inner uint16, cause moveCause) {
	if cause == causeTaken {
		m.moves = append(m.moves, e.now)
	}
	m.lease.nextAt, m.lease.suggested = e.now, m.lease.external
	e.askAgain(m)
	if inner == 0 {
		m.lease.suggested = e.anyPort()
		return
	}
	e.ports.use(inner, m.key.Port())
	e.ports.leave(m.inner)
	e.ports.vacated[outerPort{m.key.Protocol, m.inner}] = m // Its rule goes on to match it for a moment, or while the router is away.
	m.inner, m.place = inner, placeFree
	m.rule.written = time.Time{} // The ports that are to come are written at once.
	e.log("", slog.LevelInfo, "mapping moves away from a port that others use", m, "inner_port", inner)
}

// askAgain has those who wait for a renewal wait for the lease that the mapping has after its move.
func (e *Engine) askAgain(m *mapping) {
	if m.wish.state == wishStanding && m.waitedFor() {
		m.wish.state, m.lease.nextAt = wishRenewing, e.now
	}
}

// yield gives a mapping another inner port because the gateway says that somebody else has a
// lease for the one that it asked for, and says whether it did. A PCP server tells us from an
// earlier run by the nonce (RFC 6887 §11.3), for example once the router's password, from which
// nonces are made, is another one. What a former run had passes packets on until it is over:
// until then its port is nobody else's here, either.
//
// It is done once in an hour: a gateway that refuses everything says the same. What was granted in this
// run is ours, so that its renewal is refused for another reason.
func (e *Engine) yield(m *mapping, err error) bool {
	l := &m.lease
	failed, ok := asError(err)
	may := m.wish.state == wishAsked || m.wish.stands()
	moved := len(m.moves) > 0 && e.now.Sub(m.moves[len(m.moves)-1]) < moveWindow
	if !ok || !failed.Taken || !may || moved || !l.since.IsZero() || e.phase >= phaseStopping {
		return false
	}
	inner, ok := e.ports.takeElsewhere(m.key, e.cfg.Random())
	if !ok {
		return false
	}
	lives := l.lives()
	if m.wish.stands() {
		lives = later(lives, e.now.Add(e.cfg.clamp(m.wish.requested)))
	}
	if lives.After(e.now) {
		left := e.leave(m.key, m.inner)
		left.lease = lease{state: leaseDoubtful, external: l.external, mayLive: lives, nextAt: e.now.Add(retryFirst)}
	}
	l.released()
	e.moveTo(m, inner, causeTaken)
	e.ports.leave(inner)
	return true
}
