package igd

import "sync/atomic"

// ServerStats counts what a [Server] has done since it was created. The datagram server
// that reads search packets counts those.
type ServerStats struct {
	// Connections counts all TCP connections, NotAdmitted connections and requests that
	// Admit refused, and Crowded connections for which there was no room.
	Connections, NotAdmitted, Crowded uint64
	// Requests counts HTTP requests, Documents descriptions that were read, Successes and
	// Failures actions answered with their response or an error code, and Refused requests
	// answered only with an HTTP status.
	Requests, Documents, Successes, Failures, Refused uint64
	// Panics counts requests during which the handler, or another function of the
	// configuration, panicked.
	Panics uint64
}

// serverCounters is ServerStats while it grows.
type serverCounters struct {
	connections, notAdmitted, crowded                 atomic.Uint64
	requests, documents, successes, failures, refused atomic.Uint64
	panics                                            atomic.Uint64
}

// Stats returns the counts so far. It may be called at any time.
func (s *Server) Stats() ServerStats {
	n := &s.count
	return ServerStats{
		Connections: n.connections.Load(), NotAdmitted: n.notAdmitted.Load(), Crowded: n.crowded.Load(),
		Requests: n.requests.Load(), Documents: n.documents.Load(), Successes: n.successes.Load(),
		Failures: n.failures.Load(), Refused: n.refused.Load(), Panics: n.panics.Load(),
	}
}
