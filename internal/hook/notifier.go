package hook

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"doublenat/internal/nat"
)

// Config has what a [Notifier] needs. It is copied by [New].
type Config struct {
	// URL is posted to at each event; an absolute http or https URL. Empty means none.
	URL string
	// Exec is run at each event: the absolute path of a program and its arguments.
	// Empty means none.
	Exec []string
	// Instance is the name of this doublenat, for the events.
	Instance string
	// Version is the program's version, for the User-Agent header.
	Version string
	// External returns the public address from memory, or false while it is not
	// known. It must not block, and has the new address before [Notifier.Address] is
	// called. Nil means that it is never known.
	External func() (netip.Addr, bool)

	// Queue is how many events may wait for each receiver; 0 means 1024.
	Queue int
	// PostTimeout bounds one HTTP request; 0 means 10 s.
	PostTimeout time.Duration
	// ExecTimeout bounds one run of the program; 0 means 30 s.
	ExecTimeout time.Duration
	// Dial opens the connections of HTTP. Nil means the host's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Random returns a number from 0 up to and not including 1, for jitter. It must
	// be safe for concurrent use. Nil means [rand.Float64].
	Random func() float64
	// Logger gets a line when deliveries begin to fail, and when they succeed again.
	// Nil discards them.
	Logger *slog.Logger
}

// Stats is how one receiver is doing. It is comparable.
type Stats struct {
	// Waiting is how many events wait.
	Waiting int
	// Delivered counts events that arrived.
	Delivered uint64
	// Failed counts tries that failed.
	Failed uint64
	// Lost counts events that did not arrive and were given up. A receiver that takes
	// events again gets those of the last ones that are still true, and there are less.
	Lost uint64
}

// Notifier takes events to the receivers. Make one with [New].
type Notifier struct {
	cfg        Config
	post, exec *courier // nil where there is no such receiver
}

// New checks the configuration and returns a notifier. It starts nothing: events
// wait until [Notifier.Run]. Its errors do not show the URL.
func New(cfg Config) (*Notifier, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	if cfg.External == nil {
		cfg.External = func() (netip.Addr, bool) { return netip.Addr{}, false }
	}
	if cfg.Queue < 0 || cfg.PostTimeout < 0 || cfg.ExecTimeout < 0 {
		return nil, errors.New("hook: limits must not be negative")
	}
	orDefault(&cfg.Queue, 1024)
	orDefault(&cfg.PostTimeout, 10*time.Second)
	orDefault(&cfg.ExecTimeout, 30*time.Second)

	n := &Notifier{cfg: cfg}
	if cfg.URL != "" {
		p, err := newPoster(cfg)
		if err != nil {
			return nil, err
		}
		n.post = n.courier("hook_url", p.target, p.deliver)
	}
	if len(cfg.Exec) > 0 {
		if !filepath.IsAbs(cfg.Exec[0]) {
			return nil, errors.New("hook: the program's path is not absolute")
		}
		r := runner{argv: cfg.Exec, timeout: cfg.ExecTimeout}
		n.exec = n.courier("hook_exec", cfg.Exec[0], r.deliver)
		n.exec.once = true
	}
	return n, nil
}

func (n *Notifier) courier(kind, target string, deliver func(context.Context, Event) error) *courier {
	return &courier{
		queue: newQueue(n.cfg.Queue), deliver: deliver, external: n.cfg.External, random: n.cfg.Random,
		log: n.cfg.Logger.With("receiver", kind, "target", target),
	}
}

// Mapping tells of an event of the core. It does not block.
func (n *Notifier) Mapping(ev nat.Event) {
	if told, ok := mappingEvent(ev, n.cfg.Instance); ok {
		n.put(told)
	}
}

// Address tells of another external address; the zero Addr is none. It does not block.
func (n *Notifier) Address(before, now netip.Addr) {
	n.put(addressEvent(before, now, n.cfg.Instance))
}

func (n *Notifier) put(ev Event) {
	for _, c := range n.couriers() {
		c.queue.put(ev)
	}
}

// couriers returns those that there are.
func (n *Notifier) couriers() []*courier {
	var all []*courier
	for _, c := range []*courier{n.post, n.exec} {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}

// Run delivers until ctx ends, then for at most two seconds what still waits, and
// returns nil. It is called once.
func (n *Notifier) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, c := range n.couriers() {
		all.Go(func() { c.run(ctx) })
	}
	n.look(ctx)
	<-ctx.Done()
	all.Wait()
	return nil
}

// look says at the start that the program does not exist, which would else be known
// with the first event only.
func (n *Notifier) look(ctx context.Context) {
	if n.exec == nil {
		return
	}
	if _, err := os.Stat(n.cfg.Exec[0]); err != nil {
		n.exec.log.WarnContext(ctx, "ON_CHANGE_EXEC program not found", "error", err,
			"remedy", "correct its path; doublenat's container image has no programs: use ON_CHANGE_URL there")
	}
}

// Stats returns how the receivers are doing, by name: hook_url, hook_exec. One that
// is not configured is left out.
func (n *Notifier) Stats() map[string]Stats {
	all := make(map[string]Stats)
	if n.post != nil {
		all["hook_url"] = n.post.stats()
	}
	if n.exec != nil {
		all["hook_exec"] = n.exec.stats()
	}
	return all
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
