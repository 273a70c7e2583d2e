package kube_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/lock"
	"doublenat/internal/lock/kube"
	"doublenat/internal/lock/kube/kubetest"
)

const term = 15 * time.Second

// store returns a store of the one Lease at a server.
func store(server http.RoundTripper, holder string) *kube.Store {
	return kube.New(kube.Config{
		Server: "https://kubernetes.invalid", Namespace: "doublenat", Name: "doublenat-default", Holder: holder,
		Token: func() (string, error) { return kubetest.Token, nil }, Transport: server,
	})
}

// acquire asks for the lock, and wants that holder to have it then.
func acquire(t *testing.T, s *kube.Store, want lock.Holder) {
	t.Helper()
	if got, err := s.Acquire(t.Context(), term); err != nil || got != want {
		t.Errorf("Acquire = %+v, %v; want %+v", got, err, want)
	}
}

// renew renews it, and wants the error that wraps an other one.
func renew(t *testing.T, s *kube.Store, want error) {
	t.Helper()
	if err := s.Renew(t.Context(), term); !errors.Is(err, want) {
		t.Errorf("Renew: %v, want %v", err, want)
	}
}

// TestOneOfTwo has the lock go from one to another: only when it expired, or was given back.
func TestOneOfTwo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := new(kubetest.Server)
		a, b := store(server, "a"), store(server, "b")
		acquire(t, a, lock.Holder{Name: "a", Mine: true})
		for range 10 {
			acquire(t, b, lock.Holder{Name: "a"})
			time.Sleep(10 * time.Second)
			renew(t, a, nil)
		}
		acquire(t, b, lock.Holder{Name: "a"}) // That state is new to b.
		time.Sleep(term - time.Nanosecond)
		acquire(t, b, lock.Holder{Name: "a"})
		time.Sleep(time.Nanosecond)
		acquire(t, b, lock.Holder{Name: "b", Mine: true})
		renew(t, a, lock.ErrLost)
		if err := a.Release(t.Context()); err != nil {
			t.Error(err)
		}
		acquire(t, a, lock.Holder{Name: "b"}) // What a gave back was not its own.
		if err := b.Release(t.Context()); err != nil {
			t.Error(err)
		}
		acquire(t, a, lock.Holder{Name: "a", Mine: true})
		spec(t, server, map[string]any{"leaseTransitions": 2.0, "leaseDurationSeconds": 15.0})
	})
}

// spec wants fields of the Lease.
func spec(t *testing.T, server *kubetest.Server, want map[string]any) {
	t.Helper()
	if !server.Change("doublenat", "doublenat-default", func(lease map[string]any) {
		got, _ := lease["spec"].(map[string]any)
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s = %v, want %v", name, got[name], value)
			}
		}
	}) {
		t.Error("there is no Lease")
	}
}

// TestSameName has two that were given one name: the lock is not each one's.
func TestSameName(t *testing.T) {
	t.Parallel()
	server := new(kubetest.Server)
	a, b := store(server, "pi_1"), store(server, "pi_1")
	acquire(t, a, lock.Holder{Name: "pi_1", Mine: true})
	acquire(t, b, lock.Holder{Name: "pi_1"})
	renew(t, b, lock.ErrLost)
	renew(t, a, nil)
}

// TestTheirs has somebody else's hands on the Lease: a longer duration, labels, a deletion.
func TestTheirs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := new(kubetest.Server)
		a, b := store(server, "a"), store(server, "b")
		acquire(t, a, lock.Holder{Name: "a", Mine: true})
		server.Change("doublenat", "doublenat-default", func(lease map[string]any) {
			metadata, _ := lease["metadata"].(map[string]any)
			metadata["labels"] = map[string]any{"app": "doublenat"}
		})
		renew(t, a, nil) // The conflict is about something else.
		server.Change("doublenat", "doublenat-default", func(lease map[string]any) {
			metadata, _ := lease["metadata"].(map[string]any)
			if metadata["labels"] == nil {
				t.Error("the label is gone")
			}
			of, _ := lease["spec"].(map[string]any)
			of["leaseDurationSeconds"] = 60.0
		})
		acquire(t, b, lock.Holder{Name: "a"})
		time.Sleep(59 * time.Second)
		acquire(t, b, lock.Holder{Name: "a"}) // The holder was promised a minute.
		server.Delete("doublenat", "doublenat-default")
		renew(t, a, lock.ErrLost)
		acquire(t, b, lock.Holder{Name: "b", Mine: true})
	})
}

// TestLostReplies has writes arrive whose replies do not.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := new(kubetest.Server)
		a, b := store(server, "a"), store(server, "b")
		lossy := func(do func(context.Context) error) {
			t.Helper()
			server.Set(kubetest.Faults{LoseReplies: true})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := do(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			server.Set(kubetest.Faults{})
		}
		lossy(func(ctx context.Context) error { _, err := a.Acquire(ctx, term); return err })
		acquire(t, b, lock.Holder{Name: "a"})
		acquire(t, a, lock.Holder{Name: "a", Mine: true})
		lossy(func(ctx context.Context) error { return a.Renew(ctx, term) })
		renew(t, a, nil)
		lossy(a.Release)
		acquire(t, b, lock.Holder{Name: "b", Mine: true})
	})
}

// TestErrors has errors that say what to do, and none that says that the lock is lost.
func TestErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := new(kubetest.Server)
		a := store(server, "a")
		acquire(t, a, lock.Holder{Name: "a", Mine: true})
		for status, want := range map[int]string{
			http.StatusForbidden:           "needs get, create and patch on leases: kubectl apply -k deploy/kubernetes",
			http.StatusUnauthorized:        "token is not accepted",
			http.StatusInternalServerError: "500 Internal Server Error: the stand-in was told to refuse",
			http.StatusFound:               "302 Found",
		} {
			server.Set(kubetest.Faults{Status: status})
			err := a.Renew(t.Context(), term)
			if err == nil || errors.Is(err, lock.ErrLost) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "kubernetes: patch Lease doublenat/doublenat-default: ") {
				t.Errorf("%d: %v", status, err)
			}
			if _, err := a.Acquire(t.Context(), term); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d: %v", status, err)
			}
			if err := a.Release(t.Context()); err == nil {
				t.Errorf("%d: the lock was given back", status)
			}
		}
	})
}

// Who only stood by has nothing to give back, and stops whatever the API server does.
func TestReleaseOfAStandby(t *testing.T) {
	t.Parallel()
	server := new(kubetest.Server)
	a, b := store(server, "a"), store(server, "b")
	acquire(t, a, lock.Holder{Name: "a", Mine: true})
	acquire(t, b, lock.Holder{Name: "a"})
	server.Set(kubetest.Faults{Status: http.StatusInternalServerError})
	if err := b.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
