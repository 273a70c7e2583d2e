package deploy_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"doublenat/internal/lock"
	"doublenat/internal/lock/kube"
	"doublenat/internal/lock/kube/kubetest"
)

// brief is a lease that a test can wait for: Kubernetes counts in seconds.
const brief = 2 * time.Second

// TestLeaseOfStandIn has client-go and doublenat hold one Lease in turn, at the server that doublenat's
// tests use.
func TestLeaseOfStandIn(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(new(kubetest.Server))
	t.Cleanup(server.Close)
	takeTurns(t, cluster{
		// The stand-in does not know protobuf.
		client: &rest.Config{Host: server.URL, BearerToken: kubetest.Token, ContentConfig: rest.ContentConfig{ContentType: "application/json"}},
		store: kube.Config{
			Server: server.URL, Namespace: "doublenat", Token: func() (string, error) { return kubetest.Token, nil },
			Transport: http.DefaultTransport.(*http.Transport).Clone(),
		},
	})
}

// cluster is an API server, as client-go and as doublenat reach it.
type cluster struct {
	client *rest.Config
	store  kube.Config
}

// takeTurns has two stores and a client of client-go want one Lease.
func takeTurns(t *testing.T, c cluster) {
	t.Helper()
	c.store.Name = kube.LeaseName("default")
	join := func(holder string) *kube.Store {
		cfg := c.store
		cfg.Holder = holder
		return kube.New(cfg)
	}
	a, b := join("a"), join("b")
	want(t, a, lock.Holder{Name: "a", Mine: true})
	want(t, b, lock.Holder{Name: "a"})
	if err := a.Renew(t.Context(), brief); err != nil {
		t.Fatal(err)
	}
	look(t, c, "a", 0)
	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, b, lock.Holder{Name: "b", Mine: true}) // at once, for it was given back
	if err := a.Renew(t.Context(), brief); err == nil {
		t.Error("a renewed what b has")
	}

	foreign := elect(t, c)
	select {
	case <-foreign.leads:
		t.Error("client-go took what b has")
	case <-time.After(brief / 2):
	}
	if err := b.Renew(t.Context(), brief); err != nil {
		t.Fatal(err)
	}
	foreign.wait(t, "client-go did not take what expired")
	want(t, b, lock.Holder{Name: "client-go"})
	if err := b.Renew(t.Context(), brief); err == nil {
		t.Error("b renewed what client-go has")
	}
	foreign.end() // which gives it back
	want(t, b, lock.Holder{Name: "b", Mine: true})
	look(t, c, "b", 3)
}

// want asks for the lock, and wants that holder to have it then.
func want(t *testing.T, s *kube.Store, holder lock.Holder) {
	t.Helper()
	if got, err := s.Acquire(t.Context(), brief); err != nil || got != holder {
		t.Fatalf("Acquire = %+v, %v; want %+v", got, err, holder)
	}
}

// look reads the Lease with client-go.
func look(t *testing.T, c cluster, holder string, transitions int32) {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.client)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.CoordinationV1().Leases(c.store.Namespace).Get(t.Context(), kube.LeaseName("default"), meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := got.Spec
	if s.HolderIdentity == nil || len(*s.HolderIdentity) < len(holder)+10 || (*s.HolderIdentity)[:len(holder)+1] != holder+"_" {
		t.Errorf("the holder is %v, want %s", s.HolderIdentity, holder)
	}
	if *s.LeaseTransitions != transitions || *s.LeaseDurationSeconds != 2 || time.Since(s.RenewTime.Time) > time.Minute || s.AcquireTime == nil {
		t.Errorf("the Lease is %+v, with %d transitions; want %d", s, *s.LeaseTransitions, transitions)
	}
}

// elector is a client of client-go that wants the Lease.
type elector struct {
	leads <-chan struct{}
	end   func()
}

func (e elector) wait(t *testing.T, or string) {
	t.Helper()
	select {
	case <-e.leads:
	case <-time.After(4 * brief):
		t.Fatal(or)
	}
}

// elect runs client-go's leader election.
func elect(t *testing.T, c cluster) elector {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.client)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	leads, done := make(chan struct{}), make(chan struct{})
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: meta.ObjectMeta{Namespace: c.store.Namespace, Name: kube.LeaseName("default")},
			Client:    client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: "client-go"},
		},
		ReleaseOnCancel: true, LeaseDuration: brief, RenewDeadline: brief * 3 / 4, RetryPeriod: brief / 8,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(leads) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		e.Run(ctx)
		close(done)
	}()
	end := func() { cancel(); <-done }
	t.Cleanup(end)
	return elector{leads: leads, end: end}
}
