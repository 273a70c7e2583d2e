package lock

import (
	"context"
	"errors"
)

// Bound returns a context that ends with ctx, and when the lock is ours no more. A renewal makes
// it last longer.
func (k *Keeper) Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	bounded, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(k.term, func() { cancel(context.Cause(k.term)) })
	return bounded, func() { stop(); cancel(context.Canceled) }
}

// Guard is for one write: it fails if the lock is not ours, as [Keeper.Mine] says, and else returns
// a context as of [Keeper.Bound].
func (k *Keeper) Guard(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if err := k.Mine(); err != nil {
		return nil, nil, err
	}
	bounded, cancel := k.Bound(ctx)
	return bounded, cancel, nil
}

// Sends is nil as long as bytes may leave for what only the active one changes: not after a term
// that was lost. Before a term, and after a release, whoever sends has nothing to write.
func (k *Keeper) Sends() error {
	err := k.Mine()
	if errors.Is(err, ErrStandby) || errors.Is(err, ErrReleased) {
		return nil
	}
	return err
}
