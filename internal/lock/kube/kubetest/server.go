// Package kubetest has a stand-in for the Leases of a Kubernetes API server, with the faults of a real
// one: it refuses, hangs, and loses requests and replies. client-go takes it for the real one, and what
// is tested against it is tested against a kube-apiserver too (`make kube`; deploy/lease_test.go).
package kubetest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Token is the one that the server accepts.
const Token = "service account"

// Server keeps Leases. Its zero value is ready. It is an [http.Handler], and an [http.RoundTripper]
// that needs no network.
type Server struct {
	mu      sync.Mutex
	version int               // guarded by mu, as what follows
	objects map[string]object // by path
	faults  Faults
	served  int
}

// object is a Lease, with all that somebody put on it.
type object = map[string]any

// Faults is what goes wrong from now on.
type Faults struct {
	// Status is what the server replies to everything; 0 is what is right.
	Status int
	// LoseRequests has requests not arrive, LoseReplies the replies to those that wrote: the client
	// waits until it gives up.
	LoseRequests, LoseReplies bool
	// Delay is before each reply.
	Delay time.Duration
}

// Set changes what goes wrong.
func (s *Server) Set(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Served returns how many requests arrived.
func (s *Server) Served() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

// Change lets somebody else change a Lease, as with kubectl. It returns false if there is none.
func (s *Server) Change(namespace, name string, change func(lease map[string]any)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[leases(namespace)+"/"+name]
	if o == nil {
		return false
	}
	change(o)
	s.stampLocked(o)
	return true
}

// Delete lets somebody else delete one.
func (s *Server) Delete(namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, leases(namespace)+"/"+name)
}

func leases(namespace string) string {
	return "/apis/coordination.k8s.io/v1/namespaces/" + namespace + "/leases"
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, text := s.serve(r)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) //nolint:gosec // it is JSON, and a client that went away is none of our business
}

// serve replies to a request. The reply is written while nobody else changes the object.
func (s *Server) serve(r *http.Request) (status int, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status, reply := s.serveLocked(r)
	text, err := json.Marshal(reply)
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	return status, text
}

func (s *Server) serveLocked(r *http.Request) (int, any) {
	s.served++
	switch {
	case s.faults.Status != 0:
		return s.faults.Status, failure("the stand-in was told to refuse")
	case r.Header.Get("Authorization") != "Bearer "+Token:
		return http.StatusUnauthorized, failure("Unauthorized")
	}
	in := object{}
	if r.Method != http.MethodGet {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return http.StatusBadRequest, failure(err.Error())
		}
	}
	if why := invalid(in); why != "" {
		return http.StatusUnprocessableEntity, failure(why)
	}
	return s.objectLocked(r, in)
}

// objectLocked carries a request out.
func (s *Server) objectLocked(r *http.Request, in object) (int, any) {
	path := r.URL.Path
	switch r.Method {
	case http.MethodPost:
		name, _ := part(in, "metadata")["name"].(string)
		path += "/" + name
		if s.objects[path] != nil {
			return http.StatusConflict, failure("already exists")
		}
		if s.objects == nil {
			s.objects = make(map[string]object)
		}
		s.stampLocked(in)
		s.objects[path] = in
		return http.StatusCreated, in
	case http.MethodGet:
		if o := s.objects[path]; o != nil {
			return http.StatusOK, o
		}
	case http.MethodPut, http.MethodPatch:
		if o := s.objects[path]; o != nil {
			return s.changeLocked(r, o, in)
		}
	default:
		return http.StatusMethodNotAllowed, failure("the stand-in does not know " + r.Method)
	}
	return http.StatusNotFound, failure("not found")
}

// changeLocked replaces an object, or a part of it, if it is in the state that the request is for.
func (s *Server) changeLocked(r *http.Request, o, in object) (int, any) {
	if was, want := part(o, "metadata")["resourceVersion"], part(in, "metadata")["resourceVersion"]; want != nil && want != was {
		return http.StatusConflict, failure("the object has been modified")
	}
	switch {
	case r.Method == http.MethodPut:
		clear(o)
	case r.Header.Get("Content-Type") != "application/merge-patch+json":
		return http.StatusUnsupportedMediaType, failure("the stand-in has no such patch")
	}
	merge(o, in)
	s.stampLocked(o)
	return http.StatusOK, o
}

// stampLocked gives an object a version that no other has.
func (s *Server) stampLocked(o object) {
	s.version++
	part(o, "metadata")["resourceVersion"] = strconv.Itoa(s.version)
}

// part returns a part of an object, which it makes if need be.
func part(o object, name string) object {
	if p, ok := o[name].(object); ok {
		return p
	}
	p := object{}
	o[name] = p
	return p
}

// merge puts a patch into an object (RFC 7396).
func merge(o, patch object) {
	for name, value := range patch {
		switch v := value.(type) {
		case nil:
			delete(o, name)
		case object:
			merge(part(o, name), v)
		default:
			o[name] = v
		}
	}
}

// invalid says what is wrong with a Lease, "" for nothing: what Kubernetes checks itself, and the
// form of its times.
func invalid(o object) string {
	spec, ok := o["spec"].(object)
	if !ok {
		return ""
	}
	for _, field := range []string{"renewTime", "acquireTime"} {
		if v, there := spec[field]; there {
			text, _ := v.(string)
			if _, err := time.Parse("2006-01-02T15:04:05.000000Z07:00", text); err != nil {
				return "spec." + field + ": " + err.Error()
			}
		}
	}
	if d, there := spec["leaseDurationSeconds"].(float64); there && d <= 0 {
		return "spec.leaseDurationSeconds: must be greater than 0"
	}
	if n, there := spec["leaseTransitions"].(float64); there && n < 0 {
		return "spec.leaseTransitions: must be greater than or equal to 0"
	}
	for field := range spec {
		if !slices.Contains(strings.Fields("holderIdentity leaseDurationSeconds acquireTime renewTime leaseTransitions strategy preferredHolder"), field) {
			return "spec." + field + ": unknown field"
		}
	}
	return ""
}

func failure(message string) object {
	return object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
}
