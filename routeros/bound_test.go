package routeros_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/routeros"
)

// TestBoundToAConnection sends a command over the connection for which it is, and over no other.
func TestBoundToAConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{}, worked, func(p *peer) {
			p.login()
			if cmd := p.recv(); cmd[0] != "/y" {
				t.Errorf("the second connection got %q", cmd)
			}
		})
		bound := routeros.Command{Path: "/x", Connection: 1}
		refuse := func(cmd routeros.Command) {
			t.Helper()
			_, err := r.Do(t.Context(), cmd)
			if !errors.Is(err, routeros.ErrOtherConnection) || routeros.Ambiguous(err) {
				t.Errorf("connection %d of %d: error %v", cmd.Connection, r.Connection(), err)
			}
		}
		if n := r.Connection(); n != 0 {
			t.Errorf("connection %d before the first", n)
		}
		refuse(bound)
		r.get(t, "/x")
		if n := r.Connection(); n != 1 {
			t.Fatalf("connection %d, want 1", n)
		}
		if _, err := r.Do(t.Context(), bound); err != nil {
			t.Error(err)
		}
		refuse(routeros.Command{Path: "/x", Connection: 2})
		time.Sleep(time.Minute)
		if wait := r.Renew(); wait != 0 {
			t.Fatalf("wait %v", wait)
		}
		refuse(bound)
		_, _ = r.Do(t.Context(), routeros.Command{Path: "/y"})
		refuse(bound)
	})
}
