package natpmp_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/natpmp"
)

// mapTCP is the request that most tests make.
func mapTCP() natpmp.MapRequest {
	return natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: 0x1234, SuggestedExternalPort: 0x5678, Lifetime: 3600}
}

func TestClientRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		call func(ctx context.Context, c *natpmp.Client) (any, error)
		want any
		wire string
	}{
		{
			name: "address",
			call: func(ctx context.Context, c *natpmp.Client) (any, error) { return c.ExternalAddress(ctx) },
			want: address5678(), wire: "0000",
		},
		{
			name: "map",
			call: func(ctx context.Context, c *natpmp.Client) (any, error) { return c.Map(ctx, mapTCP()) },
			want: natpmp.Mapping{ExternalPort: 0x1235, Lifetime: 60}, wire: "000200001234567800000e10",
		},
		{
			name: "unmap",
			call: func(ctx context.Context, c *natpmp.Client) (any, error) {
				return nil, c.Unmap(ctx, natpmp.OpMapUDP, 0x1234)
			},
			wire: "000100001234000000000000",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &pipeGateway{answer: respond}
				c := startClient(t, g, natpmp.ClientConfig{})
				got, err := tt.call(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]sighting{{Packet: tt.wire}}, g.sightings()); diff != "" {
					t.Errorf("packets (-want +got):\n%s", diff)
				}
				want := natpmp.ClientStats{Sent: 1, Received: 1, Dials: 1}
				if diff := cmp.Diff(want, c.Stats()); diff != "" {
					t.Errorf("stats (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestClientSchedule: RFC 6886 §3.1 and the two schedules that differ from it.
func TestClientSchedule(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		call  func(ctx context.Context, c *natpmp.Client) error
		tries []int64 // in milliseconds
		end   time.Duration
	}{
		{
			name: "create",
			call: func(ctx context.Context, c *natpmp.Client) error {
				_, err := c.Map(ctx, mapTCP())
				return err
			},
			tries: []int64{0, 250, 750, 1750, 3750, 7750, 15750, 31750, 63750},
			end:   127750 * time.Millisecond,
		},
		{
			name: "address",
			call: func(ctx context.Context, c *natpmp.Client) error {
				_, err := c.ExternalAddress(ctx)
				return err
			},
			tries: []int64{0, 250, 750, 1750, 3750, 7750, 15750, 31750, 63750},
			end:   127750 * time.Millisecond,
		},
		{
			name: "renewal",
			call: func(ctx context.Context, c *natpmp.Client) error {
				r := mapTCP()
				r.Renewal = true
				_, err := c.Map(ctx, r)
				return err
			},
			tries: []int64{0, 1000, 3000, 7000, 15000, 31000, 63000},
			end:   127 * time.Second,
		},
		{
			name:  "deletion",
			call:  func(ctx context.Context, c *natpmp.Client) error { return c.Unmap(ctx, natpmp.OpMapTCP, 0x1234) },
			tries: []int64{0, 250, 750},
			end:   1750 * time.Millisecond,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &pipeGateway{}
				c := startClient(t, g, natpmp.ClientConfig{})
				err := tt.call(t.Context(), c)
				var timeout *natpmp.TimeoutError
				if !errors.As(err, &timeout) || !errors.Is(err, context.DeadlineExceeded) || timeout.Tries != len(tt.tries) {
					t.Errorf("error = %v", err)
				}
				if d := time.Since(g.start); d != tt.end {
					t.Errorf("gave up after %v, want %v", d, tt.end)
				}
				var got []int64
				for _, s := range g.sightings() {
					got = append(got, s.At.Milliseconds())
				}
				if diff := cmp.Diff(tt.tries, got); diff != "" {
					t.Errorf("tries in milliseconds (-want +got):\n%s", diff)
				}
				n := uint64(len(tt.tries))
				stats := c.Stats()
				if stats.Sent != n || stats.Retransmitted != n-1 || stats.Timeouts != 1 {
					t.Errorf("stats = %+v", stats)
				}
			})
		})
	}
}

// Nothing is repeated that cannot be answered in time: it would arrive when its client has gone on,
// and a deletion could end what it asks for next.
func TestClientRepeatsNothingInVain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		left      time.Duration // when it would be repeated
		wantTries int
	}{
		{"at the deadline", 0, 1},
		{"a moment before it", 5 * time.Millisecond, 1},
		{"in time", 20 * time.Millisecond, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &pipeGateway{}
				c := startClient(t, g, natpmp.ClientConfig{})
				ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond+tt.left)
				defer cancel()
				err := c.Unmap(ctx, natpmp.OpMapTCP, 0x1234)
				var timeout *natpmp.TimeoutError
				if !errors.As(err, &timeout) || timeout.Tries != tt.wantTries || len(g.sightings()) != tt.wantTries {
					t.Errorf("%v after %v, want %d tries", err, g.sightings(), tt.wantTries)
				}
				if took := time.Since(g.start); took != 250*time.Millisecond+tt.left {
					t.Errorf("gave up after %v", took)
				}
			})
		})
	}
}

// Nor is a request sent for the first time in its last moment: then nothing came of it, and its
// client can know.
func TestClientBeginsNothingInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{}
		c := startClient(t, g, natpmp.ClientConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		err := c.Unmap(ctx, natpmp.OpMapTCP, 0x1234)
		var timeout *natpmp.TimeoutError
		if !errors.As(err, &timeout) || timeout.Tries != 0 || len(g.sightings()) != 0 {
			t.Errorf("%v, and the gateway got %v", err, g.sightings())
		}
	})
}

// TestClientObeysContext: a deadline cuts the schedule, a cancellation too.
func TestClientObeysContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{}
		c := startClient(t, g, natpmp.ClientConfig{Window: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Map(ctx, mapTCP())
		want := &natpmp.TimeoutError{Tries: 3, Err: context.DeadlineExceeded}
		var got *natpmp.TimeoutError
		if !errors.As(err, &got) || *got != *want {
			t.Errorf("error = %v, want %v", err, want)
		}

		// The window has one place: the second of two waits, and leaves unheard.
		block, unblock := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := c.ExternalAddress(block)
			done <- err
		}()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Map(ctx, mapTCP())
		if !errors.As(err, &got) || got.Tries != 0 {
			t.Errorf("error of the waiting request = %v", err)
		}
		unblock()
		if err := <-done; !errors.Is(err, context.Canceled) || !errors.As(err, &got) {
			t.Errorf("error of the canceled request = %v", err)
		}
		if _, err := c.Map(ctx, mapTCP()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error of a request that came too late = %v", err)
		}
	})
}

// TestClientIgnores has replies that are not for the request, before the one that is.
func TestClientIgnores(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, reply string
		odd         uint64
	}{
		{name: "other internal port", reply: "0082 0000 000003e8 1233 4321 0000003c", odd: 1},
		{name: "failure of another internal port", reply: "0082 0002 000003e8 1233 0000 00000000"},
		{name: "other opcode", reply: "0081 0000 000003e8 1234 4321 0000003c"},
		{name: "address", reply: "0080 0000 000003e8 05060708"},
		{name: "other version", reply: "0282 0000 000003e8 1234 4321 0000003c"},
		{name: "request", reply: "0002 0000 1234 4321 0000003c"},
		{name: "fifteen bytes", reply: "0082 0000 000003e8 1234 4321 000000"},
		{name: "nothing", reply: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &pipeGateway{answer: func(send func([]byte), packet []byte) {
					send(unhex(t, tt.reply))
					respond(send, packet)
					respond(send, packet) // one too many
				}}
				c := startClient(t, g, natpmp.ClientConfig{})
				got, err := c.Map(t.Context(), mapTCP())
				if want := (natpmp.Mapping{ExternalPort: 0x1235, Lifetime: 60}); err != nil || got != want {
					t.Errorf("got %+v, %v", got, err)
				}
				synctest.Wait()
				want := natpmp.ClientStats{Sent: 1, Received: 3, Ignored: 2, Odd: tt.odd, Dials: 1}
				if diff := cmp.Diff(want, c.Stats()); diff != "" {
					t.Errorf("stats (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestClientLateReplyDoesNotEndADeletion: the success of an earlier request for
// the same mapping is no answer to the deletion.
func TestClientLateReplyDoesNotEndADeletion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: func(send func([]byte), packet []byte) {
			send(unhex(t, "0082 0000 00000001 1234 4321 0000003c"))
			go func() {
				time.Sleep(100 * time.Millisecond)
				respond(send, packet)
			}()
		}}
		c := startClient(t, g, natpmp.ClientConfig{})
		if err := c.Unmap(t.Context(), natpmp.OpMapTCP, 0x1234); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(g.start); d != 100*time.Millisecond {
			t.Errorf("ended after %v, want 100ms", d)
		}
	})
}

// TestClientLateDeletionIsNoGrant: the answer to a repeated deletion comes when the
// port has been asked for again. It is no answer to that.
func TestClientLateDeletionIsNoGrant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: func(send func([]byte), packet []byte) {
			send(unhex(t, "0082 0000 00000001 1234 0000 00000000"))
			go func() {
				time.Sleep(100 * time.Millisecond)
				respond(send, packet)
			}()
		}}
		c := startClient(t, g, natpmp.ClientConfig{})
		m, err := c.Map(t.Context(), mapTCP())
		if err != nil || m.ExternalPort == 0 || m.Lifetime == 0 {
			t.Errorf("granted %+v, error %v", m, err)
		}
		if d := time.Since(g.start); d != 100*time.Millisecond {
			t.Errorf("ended after %v, want 100ms", d)
		}
	})
}

func TestClientOnPacket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: func(send func([]byte), _ []byte) {
			for _, p := range []string{
				"0082 0002 00000005 9999 0000 00000000", // nobody's failure
				"0080 0000 00000006 05060708",           // an announcement, as it were
				"0280",                                  // not NAT-PMP
				"0082 0000 00000007 1234 4321 0000003c",
			} {
				time.Sleep(10 * time.Millisecond)
				send(unhex(t, p))
			}
		}}
		type packet struct {
			Epoch uint32
			At    time.Duration
		}
		var seen, strays []packet
		note := func(to *[]packet) func(natpmp.Response, time.Time) {
			return func(r natpmp.Response, at time.Time) { *to = append(*to, packet{Epoch: r.Epoch, At: at.Sub(g.start)}) }
		}
		c := startClient(t, g, natpmp.ClientConfig{OnPacket: note(&seen), OnStray: note(&strays)})
		if _, err := c.Map(t.Context(), mapTCP()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]packet{{Epoch: 7, At: 40 * time.Millisecond}}, seen); diff != "" {
			t.Errorf("packets (-want +got):\n%s", diff)
		}
		want := []packet{{Epoch: 5, At: 10 * time.Millisecond}, {Epoch: 6, At: 20 * time.Millisecond}}
		if diff := cmp.Diff(want, strays); diff != "" {
			t.Errorf("strays (-want +got):\n%s", diff)
		}
	})
}

func TestClientNeverSends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &pipeGateway{answer: respond}
		c := startClient(t, g, natpmp.ClientConfig{})
		for name, r := range map[string]natpmp.MapRequest{
			"internal port 0":    {Opcode: natpmp.OpMapTCP, Lifetime: 60},
			"lifetime 0":         {Opcode: natpmp.OpMapTCP, InternalPort: 1},
			"opcode of no map":   {InternalPort: 1, Lifetime: 60},
			"opcode of nobody's": {Opcode: 3, InternalPort: 1, Lifetime: 60},

			"symmetric with a port":     {Opcode: natpmp.OpMapTCP, InternalPort: 1, Lifetime: 60, Symmetric: true},
			"symmetric with lifetime 0": {Opcode: natpmp.OpMapTCP, Symmetric: true},
			"symmetric of no map":       {Lifetime: 60, Symmetric: true},
		} {
			if _, err := c.Map(t.Context(), r); err == nil {
				t.Errorf("map with %s: no error", name)
			}
		}
		if err := c.Unmap(t.Context(), natpmp.OpMapTCP, 0); err == nil {
			t.Error("deletion of everything: no error")
		}
		if seen := g.sightings(); len(seen) != 0 {
			t.Errorf("sent %v", seen)
		}
	})
}

func TestNewClientChecks(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]natpmp.ClientConfig{
		"no dial":         {},
		"negative window": {Dial: (&pipeGateway{}).dial, Window: -1},
	} {
		if _, err := natpmp.NewClient(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
