// Package daemon is the only place where the parts of doublenat meet: it makes
// them from a configuration, connects them, runs them, and ends them in order.
package daemon
