package main

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/nat"
)

// TestReadOnlyPart: what is taken out of the process is the program's own, and was never
// written to.
func TestReadOnlyPart(t *testing.T) {
	t.Parallel()
	const program = "/usr/bin/doublenat"
	tests := []struct {
		name, line  string
		first, size uintptr
		ok          bool
	}{
		{"code", "00400000-00939000 r-xp 00000000 00:1b 1234 /usr/bin/doublenat", 0x400000, 0x539000, true},
		{"constants", "00939000-00e7b000 r--p 00539000 00:1b 1234 /usr/bin/doublenat", 0x939000, 0x542000, true},
		{"variables", "00e7b000-00eda000 rw-p 00a7b000 00:1b 1234 /usr/bin/doublenat", 0, 0, false},
		{"heap", "c000000000-c000400000 rw-p 00000000 00:00 0 ", 0, 0, false},
		{"another file", "7f0000000000-7f0000001000 r--p 00000000 00:1b 99 /usr/lib/libc.so.6", 0, 0, false},
		{"shared with others", "00400000-00939000 r--s 00000000 00:1b 1234 /usr/bin/doublenat", 0, 0, false},
		{"a file that is gone", "00400000-00939000 r-xp 00000000 00:1b 1234 /usr/bin/doublenat (deleted)", 0, 0, false},
		{"no range", "00400000 r-xp 00000000 00:1b 1234 /usr/bin/doublenat", 0, 0, false},
		{"backwards", "00939000-00400000 r-xp 00000000 00:1b 1234 /usr/bin/doublenat", 0, 0, false},
		{"empty", "", 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first, size, ok := readOnlyPart(tt.line, program)
			if first != tt.first || size != tt.size || ok != tt.ok {
				t.Errorf("got %#x, %#x, %v, want %#x, %#x, %v", first, size, ok, tt.first, tt.size, tt.ok)
			}
		})
	}
}

// filePages returns how much of this process is pages of files, in kB.
func filePages(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "RssFile:"); ok {
			kB, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(text), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kB
		}
	}
	t.Fatal("the system does not tell how much of the process is files")
	return 0
}

// TestForgetProgram runs alone: other tests would bring pages back. What goes on then is
// the proof that nothing is missing.
func TestForgetProgram(t *testing.T) {
	before := filePages(t)
	forgetProgram()
	if after := filePages(t); after > before*3/4 {
		t.Errorf("%d kB of files before, %d kB after", before, after)
	}
}

// TestTrim runs alone, as it looks at the heap of the whole process: what nobody knows any
// more goes back to the system.
func TestTrim(t *testing.T) {
	const size = 32 << 20
	garbage := make([]byte, size)
	for i := range garbage {
		garbage[i] = 1
	}
	runtime.KeepAlive(garbage)
	runtime.GC()
	before := unusedHeap()
	trim()
	if after := unusedHeap(); before < after+size/2 {
		t.Errorf("%d bytes of no use before, %d after", before, after)
	}
}

// TestKeepSmallEnds: it comes round, and is over when it is told to.
func TestKeepSmallEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stop := keepSmall(t.Context())
		time.Sleep(3 * trimEvery)
		stop()
	})
}

// A large table moves the goal for the heap, and a small one moves it back.
func TestTableMemory(t *testing.T) {
	t.Parallel()
	var goals []int64
	m := &tableMemory{set: func(bytes int64) { goals = append(goals, bytes) }}
	for range 600 {
		m.observe(nat.Event{Kind: nat.EventCreated})
		m.observe(nat.Event{Kind: nat.EventPortChanged})
	}
	for range 600 {
		m.observe(nat.Event{Kind: nat.EventExpired})
	}
	const step = goalStep * heapPerMapping
	if want := []int64{heapGoal + step, heapGoal + 2*step, heapGoal + 2*step, heapGoal + step, heapGoal}; !slices.Equal(goals, want) {
		t.Errorf("goals %v, want %v", goals, want)
	}
}
