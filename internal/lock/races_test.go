package lock_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lock"
	"doublenat/internal/lock/locktest"
)

// races is how many simulated races for the lock the test runs.
const races = 1000

var errNetwork = errors.New("the network lost it")

// machine is a simulated machine on which one doublenat runs, term after term. Its clock may be
// slow or fast, it may be stopped, suspended, cut off from the store, and it may die.
type machine struct {
	name    string
	server  *locktest.Server
	rng     *rand.Rand // of this machine's network alone
	rngMu   sync.Mutex
	speed   float64
	started time.Time

	slept  atomic.Int64 // what the monotonic clock missed
	frozen atomic.Pointer[chan struct{}]
	cut    atomic.Bool
	keeper atomic.Pointer[lock.Keeper]
	terms  atomic.Int64
	wg     *sync.WaitGroup // late deliveries
}

// read is the machine's clocks.
func (m *machine) read() (time.Duration, time.Time) {
	passed := float64(time.Since(m.started)) * m.speed
	return time.Duration(passed) - time.Duration(m.slept.Load()), m.started.Round(0).Add(time.Duration(passed))
}

// awake waits while the machine is stopped.
func (m *machine) awake() {
	for {
		stopped := m.frozen.Load()
		if stopped == nil {
			return
		}
		<-*stopped
	}
}

func (m *machine) between(low, high time.Duration) time.Duration {
	m.rngMu.Lock()
	defer m.rngMu.Unlock()
	return low + time.Duration(m.rng.Int64N(int64(high-low)))
}

func (m *machine) chance(p float64) bool {
	m.rngMu.Lock()
	defer m.rngMu.Unlock()
	return m.rng.Float64() < p
}

// network is a machine's way to its store: slow, lossy, and able to deliver long after the
// request was given up.
type network struct {
	machine *machine
	store   *locktest.Store
}

// send carries one request there and its reply back.
func (n network) send(ctx context.Context, do func(context.Context)) error {
	m := n.machine
	m.awake()
	delay := m.between(0, 300*time.Millisecond)
	if m.chance(0.03) {
		delay = m.between(0, 2*lease)
	}
	lost, replyLost := m.cut.Load() || m.chance(0.03), m.chance(0.05)
	done := make(chan struct{})
	m.wg.Go(func() {
		time.Sleep(delay)
		if lost {
			return
		}
		do(context.WithoutCancel(ctx))
		time.Sleep(m.between(0, 300*time.Millisecond))
		if !replyLost && !m.cut.Load() {
			close(done)
		}
	})
	select {
	case <-done:
		m.awake()
		return nil
	case <-ctx.Done():
		m.awake()
		return fmt.Errorf("%w: %w", errNetwork, context.Cause(ctx))
	}
}

func (n network) Acquire(ctx context.Context, lease time.Duration) (lock.Holder, error) {
	type reply struct {
		holder lock.Holder
		err    error
	}
	got := make(chan reply, 1)
	if err := n.send(ctx, func(ctx context.Context) {
		h, err := n.store.Acquire(ctx, lease)
		got <- reply{h, err}
	}); err != nil {
		return lock.Holder{}, err
	}
	r := <-got
	return r.holder, r.err
}

func (n network) Renew(ctx context.Context, lease time.Duration) error {
	got := make(chan error, 1)
	if err := n.send(ctx, func(ctx context.Context) { got <- n.store.Renew(ctx, lease) }); err != nil {
		return err
	}
	return <-got
}

func (n network) Release(ctx context.Context) error {
	got := make(chan error, 1)
	if err := n.send(ctx, func(ctx context.Context) { got <- n.store.Release(ctx) }); err != nil {
		return err
	}
	return <-got
}

// run lives term after term until ctx ends.
func (m *machine) run(ctx context.Context) {
	for ctx.Err() == nil {
		k, err := lock.New(lock.Config{Store: network{m, m.server.Store(m.name)}, Lease: lease, Random: func() float64 { return m.between(0, 1000).Seconds() * 1e6 }})
		if err != nil {
			panic(err)
		}
		k.SetClock(m.read)
		m.keeper.Store(k)
		life, die := context.WithTimeout(ctx, m.between(time.Second, 12*lease))
		if k.Acquire(life) == nil {
			m.terms.Add(1)
			_ = k.Hold(life)
		}
		die()
		m.awake()
		if m.chance(0.5) { // Otherwise it was killed.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.between(0, 5*time.Second)+1)
			_ = k.Release(last)
			cancel()
		} else {
			killed(k)
		}
		if ctx.Err() == nil {
			time.Sleep(m.between(0, 2*time.Second))
		}
	}
}

// killed ends a keeper as the end of its process would: its store hears nothing of it.
func killed(k *lock.Keeper) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = k.Release(gone)
}

// trouble stops, suspends and cuts off the machine at random until ctx ends.
func (m *machine) trouble(ctx context.Context) {
	wait := func(d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	for ctx.Err() == nil {
		wait(m.between(0, 8*lease))
		if m.chance(0.5) {
			m.cut.Store(true)
			wait(m.between(0, 2*lease))
			m.cut.Store(false)
			continue
		}
		stopped := make(chan struct{})
		m.frozen.Store(&stopped)
		begun := time.Now()
		wait(m.between(0, 2*lease))
		if m.chance(0.5) { // It was suspended: its monotonic clock stood still.
			m.slept.Add(int64(float64(time.Since(begun)) * m.speed))
		}
		m.frozen.Store(nil)
		close(stopped)
	}
}

// writes reports whether the machine could write now.
func (m *machine) writes() bool {
	k := m.keeper.Load()
	return k != nil && m.frozen.Load() == nil && k.Writes()
}

// race lets several machines race for one lock and returns how many terms there were, and for how
// much of the time somebody had it.
func race(t *testing.T, seed uint64) (terms int64, held float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	begun, fast := time.Now(), 0.9+0.2*rng.Float64()
	server := &locktest.Server{Now: func() time.Time {
		return begun.Add(time.Duration(float64(time.Since(begun)) * fast))
	}}
	var wg sync.WaitGroup
	machines := make([]*machine, 2+rng.IntN(3))
	for i := range machines {
		m := &machine{
			name: string(rune('a' + i)), server: server, rng: rand.New(rand.NewPCG(seed, uint64(i)+1)),
			speed: 0.85 + 0.3*rng.Float64(), started: begun, wg: &wg,
		}
		machines[i] = m
		wg.Go(func() { m.run(ctx) })
		wg.Go(func() { m.trouble(ctx) })
	}
	seen, looks := 0, 0
	for ctx.Err() == nil {
		writers := ""
		for _, m := range machines {
			if m.writes() {
				writers += m.name
			}
		}
		if len(writers) > 1 {
			t.Errorf("seed %d: %s write at the same time, %s after the start", seed, writers, time.Since(begun))
			cancel()
		}
		seen, looks = seen+len(writers), looks+1
		time.Sleep(time.Duration(rng.Int64N(int64(500 * time.Millisecond))))
	}
	wg.Wait()
	for _, m := range machines {
		terms += m.terms.Load()
	}
	return terms, float64(seen) / float64(looks)
}

// There are never two that may write, whatever their clocks, their network and their machines do.
func TestRaces(t *testing.T) {
	t.Parallel()
	n := uint64(races)
	if testing.Short() {
		n /= 20
	}
	var terms int64
	var held float64
	for seed := range n {
		synctest.Test(t, func(t *testing.T) {
			x, h := race(t, seed)
			terms, held = terms+x, held+h
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d races, %d terms, the lock was held for %.0f %% of the time", n, terms, 100*held/float64(n))
	if share := held / float64(n); share < 0.3 {
		t.Errorf("the lock was held for only %.0f %% of the time: the races prove little", 100*share)
	}
}
