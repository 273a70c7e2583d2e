// Package model is the second level of the simulation: the core's engine between a model
// of the router, of the gateway and of clients, in one goroutine. A virtual day takes a
// millisecond, and a seed gives the same day each time, action for action.
//
// The first level (internal/sim) runs the whole daemon over real protocols. What both
// look at is the same: see [Day.check] and docs/testing.md.
package model_test
