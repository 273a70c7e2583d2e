package clients_test

import (
	"time"

	"doublenat/natpmp"
)

// habit is how a program asks for its mappings: what it asks for, how often it
// repeats itself, when it renews, and what it makes of a failure.
type habit struct {
	name string
	// opcodes are the protocols that it maps, in the order in which it asks.
	opcodes []natpmp.Opcode
	// port is its own port, and the first suggestion unless blank is set.
	port  uint16
	blank bool
	// remembers is set where it suggests the port that it was granted last.
	remembers bool
	// lifetime is what it asks for, in seconds.
	lifetime uint32
	// address is set where it asks for the external address each time, and does
	// without a mapping if it gets none.
	address bool
	// tries are the waits for a reply, one for each packet.
	tries []time.Duration
	// renew says when it asks again.
	renew func(granted time.Duration) time.Duration
	// afterError and afterSilence are the waits after a failure; 0 is for ever.
	afterError, afterSilence time.Duration
	// honors is set where it asks again before that is over which it was granted.
	honors bool
}

// habits returns those of the clients of issue 5.
func habits() []habit {
	both := []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP}
	return []habit{
		{
			// libtorrent 2.0.8: renews at 3/4; nine packets in 11.25 s; after an error or
			// silence it does nothing for two hours.
			name: "libtorrent", opcodes: both, port: 6881, remembers: true, lifetime: 3600,
			tries: growing(250*time.Millisecond, 9), renew: part(3, 4),
			afterError: 2 * time.Hour, afterSilence: 2 * time.Hour, honors: true,
		},
		{
			// Transmission 3.00: TCP only, suggests its own port always, comes back after
			// 1200 s whatever it was granted, and never again after an error.
			name: "Transmission 3", opcodes: both[:1], port: 51413, lifetime: 3600, address: true,
			tries: doubling(9), renew: always(1200 * time.Second),
		},
		{
			// Syncthing 1.19: every 30 minutes, whatever happened.
			name: "Syncthing", opcodes: both[:1], port: 22000, remembers: true, lifetime: 3600, address: true,
			tries: doubling(6), renew: always(30 * time.Minute),
			afterError: 30 * time.Minute, afterSilence: 30 * time.Minute,
		},
		{
			// Tailscale 1.98: UDP only, one packet and 250 ms; renews at half; without a
			// mapping it tries at each network check, about every 25 s.
			name: "Tailscale", opcodes: both[1:], port: 41641, blank: true, remembers: true, lifetime: 7200, address: true,
			tries: []time.Duration{250 * time.Millisecond}, renew: part(1, 2),
			afterError: 25 * time.Second, afterSilence: 25 * time.Second, honors: true,
		},
		{
			// go-ethereum: asks for ten minutes and comes back after eight, whatever it was
			// granted; five minutes after a failure.
			name: "go-ethereum", opcodes: both, port: 30303, lifetime: 600,
			tries: doubling(9), renew: always(8 * time.Minute),
			afterError: 5 * time.Minute, afterSilence: 5 * time.Minute,
		},
	}
}

// growing returns n waits: step, twice the step, and so on (libtorrent).
func growing(step time.Duration, n int) []time.Duration {
	waits := make([]time.Duration, n)
	for i := range waits {
		waits[i] = time.Duration(i+1) * step
	}
	return waits
}

// doubling returns n waits from 250 ms on (RFC 6886 §3.1).
func doubling(n int) []time.Duration {
	waits := make([]time.Duration, n)
	for i := range waits {
		waits[i] = 250 * time.Millisecond << i
	}
	return waits
}

// part renews when that part of what was granted is over.
func part(num, den int64) func(time.Duration) time.Duration {
	return func(granted time.Duration) time.Duration { return time.Duration(int64(granted) * num / den) }
}

// always renews after the same time.
func always(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}
