package lock

import (
	"context"
	"time"
)

// State is where a [Keeper] stands in its one term.
type State int

// The states of a keeper, in their order.
const (
	Waiting State = iota // for the lock: another one has it, or the store is out of reach
	Held                 // the lock is ours, as far as anybody heard
	Ended                // it was ours and is so no more, or it was released
)

// String returns the word for logs and pages.
func (s State) String() string {
	switch s {
	case Waiting:
		return "waiting"
	case Held:
		return "held"
	case Ended:
		return "ended"
	}
	return "unknown"
}

// View is what a [Keeper] knows of its lock.
type View struct {
	// State is where we stand. For a write ask [Keeper.Mine] instead.
	State State
	// Holder is the name of whoever has it, in state [Waiting]. Empty if that is not known.
	Holder string
	// Since is when State began.
	Since time.Time
	// Error is why the store cannot be asked, nil if it answers; in state [Ended], why.
	Error error
}

// View returns what is known now.
func (k *Keeper) View() View {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.view
}

// seen notes who has the lock. That somebody took it just now says nothing until the name is known.
func (k *Keeper) seen(name string) {
	if name == "" {
		return
	}
	k.mu.Lock()
	changed := k.view.Holder != name
	k.view.Holder = name
	k.mu.Unlock()
	if changed {
		k.log.Info("standing by", "active", name)
		k.changed()
	}
}

// answered notes how a call of the store ended, and says so once: of a store that goes on failing
// each remedy is news, for it may be out of reach at first and unfit then.
func (k *Keeper) answered(ctx context.Context, err error) {
	if err != nil && context.Cause(k.term) != nil { //nolint:contextcheck // it is the term's
		return // The end of the term is said by who ends it.
	}
	k.mu.Lock()
	before := k.view.Error
	if k.view.State != Ended {
		k.view.Error = err
	}
	remedy, news := k.newsLocked(err)
	k.mu.Unlock()
	switch {
	case news && remedy != "":
		k.log.WarnContext(ctx, "lock not available, retrying", "error", err, "remedy", remedy)
		k.changed()
	case news:
		k.log.WarnContext(ctx, "lock out of reach, retrying", "error", err)
		k.changed()
	case err == nil && before != nil:
		k.log.InfoContext(ctx, "lock reached again")
		k.changed()
	}
}

// newsLocked returns what to do about an error, and whether the log has no such line yet.
func (k *Keeper) newsLocked(err error) (remedy string, news bool) {
	if err == nil {
		k.told = nil
		return "", false
	}
	remedy = k.remedy(err)
	if _, known := k.told[remedy]; known || k.told != nil && remedy == "" {
		return remedy, false
	}
	if k.told == nil {
		k.told = make(map[string]struct{})
	}
	k.told[remedy] = struct{}{}
	return remedy, true
}

// changed tells that the view is another one.
func (k *Keeper) changed() {
	if k.onChange != nil {
		k.onChange()
	}
}
