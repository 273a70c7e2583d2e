package frontend_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/frontend"
	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// countedCore tells the frontend of each mapping that it makes, as the real one does.
type countedCore struct {
	*fakeCore

	made func(nat.Event)
	// each is how many mappings a request makes.
	each int
}

func (c *countedCore) Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error) {
	grant, err := c.fakeCore.Map(ctx, req)
	for range c.each {
		if err == nil {
			c.made(nat.Event{Kind: nat.EventCreated, Mapping: nat.Mapping{Key: req.Key}})
		}
	}
	return grant, err
}

// crowd is a frontend that lets all clients make 2 mappings a second and 8 at once, of
// which 2 are kept for clientB, who has a mapping. Ports below 1000 are mapped.
type crowd struct {
	*frontend.Frontend

	t    *testing.T
	core *countedCore
	log  *bytes.Buffer
}

func inCrowd(t *testing.T, test func(c *crowd)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, core: &countedCore{fakeCore: &fakeCore{grant: grant4001()}, each: 1}, log: new(bytes.Buffer)}
		f, err := frontend.New(frontend.Config{
			Core: c.core, External: func() (netip.Addr, bool) { return publicAddr, true },
			CreateRate: 2, CreateRateBurst: 8,
			Holds:  func(a netip.Addr) bool { return a == clientB },
			Mapped: func(key nat.Key) bool { return key.InternalPort < 1000 },
			Logger: slog.New(slog.NewTextHandler(c.log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Frontend, c.core.made = f, f.Observe
		test(c)
	})
}

// asks sends a request and returns its reply.
func (c *crowd) asks(client netip.Addr, port uint16, lifetime uint32) natpmp.Reply {
	return c.ServeNATPMP(c.t.Context(), natpmp.Arrival{Client: netip.AddrPortFrom(client, 40000)},
		natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: port, Lifetime: lifetime})
}

// answered returns how many of so many strangers that each ask for a mapping get an
// answer; the others get silence.
func (c *crowd) answered(strangers int) (n int) {
	c.t.Helper()
	for i := range strangers {
		switch reply := c.asks(lanHost(i), 5000, 3600); reply {
		case natpmp.Silence():
		case natpmp.Mapped(grant4001().ExternalPort, 60):
			n++
		default:
			c.t.Fatalf("stranger %d was answered %+v", i, reply)
		}
	}
	return n
}

// All clients together make so many mappings and no more; what goes beyond is not
// answered, and for who holds a mapping there is some left.
func TestCreatesOfAllClientsAreBounded(t *testing.T) {
	t.Parallel()
	inCrowd(t, func(c *crowd) {
		if got := c.answered(100); got != 6 {
			c.t.Errorf("%d strangers at once were answered, want 6", got)
		}
		if got := []natpmp.Reply{c.asks(clientB, 5000, 3600), c.asks(clientB, 5001, 3600), c.asks(clientB, 5002, 3600)}; got[0] == natpmp.Silence() || got[1] == natpmp.Silence() || got[2] != natpmp.Silence() {
			c.t.Errorf("who holds a mapping was answered %+v, want two grants and silence", got)
		}
		for range 10 {
			if got := c.asks(clientB, 999, 3600); got == natpmp.Silence() {
				c.t.Error("a renewal was not answered")
			}
			if got := c.asks(clientB, 999, 0); got != natpmp.Deleted() {
				c.t.Errorf("a deletion was answered %+v", got)
			}
		}
		time.Sleep(time.Minute)
		total := 0
		for range 60 {
			total += c.answered(100)
			time.Sleep(time.Second)
		}
		if total != 6+59*2 {
			c.t.Errorf("%d strangers were answered in a minute, want 124", total)
		}
		stats := c.Stats()
		if want := uint64(94 + 1 + 6000 - 124); stats.TooManyInAll != want {
			c.t.Errorf("%d counted, want %d", stats.TooManyInAll, want)
		}
		want := map[frontend.Answer]uint64{{natpmp.OpMapTCP, natpmp.ResultSuccess}: 6 + 2 + 20 + 124}
		if diff := cmp.Diff(want, stats.Answers); diff != "" {
			c.t.Errorf("silence counts as an answer (-want +got):\n%s", diff)
		}
		if n := strings.Count(c.log.String(), "CREATE_RATE"); n != 4 { // each with its remedy
			c.t.Errorf("%d times in two minutes, want two lines:\n%s", n, c.log.String())
		}
	})
}

// What cost the router nothing is not counted, and what a request makes beside its own
// mapping is.
func TestCreatesOfAllClientsAreCountedOnce(t *testing.T) {
	t.Parallel()
	inCrowd(t, func(c *crowd) {
		c.core.err = &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonResources}
		for i := range 500 {
			if got := c.asks(lanHost(i), 5000, 3600); got != natpmp.Failure(natpmp.ResultOutOfResources) {
				c.t.Fatalf("answered %+v", got)
			}
		}
		c.core.err = nil
		c.core.each = 2 // as with COMPANION=on
		if got := c.answered(100); got != 3 {
			c.t.Errorf("%d strangers with two mappings each, want 3", got)
		}
		time.Sleep(time.Minute)
		c.core.err = &nat.Error{Hop: nat.HopRouter, Ambiguous: true}
		failed := 0
		for i := range 100 {
			if c.asks(lanHost(i), 5000, 3600) != natpmp.Silence() {
				failed++
			}
		}
		if failed != 6 {
			c.t.Errorf("%d were tried whose outcome is unknown, want 6", failed)
		}
	})
}

// A mapping that expired before its renewal had its turn is made anew, and counts
// although nobody knew before.
func TestRenewalThatMakesAMappingCounts(t *testing.T) {
	t.Parallel()
	inCrowd(t, func(c *crowd) {
		for range 20 {
			c.asks(clientB, 999, 1)
		}
		time.Sleep(5 * time.Second) // 10 of the 12 too many
		if got := c.asks(clientB, 5000, 3600); got != natpmp.Silence() {
			c.t.Errorf("answered %+v, want silence until what was made is paid for", got)
		}
		time.Sleep(2 * time.Second)
		if got := c.asks(clientB, 5000, 3600); got == natpmp.Silence() {
			c.t.Error("not answered although all is paid for")
		}
	})
}

// Requests side by side cannot take more than there is.
func TestCreatesSideBySideAreBounded(t *testing.T) {
	t.Parallel()
	inCrowd(t, func(c *crowd) {
		c.core.takes = time.Second
		answers := make(chan natpmp.Reply, 100)
		for i := range 100 {
			go func() { answers <- c.asks(lanHost(i), 5000, 3600) }()
		}
		silent := 0
		for range 100 {
			if <-answers == natpmp.Silence() {
				silent++
			}
		}
		if silent != 94 {
			c.t.Errorf("%d got silence, want 94", silent)
		}
	})
}
