// Package static holds the mappings that the operator wrote down, for hosts that
// cannot ask for any: it asks in their place from start to stop, as a well-behaved
// client would, and does not let anybody else end them.
package static
