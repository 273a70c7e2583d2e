package clients_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
)

var listen = netip.MustParseAddrPort("192.168.88.1:5351")

// client is one program on one host, with the habits of its kind.
type client struct {
	habit

	host  netip.Addr
	bench *lab.Bench
	asked uint64 // requests that it began; read after its end

	mu   sync.Mutex
	told map[natpmp.Opcode]told // guarded by mu
}

// told is what a client knows of one of its mappings.
type told struct {
	// port is the external port that it was told last; 0 for none so far.
	port uint16
	// at is when.
	at time.Time
	// next is when it asks again; the zero time is never.
	next time.Time
}

func newClient(h habit, host netip.Addr, bench *lab.Bench) *client {
	c := &client{habit: h, host: host, bench: bench, told: make(map[natpmp.Opcode]told)}
	for _, op := range h.opcodes {
		c.told[op] = told{next: time.Now()}
	}
	return c
}

// knows returns what the client was told last.
func (c *client) knows(op natpmp.Opcode) told {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told[op]
}

// run is the life of the program until ctx ends.
func (c *client) run(ctx context.Context) {
	for {
		op, at := c.turn()
		if at.IsZero() {
			return // It has given up on everything.
		}
		timer := time.NewTimer(time.Until(at))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		c.ask(op)
	}
}

// turn returns which mapping the client asks for next, and when.
func (c *client) turn() (which natpmp.Opcode, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, op := range c.opcodes {
		if next := c.told[op].next; !next.IsZero() && (at.IsZero() || next.Before(at)) {
			which, at = op, next
		}
	}
	return which, at
}

// ask asks for one mapping and notes what comes of it.
func (c *client) ask(op natpmp.Opcode) {
	c.asked++
	k := c.knows(op)
	resp, err := c.request(op, c.suggestion(k.port))
	now := time.Now()
	var wait time.Duration
	switch {
	case err != nil:
		wait = c.afterSilence
	case resp.Result != natpmp.ResultSuccess:
		wait = c.afterError
	default:
		k.port, k.at = resp.ExternalPort, now
		wait = max(c.renew(time.Duration(resp.Lifetime)*time.Second), time.Second)
	}
	k.next = time.Time{}
	if wait > 0 {
		k.next = now.Add(wait)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told[op] = k
}

func (c *client) suggestion(last uint16) uint16 {
	switch {
	case c.remembers && last != 0:
		return last
	case c.blank:
		return 0
	default:
		return c.port
	}
}

var errSilence = errors.New("no reply")

// request sends the client's packets and returns the reply to its map request, or
// the failure of its address request.
func (c *client) request(op natpmp.Opcode, suggested uint16) (natpmp.Response, error) {
	if c.address {
		resp, err := c.exchange(natpmp.Request{Opcode: natpmp.OpExternalAddress})
		if err != nil || resp.Result != natpmp.ResultSuccess || resp.Address.IsUnspecified() {
			return resp, err
		}
	}
	return c.exchange(natpmp.Request{Opcode: op, InternalPort: c.port, SuggestedExternalPort: suggested, Lifetime: c.lifetime})
}

// exchange sends one request, as often as the client does, and waits for its reply.
func (c *client) exchange(req natpmp.Request) (natpmp.Response, error) {
	conn, err := c.bench.Net.Dial(netip.AddrPortFrom(c.host, 0), listen)
	if err != nil {
		return natpmp.Response{}, err
	}
	defer conn.Close()
	packet, reply := req.Append(nil), make([]byte, natpmp.MaxPacket)
	for _, wait := range c.tries {
		if _, err := conn.Write(packet); err != nil {
			return natpmp.Response{}, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return natpmp.Response{}, err
		}
		for {
			n, err := conn.Read(reply)
			if err != nil {
				break // Its time is over: once more.
			}
			resp, err := natpmp.ParseResponse(reply[:n])
			if err == nil && resp.Opcode == req.Opcode && resp.InternalPort == req.InternalPort {
				return resp, nil
			}
		}
	}
	return natpmp.Response{}, errSilence
}
