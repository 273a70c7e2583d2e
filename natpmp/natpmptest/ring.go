package natpmptest

// ring keeps the last so many values.
type ring[T any] struct {
	values []T
	next   int
	limit  int
}

// add stores v in the place of the oldest value when the ring is full. A ring
// with limit 0 stores nothing.
func (r *ring[T]) add(v T) {
	switch {
	case r.limit <= 0:
	case len(r.values) < r.limit:
		r.values = append(r.values, v)
	default:
		r.values[r.next] = v
		r.next = (r.next + 1) % r.limit
	}
}

// all returns a copy of the values, the oldest first.
func (r *ring[T]) all() []T {
	out := make([]T, 0, len(r.values))
	out = append(out, r.values[r.next:]...)
	return append(out, r.values[:r.next]...)
}
