package lock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// ErrStandby is what [Keeper.Mine] returns before the lock is ours.
var ErrStandby = errors.New("this doublenat stands by: the lock is not its own")

// ErrReleased is what [Keeper.Mine] returns once we gave the lock away.
var ErrReleased = errors.New("this doublenat has released its lock")

// pollEvery is how often a keeper that waits asks for the lock at most. It bounds the gap of a
// hand-over: a lock that was released is taken within it.
const pollEvery = time.Second

// Config is what a [Keeper] is made from.
type Config struct {
	// Store keeps the lock. The keeper alone calls it, one call at a time.
	Store Store
	// Lease is for how long the store gives us the lock. A third of it is the margin: we write
	// for two thirds at most after a request that was granted, so that clocks which differ by
	// less than that never make two writers.
	Lease time.Duration
	// OnChange is called when [Keeper.View] says something else than before. It must not block.
	// Nil is nobody.
	OnChange func()
	// Remedy says what to do about an error of the store, empty for nothing. The log has it. Nil
	// knows nothing.
	Remedy func(error) string
	// Logger gets state changes; nil discards them.
	Logger *slog.Logger
	// Random returns numbers from 0 up to 1 for jitter; nil means a good source.
	Random func() float64
}

// Keeper waits for a lock, keeps it, and says at any moment whether it is still ours. It has one
// term at most: who lost the lock makes another keeper. Acquire, Hold and Release are called one
// after the other; everything else may be called at any time from anywhere.
type Keeper struct {
	store    Store
	lease    time.Duration
	onChange func()
	remedy   func(error) string
	log      *slog.Logger
	random   func() float64
	clock    func() Instant

	// term ends when the lock is lost or released; its cause says why.
	term    context.Context //nolint:containedctx // it is the term itself, not one call's
	endTerm context.CancelCauseFunc

	mu     sync.Mutex
	told   map[string]struct{} // guarded by mu; the remedies that the log has since the store failed
	view   View                // guarded by mu
	span   Span                // guarded by mu; how long we may write, in state [Held]
	expiry *time.Timer         // guarded by mu; ends the term when span does. Nil before the term.
}

// New returns a keeper that waits for the lock once [Keeper.Acquire] is called.
func New(cfg Config) (*Keeper, error) {
	if cfg.Store == nil {
		return nil, errors.New("a lock needs a store")
	}
	if cfg.Lease <= 0 {
		return nil, fmt.Errorf("a lock cannot be leased for %s", cfg.Lease)
	}
	k := &Keeper{
		store: cfg.Store, lease: cfg.Lease, onChange: cfg.OnChange, remedy: cfg.Remedy, log: cfg.Logger, random: cfg.Random,
		clock: newClock(), view: View{Since: time.Now()},
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.remedy == nil {
		k.remedy = func(error) string { return "" }
	}
	if k.random == nil {
		k.random = rand.Float64
	}
	k.term, k.endTerm = context.WithCancelCause(context.Background())
	return k, nil
}

// Acquire asks for the lock about every second until it is ours or ctx ends, whose cause it then
// returns. A store out of reach is asked again.
func (k *Keeper) Acquire(ctx context.Context) error {
	var freed <-chan struct{} // nil is a store that has to be asked
	if w, ok := k.store.(Watcher); ok {
		freed = w.Freed()
		var watching sync.WaitGroup
		defer watching.Wait()
		looking, stop := context.WithCancel(ctx)
		defer stop()
		watching.Go(func() { w.Watch(looking) })
	}
	for {
		if err := k.tryAcquire(ctx); err == nil {
			return nil
		}
		pause := time.NewTimer(PollEvery(k.random()))
		select {
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		case <-freed:
			pause.Stop()
		case <-pause.C:
		}
	}
}

// tryAcquire asks for the lock once. Nil is that it is ours.
func (k *Keeper) tryAcquire(ctx context.Context) error {
	sent := k.clock()
	bounded, cancel := context.WithTimeout(ctx, RenewEvery(k.lease))
	holder, err := k.store.Acquire(bounded, k.lease)
	cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx) // The lock may be ours in the store: Release gives it back.
	}
	k.answered(ctx, err)
	if err != nil {
		return err
	}
	if !holder.Mine {
		k.seen(holder.Name)
		return ErrStandby
	}
	return k.begin(NewSpan(sent, k.lease))
}

// begin starts the term, unless the reply came when it was already over.
func (k *Keeper) begin(s Span) error {
	now := k.clock()
	if err := s.Check(now); err != nil {
		return err
	}
	k.mu.Lock()
	k.span = s
	k.view = View{State: Held, Since: time.Now()}
	k.expiry = time.AfterFunc(s.Left(now), k.expired)
	k.mu.Unlock()
	k.changed()
	return nil
}

// expired is called when the term should be over. A renewal may have been faster.
func (k *Keeper) expired() {
	if k.Mine() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.view.State == Held {
		k.expiry.Reset(k.span.Left(k.clock()))
	}
}

// Hold renews the lock every third of its lease, until ctx ends, which is no error, or the lock
// is lost, of which the error wraps [ErrLost]. A store out of reach is asked again until what we
// have runs out.
func (k *Keeper) Hold(ctx context.Context) error {
	pause := time.NewTimer(k.due())
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.term.Done():
			return context.Cause(k.term) //nolint:contextcheck // it is the term's
		case <-pause.C:
		}
		if err := k.renew(ctx); err != nil {
			pause.Reset(RetryEvery(k.lease))
		} else {
			pause.Reset(k.due())
		}
	}
}

// due returns how long it is until the next renewal: a third of a lease from when the last request was
// sent, not from its reply. A store that takes its time would leave too little of the term else.
func (k *Keeper) due() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.span.Rests(k.clock())
}

// renew asks for another lease once.
func (k *Keeper) renew(ctx context.Context) error {
	if err := k.Mine(); err != nil {
		return err
	}
	sent := k.clock()
	// A term that ends is not waited for: whoever comes next makes another keeper.
	bounded, cancel := k.Bound(ctx)
	bounded, done := context.WithTimeout(bounded, RenewEvery(k.lease))
	err := k.store.Renew(bounded, k.lease)
	done()
	cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, ErrLost) {
		k.end(fmt.Errorf("renewing the lock: %w", err))
		return err
	}
	k.answered(ctx, err)
	if err == nil {
		k.extend(NewSpan(sent, k.lease))
	}
	return err
}

// extend makes the term longer, unless it ended meanwhile.
func (k *Keeper) extend(s Span) {
	if k.Mine() != nil {
		return // The reply came too late for a term that is over for good.
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.view.State != Held {
		return
	}
	k.span = s
	k.expiry.Reset(s.Left(k.clock()))
}

// Mine is nil as long as the lock is surely ours: less than two thirds of a lease have passed on
// any clock since the moment before the last request that was granted was sent. Ask immediately
// before each write. Once it failed in a term it fails for the rest of it.
func (k *Keeper) Mine() error {
	k.mu.Lock()
	switch k.view.State {
	case Waiting:
		k.mu.Unlock()
		return ErrStandby
	case Ended:
		k.mu.Unlock()
		return context.Cause(k.term)
	case Held:
	}
	err := k.span.Check(k.clock())
	ailing := k.view.Error
	k.mu.Unlock()
	if err != nil {
		if ailing != nil {
			err = fmt.Errorf("%w; the last renewal: %w", err, ailing)
		}
		k.end(err)
	}
	return err
}

// Lost is closed when a term ends.
func (k *Keeper) Lost() <-chan struct{} { return k.term.Done() }

// Release ends the term and gives the lock to whoever comes next. Call it when Acquire and Hold
// have returned and nothing is written any more.
func (k *Keeper) Release(ctx context.Context) error {
	k.end(ErrReleased)
	if err := k.store.Release(ctx); err != nil {
		return fmt.Errorf("releasing the lock (it runs out by itself within %s): %w", k.lease, err)
	}
	return nil
}

// end ends the term for good. The first cause counts.
func (k *Keeper) end(cause error) {
	k.endTerm(cause)
	k.mu.Lock()
	if k.view.State == Ended {
		k.mu.Unlock()
		return
	}
	k.view = View{State: Ended, Since: time.Now(), Error: context.Cause(k.term)}
	if k.expiry != nil {
		k.expiry.Stop()
	}
	k.mu.Unlock()
	k.changed()
}
