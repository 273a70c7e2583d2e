package router_test

import (
	"testing"
	"testing/synctest"
	"time"

	"doublenat/routeros/routerostest"
)

// While the tunnel is down nothing comes in through it: its rules stay, and may be read and
// made, so that nobody has to wait for them when it is up again.
func TestTunnelDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		r.add(t, wanted("192.168.88.10", 6881))
		if err := r.box.Set("/interface", "wg1", routerostest.Row{"running": "false"}); err != nil {
			t.Fatal(err)
		}
		for minute := range uint16(5) {
			time.Sleep(time.Minute)
			if n := len(r.rules(t)); n != 1+int(minute) {
				t.Errorf("%d rules after %d minutes", n, minute+1)
			}
			r.add(t, wanted("192.168.88.11", 7000+minute))
		}
		if s := r.Status(); !s.Ready || s.InInterface != "wg1" {
			t.Errorf("status %+v", s)
		}
	})
}

// Once rules went from an interface that does not lead to the gateway none is made there.
func TestNoRuleWithoutAPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		r.add(t, wanted("192.168.88.10", 6881))
		removeRoute(t, r.box, routerostest.GatewayAddress+"/32")
		time.Sleep(41 * time.Second)
		mark := r.box.Mark()
		if made, err := r.AddRule(t.Context(), wanted("192.168.88.10", 6881)); err == nil {
			t.Errorf("made %+v", made)
		}
		if n := r.box.StatsSince(mark).Writes; n != 0 || r.Status().Ready {
			t.Errorf("%d writes, status %+v", n, r.Status())
		}
	})
}

// A tunnel interface that becomes the line to the Internet is none any more, although the
// gateway is reached through it: its rules go.
func TestTunnelBecomesTheLineToTheInternet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, err := routerostest.New(routerostest.Config{})
		if err != nil {
			t.Fatal(err)
		}
		removeRoute(t, box, routerostest.GatewayAddress+"/32")
		put(t, box, "/ip/route", routerostest.Row{"dst-address": routerostest.GatewayAddress + "/32", "gateway": "bridge"})
		r := rigOn(t, box).settled(t)
		made := r.add(t, wanted("192.168.88.10", 6881))
		time.Sleep(2 * time.Minute)
		if _, found := box.Find(natPath, ".id", made.ID); !found {
			t.Fatal("the rule went without a reason")
		}
		removeRoute(t, box, "0.0.0.0/0")
		put(t, box, "/ip/route", routerostest.Row{"dst-address": "0.0.0.0/0", "gateway": "bridge"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if row, found := box.Find(natPath, ".id", made.ID); found {
			t.Errorf("open to the whole Internet: %v\n%s", row, r.log)
		}
	})
}

// A rule that was changed is known as what it was changed to, also when somebody writes over
// its comment before the next look.
func TestChangedRuleIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routerostest.Config{}).settled(t)
		made := r.add(t, wanted("192.168.88.10", 6881))
		want := made
		want.ExternalPort = 45000
		if err := r.UpdateRule(t.Context(), made, want); err != nil {
			t.Fatal(err)
		}
		if err := r.box.Set(natPath, made.ID, routerostest.Row{"comment": "what is this?"}); err != nil {
			t.Fatal(err)
		}
		if got := r.rules(t); len(got) != 1 || got[0].ExternalPort != 45000 || !got[0].Edited {
			t.Errorf("got %+v, want the changed rule with another comment", got)
		}
	})
}

// A right that was granted counts for the very next request, if our login is older than a
// minute; and else when it is a minute old, although nobody asks.
func TestRightGrantedIsUsedAtOnce(t *testing.T) {
	t.Parallel()
	t.Run("an old login", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := asUser(t, "read,api,test").settled(t)
			time.Sleep(2 * time.Minute)
			r.group(t, "read,write,api,test")
			r.add(t, wanted("192.168.88.10", 6881))
		})
	})
	t.Run("a young login", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := asUser(t, "read,api,test").settled(t)
			if _, err := r.AddRule(t.Context(), wanted("192.168.88.10", 6881)); err == nil {
				t.Fatal("a rule was made without the right")
			}
			r.group(t, "read,write,api,test")
			time.Sleep(2 * time.Minute)
			if n := r.box.Stats().Connections; n != 2 {
				t.Errorf("%d logins, want a second one", n)
			}
			if denied := r.Status().Denied; len(denied) != 0 {
				t.Errorf("denied still: %v", denied)
			}
		})
	})
}
