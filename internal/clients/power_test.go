package clients_test

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp/natpmptest"
)

// blackout is how long the gateway takes to come back after a power cut.
const blackout = time.Minute

// TestAfterAPowerCut: all power comes back at once, the programs start within the minute
// in which the gateway is not there yet, and each has its mapping as soon as its own
// habits allow: see docs/clients.md.
func TestAfterAPowerCut(t *testing.T) {
	t.Parallel()
	const never = 0                                          // It has given up by then, and does not ask again for ten minutes or more.
	for program, after := range map[string][4]time.Duration{ // by when it starts: 5, 25, 45, 55 s
		"libtorrent":      {never, never, never, 5 * time.Second},
		"Transmission 3":  {time.Second, time.Second, time.Second, time.Second},
		"Syncthing":       {never, never, time.Second, time.Second},
		"Tailscale":       {30 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second},
		"go-ethereum":     {10 * time.Second, 10 * time.Second, 10 * time.Second, 10 * time.Second},
		"go-ethereum any": {time.Second, time.Second, time.Second, time.Second},
	} {
		for i, most := range after {
			start := []time.Duration{5 * time.Second, 25 * time.Second, 45 * time.Second, 55 * time.Second}[i]
			t.Run(program+"/"+start.String(), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					took, ok := afterBlackout(t, named(t, program), start)
					t.Logf("%v after the gateway's return: %v", took, ok)
					if ok != (most != never) || ok && took > most {
						t.Errorf("mapped (%v) %v after the gateway's return, want %v", ok, took, most)
					}
				})
			})
		}
	}
}

// named returns a habit by its name.
func named(t *testing.T, name string) habit {
	t.Helper()
	for _, h := range habits() {
		if h.name == name {
			return h
		}
		if strings.HasPrefix(name, h.name+" ") { // with --nat any, it asks for the address first
			h.address = true
			return h
		}
	}
	t.Fatalf("no habit %q", name)
	return habit{}
}

// afterBlackout starts a program so long after the power came back, and returns how long
// after the gateway's return it has all its mappings; false if it has not within 10 minutes.
func afterBlackout(t *testing.T, h habit, start time.Duration) (time.Duration, bool) {
	t.Helper()
	bench, err := lab.NewBench(lab.BenchConfig{Seed: 1, Latency: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	bench.Gateway.Adjust(func(p *natpmptest.Profile) { p.Requests.Loss = 1 })
	if err := bench.Start(nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	time.Sleep(start)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	c := newClient(h, netip.MustParseAddr("192.168.88.10"), bench)
	running.Go(func() { c.run(ctx) })
	time.Sleep(time.Until(began.Add(blackout)))
	bench.Gateway.Adjust(func(p *natpmptest.Profile) { p.Requests.Loss = 0 })
	back := time.Now()
	for time.Since(back) < 10*time.Minute && !c.mapped() {
		time.Sleep(100 * time.Millisecond)
	}
	took, ok := time.Since(back), c.mapped()
	stop()
	running.Wait()
	if err := bench.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	return took, ok
}

// mapped says whether the client was told a port for all that it asks for.
func (c *client) mapped() bool {
	for _, op := range c.opcodes {
		if c.knows(op).port == 0 {
			return false
		}
	}
	return true
}
