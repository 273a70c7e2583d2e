// Package hook tells programs of the operator what happened to mappings and to the
// external address: by an HTTP request, by running a command, or both
// (docs/events.md). It never holds up who has something to tell: what cannot be
// delivered now waits in a bounded queue, in which a newer event of the same
// mapping takes the place of an older one.
package hook
