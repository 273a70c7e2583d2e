package natpmptest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// With a delay requests are served side by side; slow serves one after the other.
func TestGatewayTakesItsTime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*natpmptest.Profile)
		want   [3]time.Duration
	}{
		"reply delay": {
			func(p *natpmptest.Profile) { p.ReplyDelay = 30 * time.Millisecond },
			[3]time.Duration{30 * time.Millisecond, 30 * time.Millisecond, 30 * time.Millisecond},
		},
		"slow": {
			func(p *natpmptest.Profile) { *p = natpmptest.Slow() },
			[3]time.Duration{2 * time.Second, 4 * time.Second, 6 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, natpmptest.Config{})
				b.Adjust(tt.change)
				c := b.dial(t, routerAddr)
				start := time.Now()
				for range 3 {
					write(t, c, "\x00\x00")
				}
				var got [3]time.Duration
				for i := range got {
					hear(t, c)
					got[i] = time.Since(start)
				}
				if got != tt.want {
					t.Errorf("replies after %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestGatewayLies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Capture: 1000})
		elsewhere := listen(t, n, "10.2.0.9:5351")
		b := newBenchOn(t, n, natpmptest.Config{Profile: natpmptest.Liar(), Elsewhere: elsewhere, Journal: 100})
		c := b.dial(t, routerAddr)
		const truth = "008100000000000010001000" + "00000e10"
		for _, lie := range []string{
			"", // from elsewhere: a connected socket does not hear it
			"00820000" + truth[8:],
			"02810000" + truth[8:],
			truth, // the reply before, which was the same
			truth[:30],
			truth + "00",
			"0081000300000000",
		} {
			first := ask(t, c, "000100001000100000000e10")
			if lie != "" {
				if first != lie {
					t.Errorf("got %s, want the lie %s", first, lie)
				}
				first = hear(t, c)
			}
			if first != truth {
				t.Errorf("got %s, want the truth %s", first, truth)
			}
		}
		if got := n.Packets(natpmptest.PacketRefused); len(got) != 1 ||
			fmt.Sprintf("%x", got[0].Payload) != truth[:20]+"4555"+truth[24:] || got[0].From.Addr().String() != "10.2.0.9" {
			t.Errorf("from elsewhere: %v", got)
		}
		if s := b.Stats(); s.Lies != 7 || s.Results[natpmp.ResultSuccess] != 7 {
			t.Errorf("%+v", s)
		}
		if j := b.Journal(); len(j) != 21 || j[1].From.Addr().String() != "10.2.0.9" || j[2].From != gatewayAddr {
			t.Errorf("journal: %v", j)
		}
		b.Adjust(func(p *natpmptest.Profile) { p.Lies, p.LiesOnly = []natpmptest.Lie{natpmptest.LieVersion}, true })
		if ask(t, c, "0000") == "" || hear(t, c) != "" {
			t.Error("want one lie and no truth")
		}
	})
}

func TestGatewayLossy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, natpmptest.Config{Profile: natpmptest.Lossy(0.5), Seed: 3})
		c := b.dial(t, routerAddr)
		const asked = 200
		answered := 0
		for range asked {
			if ask(t, c, "0000") != "" {
				answered++
			}
		}
		if answered < asked/8 || answered > asked/2 {
			t.Errorf("%d of %d were answered", answered, asked)
		}
		if s := b.Stats(); s.Dropped < asked/2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestGatewayListenFails(t *testing.T) {
	t.Parallel()
	g, err := natpmptest.New(natpmptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := errors.New("no socket today")
	err = g.ListenAndServe(t.Context(), func(context.Context) (net.PacketConn, error) { return nil, want })
	if !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

func TestGatewaySocketIsClosedByItsOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
		conn := listen(t, n, "10.2.0.1:5351")
		p := natpmptest.RFC()
		p.ReplyDelay = time.Hour
		g, err := natpmptest.New(natpmptest.Config{Profile: p})
		if err != nil {
			t.Fatal(err)
		}
		write(t, dial(t, n, "10.2.0.2:0", "10.2.0.1:5351"), "\x00\x00") // its reply is dropped
		time.AfterFunc(time.Second, func() { conn.Close() })
		start := time.Now()
		if err := g.Serve(t.Context(), conn); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// What waits for its delay is bounded.
func TestGatewayDropsWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := natpmptest.RFC()
		p.ReplyDelay = time.Second
		n := natpmptest.NewNetwork(natpmptest.NetworkConfig{Queue: 5000})
		b := newBenchOn(t, n, natpmptest.Config{Profile: p})
		c := b.dial(t, routerAddr)
		for range 5000 {
			write(t, c, "\x00\x00")
		}
		time.Sleep(2 * time.Second)
		if s := b.Stats(); s.Dropped != 5000-4096 || s.Results[natpmp.ResultSuccess] != 5000 {
			t.Errorf("%+v", s)
		}
		if got := ask(t, c, "0000"); got == "" {
			t.Error("no reply afterwards")
		}
	})
}
