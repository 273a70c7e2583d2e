package natpmptest

import (
	"context"
	"time"
)

// expireLeases ends leases when their time is over, so that OnChange hears of it
// although nobody asks.
func (g *Gateway) expireLeases(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-t.C:
		}
		var next time.Time
		g.update(func(time.Time) { next = g.table.soonest })
		t.Stop()
		if !next.IsZero() {
			t.Reset(time.Until(next))
		}
	}
}

// recurrence is something that the profile makes happen again and again.
type recurrence struct {
	every func(p *Profile) time.Duration
	do    func(ctx context.Context, p Profile)
}

// recurrences returns all of them.
func (g *Gateway) recurrences() []recurrence {
	return []recurrence{
		{
			every: func(p *Profile) time.Duration { return p.RestartEvery },
			do:    func(_ context.Context, p Profile) { g.Restart(p.RestartKeeps) },
		},
		{
			every: func(p *Profile) time.Duration { return p.SkipEvery },
			do:    func(_ context.Context, p Profile) { g.Skip(p.SkipFor) },
		},
		{
			every: func(p *Profile) time.Duration { return p.ReaddressEvery },
			do: func(_ context.Context, p Profile) {
				g.SetAddress(g.Address().Next())
				if p.ReaddressMoves {
					g.MovePorts()
				}
			},
		},
		{
			every: func(p *Profile) time.Duration { return p.Refusal.Every },
			do: func(ctx context.Context, p Profile) {
				g.Refuse(true)
				defer g.Refuse(false)
				if p.Refusal.Moves {
					g.MovePorts()
				}
				wait(ctx, p.Refusal.For)
			},
		},
	}
}

// recur does something again and again until ctx ends. Its time is the one of
// the profile of that moment.
func (g *Gateway) recur(ctx context.Context, r recurrence) {
	last := time.Now()
	for ctx.Err() == nil {
		g.mu.Lock()
		p := g.profile.clone()
		adjusted := g.adjusted
		g.mu.Unlock()
		every := r.every(&p)
		var due <-chan time.Time
		if every > 0 {
			due = time.After(time.Until(last.Add(every)))
		}
		select {
		case <-ctx.Done():
		case <-adjusted:
		case <-due:
			r.do(ctx, p)
			last = time.Now()
		}
	}
}
