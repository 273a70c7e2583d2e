package ops

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
)

// With a large table pictures are made less often, though something changes all the time; a hop
// that fails is told at once.
func TestPicturesOfALargeTable(t *testing.T) {
	t.Parallel()
	for n, want := range map[int][2]int{10: {55, 125}, 5000: {10, 14}} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { paced(t, n, want[0], want[1]) })
		})
	}
}

// paced watches a table of n mappings of which one changes each second, for a minute.
func paced(t *testing.T, n, least, most int) {
	t.Helper()
	var made atomic.Uint64
	var silent, stopping atomic.Bool
	outline := func() Parts {
		p := Parts{Gateway: gateway.Stats{State: gateway.StateOK, LastSuccess: time.Now()}}
		p.Core.Mappings, p.Stopping = n, stopping.Load()
		if silent.Load() {
			p.Gateway.State = gateway.StateSilent
		}
		return p
	}
	m, err := NewMonitor(MonitorConfig{Outline: outline, Parts: func() Parts {
		p := outline()
		p.Mappings = make([]nat.Mapping, n)
		p.Mappings[0].Packets = made.Add(1)
		return p
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var runs sync.WaitGroup
	runs.Go(func() { _ = m.Run(ctx) })
	w, err := m.watch(netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	var pictures atomic.Int64
	var last atomic.Value
	runs.Go(func() {
		for picture := range w.pictures {
			pictures.Add(1)
			last.Store(picture)
		}
	})
	for range 60 {
		time.Sleep(time.Second)
		m.Changed()
	}
	if got := int(pictures.Load()); got < least || got > most {
		t.Errorf("%d pictures in a minute, want %d to %d", got, least, most)
	}
	silent.Store(true)
	time.Sleep(1200 * time.Millisecond)
	if picture, _ := last.Load().([]byte); !bytes.Contains(picture, []byte(`"summary":"silent"`)) {
		t.Error("a second later the page does not say that the gateway is silent")
	}
	stopping.Store(true)
	m.Changed()
	time.Sleep(2 * settle)
	if picture, _ := last.Load().([]byte); !bytes.Contains(picture, []byte(`"title":"doublenat is stopping"`)) {
		t.Error("the page does not say that doublenat is stopping")
	}
	told := pictures.Load()
	for range 10 { // mappings are taken down
		m.Changed()
		time.Sleep(2 * settle)
	}
	if got := int(pictures.Load() - told); n > 1000 && got > 1 {
		t.Errorf("%d pictures in two seconds of the stop", got)
	}
	cancel()
	runs.Wait()
}

// A page that opens while a picture is sent to the others does not miss it.
func TestWatcherMissesNothing(t *testing.T) {
	t.Parallel()
	var m *Monitor
	opening := false
	m, err := NewMonitor(MonitorConfig{Parts: func() Parts {
		if opening {
			opening = false
			m.broadcast([]byte("what happened meanwhile")) // and is no part of what is returned
			return Parts{}
		}
		return Parts{Stopping: true}
	}})
	if err != nil {
		t.Fatal(err)
	}
	opening = true
	w, err := m.watch(netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	if first := <-w.pictures; !bytes.Contains(first, []byte("doublenat is stopping")) || len(w.pictures) > 0 {
		t.Errorf("it begins with %s and %d more", first, len(w.pictures))
	}
}
