package sim_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// retransmissions are the pauses after each packet of a request (RFC 6886 §3.1), as
// far as a create of ours takes.
var retransmissions = [...]time.Duration{
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second,
}

// lastMoment is the part of the granted time after which some clients renew: when
// their packets arrive, the timer that ends the mapping is about to fire.
const lastMoment = 100

// client is a LAN host: programs that want ports, and a socket.
type client struct {
	w     *world
	addr  netip.Addr
	conn  net.Conn
	wants map[nat.Key]*want
	keys  []nat.Key // of wants, in the order of their coming: maps have none
	done  chan struct{}

	mu sync.Mutex // guards what follows and the answer fields of all wants
	// epoch is what the daemon said last and when.
	epoch natpmp.EpochWatch
	// lost is set when the daemon's epoch went back.
	lost bool
}

// want is a mapping as the client that wants it sees it.
type want struct {
	key nat.Key
	// alive is set while the client wants it and renews it.
	alive bool
	// lifetime is what it asks for, suggest what port it would like, part at which part of the
	// granted time it renews, in percent.
	lifetime uint32
	suggest  uint16
	part     int
	// turn counts requests, so that the plans for an older one come to nothing.
	turn int

	// port is what was granted last, 0 for nothing; life for how long.
	// They are guarded by client.mu, like result.
	port     uint16
	life     time.Duration
	result   natpmp.ResultCode
	answered int // the turn that has its answer
}

// newClient opens a client's socket and listens on it.
func newClient(w *world, addr netip.Addr) *client {
	conn, err := w.bench.Net.Dial(netip.AddrPortFrom(addr, 5350), listenAddr)
	if err != nil {
		panic(fmt.Sprintf("opening a client's socket in memory: %v", err))
	}
	c := &client{w: w, addr: addr, conn: conn, wants: make(map[nat.Key]*want), done: make(chan struct{})}
	go c.listen()
	return c
}

// close ends the client.
func (c *client) close() {
	_ = c.conn.Close() // in memory
	<-c.done
}

// listen takes in replies until the socket is closed.
func (c *client) listen() {
	defer close(c.done)
	b := make([]byte, natpmp.MaxPacket)
	for {
		n, err := c.conn.Read(b)
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil:
			continue // Nobody on the port: the daemon is down.
		}
		if resp, err := natpmp.ParseResponse(b[:n]); err == nil {
			c.hear(resp)
		}
	}
}

// hear takes in one reply.
func (c *client) hear(resp natpmp.Response) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch.Observe(resp.Epoch, now) == natpmp.EpochLost {
		c.lost = true
	}
	wt := c.wants[nat.Key{Client: c.addr, Protocol: nat.Protocol(resp.Opcode), InternalPort: resp.InternalPort}]
	if wt == nil || resp.Opcode == natpmp.OpExternalAddress {
		return
	}
	deleted := resp.Lifetime == 0 && resp.Result == natpmp.ResultSuccess
	if deleted == wt.alive {
		return // a late reply to what is not wanted any more
	}
	wt.result, wt.answered = resp.Result, wt.turn
	switch {
	case deleted:
		wt.port, wt.life = 0, 0
	case resp.Result == natpmp.ResultSuccess:
		wt.port, wt.life = resp.ExternalPort, time.Duration(resp.Lifetime)*time.Second
	}
}

// ask begins a request for the mapping and sees it through.
func (c *client) ask(wt *want) {
	c.mu.Lock()
	wt.turn++
	suggest := wt.suggest
	if wt.port != 0 {
		suggest = wt.port
	}
	c.mu.Unlock()
	c.w.note("%v asks, suggests %d, for %d s", wt.key, suggest, wt.lifetime)
	c.send(wt, wt.turn, 0, natpmp.Request{
		Opcode: natpmp.Opcode(wt.key.Protocol), InternalPort: wt.key.InternalPort,
		SuggestedExternalPort: suggest, Lifetime: wt.lifetime,
	})
}

// send sends the packet of a request for the n-th time and plans what follows.
func (c *client) send(wt *want, turn, n int, req natpmp.Request) {
	c.mu.Lock()
	over := wt.turn != turn || wt.answered == turn
	c.mu.Unlock()
	if over {
		c.settle(wt, turn)
		return
	}
	if n == len(retransmissions) {
		c.w.agenda.after(30*time.Second+c.w.duration(time.Minute), func() { c.again(wt, turn) })
		return
	}
	c.packet(req)
	c.w.agenda.after(retransmissions[n], func() { c.send(wt, turn, n+1, req) })
}

// packet sends one packet. Nobody may be there to take it.
func (c *client) packet(req natpmp.Request) { _, _ = c.conn.Write(req.Append(nil)) }

// settle plans the renewal after an answer.
func (c *client) settle(wt *want, turn int) {
	c.mu.Lock()
	result, life, current := wt.result, wt.life, wt.turn == turn
	c.mu.Unlock()
	switch {
	case !current || !wt.alive:
	case result != natpmp.ResultSuccess:
		c.w.agenda.after(time.Minute+c.w.duration(3*time.Minute), func() { c.again(wt, turn) })
	default:
		wait := life * time.Duration(wt.part) / 100
		if wt.part == lastMoment {
			wait = life - c.w.between(2*time.Millisecond, 10*time.Millisecond)
		}
		c.w.agenda.after(wait, func() { c.again(wt, turn) })
	}
}

// again asks again unless another request came between.
func (c *client) again(wt *want, turn int) {
	if wt.alive && wt.turn == turn {
		c.ask(wt)
	}
}

// want starts to want a port, again or for the first time.
func (c *client) want(key nat.Key, lifetime uint32, suggest uint16, part int) {
	c.mu.Lock()
	wt := c.wants[key]
	if wt == nil {
		wt = &want{key: key}
		c.wants[key] = wt
		c.keys = append(c.keys, key)
	}
	wt.alive, wt.lifetime, wt.suggest, wt.part = true, lifetime, suggest, part
	c.mu.Unlock()
	c.ask(wt)
}

// unwant stops to want a port. Without a word, or with a deletion.
func (c *client) unwant(wt *want, tell bool) {
	c.mu.Lock()
	wt.alive, wt.port = false, 0
	wt.turn++
	turn := wt.turn
	c.mu.Unlock()
	if !tell {
		c.w.note("%v vanishes", wt.key)
		return
	}
	c.w.note("%v deletes", wt.key)
	c.w.watch.leaves(wt.key)
	c.send(wt, turn, 2, natpmp.Request{Opcode: natpmp.Opcode(wt.key.Protocol), InternalPort: wt.key.InternalPort})
}

// unwantAll deletes all of a protocol with one packet, repeated once.
func (c *client) unwantAll(p nat.Protocol) {
	c.w.note("%v deletes all of %v", c.addr, p)
	for _, key := range c.keys {
		if key.Protocol == p {
			c.mu.Lock()
			wt := c.wants[key]
			wt.alive, wt.port = false, 0
			wt.turn++
			c.mu.Unlock()
			c.w.watch.leaves(key)
		}
	}
	req := natpmp.Request{Opcode: natpmp.Opcode(p)}
	c.packet(req)
	c.w.agenda.after(250*time.Millisecond, func() {
		// A program that has come back by then would lose what it asked for.
		if !slices.ContainsFunc(c.living(), func(wt *want) bool { return wt.key.Protocol == p }) {
			c.packet(req)
		}
	})
}

// living returns what the client wants now, in a fixed order.
func (c *client) living() []*want {
	var all []*want
	for _, key := range c.keys {
		if wt := c.wants[key]; wt.alive {
			all = append(all, wt)
		}
	}
	return all
}

// granted returns for how long the mapping was granted last.
func (c *client) granted(wt *want) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wt.life
}

// believes returns the port that the client thinks it has, 0 for none.
func (c *client) believes(wt *want) uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !wt.alive || wt.result != natpmp.ResultSuccess {
		return 0
	}
	return wt.port
}
