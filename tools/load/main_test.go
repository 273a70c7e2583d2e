package main

import (
	"bytes"
	"context"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestScenarios: each combination that tells something is there, once.
func TestScenarios(t *testing.T) {
	t.Parallel()
	var got []string
	p := standard()
	p.clients = []int{64}
	for _, s := range p.scenarios(100) {
		got = append(got, s.String())
	}
	want := []string{
		"address, 64 clients, 100 mappings, 0 + 0 ms",
		"renewal, 64 clients, 100 mappings, 0 + 0 ms",
		"create, delete, 64 clients, 100 mappings, 0 + 0 ms",
		"renewal, 64 clients, 100 mappings, 30 + 10 ms",
		"create, delete, 64 clients, 100 mappings, 30 + 10 ms",
		"all create at once, 64 clients, 100 mappings, 30 + 10 ms",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(p.full().scenarios(100)); n != 8 {
		t.Errorf("the full plan has %d rows, want 8", n)
	}
}

// TestMissed: each bound is held to, and nothing that is within it is blamed.
func TestMissed(t *testing.T) {
	t.Parallel()
	slow := delays{gateway: slowGateway, router: slowRouter}
	row := func(op operation, clients int, d delays, took time.Duration, change func(*figures)) figures {
		f := figures{scenario: scenario{op: op, clients: clients, delays: d}, took: []time.Duration{took}, elapsed: time.Second}
		change(&f)
		return f
	}
	none := func(*figures) {}
	r := results{
		figures: []figures{
			row(opEcho, 64, delays{}, 0, none),
			row(opAddress, 64, delays{}, 0, func(f *figures) { f.share = 0.81 }),
			row(opAddress, 64, delays{}, 0, func(f *figures) { f.share = 0.79 }),
			row(opRenew, 64, delays{}, 0, func(f *figures) { f.cpu = 50 * time.Microsecond }),
			row(opRenew, 64, delays{}, 0, func(f *figures) { f.cpu = 65 * time.Microsecond }),
			row(opRenew, 64, slow, 0, func(f *figures) { f.cpu = 75 * time.Microsecond }),
			row(opCreate, 1, slow, 42*time.Millisecond, none),
			row(opCreate, 1, slow, 43*time.Millisecond, none),
			row(opBurst, hosts, slow, 401*time.Millisecond, none),
			row(opCreate, 64, delays{}, 0, func(f *figures) { f.failed, f.failure = 1, errNoAnswer }),
		},
		growth: growth{few: 100, many: 10000, ratio: 1.3},
		rests: []rest{
			{name: "idle", held: memory{resident: idleMemory}},
			{name: "mappings", held: memory{resident: mappingsMemory + 1<<20}},
			{name: "rules", held: memory{resident: rulesMemory}},
		},
	}
	want := misses{
		"address, 64 clients, 0 mappings, 0 + 0 ms: 0.79 of the echo's throughput, want 0.80",
		"renewal, 64 clients, 0 mappings, 30 + 10 ms: 75µs of CPU, want 70µs",
		"create, delete, 1 clients, 0 mappings, 30 + 10 ms: 43ms, want 42ms",
		"all create at once, 256 clients, 0 mappings, 30 + 10 ms: p99 401ms, want 400ms",
		"create, delete, 64 clients, 0 mappings, 0 + 0 ms: 1 failed, the first: no answer",
		"a renewal, 64 clients, in turns: 10000 mappings take 1.30 of the CPU with 100, want 1.20",
		"mappings: RSS 15.0 MiB, want 14.0 MiB",
	}
	if diff := cmp.Diff(want, r.missed()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRun measures the real binary for a moment: every row is there, and nothing failed.
func TestRun(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "doublenat")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/doublenat")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := plan{each: 20 * time.Millisecond, clients: []int{2}, mappings: []int{5}, delays: []delays{{}}}
	var progress bytes.Buffer
	w, err := newWorld(t.Context(), settings{binary: binary, profiling: true, log: &progress})
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	defer w.end()
	var r results
	for _, s := range p.scenarios(5) {
		if err := w.fill(t.Context(), s.mappings); err != nil {
			t.Fatal(err)
		}
		f, err := w.measure(t.Context(), s, p.each)
		idle := f.cpu == 0 || f.allocations == 0 && s.op != opAddress // A request for the address takes none.
		if err != nil || f.failed > 0 || idle {
			t.Fatalf("%v: %+v, %v", s, f, err)
		}
		r.figures = append(r.figures, f)
	}
	var out bytes.Buffer
	r.write(&out)
	if n := strings.Count(out.String(), "\n"); n != 2+len(p.scenarios(5)) {
		t.Errorf("the table has %d lines:\n%s", n, &out)
	}
	p.mappings = []int{5, 70}
	if r.growth, err = p.growth(t.Context(), settings{binary: binary, log: &progress}, &progress); err != nil || r.growth.ratio <= 0 {
		t.Fatalf("%+v, %v", r.growth, err)
	}
	out.Reset()
	r.write(&out)
	if !strings.Contains(out.String(), r.growth.String()) {
		t.Errorf("the growth is not in the table:\n%s", &out)
	}
}

// TestEcho: the floor is there, and ends with its context.
func TestEcho(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	at, err := freePort("udp4")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serveEcho(ctx, at) }()
	h, err := newHost(0, netip.MustParseAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer h.conn.Close()
	if err := h.echo(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
