// Package ops shows how doublenat is doing, and changes nothing: a status page, the
// same status as JSON and as a stream of events, health checks, and metrics.
//
// There is one picture. [Assess] makes it, a pure function of what the parts tell
// about themselves; page, `doublenat status`, /readyz and /metrics all show that
// picture, so that they name the same broken hop. A [Monitor] remembers what the
// parts do not: the last events, the last hour, how long each hop takes. A [Server]
// answers HTTP.
package ops
