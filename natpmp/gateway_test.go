package natpmp_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"doublenat/natpmp"
)

// sighting is a packet that a gateway got, and when.
type sighting struct {
	// At is the time since the gateway was made.
	At time.Duration
	// Packet is in hexadecimal.
	Packet string
}

// pipeGateway is the other end of a client's connections, in memory and virtual time.
type pipeGateway struct {
	start time.Time
	// answer is called with each packet, one at a time, and may send replies, now
	// or later. Nil is a silent gateway.
	answer func(send func(packet []byte), packet []byte)

	mu sync.Mutex
	// seen, dials and dialErr are guarded by mu.
	seen    []sighting
	dials   int
	dialErr error
	// conn is the gateway's end of the latest connection. Guarded by mu.
	conn net.Conn
}

// dial makes a connection whose other end is the gateway.
func (g *pipeGateway) dial(context.Context) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dials++
	if g.dialErr != nil {
		return nil, g.dialErr
	}
	near, far := net.Pipe()
	g.conn = far
	go g.serve(far)
	return near, nil
}

// serve reads until the client closes the connection.
func (g *pipeGateway) serve(conn net.Conn) {
	buf := make([]byte, 64)
	send := func(packet []byte) { _, _ = conn.Write(packet) }
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		packet := append([]byte(nil), buf[:n]...)
		g.mu.Lock()
		g.seen = append(g.seen, sighting{At: time.Since(g.start), Packet: hexString(packet)})
		g.mu.Unlock()
		if g.answer != nil {
			g.answer(send, packet)
		}
	}
}

// sightings returns what came so far.
func (g *pipeGateway) sightings() []sighting {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]sighting(nil), g.seen...)
}

// dialCount returns how often the client connected, or tried to.
func (g *pipeGateway) dialCount() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dials
}

// setDialErr lets connecting fail from now on, or work again.
func (g *pipeGateway) setDialErr(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dialErr = err
}

// hangUp ends the present connection, as a socket ends whose interface goes away.
func (g *pipeGateway) hangUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.conn.Close()
}

// send sends a packet that nobody asked for.
func (g *pipeGateway) send(packet []byte) {
	g.mu.Lock()
	conn := g.conn
	g.mu.Unlock()
	_, _ = conn.Write(packet)
}

// respond is an answer function that grants everything.
func respond(send func([]byte), packet []byte) {
	req, err := natpmp.ParseRequest(packet)
	if err != nil {
		return
	}
	send(granted(req).Append(nil))
}

// granted is the success that answers the request.
func granted(req natpmp.Request) natpmp.Response {
	resp := natpmp.Response{Opcode: req.Opcode, Epoch: 1000, InternalPort: req.InternalPort}
	switch {
	case req.Opcode == natpmp.OpExternalAddress:
		resp.Address = address5678()
	case req.Lifetime > 0:
		resp.ExternalPort, resp.Lifetime = req.InternalPort+1, min(req.Lifetime, 60)
	}
	return resp
}

// startClient makes a client and runs it until the test ends. It is for bubbles
// of virtual time.
func startClient(t *testing.T, g *pipeGateway, cfg natpmp.ClientConfig) *natpmp.Client {
	t.Helper()
	g.start = time.Now()
	if cfg.Dial == nil {
		cfg.Dial = g.dial
	}
	c, err := natpmp.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c
}

// errNoRoute stands for what a broken network says.
var errNoRoute = errors.New("no route")
