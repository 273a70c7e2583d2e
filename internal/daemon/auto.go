package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/internal/remedy"
)

const (
	// askPatience is how long a gateway may take to answer in one of the languages.
	askPatience = 5 * time.Second
	// askHead is how long an answer waits for one in a language that is liked better.
	askHead = time.Second
	// askAgain is the wait until a gateway is asked again that did not answer in any.
	askAgain = 5 * time.Second
	// farewell is how long giving leases back to a gateway may take that is left for another
	// one. It may be gone.
	farewell = 2 * time.Second
)

var (
	errNoLanguage = errors.New("the gateway has not answered by NAT-PMP, PCP or UPnP yet")
	errNoGateway  = errors.New("the gateway is not known yet: it is that of the router's default route")
	errLeft       = errors.New("the gateway is another one by now")
)

// language is one in which a gateway may be asked.
type language struct {
	kind config.GatewayKind
	ask  func(ctx context.Context) error
	make func() (wayOut, error)
}

// autoConfig is what an [auto] is made from.
type autoConfig struct {
	// gateway returns the address of the gateway, the zero Addr while it is not known.
	gateway func() netip.Addr
	// languages returns those in which a gateway may be asked, those that are liked better
	// first.
	languages func(gateway netip.Addr) []language
	// describe says for people which gateway it is; "" for one that is configured.
	describe func(gateway netip.Addr) string
	// held returns the mappings that have a lease.
	held func() []nat.Mapping
	// onMoved is called when another gateway is asked from now on: it knows no lease.
	onMoved func()
	// onAddressChange is told that there is no public address any more.
	onAddressChange func(before, now netip.Addr)
	log             *slog.Logger
}

// auto is a way out whose language shows when the gateway answers. It stays with the one in
// which it did first, however silent the gateway is later, until another gateway takes its
// place.
type auto struct {
	cfg     autoConfig
	log     *slog.Logger
	settled chan struct{}
	settle  sync.Once
	poke    chan struct{} // asks for a look at which gateway it is

	mu      sync.Mutex
	chosen  chan struct{} // closed once way is set; guarded by mu, as what follows
	way     wayOut        // nil before
	mute    bool          // the gateway was asked in vain
	adopted bool          // the core has adopted what it found
}

func newAuto(cfg autoConfig) *auto {
	return &auto{cfg: cfg, log: cfg.log, settled: make(chan struct{}), poke: make(chan struct{}, 1), chosen: make(chan struct{})}
}

// Run finds the gateway and its language, and runs the way out until the context ends, or
// until the gateway is another one: then it begins anew.
func (a *auto) Run(ctx context.Context) error {
	for moved := false; ctx.Err() == nil; moved = true {
		to, ok := a.locate(ctx)
		if !ok {
			return nil
		}
		if err := a.stay(ctx, to, moved); err != nil {
			return err
		}
	}
	return nil
}

// Moved asks for a look at which gateway it is.
func (a *auto) Moved() {
	select {
	case a.poke <- struct{}{}:
	default: // Somebody asked already.
	}
}

// locate waits until the gateway is known. It returns false when the context ends.
func (a *auto) locate(ctx context.Context) (netip.Addr, bool) {
	for {
		if at := a.cfg.gateway(); at.IsValid() {
			return at, true
		}
		select {
		case <-a.poke:
		case <-ctx.Done():
			return netip.Addr{}, false
		}
	}
}

// stay finds the language of a gateway and runs the way out until the context ends, or until
// the gateway is another one. Moved says that it is not the first.
func (a *auto) stay(ctx context.Context, at netip.Addr, moved bool) error {
	here, leave := context.WithCancel(ctx)
	defer leave()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer leave()
	watching.Go(func() { a.watch(here, at, leave) })
	way, err := a.choose(here, a.cfg.languages(at))
	if err != nil || way == nil {
		return err
	}
	a.take(way)
	watching.Go(func() {
		select {
		case <-way.Settled():
			a.settle.Do(func() { close(a.settled) })
		case <-here.Done():
		}
	})
	if moved {
		a.cfg.onMoved()
	}
	err = way.Run(here)
	if ctx.Err() == nil {
		a.drop(way) // it was left before it was taken
	}
	return err
}

// watch leaves the gateway when it is another one. What it has granted is given back, if it
// is still there: it may be one of two lines, and hold a port for ever.
func (a *auto) watch(ctx context.Context, at netip.Addr, leave func()) {
	for a.cfg.gateway() == at {
		select {
		case <-a.poke:
		case <-ctx.Done():
			return
		}
	}
	way := a.current()
	if way != nil {
		held := a.cfg.held()
		a.drop(way)
		a.giveBack(ctx, way, held)
	}
	leave()
}

// giveBack releases leases, as far as the gateway answers in time. It stays quiet about
// those that remain: the gateway is nobody's concern any more, and its leases end.
func (a *auto) giveBack(ctx context.Context, way wayOut, held []nat.Mapping) {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	var giving sync.WaitGroup
	defer giving.Wait()
	slots := make(chan struct{}, farewells)
	for _, m := range held {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		giving.Go(func() {
			defer func() { <-slots }()
			if err := way.Release(ctx, m.Key.Protocol, m.InnerPort); err != nil {
				a.log.DebugContext(ctx, "lease not returned to the previous gateway", "inner_port", m.InnerPort, "error", err)
			}
		})
	}
}

// farewells is how many leases are given back side by side.
const farewells = 16

// take makes a way out the one that is used.
func (a *auto) take(way wayOut) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.way, a.mute = way, false
	close(a.chosen)
	if adopter, ok := way.(adopter); ok && a.adopted {
		adopter.Adopted()
	}
}

// drop ends that, if it is the one.
func (a *auto) drop(way wayOut) {
	a.mu.Lock()
	if a.way != way {
		a.mu.Unlock()
		return
	}
	a.way, a.mute, a.chosen = nil, false, make(chan struct{})
	a.mu.Unlock()
	if address, ok := way.External(); ok {
		a.cfg.onAddressChange(address, netip.Addr{})
	}
}

// muteRemedy is for a gateway that answers in no language.
const muteRemedy = "switch NAT-PMP, PCP or UPnP on in the gateway, or see with doublenat check what is in the way"

// choose asks until there is an answer, and makes the way out; nil when the context ends.
func (a *auto) choose(ctx context.Context, languages []language) (wayOut, error) {
	for asked := 0; ctx.Err() == nil; asked++ {
		if l := heard(ctx, languages); l != nil {
			a.log.InfoContext(ctx, "gateway answers, using this protocol from now on", "kind", l.kind.String())
			return l.make()
		}
		if asked == 0 && ctx.Err() == nil {
			a.mu.Lock()
			a.mute = true
			a.mu.Unlock()
			a.log.WarnContext(ctx, "gateway answers neither NAT-PMP nor PCP nor UPnP, retrying",
				"remedy", muteRemedy)
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
		}
	}
	return nil, nil //nolint:nilnil // it was stopped before there was one
}

// heard asks in all languages side by side, and returns the best in which there was an
// answer within a moment of the first; nil if there was none.
func heard(ctx context.Context, languages []language) *language {
	asking, stop := context.WithTimeout(ctx, askPatience)
	defer stop()
	answers := make(chan int, len(languages))
	var wg sync.WaitGroup
	for i, l := range languages {
		wg.Go(func() {
			if l.ask(asking) != nil {
				i = len(languages)
			}
			answers <- i
		})
	}
	defer wg.Wait()
	defer stop()
	best, head := len(languages), (<-chan time.Time)(nil)
	for range languages {
		select {
		case i := <-answers:
			if best = min(best, i); best < len(languages) && head == nil {
				head = time.After(askHead)
			}
		case <-head:
			return &languages[best]
		}
	}
	if best == len(languages) {
		return nil
	}
	return &languages[best]
}

// current returns the way out, nil while it is not known.
func (a *auto) current() wayOut {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.way
}

// wait waits for the way out. The error says what there is none of yet.
func (a *auto) wait(ctx context.Context) (wayOut, error) {
	for {
		a.mu.Lock()
		way, chosen := a.way, a.chosen
		a.mu.Unlock()
		if way != nil {
			return way, nil
		}
		select {
		case <-chosen:
		case <-ctx.Done():
			return nil, unreachable(a.trouble())
		}
	}
}

// trouble says why there is no way out.
func (a *auto) trouble() error {
	if !a.cfg.gateway().IsValid() {
		return errNoGateway
	}
	return errNoLanguage
}

func unreachable(err error) error {
	return &nat.Error{Hop: nat.HopGateway, Reason: nat.ReasonUnreachable, Err: err}
}

// Lease implements [nat.Gateway]. What a gateway granted that was left meanwhile is not
// worth anything.
func (a *auto) Lease(ctx context.Context, req nat.LeaseRequest) (nat.Lease, error) {
	way, err := a.wait(ctx)
	if err != nil {
		return nat.Lease{}, err
	}
	lease, err := way.Lease(ctx, req)
	if err == nil && a.current() != way {
		return nat.Lease{}, unreachable(fmt.Errorf("asking for a lease: %w", errLeft))
	}
	return lease, err
}

// Release implements [nat.Gateway].
func (a *auto) Release(ctx context.Context, p nat.Protocol, innerPort uint16) error {
	way, err := a.wait(ctx)
	if err != nil {
		return err
	}
	return way.Release(ctx, p, innerPort)
}

// External returns the public address, false while it is not known.
func (a *auto) External() (netip.Addr, bool) {
	if way := a.current(); way != nil {
		return way.External()
	}
	return netip.Addr{}, false
}

// Settled is closed when that of the first way out is.
func (a *auto) Settled() <-chan struct{} { return a.settled }

// Stats returns how the way out is doing: while there is none, whether it was asked in vain.
func (a *auto) Stats() gateway.Stats {
	at := a.cfg.gateway()
	a.mu.Lock()
	way, mute := a.way, a.mute
	a.mu.Unlock()
	var s gateway.Stats
	switch {
	case way != nil:
		s = way.Stats()
	case mute:
		s.State, s.Advice = gateway.StateSilent, remedy.Advice{Hop: nat.HopGateway, Kind: remedy.KindSilent, Text: muteRemedy}
	}
	s.Asked = a.cfg.describe(at)
	return s
}

// Adopted passes it on to each way out that wants to know.
func (a *auto) Adopted() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.adopted = true
	if way, ok := a.way.(adopter); ok {
		way.Adopted()
	}
}
