package ops

import "time"

const (
	// step is how far the points of the chart are apart.
	step = 30 * time.Second
	// points is how many are kept: an hour.
	points = 120
)

// series remembers the last hour. Its methods are called with Monitor.mu held.
type series struct {
	end      time.Time
	mappings []int
	gateway  []*float64
	router   []*float64
}

// add takes in the step that ends now.
func (s *series) add(now time.Time, mappings int, gateway, router *float64) {
	s.end = now
	s.mappings = push(s.mappings, mappings)
	s.gateway = push(s.gateway, gateway)
	s.router = push(s.router, router)
}

// push appends a point and lets go of the oldest one beyond the hour. The slice
// that it returns is new: pictures share the old one.
func push[T any](all []T, v T) []T {
	kept := all[max(0, len(all)+1-points):]
	next := make([]T, len(kept), len(kept)+1)
	copy(next, kept)
	return append(next, v)
}

// shown returns the series for a picture.
func (s *series) shown() Series {
	out := Series{StepSeconds: step.Seconds(), End: s.end, Mappings: s.mappings, GatewayMS: s.gateway, RouterMS: s.router}
	if out.Mappings == nil {
		out.Mappings, out.GatewayMS, out.RouterMS = []int{}, []*float64{}, []*float64{}
	}
	return out
}
