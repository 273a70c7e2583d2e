package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/gateway/pool"
	"doublenat/internal/realm"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/stun"
)

const (
	// stunAge is how long an answer of a STUN server counts before it is asked again.
	stunAge = 10 * time.Minute
	// stunRetry is the wait after a question in vain. It doubles up to stunAge.
	stunRetry = 15 * time.Second
)

var (
	errNotAsked   = errors.New("the STUN server was not asked yet")
	errAskedAgain = errors.New("the STUN server did not answer this time")
)

// reflection asks a STUN server for the public address, and the router whether the question
// left by the interface at which ports arrive: by another line, the address is of that.
type reflection struct {
	server string // as it is configured
	ask    func(ctx context.Context) (stun.Answer, error)
	// departed asks the router how the question left.
	departed func(ctx context.Context, local, server netip.AddrPort) (router.Departure, error)
	// own returns the router's addresses on the interface; nil before a look.
	own func() []netip.Addr
	// iface is where ports arrive.
	iface string
	// told is called when there is news. It must not block.
	told func()
	log  *slog.Logger
	poke chan struct{} // asks for a question, if one is due

	mu      sync.Mutex // guards what follows
	asked   bool       // there is an outcome
	address netip.Addr // the zero Addr for none that is certain
	seen    []netip.Addr
	failed  bool          // the last question was in vain
	due     time.Time     // when to ask again
	wait    time.Duration // after a question in vain
	trouble string        // what the log was told, "" for none
}

// newReflection makes the source for STUN_SERVER.
func (d *Daemon) newReflection() *reflection {
	return &reflection{
		server: d.cfg.STUNServer.String(), ask: func(ctx context.Context) (stun.Answer, error) { return AskSTUN(ctx, d.cfg, d.net) },
		departed: d.router.Departed, own: d.router.OwnAddresses, iface: d.cfg.InInterface,
		told: func() { d.pool.Reload() }, log: d.log.With("component", "stun"), poke: make(chan struct{}, 1),
	}
}

// AskSTUN asks the server of STUN_SERVER once, see [stun.Ask].
func AskSTUN(ctx context.Context, cfg config.Config, network Network) (stun.Answer, error) {
	network = network.withDefaults()
	return stun.Ask(ctx, func(ctx context.Context) (net.Conn, error) { return network.DialSTUN(ctx, cfg.STUNServer.String()) })
}

// source returns what the pool asks.
func (r *reflection) source() pool.Source {
	return pool.Source{Name: "STUN (" + r.server + ")", Look: func(context.Context) (netip.Addr, error) { return r.look() }}
}

// look returns what is known, and has the server asked if that is due: nobody is asked while
// another source knows the address. The error is that nothing is known yet, or not known anew.
func (r *reflection) look() (netip.Addr, error) {
	own := r.own()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case own == nil:
		return netip.Addr{}, errNotLooked
	case r.asked && !slices.Equal(own, r.seen):
		// Another address of the interface may be another public one.
		r.asked, r.address, r.due, r.wait = false, netip.Addr{}, time.Time{}, 0
	}
	if !time.Now().Before(r.due) {
		select {
		case r.poke <- struct{}{}:
		default: // it is being asked
		}
	}
	switch {
	case !r.asked:
		return netip.Addr{}, errNotAsked
	case r.failed && r.address.IsValid():
		return netip.Addr{}, errAskedAgain
	default:
		return r.address, nil
	}
}

// Run asks when that is due, until the context ends. It returns nil.
func (r *reflection) Run(ctx context.Context) error {
	for {
		select {
		case <-r.poke:
		case <-ctx.Done():
			return nil
		}
		own := r.own()
		if own == nil {
			continue // the router is gone, and comes back
		}
		answer, err := r.ask(ctx)
		var left router.Departure
		if err == nil {
			left, err = r.departed(ctx, answer.Local, answer.Server)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was stopped
		}
		r.take(ctx, own, answer, left, err)
		r.told()
	}
}

// take notes an outcome. An error is a question in vain, which tells nothing.
func (r *reflection) take(ctx context.Context, own []netip.Addr, answer stun.Answer, left router.Departure, err error) {
	why, advice := JudgeSTUN(answer, left, own, r.iface)
	if err != nil {
		why, advice = "no answer: "+err.Error(), remedy.STUNSilent()
	}
	news := r.note(own, answer.Mapped.Addr(), why, err != nil)
	switch {
	case !news:
	case why == "":
		r.log.InfoContext(ctx, "STUN server reports the public address again", "server", r.server)
	default:
		r.log.WarnContext(ctx, "STUN server does not report the pool's public address", "server", r.server, "reason", why, "remedy", advice)
	}
}

// note keeps an outcome, and returns whether it is of another kind than the last one. Why is
// the reason that there is no address; failed says that it tells nothing.
func (r *reflection) note(own []netip.Addr, says netip.Addr, why string, failed bool) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.failed, r.seen = true, failed, own
	switch {
	case failed: // the last answer stays, for a while
	case why == "":
		r.address = says
	default:
		r.address = netip.Addr{}
	}
	if why == "" {
		r.wait, r.due = 0, time.Now().Add(stunAge)
	} else {
		r.wait = min(max(2*r.wait, stunRetry), stunAge)
		r.due = time.Now().Add(r.wait)
	}
	news = r.trouble != why
	r.trouble = why
	return news
}

// JudgeSTUN returns why an answer is not the public address of the ports that arrive at an
// interface on which the router has addresses of its own, and what helps; "" if it is.
func JudgeSTUN(answer stun.Answer, left router.Departure, own []netip.Addr, iface string) (why string, advice remedy.Advice) {
	server := answer.Server.Addr()
	switch {
	case left.Unclear != "":
		return fmt.Sprintf("it is not certain that the question left by %s: %s", iface, left.Unclear), remedy.STUNAstray(server, iface)
	case left.From == answer.Local.Addr() && !slices.Contains(own, left.From):
		return fmt.Sprintf("the question left with doublenat's own address %v, which is not masqueraded", left.From), remedy.STUNUnmasked(iface)
	case !slices.Contains(own, left.From):
		return fmt.Sprintf("the question left from %v, which is not the router's address on %s: the answer is another line's", left.From, iface), remedy.STUNAstray(server, iface)
	case !realm.Public(answer.Mapped.Addr()) || !answer.Mapped.Addr().Is4():
		return fmt.Sprintf("it answers %v, which is no public IPv4 address", answer.Mapped.Addr()), remedy.STUNPrivate()
	}
	return "", remedy.Advice{}
}
