package ops_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/ops"
)

// benchmarkWatchers measures one picture told to n pages over TCP, with 50 mappings,
// and reports the memory that a page takes.
func benchmarkWatchers(b *testing.B, n int) {
	b.Helper()
	var changes atomic.Uint64
	parts := func() ops.Parts {
		p := fine().Parts
		for i := range uint16(50) {
			p.Mappings = append(p.Mappings, nat.Mapping{
				Key:          nat.Key{Client: netip.AddrFrom4([4]byte{192, 168, 88, byte(i)}), Protocol: nat.TCP, InternalPort: 6881},
				ExternalPort: 40000 + i, Packets: changes.Load(),
			})
		}
		return p
	}
	m, err := ops.NewMonitor(ops.MonitorConfig{Parts: parts})
	if err != nil {
		b.Fatal(err)
	}
	s, err := ops.NewServer(ops.ServerConfig{Monitor: m})
	if err != nil {
		b.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = m.Run(ctx) })
	serving.Go(func() { _ = s.Serve(ctx, l) })
	defer serving.Wait()
	defer stop()

	before := heap()
	told := make(chan struct{}, n)
	var reading sync.WaitGroup
	for range n {
		conn := openPage(b, l.Addr())
		defer conn.Close()
		reading.Go(func() {
			lines := bufio.NewReaderSize(conn, 4<<10)
			for {
				line, err := lines.ReadSlice('\n')
				if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
					return
				}
				if len(line) > 5 && string(line[:5]) == "data:" {
					told <- struct{}{}
				}
			}
		})
	}
	for range n {
		<-told // the first picture
	}
	perPage := float64(heap()-before) / float64(n)
	busy := processor(b)
	b.ResetTimer()
	for b.Loop() {
		changes.Add(1)
		m.Changed()
		for range n {
			<-told
		}
	}
	b.StopTimer()
	b.ReportMetric(perPage, "B/page")
	b.ReportMetric(float64((processor(b)-busy).Microseconds())/float64(b.N), "cpu-µs/op")
	stop()
	reading.Wait()
}

// heap is how much memory is in use.
func heap() int64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int64(s.HeapInuse + s.StackInuse)
}

// processor is how long this process has kept the processors busy.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// openPage opens a stream over TCP.
func openPage(b *testing.B, at net.Addr) net.Conn {
	b.Helper()
	var d net.Dialer
	conn, err := d.DialContext(b.Context(), "tcp", at.String())
	if err != nil {
		b.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		b.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://localhost"+ops.PathEvents, http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	if err := req.Write(conn); err != nil {
		b.Fatal(err)
	}
	return conn
}
