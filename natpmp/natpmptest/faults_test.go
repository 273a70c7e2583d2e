package natpmptest_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp/natpmptest"
)

func TestNetworkQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Queue: 2})
		listen(t, n, "10.0.0.1:5351")
		client := dial(t, n, "10.0.0.2:0", "10.0.0.1:5351")
		for range 5 {
			write(t, client, "x")
		}
		want := map[natpmptest.Kind]uint64{
			natpmptest.PacketSent: 5, natpmptest.PacketDelivered: 2, natpmptest.PacketOverflowed: 3,
		}
		if diff := cmp.Diff(want, n.Counts()); diff != "" {
			t.Error(diff)
		}
	})
}

// What is on its way is bounded, too.
func TestNetworkFlightsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Latency: time.Hour})
		client := dial(t, n, "10.0.0.2:0", "10.0.0.1:5351")
		for range 65536 + 5 {
			write(t, client, "x")
		}
		if c := n.Counts()[natpmptest.PacketOverflowed]; c != 5 {
			t.Errorf("%d overflowed, want 5", c)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if c := n.Counts(); c[natpmptest.PacketRefused] != 0 {
			t.Errorf("a closed network goes on: %v", c)
		}
	})
}

func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	const packets = 2000
	there := natpmptest.Between(netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1"))
	for name, tt := range map[string]struct {
		path   natpmptest.Path
		faults natpmptest.Faults
		// lowest and highest count of what the faults do
		kind    natpmptest.Kind
		between [2]uint64
		arrive  [2]uint64
	}{
		"none":          {there, natpmptest.Faults{}, natpmptest.PacketLost, [2]uint64{0, 0}, [2]uint64{packets, packets}},
		"loss":          {there, natpmptest.Faults{Loss: 0.3}, natpmptest.PacketLost, [2]uint64{500, 700}, [2]uint64{1300, 1500}},
		"all lost":      {natpmptest.Path{}, natpmptest.Faults{Loss: 1}, natpmptest.PacketLost, [2]uint64{packets, packets}, [2]uint64{0, 0}},
		"black hole":    {there, natpmptest.Faults{Blackhole: true}, natpmptest.PacketSwallowed, [2]uint64{packets, packets}, [2]uint64{0, 0}},
		"duplicates":    {there, natpmptest.Faults{Duplicate: 0.5}, natpmptest.PacketDuplicated, [2]uint64{900, 1100}, [2]uint64{2900, 3100}},
		"reordered":     {there, natpmptest.Faults{Reorder: 0.1}, natpmptest.PacketReordered, [2]uint64{140, 260}, [2]uint64{packets, packets}},
		"delayed":       {there, natpmptest.Faults{Delay: time.Second}, natpmptest.PacketDelayed, [2]uint64{packets, packets}, [2]uint64{packets, packets}},
		"the other way": {natpmptest.Path{From: there.To, To: there.From}, natpmptest.Faults{Loss: 1}, natpmptest.PacketLost, [2]uint64{0, 0}, [2]uint64{packets, packets}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Seed: 1, Queue: 2 * packets})
				listen(t, n, "10.0.0.1:5351")
				client := dial(t, n, "10.0.0.2:0", "10.0.0.1:5351")
				n.SetFaults(natpmptest.Path{}, natpmptest.Faults{Blackhole: true}) // the later path wins
				n.SetFaults(natpmptest.Path{}, natpmptest.Faults{})
				n.SetFaults(tt.path, tt.faults)
				for range packets {
					write(t, client, "x")
				}
				time.Sleep(time.Minute)
				counts := n.Counts()
				if c := counts[tt.kind]; c < tt.between[0] || c > tt.between[1] {
					t.Errorf("%s: %d, want %v", tt.kind, c, tt.between)
				}
				if c := counts[natpmptest.PacketDelivered]; c < tt.arrive[0] || c > tt.arrive[1] {
					t.Errorf("delivered: %d, want %v", c, tt.arrive)
				}
			})
		})
	}
}

// Whatever order the scheduler runs writers in, the same seed gives the same capture.
func TestNetworkReplays(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (packets []natpmptest.Packet) {
		synctest.Test(t, func(t *testing.T) {
			n := natpmptest.NewNetwork(natpmptest.NetworkConfig{
				Seed: seed, Latency: time.Millisecond, Capture: 10_000, Queue: 1000,
			})
			listen(t, n, "10.0.0.1:5351")
			n.SetFaults(natpmptest.Path{}, natpmptest.Faults{
				Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Delay: time.Millisecond, Jitter: 3 * time.Millisecond,
			})
			client := dial(t, n, "10.0.0.2:0", "10.0.0.1:5351")
			var wg sync.WaitGroup
			for writer := range 10 {
				wg.Go(func() {
					for i := range 20 {
						write(t, client, fmt.Sprintf("%d %d", writer, i))
						if i%3 == 0 {
							time.Sleep(time.Millisecond)
						}
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Minute)
			packets = n.Packets()
		})
		return packets
	}
	want := run(1)
	for range 5 {
		if diff := cmp.Diff(want, run(1), addrs()); diff != "" {
			t.Fatalf("another run of the same seed differs (-first +other):\n%s", diff)
		}
	}
	if cmp.Equal(want, run(2), addrs()) {
		t.Error("another seed gives the same run")
	}
}

// With a latency, the order in which packets of one instant arrive does not
// depend on the order in which they were written.
func TestNetworkOrderOfOneInstant(t *testing.T) {
	t.Parallel()
	run := func(latency time.Duration, order []string) (got []string) {
		synctest.Test(t, func(t *testing.T) {
			n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Seed: 5, Latency: latency})
			server := listen(t, n, "10.0.0.1:5351")
			client := dial(t, n, "10.0.0.2:0", "10.0.0.1:5351")
			for _, s := range order {
				write(t, client, s)
			}
			for range order {
				s, _ := receive(t, server)
				got = append(got, s)
			}
		})
		return got
	}
	upward := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	downward := []string{"h", "g", "f", "e", "d", "c", "b", "a"}
	if diff := cmp.Diff(run(time.Millisecond, upward), run(time.Millisecond, downward)); diff != "" {
		t.Errorf("with latency (-upward +downward):\n%s", diff)
	}
	if diff := cmp.Diff(downward, run(0, downward)); diff != "" {
		t.Errorf("without latency (-written +read):\n%s", diff)
	}
}

// The sign that nobody is there gets lost like anything else on its way back.
func TestNetworkBlackholeSwallowsRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Capture: 1})
		client := dial(t, n, "10.0.0.2:0", "10.0.0.1:5351")
		n.SetFaults(natpmptest.Between(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")), natpmptest.Faults{Blackhole: true})
		write(t, client, "x")
		if got := hear(t, client); got != "" {
			t.Errorf("got %q", got)
		}
		n.ClearFaults()
		_ = client.SetReadDeadline(time.Time{})
		write(t, client, "y")
		if _, err := client.Read(nil); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("without the fault: %v", err)
		}
		// The capture keeps the last entry.
		got := n.Packets()
		if len(got) != 1 || got[0].Kind != natpmptest.PacketRefused || string(got[0].Payload) != "y" {
			t.Errorf("captured %v", got)
		}
		if want := "refused 10.0.0.2:49152 > 10.0.0.1:5351 79"; len(got) > 0 && !strings.HasSuffix(got[0].String(), want) {
			t.Errorf("captured %s, want %s", got[0], want)
		}
	})
}
