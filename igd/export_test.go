package igd

import "net/http"

// Answer answers a request as one of a connection, without any.
func (s *Server) Answer(w http.ResponseWriter, req *http.Request, from Arrival) {
	s.answerOf(w, req, from)
}
