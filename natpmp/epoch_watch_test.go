package natpmp_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

// epochPacket is a packet of a gateway and what its epoch has to tell.
type epochPacket struct {
	after time.Duration // since the packet before
	epoch uint32
	want  natpmp.EpochNews
}

// clock returns packets of a clock that runs on, one every gap.
func clock(from uint32, n int, gap time.Duration) []epochPacket {
	var all []epochPacket
	for i := range n {
		all = append(all, epochPacket{after: gap, epoch: from + uint32(time.Duration(i)*gap/time.Second)})
	}
	return all
}

// row joins packets.
func row(parts ...[]epochPacket) []epochPacket {
	var all []epochPacket
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// TestEpochWatch has the limits of RFC 6886 §3.6, 7/8 of the time less 2 seconds, and
// the same ones in the other direction.
func TestEpochWatch(t *testing.T) {
	t.Parallel()
	const lost, ahead, unreliable, reliable = natpmp.EpochLost, natpmp.EpochAhead, natpmp.EpochUnreliable, natpmp.EpochReliable
	for name, packets := range map[string][]epochPacket{
		"first packet":                  {{epoch: 0}},
		"exactly on time":               {{epoch: 1000}, {after: 80 * time.Second, epoch: 1080}},
		"slowest clock that is allowed": {{epoch: 1000}, {after: 80 * time.Second, epoch: 1068}},
		"one below":                     {{epoch: 1000}, {after: 80 * time.Second, epoch: 1067, want: lost}},
		"fastest clock that is allowed": {{epoch: 1000}, {after: 68 * time.Second, epoch: 1080}},
		"one second too fast":           {{epoch: 1000}, {after: 67 * time.Second, epoch: 1080, want: ahead}},
		"one loss is reported once": {
			{epoch: 4000000},
			{after: 30 * time.Second, epoch: 3, want: lost},
			{after: time.Second, epoch: 4},
			{after: time.Second, epoch: 0, want: lost},
		},
		"reordered by two seconds":   {{epoch: 10}, {epoch: 8}},
		"reordered by three seconds": {{epoch: 10}, {epoch: 7, want: lost}},
		"packet with an older time":  {{epoch: 10}, {after: -time.Hour, epoch: 10}},
		"a century":                  {{epoch: 0}, {after: 100 * 365 * 24 * time.Hour, epoch: 100 * 365 * 86400}},
		"our clock stood for an hour": row(
			clock(1000, 5, 20*time.Second),
			[]epochPacket{{after: time.Second, epoch: 4681, want: ahead}},
			clock(4701, 5, 20*time.Second),
		),
		"our clock stands again and again": row(
			clock(1000, 20, 20*time.Second),
			[]epochPacket{{after: time.Second, epoch: 5000, want: ahead}}, clock(5020, 20, 20*time.Second),
			[]epochPacket{{after: time.Second, epoch: 9000, want: ahead}}, clock(9020, 20, 20*time.Second),
			[]epochPacket{{after: time.Second, epoch: 13000, want: ahead}}, clock(13020, 20, 20*time.Second),
			[]epochPacket{{after: time.Second, epoch: 17000, want: ahead}}, clock(17020, 20, 20*time.Second),
		),
		// A reply that waited for five seconds somewhere is no loss of time for those
		// that come after it in time.
		"one late packet": row(
			clock(1000, 5, 20*time.Second),
			[]epochPacket{{after: 20 * time.Second, epoch: 1096}, {after: 100 * time.Millisecond, epoch: 1100}},
			clock(1120, 5, 20*time.Second),
		),
		"a burst of late packets": row(
			clock(1000, 5, 20*time.Second),
			[]epochPacket{{after: 20 * time.Second, epoch: 1096}, {epoch: 1096}, {epoch: 1096}, {epoch: 1096}, {epoch: 1096}},
			[]epochPacket{{after: 100 * time.Millisecond, epoch: 1100}},
			clock(1120, 5, 20*time.Second),
		),
		"a very late packet": row(
			clock(1000, 5, 20*time.Second),
			[]epochPacket{{after: time.Second, epoch: 1061, want: lost}, {after: time.Second, epoch: 1082}},
			clock(1102, 9, 20*time.Second),
			[]epochPacket{{after: 20 * time.Second, epoch: 20, want: lost}},
		),
		"two machines in turn": row(
			[]epochPacket{{epoch: 4000000}, {after: 20 * time.Second, epoch: 1000, want: lost}},
			[]epochPacket{{after: 20 * time.Second, epoch: 4000040}, {after: 20 * time.Second, epoch: 1040, want: unreliable}},
			[]epochPacket{{after: 20 * time.Second, epoch: 4000080}, {after: 20 * time.Second, epoch: 1080}},
			clock(1100, 5, 20*time.Second),
			[]epochPacket{{after: 20 * time.Second, epoch: 1200, want: reliable}},
			[]epochPacket{{after: 20 * time.Second, epoch: 5, want: lost}},
		),
		"the newer machine first": {
			{epoch: 1000},
			{after: 20 * time.Second, epoch: 4000000, want: ahead},
			{after: 20 * time.Second, epoch: 1040},
			{after: 20 * time.Second, epoch: 4000040, want: unreliable},
		},
		"another machine now and then": row(
			clock(4000000, 30, 20*time.Second),
			[]epochPacket{{after: 20 * time.Second, epoch: 1000, want: lost}},
			clock(4000620, 30, 20*time.Second),
			[]epochPacket{{after: 20 * time.Second, epoch: 1620}},
			clock(4001240, 30, 20*time.Second),
			[]epochPacket{{after: 20 * time.Second, epoch: 3, want: lost}},
		),
		"epoch that is always 0": row(
			[]epochPacket{{epoch: 0}, {after: 20 * time.Second, want: lost}, {after: 20 * time.Second, want: lost}},
			[]epochPacket{{after: 20 * time.Second, want: unreliable}, {after: 20 * time.Second}, {after: time.Hour}},
		),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w natpmp.EpochWatch
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for i, p := range packets {
				now = now.Add(p.after)
				if got := w.Observe(p.epoch, now); got != p.want {
					t.Errorf("packet %d, epoch %d: told %v, want %v", i+1, p.epoch, got, p.want)
				}
			}
		})
	}
}

// newsOfADay counts what an epoch tells that is a function of the time, seen for a day every
// 20 seconds.
func newsOfADay(epoch func(i int, at time.Duration) uint32) map[natpmp.EpochNews]int {
	var w natpmp.EpochWatch
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	told := make(map[natpmp.EpochNews]int)
	for i := range 24 * 180 {
		at := time.Duration(i) * 20 * time.Second
		told[w.Observe(epoch(i, at), start.Add(at))]++
	}
	delete(told, natpmp.EpochSteady)
	return told
}

// Clocks that are wrong, and machines that take turns: what they tell is bounded.
func TestEpochOfADay(t *testing.T) {
	t.Parallel()
	seconds := func(at time.Duration, num, den int64) uint32 { return uint32(int64(at/time.Second) * num / den) }
	machine := func(n int, at time.Duration) uint32 { return uint32(n)*1_000_000 + uint32(at/time.Second) }
	random := func(i int) int { return int(uint32(i)*2654435761>>16) % 97 }
	type count = map[natpmp.EpochNews]int
	for name, tt := range map[string]struct {
		epoch func(i int, at time.Duration) uint32
		want  count
	}{
		"right":         {func(_ int, at time.Duration) uint32 { return seconds(at, 1, 1) }, count{}},
		"a tenth slow":  {func(_ int, at time.Duration) uint32 { return seconds(at, 9, 10) }, count{}},
		"a tenth fast":  {func(_ int, at time.Duration) uint32 { return seconds(at, 11, 10) }, count{}},
		"stands":        {func(int, time.Duration) uint32 { return 7 }, count{natpmp.EpochLost: 2, natpmp.EpochUnreliable: 1}},
		"twice as fast": {func(_ int, at time.Duration) uint32 { return seconds(at, 2, 1) }, count{natpmp.EpochAhead: 2, natpmp.EpochUnreliable: 1}},
		"random": {
			func(i int, _ time.Duration) uint32 { return uint32(random(i)) * 100_000 },
			count{natpmp.EpochLost: 1, natpmp.EpochAhead: 1, natpmp.EpochUnreliable: 1},
		},
		"two machines in turn": {
			func(i int, at time.Duration) uint32 { return machine(1+i%2, at) },
			count{natpmp.EpochAhead: 1, natpmp.EpochUnreliable: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, newsOfADay(tt.epoch)); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
	// By chance the epoch is steady now and then; each time it has to be so for longer.
	for k := 2; k <= 40; k++ {
		told := newsOfADay(func(i int, at time.Duration) uint32 { return machine(1+min(random(i)%k, 1), at) })
		total := 0
		for _, n := range told {
			total += n
		}
		if total > 60 {
			t.Errorf("two machines, every %dth reply the first one's: told %v", k, told)
		}
	}
}

// Suspecting a packet takes in nothing of it.
func TestEpochWatchSuspect(t *testing.T) {
	t.Parallel()
	var w natpmp.EpochWatch
	at := time.Unix(1_800_000_000, 0)
	if w.Suspect(0, at) {
		t.Error("a packet is suspected without one to compare with")
	}
	w.Observe(1000, at)
	for range 2 {
		if !w.Suspect(0, at) || !w.Suspect(4_000_000, at) || w.Suspect(1000, at) {
			t.Error("want jumps to be suspected, again and again")
		}
	}
	if got := w.Observe(1001, at.Add(time.Second)); got != natpmp.EpochSteady {
		t.Error("what was suspected was taken in")
	}
	w.Observe(5, at.Add(time.Second))
	if w.Suspect(1003, at.Add(3*time.Second)) {
		t.Error("a clock that is known is suspected")
	}
	for range 3 {
		w.Observe(0, at.Add(time.Minute))
		w.Observe(0, at.Add(2*time.Minute))
	}
	if w.Suspect(90_000, at.Add(3*time.Minute)) {
		t.Error("an epoch that is not trusted is suspected")
	}
}
