package natpmp

import (
	"context"
	"time"
)

// receive deals with one packet of the gateway.
func (c *Client) receive(ctx context.Context, b []byte) {
	now := time.Now()
	resp, err := ParseResponse(b)
	if err != nil {
		c.exchange.Ignored()
		c.log.DebugContext(ctx, "packet of the gateway ignored", "error", err)
		if version, only := otherVersion(b); only {
			c.reject(version)
		}
		return
	}
	if !c.exchange.Expects(func(cl *call) bool { return answers(resp, cl.req) }) {
		c.stray(ctx, resp, now)
		return
	}
	c.onPacket(resp, now)
	if odd, req := c.deliver(resp); odd != OddNone {
		c.exchange.Odd()
		c.onOdd(odd, req, resp)
	}
}

// stray deals with a reply that nobody waits for: RFC 6886 §3.5 has nothing to match by
// but opcode and port. It is a late or a repeated one, a forged one, or a wrong one.
func (c *Client) stray(ctx context.Context, resp Response, now time.Time) {
	c.exchange.Ignored()
	c.log.DebugContext(ctx, "reply ignored", "opcode", resp.Opcode, "internal_port", resp.InternalPort)
	c.onStray(resp, now)
	if odd, req := c.judge(resp); odd != OddNone {
		c.exchange.Odd()
		c.onOdd(odd, req, resp)
	}
}

// judge returns what is wrong with a response that answers nothing, and the request for
// which it was meant. A late or repeated reply is not odd.
func (c *Client) judge(resp Response) (odd Oddity, of Request) {
	if resp.Result != ResultSuccess || !resp.Opcode.isMap() || c.asked.has(callKey{resp.Opcode, resp.InternalPort}) {
		return OddNone, Request{}
	}
	c.exchange.Look(func(inFlight []*call) {
		var oldest *call
		for _, cl := range inFlight {
			if o := oddity(resp, cl.req); o != OddNone {
				cl.odd, odd, of = o, o, cl.req
				return
			}
			if oldest == nil && cl.req.Opcode == resp.Opcode {
				oldest = cl
			}
		}
		if oldest == nil {
			return
		}
		if oldest.odd == OddNone {
			oldest.odd = OddOther
		}
		odd, of = OddOther, oldest.req
	})
	return odd, of
}

// reject ends all requests: the gateway speaks another version of the protocol only.
func (c *Client) reject(version uint8) {
	all := func(*call) bool { return true }
	c.exchange.End(all, false, answer{response: Response{Result: ResultUnsupportedVersion}, version: version})
}

// deliver gives a response to the request that it answers, if that is still waiting. It
// returns what is wrong with it all the same: an external port may be cut, too.
func (c *Client) deliver(resp Response) (odd Oddity, of Request) {
	all := resp.Result == ResultUnsupportedVersion // it concerns all requests
	c.exchange.End(func(cl *call) bool {
		if !answers(resp, cl.req) {
			return false
		}
		if odd == OddNone && cutExternal(resp, cl.req) {
			odd, of = OddCut, cl.req
		}
		return true
	}, !all, answer{response: resp})
	return odd, of
}

// answers says whether the response can be meant for the request.
func answers(resp Response, req Request) bool {
	switch {
	case resp.Result == ResultUnsupportedVersion:
		return true // it has opcode 0 whatever was asked (RFC 6886 §3.5)
	case resp.Opcode != req.Opcode:
		return false
	case !req.Opcode.isMap():
		return true
	case resp.Result != ResultSuccess:
		// Some gateways leave out what follows the header; the oldest request then has it.
		return resp.InternalPort == req.InternalPort || resp.InternalPort == 0
	case req.Lifetime == 0 && resp.Lifetime != 0:
		// A late answer to a request for the mapping that is now to end.
		return false
	case req.Lifetime != 0 && resp.Lifetime == 0 && resp.ExternalPort == 0:
		// A late answer to a deletion (RFC 6886 §3.4), after which the port is asked for again.
		return false
	default:
		return resp.InternalPort == req.InternalPort
	}
}
