package nat

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// PoolPort is a port of a [Pool].
type PoolPort struct {
	// External is the port at the public address, Inner the one at which its packets
	// reach the router; neither is 0.
	External, Inner uint16
	// Protocol is the only one that it has; 0 means both.
	Protocol Protocol
}

// Has says whether the port exists for a protocol.
func (p PoolPort) Has(proto Protocol) bool { return p.Protocol == 0 || p.Protocol == proto }

// Pool is a number of ports that somebody forwards to the router already, whatever anybody
// asks for: the inner port of a mapping is one of them. It does not change. A nil *Pool is
// none: a gateway grants external ports for any inner port.
type Pool struct {
	list []PoolPort // by external port
}

var errPoolUsedUp = errors.New("no port of the pool is free")

// NewPool returns a pool. The error names a port that is in it twice.
func NewPool(list []PoolPort) (*Pool, error) {
	p := &Pool{list: slices.Clone(list)}
	slices.SortStableFunc(p.list, func(a, b PoolPort) int { return cmp.Compare(a.External, b.External) })
	external, inner := make(map[outerPort]bool), make(map[outerPort]bool)
	for _, port := range p.list {
		for _, proto := range []Protocol{UDP, TCP} {
			if !port.Has(proto) {
				continue
			}
			switch {
			case external[outerPort{proto, port.External}]:
				return nil, fmt.Errorf("port %d is in the pool twice for %v", port.External, proto)
			case inner[outerPort{proto, port.Inner}]:
				return nil, fmt.Errorf("two ports of the pool arrive at port %d for %v", port.Inner, proto)
			}
			external[outerPort{proto, port.External}], inner[outerPort{proto, port.Inner}] = true, true
		}
	}
	return p, nil
}

// Len returns how many ports there are; one for both protocols counts once.
func (p *Pool) Len() int {
	if p == nil {
		return 0
	}
	return len(p.list)
}

// Ports returns the ports, by external port. The list is the caller's.
func (p *Pool) Ports() []PoolPort {
	if p == nil {
		return nil
	}
	return slices.Clone(p.list)
}

// External returns the external port that arrives at an inner port, false if none does.
func (p *Pool) External(proto Protocol, inner uint16) (uint16, bool) {
	port, ok := p.find(func(port PoolPort) bool { return port.Inner == inner && port.Has(proto) })
	return port.External, ok
}

// inner returns the inner port at which an external port arrives, 0 for none.
func (p *Pool) inner(proto Protocol, external uint16) uint16 {
	port, _ := p.find(func(port PoolPort) bool { return port.External == external && port.Has(proto) })
	return port.Inner
}

func (p *Pool) find(good func(PoolPort) bool) (PoolPort, bool) {
	if p == nil {
		return PoolPort{}, false
	}
	i := slices.IndexFunc(p.list, good)
	if i < 0 {
		return PoolPort{}, false
	}
	return p.list[i], true
}

// allows says whether an inner port may be used for a protocol: all may, without a pool.
func (p *Pool) allows(proto Protocol, inner uint16) bool {
	if p == nil {
		return true
	}
	_, ok := p.External(proto, inner)
	return ok
}

// poolChanged takes over another pool. Mappings whose port is gone move to another one,
// and those that have another external port now ask for it.
func (e *Engine) poolChanged(p *Pool) {
	e.ports.pool = p
	all := e.all()
	for _, m := range all {
		if external, ok := p.External(m.key.Protocol, m.inner); ok && m.wish.stands() && external != m.lease.external {
			m.lease.nextAt = e.now
			e.touch(m.unit)
		}
	}
	e.giveWay(all)
}
