package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

var (
	errNotFound = errors.New("there is no such Lease")
	// errConflict is that the Lease is in another state than the one that a request was for, or is
	// there already.
	errConflict = errors.New("somebody else has changed the Lease")
)

// maxReply bounds what is read of a reply. A Lease has a few hundred bytes, and what others put on it.
const maxReply = 1 << 20

// api makes requests for one Lease.
type api struct {
	client *http.Client
	token  func() (string, error)
	// leases is the URL of the namespace's Leases.
	leases          string
	namespace, name string
}

func newAPI(cfg Config) api {
	return api{
		// A redirect would take the token elsewhere.
		client: &http.Client{Transport: cfg.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		token:  cfg.Token,
		leases: cfg.Server + "/apis/coordination.k8s.io/v1/namespaces/" + url.PathEscape(cfg.Namespace) + "/leases",

		namespace: cfg.Namespace, name: cfg.Name,
	}
}

func (a api) get(ctx context.Context) (*lease, error) {
	return a.do(ctx, request{verb: "get", method: http.MethodGet, at: "/" + a.name})
}

func (a api) create(ctx context.Context, s spec) (*lease, error) {
	return a.do(ctx, request{verb: "create", method: http.MethodPost, form: "application/json", body: &body{
		APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Metadata: metadata{Name: a.name}, Spec: s,
	}})
}

// patch writes what is ours if the Lease is in the state of that version, and leaves the rest as it is
// (RFC 7396).
func (a api) patch(ctx context.Context, version string, s spec) (*lease, error) {
	return a.do(ctx, request{verb: "patch", method: http.MethodPatch, at: "/" + a.name, form: "application/merge-patch+json", body: &body{
		Metadata: metadata{ResourceVersion: version}, Spec: s,
	}})
}

// request is one request, in Kubernetes' words (verb, as in a Role) and HTTP's.
type request struct {
	verb, method, at, form string
	body                   *body
}

// do makes a request. The error says what was wanted of which Lease, and wraps errNotFound or
// errConflict.
func (a api) do(ctx context.Context, r request) (*lease, error) {
	l, err := a.exchange(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %s Lease %s/%s: %w", r.verb, a.namespace, a.name, err)
	}
	return l, nil
}

func (a api) exchange(ctx context.Context, r request) (*lease, error) {
	req, err := a.request(ctx, r)
	if err != nil {
		return nil, err
	}
	reply, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Body.Close() }() // It was read.
	text, err := io.ReadAll(io.LimitReader(reply.Body, maxReply))
	if err != nil {
		return nil, err
	}
	switch reply.StatusCode {
	case http.StatusOK, http.StatusCreated:
	case http.StatusNotFound:
		return nil, errNotFound
	case http.StatusConflict:
		return nil, errConflict
	default:
		return nil, refusal(reply.StatusCode, text)
	}
	l := new(lease)
	if err := json.Unmarshal(text, l); err != nil {
		return nil, fmt.Errorf("the reply is no Lease: %w", err)
	}
	if l.Metadata.ResourceVersion == "" {
		return nil, errors.New("the reply is no Lease: it has no resourceVersion")
	}
	return l, nil
}

func (a api) request(ctx context.Context, r request) (*http.Request, error) {
	var text []byte
	if r.body != nil {
		var err error
		if text, err = json.Marshal(r.body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, a.leases+r.at, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	if r.form != "" {
		req.Header.Set("Content-Type", r.form)
	}
	return req, nil
}

// refusal explains a status that is neither success nor an answer.
func refusal(status int, text []byte) error {
	var why struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(text, &why) // What is no Status has no message.
	said := strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
	if why.Message != "" {
		said += ": " + why.Message
	}
	switch status {
	case http.StatusUnauthorized:
		return fmt.Errorf("%s; the service account's token is not accepted", said)
	case http.StatusForbidden:
		return fmt.Errorf("%s; the service account needs get, create and patch on leases: kubectl apply -k deploy/kubernetes", said)
	default:
		return errors.New(said)
	}
}
