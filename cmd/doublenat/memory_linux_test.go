//go:build !race

package main

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doublenat/natpmp"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// peakMemory returns the most memory that a process had at a time, in MiB (VmHWM,
// see proc_pid_status(5)).
func peakMemory(t *testing.T, pid int) float64 {
	t.Helper()
	peak := peakOf(pid)
	if peak == 0 {
		t.Fatal("the system does not tell how much memory a process had")
	}
	return peak
}

// peakOf is peakMemory for a process that may have ended: that of one is 0.
func peakOf(pid int) float64 {
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB"))) // 0 is none
			return float64(kib) / 1024
		}
	}
	return 0
}

// manyRows gives the router rows by the hundred thousand.
func manyRows(t *testing.T, box *routerostest.Router, rows int) {
	t.Helper()
	address := func(i int) string {
		return netip.AddrFrom4([4]byte{100, byte(64 + i>>16), byte(i >> 8), byte(i)}).String()
	}
	err := box.AddAll("/ip/firewall/nat", func(yield func(routerostest.Row) bool) {
		for i := range rows {
			if !yield(routerostest.Row{
				"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "in-interface": "ether1", "dst-address": address(i),
				"dst-port": "80", "to-addresses": "192.168.88.30", "comment": fmt.Sprintf("shop %d", i),
			}) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMemoryWithABigTable serves a client on a router with 100,000 rules of others.
func TestMemoryWithABigTable(t *testing.T) {
	t.Parallel()
	const limit = 40 // MiB
	o := newOutsideAt(t, 100)
	manyRows(t, o.router, 100_000)
	b := o.start(t, nil, nil)
	o.mapped(t, 6881)
	peak := peakMemory(t, b.Process.Pid)
	b.send(t, syscall.SIGTERM)
	b.stop(t)
	o.nothingLeft(t)
	t.Logf("the daemon had %.1f MiB at most", peak)
	if peak > limit {
		t.Errorf("the daemon had %.1f MiB at most, want %d", peak, limit)
	}
}

// fillingRouter is a router that answers with as much as it can.
type fillingRouter struct {
	name string
	// answer writes what comes of the command to the client.
	answer func(w *bufio.Writer, path, tag string)
}

// longRow returns a row with one long attribute, as it is sent.
func longRow(tag string, size int) []byte {
	return routeros.AppendSentence(nil, routeros.Sentence{"!re", tag, "=name=" + strings.Repeat("x", size)})
}

// done ends a reply.
func done(w *bufio.Writer, tag string) {
	_, _ = w.Write(routeros.AppendSentence(nil, routeros.Sentence{"!done", tag}))
}

// fillingRouters are the ways in which a router can try to fill our memory.
func fillingRouters() []fillingRouter {
	const flood = 96 << 20 // bytes for each command
	prefix := "=log-prefix=" + strings.Repeat("x", 30_000)
	own := func(i int) routeros.Sentence {
		return routeros.Sentence{
			"!re", "=.id=*" + strconv.FormatInt(int64(i), 16), "=chain=dstnat", "=action=dst-nat", "=protocol=tcp", "=in-interface=wg1",
			fmt.Sprintf("=dst-port=%d", i%65535+1), "=to-addresses=192.168.88.10", "=to-ports=1", prefix,
			fmt.Sprintf("=comment=doublenat:default tcp 192.168.%d.%d:%d inner=%d ext=1 life=60", i>>8&255, i&255, i%65535+1, i%65535+1),
		}
	}
	each := func(size int, send func(i int) int) {
		for i, sent := 0, 0; sent < size; i++ {
			sent += send(i)
		}
	}
	return []fillingRouter{
		{"long rows without an end", func(w *bufio.Writer, _, tag string) {
			sentence := longRow(tag, 60_000)
			each(flood, func(int) int { _, _ = w.Write(sentence); return len(sentence) })
		}},
		{"rows of nothing", func(w *bufio.Writer, _, tag string) {
			sentence := routeros.AppendSentence(nil, routeros.Sentence{"!re", tag})
			each(flood/4, func(int) int { _, _ = w.Write(sentence); return len(sentence) })
			done(w, tag)
		}},
		{"many attributes", func(w *bufio.Writer, _, tag string) {
			words := routeros.Sentence{"!re", tag}
			for i := range 250 {
				words = append(words, "=n"+strconv.Itoa(i)+"=")
			}
			sentence := routeros.AppendSentence(nil, words)
			each(flood/2, func(int) int { _, _ = w.Write(sentence); return len(sentence) })
			done(w, tag)
		}},
		{"words beyond all limits", func(w *bufio.Writer, _, tag string) {
			sentence := longRow(tag, 8<<20)
			each(flood, func(int) int { _, _ = w.Write(sentence); return len(sentence) })
			done(w, tag)
		}},
		{"traps", func(w *bufio.Writer, _, tag string) {
			sentence := routeros.AppendSentence(nil, routeros.Sentence{"!trap", tag, "=message=" + strings.Repeat("x", 60_000)})
			each(flood/2, func(int) int { _, _ = w.Write(sentence); return len(sentence) })
			done(w, tag)
		}},
		{"many rules that look like ours", func(w *bufio.Writer, path, tag string) {
			switch path {
			case "/interface/print":
				_, _ = w.Write(routeros.AppendSentence(nil, routeros.Sentence{"!re", tag, "=name=wg1", "=type=wg", "=running=true"}))
			case "/ip/firewall/nat/print":
				each(flood, func(i int) int {
					_, _ = w.Write(routeros.AppendSentence(nil, append(own(i), tag)))
					return 30_000
				})
			}
			done(w, tag)
		}},
		{"many interfaces, addresses and rules", func(w *bufio.Writer, path, tag string) {
			each(flood/4, func(i int) int {
				n := strconv.Itoa(i)
				s := routeros.AppendSentence(nil, routeros.Sentence{
					"!re", tag, "=name=wg" + n, "=type=wg", "=running=true", "=address=10.0." + strconv.Itoa(i>>8&255) + "." + strconv.Itoa(i&255) + "/8", "=interface=wg1",
					"=list=l" + n, "=group=g", "=policy=read", "=dst-address=0.0.0.0/0", "=gateway=wg1", "=immediate-gw=wg" + n, "=active=true",
					"=chain=dstnat", "=action=dst-nat", "=protocol=tcp", "=in-interface=wg1", "=to-addresses=10.0.0.0-10.255.255.255", "=comment=" + n, "=port=" + n,
				})
				_, _ = w.Write(s)
				return len(s)
			})
			if path == "/interface/print" {
				_, _ = w.Write(routeros.AppendSentence(nil, routeros.Sentence{"!re", tag, "=name=wg1", "=type=wg", "=running=true"}))
			}
			done(w, tag)
		}},
		{"every table as large as it may be", func(w *bufio.Writer, path, tag string) {
			if strings.HasPrefix(path, "/system/") {
				_, _ = w.Write(routeros.AppendSentence(nil, routeros.Sentence{"!re", tag, "=version=7.21 (stable)", "=name=MikroTik"}))
				done(w, tag)
				return
			}
			each(flood/96, func(i int) int {
				n := strconv.Itoa(i)
				_, _ = w.Write(routeros.AppendSentence(nil, routeros.Sentence{
					"!re", tag, "=.id=*" + n, "=name=wg1", "=type=wg", "=running=true", "=address=10.2.0.2/32", "=interface=wg1", "=list=LAN", "=chain=forward", "=action=accept",
					"=src-address-list=" + n, "=dst-address=0.0.0.0/0", "=gateway=wg1", "=immediate-gw=wg1", "=active=true", "=include=", "=exclude=", "=comment=" + strings.Repeat("x", 20_000),
				}))
				return 20_000
			})
			done(w, tag)
		}},
	}
}

// looks counts how often a daemon asked for the same.
type looks struct {
	mu       sync.Mutex
	commands map[string]int // guarded by mu
	most     int            // guarded by mu
}

// add counts a command.
func (l *looks) add(command string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commands[command]++
	l.most = max(l.most, l.commands[command])
}

// count returns how often it asked for what it asked for most.
func (l *looks) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}

// serve plays the hostile router until the listener is closed.
func (h fillingRouter) serve(ln net.Listener, wg *sync.WaitGroup, asked *looks) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer conn.Close()
			reader, w := routeros.NewReader(conn, routeros.Limits{}), bufio.NewWriterSize(conn, 64<<10)
			for {
				words, err := reader.ReadSentence()
				if err != nil {
					return
				}
				tag := ""
				for _, word := range words {
					if strings.HasPrefix(word, ".tag=") {
						tag = word
					}
				}
				switch words[0] {
				case "/login":
					_, _ = w.Write(routeros.AppendSentence(nil, routeros.Sentence{"!done"}))
				case "/cancel":
					done(w, tag)
				default:
					asked.add(words[0])
					h.answer(w, words[0], tag)
				}
				if w.Flush() != nil {
					return
				}
			}
		})
	}
}

// start has it listen in place of the router until the test ends.
func (h fillingRouter) start(t *testing.T, o *outside) *looks {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", netip.AddrPortFrom(o.listen, 8728).String())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	asked := &looks{commands: make(map[string]int)}
	wg.Go(func() { h.serve(ln, &wg, asked) })
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	o.environ = append(o.environ, "MIKROTIK_API_ADDRESS="+o.listen.String(), "MIKROTIK_IN_INTERFACE=wg1")
	return asked
}

// ask asks for a mapping, whose answer nobody waits for.
func (o *outside) ask(t *testing.T) {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(o.listen, 5351)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write(natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 6881, Lifetime: 3600}.Append(nil)) // refused before it listens
}

// TestMemoryWithAHostileRouter has the daemon look at each of them three times, for a second
// at least and four at most. Two live at a time, so that each gets enough of the machine to
// fill its memory, and to stop in time.
func TestMemoryWithAHostileRouter(t *testing.T) {
	t.Parallel()
	const limit = 48 // MiB
	for first := range 2 {
		t.Run([]string{"even", "odd"}[first], func(t *testing.T) {
			t.Parallel()
			for i, h := range fillingRouters() {
				if i%2 == first {
					t.Run(h.name, func(t *testing.T) { liveWith(t, h, newOutsideAt(t, 120+3*byte(i)), limit) })
				}
			}
		})
	}
}

// liveWith has a daemon live with a hostile router, and looks how much memory it takes, in MiB.
func liveWith(t *testing.T, h fillingRouter, o *outside, limit float64) {
	t.Helper()
	asked := h.start(t, o)
	b := o.start(t, nil, nil)
	peak := 0.0
	began, soon, late := time.Now(), time.Second, 4*time.Second
	for past := time.Duration(0); past < soon || past < late && asked.count() < 4; past = time.Since(began) {
		time.Sleep(50 * time.Millisecond)
		o.ask(t)
		peak = peakMemory(t, b.Process.Pid)
	}
	if asked.count() == 0 {
		t.Error("the daemon asked for nothing: this test looked at nothing")
	}
	peak = max(peak, peakMemory(t, b.Process.Pid))
	b.send(t, syscall.SIGTERM)
	select {
	case err := <-b.ended:
		t.Logf("the daemon ended: %v", err) // rules could not be taken down
	case <-time.After(stopTime):
		t.Fatalf("the daemon did not end within %v", stopTime)
	}
	t.Logf("the daemon had %.1f MiB at most", peak)
	if peak > limit {
		t.Errorf("the daemon had %.1f MiB at most, want %.0f", peak, limit)
	}
}

// TestMemoryOfCommandsWithAHostileRouter has the commands that ask the router look at each
// of them for some seconds: what they keep of a router for longer than the daemon does is
// bounded too.
func TestMemoryOfCommandsWithAHostileRouter(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("TestMemoryWithAHostileRouter does the same with the daemon")
	}
	const limit = 48 // MiB
	for i, h := range fillingRouters() {
		for k, command := range []string{"check", "setup"} {
			t.Run(command+", "+h.name, func(t *testing.T) {
				t.Parallel()
				o := newOutsideAt(t, 150+6*byte(i)+3*byte(k))
				h.start(t, o)
				self, err := os.Executable()
				if err != nil {
					t.Fatal(err)
				}
				var out output
				b := &exec.Cmd{Path: self, Args: []string{"doublenat", command}, Env: o.environ, Stdout: &out, Stderr: &out}
				if err := b.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_ = b.Wait() // it fails, and says why
				}()
				peak, limited := 0.0, time.After(commandTime)
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for over := false; !over; {
					select {
					case <-ended:
						over = true
					case <-limited:
						_ = b.Process.Kill() // it may go on for minutes, with one big answer after the other
						<-ended
						over = true
					case <-tick.C:
						peak = max(peak, peakOf(b.Process.Pid))
					}
				}
				t.Logf("%s had %.1f MiB at most, and said %d bytes", command, peak, len(out.String()))

				if peak > limit || len(out.String()) == 0 { // one that ended at once had no peak
					t.Errorf("%s had %.1f MiB at most, want %d; it said\n%.2000s", command, peak, limit, out.String())
				}
			})
		}
	}
}

// commandTime is how long a command may look at a hostile router in a test.
const commandTime = 15 * time.Second
