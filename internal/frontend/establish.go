package frontend

import (
	"context"
	"errors"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
)

// establish has the core make a mapping or renew it. Renewals cost the router nothing;
// of new mappings a client gets as many as it has good reason for.
func (f *Frontend) establish(ctx context.Context, key nat.Key, req natpmp.Request) outcome {
	renewal := f.mapped(key)
	if !renewal && !f.gate.mayCreate(key.Client, time.Now()) {
		f.count.tooManyCreates.Add(1)
		f.alarms.hasty(key.Client, time.Now(), &f.count)
		return outcome{result: natpmp.ResultOutOfResources}
	}
	grant, err := f.core.Map(ctx, nat.MapRequest{
		Key:           key,
		SuggestedPort: suggestion(req),
		Lifetime:      time.Duration(req.Lifetime) * time.Second,
	})
	if !renewal && wrote(err) {
		f.gate.created(key.Client, time.Now())
	}
	if err != nil {
		return outcome{result: resultOf(err)}
	}
	return granted(grant, req)
}

// wrote says whether a create that ended so may have written to the router. One that
// the gateway or a bound refused has not, and may be tried again.
func wrote(err error) bool {
	e, ok := errors.AsType[*nat.Error](err)
	return !ok || e.Hop == nat.HopRouter && e.Ambiguous
}
