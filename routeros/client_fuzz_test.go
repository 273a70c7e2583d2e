package routeros_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
)

// answered is what a client made of some bytes.
type answered struct {
	Reply *routeros.Reply
	Rows  []routeros.Row // of Each
	Err   string
}

// ask gives the bytes to a client as the answers to its login and its command. Rows
// one by one if each is set. It fails the test if the client comes to no end.
func ask(t *testing.T, login, reply []byte, each bool) (got answered) {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	client, err := routeros.New(routeros.Config{
		User:    "u",
		MaxRows: 100, MaxReplyBytes: 1 << 16,
		Limits: routeros.Limits{WordBytes: 1 << 10, SentenceWords: 32},
		Dial: func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			wg.Go(func() { drain(theirs) })
			wg.Go(func() {
				_, _ = theirs.Write(login)
				_, _ = theirs.Write(reply)
				_ = theirs.Close()
			})
			return ours, nil
		},
		OnState: func(s routeros.State) {
			if s.Err != nil {
				cancel() // one connection is enough
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { _ = client.Run(ctx) })
	cmd := routeros.Command{Path: "/x"}
	if each {
		got.Reply, err = client.Each(ctx, cmd, collect(&got.Rows))
	} else {
		got.Reply, err = client.Do(ctx, cmd)
	}
	if err != nil {
		got.Err = err.Error()
	}
	if ctx.Err() == context.DeadlineExceeded {
		t.Error("the client did not come to an end")
	}
	if held := client.Stats().Held; held != 0 {
		t.Errorf("%d bytes are held in the end", held)
	}
	return got
}

// FuzzClient answers a login and a command with arbitrary bytes. The client must
// come to an end without a panic and with bounded memory, and must make the same of
// them whether it keeps the rows or hands them on one by one.
func FuzzClient(f *testing.F) {
	done := routeros.Sentence{"!done", ".tag=1"}
	f.Add(wire(routeros.Sentence{"!done"}), wire(routeros.Sentence{"!re", ".tag=1", "=a=b"}, done))
	f.Add(wire(routeros.Sentence{"!done", "=ret=00ff"}, routeros.Sentence{"!done"}), wire(routeros.Sentence{"!trap", "=category=2", ".tag=1"}, done))
	f.Add(wire(routeros.Sentence{"!trap", "=message=cannot log in"}, routeros.Sentence{"!done"}), []byte{})
	f.Add(wire(routeros.Sentence{"!done"}), wire(routeros.Sentence{"!fatal", "bye"}))
	f.Add(wire(routeros.Sentence{"!done"}), wire(routeros.Sentence{"!done", ".tag=7"}, routeros.Sentence{"!empty", ".tag=1"}))
	f.Add(wire(routeros.Sentence{"!done"}), wire(routeros.Sentence{"!re", "=a=" + strings.Repeat("x", 2000), ".tag=1"}, done))
	f.Add([]byte{0xF0, 0xFF, 0xFF, 0xFF, 0xFF}, []byte{0xF8})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), []byte{})
	f.Fuzz(func(t *testing.T, login, reply []byte) {
		kept, handed := ask(t, login, reply, false), ask(t, login, reply, true)
		if kept.Reply == nil || handed.Reply == nil {
			return // it ended before its time, or held too much, and how far that came is a matter of chance
		}
		for i, row := range handed.Rows {
			if len(row) == 0 {
				handed.Rows[i] = nil
			}
		}
		handed.Reply.Rows = handed.Rows
		if diff := cmp.Diff(kept.Reply, handed.Reply); diff != "" {
			t.Errorf("Do and Each (-Do +Each):\n%s", diff)
		}
	})
}

// drain reads until the connection is closed.
func drain(conn net.Conn) {
	buf := make([]byte, 4096)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

// BenchmarkDo measures one command and its reply of one row, with a router
// that takes no time, over TCP on the loopback interface.
func BenchmarkDo(b *testing.B) {
	var lc net.ListenConfig
	listener, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		p := &peer{t: b, conn: conn, reader: routeros.NewReader(conn, routeros.Limits{})}
		p.login()
		answer(p)
	})
	client, err := routeros.New(routeros.Config{Address: listener.Addr().String(), User: "u"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	wg.Go(func() { _ = client.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	defer func() { _ = listener.Close() }()
	cmd := routeros.Command{Path: "/ip/firewall/nat/add", Args: []routeros.Attr{{Name: "chain", Value: "dstnat"}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Do(ctx, cmd); err != nil {
			b.Fatal(err)
		}
	}
}

// answer answers every command with one id and takes as little memory as it can,
// so that the benchmark shows the client's.
func answer(p *peer) {
	buf := make([]byte, 4096)
	out := make([]byte, 0, 4096)
	for {
		n, err := p.conn.Read(buf)
		if err != nil {
			return
		}
		// The command's last word is its tag: ".tag=" and digits, then the zero byte.
		start := n - 2
		for buf[start] != '.' {
			start--
		}
		out = routeros.AppendWord(out[:0], "!done")
		out = append(out, byte(n-1-start))
		out = append(out, buf[start:n-1]...)
		out = routeros.AppendWord(out, "=ret=*1F")
		if _, err := p.conn.Write(append(out, 0)); err != nil {
			return
		}
	}
}
