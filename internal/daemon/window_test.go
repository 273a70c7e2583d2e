package daemon_test

import (
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// host returns the address of one of many clients.
func host(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 88, byte(20 + i)}) }

// queueTo returns a bench whose gateway takes its time for each reply, so that
// requests queue up in front of it.
func queueTo(window int) lab.BenchConfig {
	profile := natpmptest.RFC()
	profile.ReplyDelay = 100 * time.Millisecond
	return lab.BenchConfig{
		Profile: profile, Capture: 4096, Latency: time.Millisecond,
		Environ: map[string]string{"GATEWAY_WINDOW": strconv.Itoa(window)},
	}
}

// mapRequests returns the map requests that the gateway got, in their order.
func (r *rig) mapRequests() []natpmp.Request {
	var all []natpmp.Request
	for _, p := range r.Net.Packets(natpmptest.PacketDelivered) {
		req, err := natpmp.ParseRequest(p.Payload)
		if p.To.Addr() == gatewayHost && err == nil && req.Opcode != natpmp.OpExternalAddress {
			all = append(all, req)
		}
	}
	return all
}

// flying returns how many requests to the gateway were in flight at most, in all and
// for one mapping.
func (r *rig) flying() (most, mostOfOne int) {
	type mapping struct {
		op    natpmp.Opcode
		inner uint16
	}
	flying := make(map[mapping]int)
	all := 0
	for _, p := range r.Net.Packets(natpmptest.PacketSent) {
		req, err := natpmp.ParseRequest(p.Payload)
		switch {
		case p.To.Addr() == gatewayHost && err == nil:
			m := mapping{req.Opcode, req.InternalPort}
			flying[m]++
			all++
			most, mostOfOne = max(most, all), max(mostOfOne, flying[m])
		case p.From.Addr() == gatewayHost:
			if resp, err := natpmp.ParseResponse(p.Payload); err == nil {
				flying[mapping{resp.Opcode, resp.InternalPort}]--
				all--
			}
		}
	}
	return most, mostOfOne
}

// GATEWAY_WINDOW is how many requests are in flight at first; while replies come in time
// there are more, up to four times as many. 1 is the strict order of RFC 6886 §3.1. There
// are never two for one mapping.
func TestWindow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ window, rounds, most int }{{1, 32, 1}, {4, 4, 16}, {16, 2, 16}} {
		t.Run(strconv.Itoa(tt.window), func(t *testing.T) {
			t.Parallel()
			onBench(t, queueTo(tt.window), func(r *rig) {
				time.Sleep(2 * time.Second)
				began := time.Now()
				var all sync.WaitGroup
				for i := range 32 {
					all.Go(func() { r.mapped(host(i), natpmp.OpMapTCP, 7000) })
				}
				all.Wait()
				least := time.Duration(tt.rounds) * 100 * time.Millisecond
				if took := time.Since(began); took < least || took > least*11/10 {
					r.t.Errorf("32 creates took %v, want %v and a little more", took, least)
				}
				if most, ofOne := r.flying(); most != tt.most || ofOne != 1 {
					r.t.Errorf("%d requests in flight, %d for one mapping, want %d and 1", most, ofOne, tt.most)
				}
				r.agree()
			})
		})
	}
}

// Renewals go before creates when the queue is long: who has a mapping must not lose
// it because others want one.
func TestRenewalsGoBeforeCreates(t *testing.T) {
	t.Parallel()
	onBench(t, queueTo(1), func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		mine, _ := r.Gateway.Lookup(natpmp.OpMapTCP, r.mapped(alice, natpmp.OpMapTCP, 6881).ExternalPort)
		time.Sleep(2 * time.Second)
		before := len(r.mapRequests())
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() { r.mapped(host(i), natpmp.OpMapTCP, 7000) })
		}
		time.Sleep(time.Second) // About ten creates are done, thirty wait.
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		all.Wait()
		time.Sleep(time.Second)
		place := slices.IndexFunc(r.mapRequests()[before:], func(req natpmp.Request) bool { return req.InternalPort == mine.InternalPort })
		if place < 8 || place > 12 {
			r.t.Errorf("the renewal was request %d of 41, want about the eleventh", place+1)
		}
	})
}
