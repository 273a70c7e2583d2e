package kubetest

import (
	"net/http"
	"net/http/httptest"
	"time"
)

// RoundTrip implements [http.RoundTripper].
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	faults := s.faults
	s.mu.Unlock()
	if faults.LoseRequests {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	out := httptest.NewRecorder()
	s.ServeHTTP(out, r)
	if faults.LoseReplies && r.Method != http.MethodGet {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	select {
	case <-time.After(faults.Delay):
		return out.Result(), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}
