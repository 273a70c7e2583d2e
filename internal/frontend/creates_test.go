package frontend_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/frontend"
	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// asks sends a map request to the frontend and returns the result of its answer.
func asks(t *testing.T, f *frontend.Frontend, client netip.Addr, port uint16, lifetime uint32) natpmp.ResultCode {
	t.Helper()
	before := f.Stats().Answers
	f.ServeNATPMP(t.Context(), natpmp.Arrival{Client: netip.AddrPortFrom(client, 40000)}, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: port, Lifetime: lifetime})
	for answer, n := range f.Stats().Answers {
		if n > before[answer] {
			return answer.Result
		}
	}
	t.Fatal("no answer")
	return 0
}

// creating returns a frontend that lets 128 new mappings be made at once, and the
// log. All ports below 1000 are mapped.
func creating(t *testing.T) (*frontend.Frontend, *fakeCore, *bytes.Buffer) {
	t.Helper()
	log, core := new(bytes.Buffer), &fakeCore{grant: grant4001()}
	f, err := frontend.New(frontend.Config{
		Core: core, External: func() (netip.Addr, bool) { return publicAddr, true },
		CreateBurst: 128, Mapped: func(key nat.Key) bool { return key.InternalPort < 1000 },
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f, core, log
}

// A client that makes and ends mappings again and again is refused after a while:
// each costs the router writes to its flash.
func TestCreatesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, core, log := creating(t)
		made := 0
		for range 60 * 25 {
			if asks(t, f, clientA, 5000, 3600) == natpmp.ResultSuccess {
				made++
			}
			if got := asks(t, f, clientA, 5000, 0); got != natpmp.ResultSuccess {
				t.Fatalf("a deletion was answered with %v", got)
			}
			time.Sleep(40 * time.Millisecond)
		}
		if made < 128 || made > 128+60*128/240 {
			t.Errorf("%d mappings made in a minute", made)
		}
		if got := f.Stats().TooManyCreates; got != uint64(1500-made) {
			t.Errorf("%d counted, want %d", got, 1500-made)
		}
		if n := strings.Count(log.String(), "too many new mappings"); n != 1 {
			t.Errorf("%d lines in a minute, want 1:\n%s", n, log.String())
		}
		if n := len(core.asked()); n != 1500+made {
			t.Errorf("the core was asked %d times, want %d", n, 1500+made)
		}
		// Who is refused may still renew what he has, and others are not concerned.
		for range 500 {
			if got := asks(t, f, clientA, 999, 3600); got != natpmp.ResultSuccess {
				t.Fatalf("a renewal was answered with %v", got)
			}
		}
		if got := asks(t, f, clientB, 5000, 3600); got != natpmp.ResultSuccess {
			t.Errorf("another client was answered with %v", got)
		}
		asks(t, f, clientA, 5000, 3600) // there may be room for one by now
		if got := asks(t, f, clientA, 5000, 3600); got != natpmp.ResultOutOfResources {
			t.Errorf("the client was answered with %v", got)
		}
		time.Sleep(5 * time.Minute)
		for range 128 {
			if got := asks(t, f, clientA, 5000, 3600); got != natpmp.ResultSuccess {
				t.Fatalf("after five minutes the client was answered with %v", got)
			}
		}
		time.Sleep(6 * time.Minute)
		asks(t, f, clientB, 5000, 3600)
		if got := f.Stats().Visitors; got != 1 {
			t.Errorf("%d clients are remembered, want the one that asked", got)
		}
	})
}

// What programs do is let in: 64 ports at the start, which are asked for again when
// the first try failed; and one port after the other, as Deluge does.
func TestCreatesOfPrograms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := creating(t)
		for range 2 {
			for port := range uint16(64) {
				if got := asks(t, f, clientA, 2000+port, 3600); got != natpmp.ResultSuccess {
					t.Fatalf("port %d of 64 was answered with %v", port, got)
				}
			}
		}
		for range 1000 {
			if got := asks(t, f, clientB, 5000, 3600); got != natpmp.ResultSuccess {
				t.Fatalf("a client that maps again every 2 s was answered with %v", got)
			}
			time.Sleep(2 * time.Second)
		}
	})
}

// What cost the router nothing is not held against a client: programs try again for
// hours while there is no room, or nobody to give any.
func TestCreatesThatFailed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want natpmp.ResultCode // after many tries, once there is room
	}{
		{"full", &nat.Error{Reason: nat.ReasonResources}, natpmp.ResultSuccess},
		{"gateway silent", &nat.Error{Hop: nat.HopGateway, Ambiguous: true}, natpmp.ResultSuccess},
		{"router away", &nat.Error{Hop: nat.HopRouter}, natpmp.ResultSuccess},
		{"router may have done it", &nat.Error{Hop: nat.HopRouter, Ambiguous: true}, natpmp.ResultOutOfResources},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, core, _ := creating(t)
				core.err = tt.err
				for range 500 {
					asks(t, f, clientA, 5000, 3600)
				}
				core.err = nil
				if got := asks(t, f, clientA, 5000, 3600); got != tt.want {
					t.Errorf("answered with %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// Copies of a request in work are no further mappings.
func TestCreatesCountWorkOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core := &fakeCore{grant: grant4001(), takes: time.Second}
		r := newRig(t, core, func(cfg *frontend.Config, _ *natpmp.ServerConfig) { cfg.CreateBurst = 1 })
		h, other := r.host(t, clientA), r.host(t, clientA)
		for range 5 {
			h.send(mapTCP)
			other.send(mapTCP)
		}
		time.Sleep(2 * time.Second)
		if got := len(h.replies()) + len(other.replies()); got != 2 || r.Stats().TooManyCreates != 0 {
			t.Errorf("%d replies, %+v", got, r.Stats())
		}
	})
}
