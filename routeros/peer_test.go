package routeros_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"doublenat/routeros"
)

// errRefused is what a dial gets for which no script is left.
var errRefused = errors.New("connection refused")

// peer is the router's end of one connection, which a script plays.
type peer struct {
	t      testing.TB
	conn   net.Conn
	reader *routeros.Reader
}

// recv returns the next command, nil when the client has closed the connection.
func (p *peer) recv() routeros.Sentence {
	s, err := p.reader.ReadSentence()
	if err != nil {
		return nil
	}
	return s
}

// send sends one sentence. It does not mind a client that is gone.
func (p *peer) send(words ...string) {
	_, _ = p.conn.Write(routeros.AppendSentence(nil, words))
}

// eager is a connection whose writes do not wait for the reader, as those of TCP.
type eager struct {
	net.Conn

	queue chan []byte
}

// Write implements net.Conn. A connection that is closed loses what is queued.
func (e eager) Write(b []byte) (int, error) {
	e.queue <- slices.Clone(b)
	return len(b), nil
}

// hurry makes the writes of the peer not wait for the client: two sides that write
// before they read would wait for each other for ever.
func (p *peer) hurry() {
	conn, queue := p.conn, make(chan []byte, 64)
	go func() {
		for {
			select {
			case b := <-queue:
				_, _ = conn.Write(b)
			case <-p.t.Context().Done():
				return
			}
		}
	}()
	p.conn = eager{Conn: conn, queue: queue}
}

// login accepts any login. A client that has connected at the end of the test has none.
func (p *peer) login() {
	s := p.recv()
	if s == nil && p.t.Context().Err() != nil {
		return
	}
	if len(s) == 0 || s[0] != "/login" {
		p.t.Errorf("first command: got %q, want /login", s)
	}
	p.send("!done")
}

// hang reads and answers nothing until the client closes the connection.
func (p *peer) hang() {
	for p.recv() != nil {
		continue
	}
}

// echo answers every command with one row that has its words but the tag.
func (p *peer) echo() {
	for {
		cmd := p.recv()
		if cmd == nil {
			return
		}
		tag := tagOf(cmd)
		p.send("!re", tag, "=command="+cmd[0])
		p.send("!done", tag)
	}
}

// tagOf returns the tag word of a command.
func tagOf(cmd routeros.Sentence) string {
	for _, w := range cmd {
		if strings.HasPrefix(w, ".tag=") {
			return w
		}
	}
	return ""
}

// untagged returns the command without its tag word.
func untagged(cmd routeros.Sentence) routeros.Sentence {
	var out routeros.Sentence
	for _, w := range cmd {
		if !strings.HasPrefix(w, ".tag=") {
			out = append(out, w)
		}
	}
	return out
}

// script plays the router on one connection; when it returns, the router closes it.
type script func(p *peer)

// rig is a client with a scripted router, inside a synctest bubble.
type rig struct {
	*routeros.Client

	mu     sync.Mutex
	dials  []time.Duration // when the client dialed, since the start
	states []routeros.State
	stop   func() // ends Run and waits for everything
}

// newRig starts a client whose n-th connection is played by the n-th script.
// Everything ends with the test.
func newRig(t *testing.T, cfg routeros.Config, scripts ...script) *rig {
	t.Helper()
	r := new(rig)
	start := time.Now()
	var wg sync.WaitGroup
	cfg.User = "doublenat"
	cfg.Dial = func(context.Context) (net.Conn, error) {
		r.mu.Lock()
		n := len(r.dials)
		r.dials = append(r.dials, time.Since(start))
		r.mu.Unlock()
		if n >= len(scripts) {
			return nil, errRefused
		}
		ours, theirs := net.Pipe()
		wg.Go(func() {
			defer func() { _ = theirs.Close() }()
			scripts[n](&peer{t: t, conn: theirs, reader: routeros.NewReader(theirs, routeros.Limits{})})
		})
		return ours, nil
	}
	cfg.OnState = func(s routeros.State) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.states = append(r.states, s)
	}
	client, err := routeros.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Client = client
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if err := client.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	r.stop = func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(r.stop)
	return r
}

// get sends a command that an echo peer answers and fails the test if that does not work.
func (r *rig) get(t *testing.T, path string) {
	t.Helper()
	reply, err := r.Do(t.Context(), routeros.Command{Path: path})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(reply.Rows) != 1 || reply.Rows[0].Value("command") != path {
		t.Fatalf("%s: got the reply of another command: %v", path, reply)
	}
}

// dialed returns when the client dialed.
func (r *rig) dialed() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Duration(nil), r.dials...)
}

// transport fails the test unless err is a TransportError, which it returns.
func transport(t *testing.T, err error) *routeros.TransportError {
	t.Helper()
	te, ok := errors.AsType[*routeros.TransportError](err)
	if !ok {
		t.Fatalf("got error %v (%T), want a TransportError", err, err)
	}
	return te
}

// failures returns the errors of all states so far.
func (r *rig) failures() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, s := range r.states {
		if s.Err != nil {
			errs = append(errs, s.Err)
		}
	}
	return errs
}
