package ops_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/ops"
)

// crowd is a server over TCP with 50 mappings and n pages that are open.
type crowd struct {
	monitor *ops.Monitor
	changes atomic.Uint64
	n       int
	told    chan struct{}
	// perPage is the memory in bytes that a page takes.
	perPage float64
	// leave ends it all.
	leave func()
}

// newCrowd opens the pages, and waits until each has its first picture.
func newCrowd(tb testing.TB, n int) *crowd {
	tb.Helper()
	c := &crowd{n: n, told: make(chan struct{}, n)}
	parts := func() ops.Parts {
		p := fine().Parts
		for i := range uint16(50) {
			p.Mappings = append(p.Mappings, nat.Mapping{
				Key:          nat.Key{Client: netip.AddrFrom4([4]byte{192, 168, 88, byte(i)}), Protocol: nat.TCP, InternalPort: 6881},
				ExternalPort: 40000 + i, Packets: c.changes.Load(),
			})
		}
		return p
	}
	var err error
	if c.monitor, err = ops.NewMonitor(ops.MonitorConfig{Parts: parts}); err != nil {
		tb.Fatal(err)
	}
	s, err := ops.NewServer(ops.ServerConfig{Monitor: c.monitor})
	if err != nil {
		tb.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving, reading sync.WaitGroup
	serving.Go(func() { _ = c.monitor.Run(ctx) })
	serving.Go(func() { _ = s.Serve(ctx, l) })
	var conns []net.Conn
	c.leave = sync.OnceFunc(func() {
		stop()
		reading.Wait()
		serving.Wait()
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	before := heap()
	for range n {
		conn := openPage(tb, l.Addr())
		conns = append(conns, conn)
		reading.Go(func() { c.read(conn) })
	}
	c.wait() // for the first picture
	c.perPage = float64(heap()-before) / float64(n)
	return c
}

// read tells of each picture that comes, until the connection ends.
func (c *crowd) read(conn net.Conn) {
	lines := bufio.NewReaderSize(conn, 4<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
		if len(line) > 6 && string(line[:6]) == "data: " {
			c.told <- struct{}{}
		}
	}
}

// wait waits until as many pictures came as there are pages.
func (c *crowd) wait() {
	for range c.n {
		<-c.told
	}
}

// change tells a change to all pages.
func (c *crowd) change() {
	c.changes.Add(1)
	c.monitor.Changed()
	c.wait()
}

// benchmarkWatchers measures one picture told to n pages, and reports the memory
// that a page takes.
func benchmarkWatchers(b *testing.B, n int) {
	b.Helper()
	c := newCrowd(b, n)
	defer c.leave()
	busy := processor(b)
	b.ResetTimer()
	for b.Loop() {
		c.change()
	}
	b.StopTimer()
	b.ReportMetric(c.perPage, "B/page")
	b.ReportMetric(float64((processor(b)-busy).Microseconds())/float64(b.N), "cpu-µs/op")
}

// A hundred pages cost what docs/monitoring.md states: in memory twice that at most, in
// time on the processor not another order of it, for machines differ. It runs alone,
// since it counts what the whole process has.
func TestHundredPagesCostWhatIsStated(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "monitoring.md"))
	if err != nil {
		t.Fatal(err)
	}
	stated := regexp.MustCompile(`An open page costs some (\d+) kB of memory; a change told to 100 of them takes (\d+) ms`).FindSubmatch(text)
	if stated == nil {
		t.Fatal("docs/monitoring.md does not state what a page costs")
	}
	memory, _ := strconv.ParseFloat(string(stated[1]), 64) // digits
	took, _ := strconv.ParseFloat(string(stated[2]), 64)   // digits
	c := newCrowd(t, 100)
	defer c.leave()
	t.Logf("%.0f kB a page", c.perPage/1024)
	if c.perPage > 2*memory*1024 {
		t.Errorf("a page costs %.0f kB, %.0f are stated", c.perPage/1024, memory)
	}
	const changes = 10
	busy := processor(t)
	for range changes {
		c.change()
	}
	if each := (processor(t) - busy) / changes; each.Seconds()*1000 > 20*took {
		t.Errorf("a change takes %v of a processor, %v ms are stated", each, took)
	}
}

// heap is how much memory is in use.
func heap() int64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int64(s.HeapInuse + s.StackInuse)
}

// processor is how long this process has kept the processors busy.
func processor(tb testing.TB) time.Duration {
	tb.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// openPage opens a stream over TCP.
func openPage(tb testing.TB, at net.Addr) net.Conn {
	tb.Helper()
	var d net.Dialer
	conn, err := d.DialContext(tb.Context(), "tcp", at.String())
	if err != nil {
		tb.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		tb.Fatal(err)
	}
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://localhost"+ops.PathEvents, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	if err := req.Write(conn); err != nil {
		tb.Fatal(err)
	}
	return conn
}
