package nat

// inners are the inner ports that there are: those from first to last, or those of a pool.
type inners struct {
	first, last uint16
	pool        *Pool
	// had says which port of the pool a client port had last.
	had map[ClientPort]uint16
}

// maxHad bounds how many client ports are remembered.
const maxHad = 4096

func (p *inners) remember(inner uint16, port ClientPort) {
	if p.pool == nil {
		return
	}
	if len(p.had) >= maxHad {
		clear(p.had)
	}
	p.had[port] = inner
}

// search returns the first inner port that is good, beginning with start. Of a pool it
// begins with the lowest external port.
func (p *inners) search(start uint16, good func(uint16) bool) (uint16, bool) {
	if p.pool != nil {
		port, ok := p.pool.find(func(port PoolPort) bool { return good(port.Inner) })
		return port.Inner, ok
	}
	for inner := start; ; {
		if good(inner) {
			return inner, true
		}
		if inner == p.last {
			inner = p.first
		} else {
			inner++
		}
		if inner == start {
			return 0, false
		}
	}
}
