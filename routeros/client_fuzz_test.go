package routeros_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"doublenat/routeros"
)

// FuzzClient answers a login and a command with arbitrary bytes. The client must
// come to an end without a panic and with bounded memory.
func FuzzClient(f *testing.F) {
	done := routeros.Sentence{"!done", ".tag=1"}
	f.Add(wire(routeros.Sentence{"!done"}), wire(routeros.Sentence{"!re", ".tag=1", "=a=b"}, done))
	f.Add(wire(routeros.Sentence{"!done", "=ret=00ff"}, routeros.Sentence{"!done"}), wire(routeros.Sentence{"!trap", "=category=2", ".tag=1"}, done))
	f.Add(wire(routeros.Sentence{"!trap", "=message=cannot log in"}, routeros.Sentence{"!done"}), []byte{})
	f.Add(wire(routeros.Sentence{"!done"}), wire(routeros.Sentence{"!fatal", "bye"}))
	f.Add(wire(routeros.Sentence{"!done"}), wire(routeros.Sentence{"!done", ".tag=7"}, routeros.Sentence{"!empty", ".tag=1"}))
	f.Add([]byte{0xF0, 0xFF, 0xFF, 0xFF, 0xFF}, []byte{0xF8})
	f.Fuzz(func(t *testing.T, login, reply []byte) {
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
		got, err := client.Do(ctx, routeros.Command{Path: "/x"})
		if err == nil && len(got.Rows) > 100 {
			t.Errorf("got %d rows, want 100 at most", len(got.Rows))
		}
		if ctx.Err() == context.DeadlineExceeded {
			t.Error("the client did not come to an end")
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
