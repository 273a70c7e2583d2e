package upnp_test

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/internal/gateway"
	"doublenat/internal/gateway/upnp"
	"doublenat/internal/nat"
)

// TestForgotten: what the box forgot is noticed within a minute and reported once.
func TestForgotten(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*rig){
		"one":        func(r *rig) { r.box.Forget(igd.TCP, 20000) },
		"all":        func(r *rig) { r.box.Restart(false) },
		"other port": func(r *rig) { r.box.Restart(false); r.place.Move(6000) },
		"to another": func(r *rig) {
			r.box.Put(igd.Mapping{Protocol: igd.TCP, External: 20000, Client: otherHost, Internal: 1})
		},
		"other inside": func(r *rig) {
			r.box.Put(igd.Mapping{Protocol: igd.TCP, External: 20000, Client: routerAddr, Internal: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, igdtest.IGD1(), nil)
				r.must(t, create())
				udp := create()
				udp.Protocol = nat.UDP
				r.must(t, udp)
				time.Sleep(2 * time.Minute)
				if n := r.told(); n != 0 {
					t.Fatalf("%d losses reported of none", n)
				}
				forget(r)
				time.Sleep(time.Minute + 10*time.Second)
				if n := r.told(); n != 1 || r.Stats().StateLosses != 1 {
					t.Fatalf("%d losses reported a minute later, want 1", n)
				}
				time.Sleep(5 * time.Minute)
				if n := r.told(); n > 2 {
					t.Errorf("%d losses reported of what nobody asked for again", n)
				}
				renewal := create()
				renewal.ExternalPort, renewal.Renewal = 20000, true
				r.must(t, renewal)
				if n := len(r.ports()); n == 0 {
					t.Error("no mapping after a renewal")
				}
				r.release(t, create())
				r.release(t, udp)
				if name != "other inside" && len(r.ports()) != 0 {
					t.Errorf("left: %v", r.ports())
				}
			})
		})
	}
}

// TestManyMappings: each has its turn to be looked at, in few calls a minute.
func TestManyMappings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		const mappings = 100
		for i := range uint16(mappings) {
			req := create()
			req.InnerPort += i
			r.must(t, req)
		}
		before := r.box.Stats().Actions["GetSpecificPortMappingEntry"]
		time.Sleep(time.Minute)
		if n := r.box.Stats().Actions["GetSpecificPortMappingEntry"] - before; n != 32 {
			t.Errorf("%d looks a minute, want 32", n)
		}
		r.box.Forget(igd.TCP, 20077)
		time.Sleep(4 * time.Minute)
		if n := r.told(); n != 1 {
			t.Errorf("%d losses reported after four minutes, want 1", n)
		}
	})
}

// TestDenies: a box that grants and denies it ever since does not keep everybody busy.
func TestDenies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{Empty: true}, nil)
		for range 10 * 60 {
			r.must(t, create())
			time.Sleep(time.Minute)
		}
		if n := r.told(); n < 5 || n > 20 {
			t.Errorf("%d losses reported in ten hours", n)
		}
	})
}

// TestBlind: a box that shows nothing is not asked to, and works.
func TestBlind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{Unknown: []string{"GetSpecificPortMappingEntry", "GetGenericPortMappingEntry"}}, nil)
		r.must(t, create())
		time.Sleep(time.Hour + time.Second)
		if n := r.box.Stats().Actions["GetSpecificPortMappingEntry"]; n != 5 {
			t.Errorf("asked %d times for a mapping in an hour, want five times", n)
		}
		if n := r.logged("does not show its mappings"); n != 1 {
			t.Errorf("it is logged %d times", n)
		}
		if n := r.box.Stats().Actions["GetGenericPortMappingEntry"]; n != 5 {
			t.Errorf("asked %d times for the list, want five times", n)
		}
		if n := r.told(); n != 0 {
			t.Errorf("%d losses reported", n)
		}
		r.must(t, create())
		r.release(t, create())
		if n := len(r.ports()); n != 0 {
			t.Errorf("%d mappings are left", n)
		}
	})
}

// TestBlindForAMoment: a box that refuses for a while to show its mappings is looked at again:
// what it forgets is noticed.
func TestBlindForAMoment(t *testing.T) {
	t.Parallel()
	for _, code := range []igd.Code{igd.CodeNotAuthorized, igd.CodeInvalidAction, igd.CodeNotImplemented} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, igdtest.IGD1(), nil)
			r.must(t, create())
			time.Sleep(10 * time.Second)
			r.box.Adjust(func(p *igdtest.Profile) { p.Answers = []igd.Code{code} })
			time.Sleep(3 * time.Minute)
			r.box.Adjust(func(p *igdtest.Profile) { p.Answers = nil })
			r.box.Restart(false)
			time.Sleep(2 * time.Minute)
			if n := r.told(); n != 1 {
				t.Errorf("%v: %d losses reported, want 1\n%s", code, n, r.log())
			}
		})
	}
}

// TestCut: a box that ends leases sooner than it was asked to is found out, once.
func TestCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{MaxLease: 10 * time.Minute}, nil)
		if lease := r.must(t, create()); lease.Lifetime != time.Hour {
			t.Errorf("lease %+v", lease)
		}
		time.Sleep(time.Minute)
		if n := r.told(); n != 1 {
			t.Errorf("%d losses reported after a minute, want 1", n)
		}
		if lease := r.must(t, create()); lease.Lifetime > 10*time.Minute || lease.Lifetime < 9*time.Minute {
			t.Errorf("lease %+v, want ten minutes", lease)
		}
		time.Sleep(9 * time.Minute)
		if n := r.told(); n != 1 {
			t.Errorf("%d losses reported", n)
		}
	})
}

// TestPermanent: what the box keeps for ever ends when the core thinks that it does, and
// not before.
func TestPermanent(t *testing.T) {
	t.Parallel()
	for _, profile := range []igdtest.Profile{igdtest.Permanent(), igdtest.Invalid402(), {Name: "ignores", IgnoresLease: true}} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, profile, nil)
				r.must(t, create())
				time.Sleep(30 * time.Minute)
				renewal := create()
				renewal.ExternalPort, renewal.Renewal = 20000, true
				r.must(t, renewal)
				time.Sleep(time.Hour - time.Second)
				if n := len(r.ports()); n != 1 {
					t.Errorf("%d mappings before the end", n)
				}
				time.Sleep(10 * time.Second)
				if n := len(r.ports()); n != 0 {
					t.Errorf("%d mappings after the end", n)
				}
				if n := r.told(); n != 0 {
					t.Errorf("%d losses reported", n)
				}
			})
		})
	}
}

// TestIgnoredLease: what a box keeps for ever that was asked for a short lease is removed, also
// one that ended while the box could not be asked, and before it was looked at.
func TestIgnoredLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{IgnoresLease: true}, nil)
		r.must(t, create())
		time.Sleep(2 * time.Minute)
		short := create()
		short.InnerPort, short.Lifetime = 20010, 20*time.Second
		r.must(t, short)
		r.place.Move(0)
		time.Sleep(2 * time.Minute)
		r.place.Move(5000)
		time.Sleep(2 * time.Minute)
		if diff := cmp.Diff([]string{"TCP 20000"}, r.ports()); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
	})
}

// TestListedForEver: a mapping of an earlier run that the box lists as permanent still is when it was
// renewed for a while, and is removed at its end, also before the box was looked at again.
func TestListedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := igdtest.New(igdtest.Config{Profile: igdtest.Profile{IgnoresLease: true}})
		box.Put(igd.Mapping{Protocol: igd.TCP, External: 7001, Client: routerAddr, Internal: 20000, Description: "doublenat-default"})
		r := newRigWith(t, box, func(_ *rig, c *upnp.Config) { c.Look = time.Hour })
		renewal := create()
		renewal.ExternalPort, renewal.Renewal, renewal.Lifetime = 7001, true, time.Minute
		r.must(t, renewal)
		time.Sleep(2 * time.Minute)
		if got := r.ports(); len(got) > 0 {
			t.Errorf("left: %v", got)
		}
	})
}

// TestOverBeforeItIsKnown: what was over before the box was found to keep everything for ever is
// removed when it is.
func TestOverBeforeItIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{IgnoresLease: true}, func(_ *rig, c *upnp.Config) { c.Look = 10 * time.Minute })
		r.Adopted()
		short := create()
		short.Lifetime = time.Minute
		r.must(t, short)
		time.Sleep(5 * time.Minute)
		long := create()
		long.InnerPort = 20010
		r.must(t, long)
		time.Sleep(30 * time.Minute)
		if diff := cmp.Diff([]string{"TCP 20010"}, r.ports()); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
	})
}

// TestPermanentAtTheEnd: what is over when the program ends is removed while it ends, and
// what is kept for the next run is not.
func TestPermanentAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Permanent(), nil)
		short := create()
		short.InnerPort, short.Lifetime = 20010, time.Minute
		r.must(t, short)
		r.must(t, create())
		r.box.Adjust(func(p *igdtest.Profile) { p.Answers = []igd.Code{igd.CodeActionFailed} })
		time.Sleep(2 * time.Minute)
		r.box.Adjust(func(p *igdtest.Profile) { p.Answers = nil })
		r.stop()
		if diff := cmp.Diff([]string{"TCP 20000"}, r.ports()); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
	})
}

// TestAfterACrash: the next run knows what the box has, goes on with what the core asks
// for, can release the rest by its inner port, and removes what nobody knows of.
func TestAfterACrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := igdtest.New(igdtest.Config{Profile: igdtest.Permanent()})
		left := func(external, internal uint16, client netip.Addr, description string) {
			box.Put(igd.Mapping{Protocol: igd.TCP, External: external, Client: client, Internal: internal, Description: description})
		}
		left(7001, 20001, routerAddr, "doublenat-default") // Its rule is adopted.
		left(7002, 20002, routerAddr, "doublenat-default") // Its rule is removed.
		left(7003, 20003, routerAddr, "doublenat-default") // It has no rule.
		left(7004, 20004, routerAddr, "doublenat-other")   // It is another doublenat's.
		left(7005, 20005, routerAddr, "")                  // Nobody knows whose it is.
		left(7006, 20006, otherHost, "doublenat-default")
		r := newRigWith(t, box, nil)
		adopted := nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20001, ExternalPort: 7001, Lifetime: time.Hour, Renewal: true}
		if lease := r.must(t, adopted); lease.ExternalPort != 7001 {
			t.Errorf("adopted %+v", lease)
		}
		// A client that wants the port of what stands since before does not get it.
		stranger := nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20100, ExternalPort: 7002, Lifetime: time.Hour}
		if lease := r.must(t, stranger); lease.ExternalPort == 7002 {
			t.Errorf("stolen: %+v", lease)
		}
		r.release(t, nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20002})
		r.release(t, nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20050})
		time.Sleep(10 * time.Minute)
		// The stranger got the next port that none of ours has; 7006 is the other host's.
		want := []string{"TCP 7001", "TCP 7003", "TCP 7004", "TCP 7005", "TCP 7007"}
		if diff := cmp.Diff(want, r.ports()); diff != "" {
			t.Errorf("before the core has adopted (-want +got):\n%s", diff)
		}
		r.Adopted()
		time.Sleep(time.Minute + 50*time.Second)
		if n := len(r.ports()); n != 5 {
			t.Errorf("%d mappings before anybody could ask for them, want 5", n)
		}
		time.Sleep(2 * time.Minute)
		if n := r.logged("removing mappings of an earlier run"); n != 1 {
			t.Errorf("it is logged %d times", n)
		}
		if diff := cmp.Diff(slices.Delete(want, 1, 2), r.ports()); diff != "" {
			t.Errorf("after it (-want +got):\n%s", diff)
		}
		if n := len(box.Mappings()); n != 5 {
			t.Errorf("%d mappings, want the other host's too", n)
		}
	})
}

// TestLeftoverOfABoxThatIsNotReady: a box that refuses for a while to list what it has is asked
// again, so that what is left of an earlier run is found.
func TestLeftoverOfABoxThatIsNotReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := igdtest.New(igdtest.Config{Profile: igdtest.Permanent()})
		box.Put(igd.Mapping{Protocol: igd.TCP, External: 7001, Client: routerAddr, Internal: 20001, Description: "doublenat-default"})
		box.Adjust(func(p *igdtest.Profile) { p.Unknown = []string{"GetGenericPortMappingEntry"} })
		r := newRigWith(t, box, nil)
		r.Adopted()
		time.Sleep(2 * time.Minute)
		box.Adjust(func(p *igdtest.Profile) { p.Unknown = nil })
		time.Sleep(5 * time.Minute)
		if left := r.ports(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// TestTimedLeftover: what ends by itself is nobody's then.
func TestTimedLeftover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := igdtest.New(igdtest.Config{Profile: igdtest.IGD1()})
		box.Put(igd.Mapping{Protocol: igd.TCP, External: 7001, Client: routerAddr, Internal: 20001, Lease: 10 * time.Minute, Description: "doublenat-default"})
		r := newRigWith(t, box, nil)
		r.Adopted()
		req := nat.LeaseRequest{Protocol: nat.TCP, InnerPort: 20100, ExternalPort: 7001, Lifetime: time.Minute}
		if lease := r.must(t, req); lease.ExternalPort != 7002 {
			t.Errorf("lease %+v of a port that is taken", lease)
		}
		r.release(t, req)
		time.Sleep(9 * time.Minute)
		if n := len(r.ports()); n != 1 {
			t.Errorf("%d mappings before the leftover's end", n)
		}
		time.Sleep(2 * time.Minute)
		if lease := r.must(t, req); lease.ExternalPort != 7001 {
			t.Errorf("lease %+v of a port that is free", lease)
		}
	})
}

// TestLostForEver: a mapping for ever of which nothing was heard ends when it would have.
func TestLostForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Permanent(), nil)
		r.must(t, create())
		r.box.Adjust(func(p *igdtest.Profile) { p.LoseAnswers = 1 })
		second := create()
		second.InnerPort, second.Lifetime = 20001, 10*time.Minute
		if _, err := r.ask(t, second, 8*time.Second); !failure(t, err).Ambiguous {
			t.Fatal(err)
		}
		r.box.Adjust(func(p *igdtest.Profile) { p.LoseAnswers = 0 })
		time.Sleep(9 * time.Minute)
		if n := len(r.ports()); n != 2 {
			t.Errorf("%d mappings before the end", n)
		}
		time.Sleep(2 * time.Minute)
		if got := r.ports(); len(got) != 1 || got[0] != "TCP 20000" {
			t.Errorf("after the end: %v", got)
		}
	})
}

// TestDescription: what the box's page shows is plain.
func TestDescription(t *testing.T) {
	t.Parallel()
	for instance, want := range map[string]string{
		"default": "doublenat-default", "": "doublenat-", "a0z-A9Z": "doublenat-a0z-A9Z", "b/:@[`{<&>é c\r\n": "doublenat-bc",
		"0123456789012345678901234567890123456789": "doublenat-01234567890123456789012345678901",
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, igdtest.IGD1(), func(_ *rig, c *upnp.Config) { c.Instance = instance })
			r.must(t, create())
			if got := r.box.Mappings()[0].Description; got != want {
				t.Errorf("%q is %q, want %q", instance, got, want)
			}
		})
	}
}

// TestCrashWithABoxThatListsNothing: a leftover is found where it would have been made.
func TestCrashWithABoxThatListsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := igdtest.New(igdtest.Config{Profile: igdtest.Profile{OnlyPermanent: true, Unknown: []string{"GetGenericPortMappingEntry"}}})
		box.Put(igd.Mapping{Protocol: igd.TCP, External: 20000, Client: routerAddr, Internal: 20000})
		box.Put(igd.Mapping{Protocol: igd.TCP, External: 20001, Client: otherHost, Internal: 20001})
		r := newRigWith(t, box, nil)
		for _, p := range []uint16{20000, 20001, 20002} {
			r.release(t, nat.LeaseRequest{Protocol: nat.TCP, InnerPort: p})
		}
		if all := box.Mappings(); len(all) != 1 || all[0].Client != otherHost {
			t.Errorf("left: %v", all)
		}
	})
}

// TestAddress: it is kept, and its changes, its end and its nonsense are reported.
func TestAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		is := func(want string) {
			t.Helper()
			got := "unknown"
			if a, ok := r.External(); ok {
				got = a.String()
			}
			if got != want {
				t.Errorf("address %s, want %s", got, want)
			}
		}
		is("5.6.7.8")
		select {
		case <-r.Settled():
		default:
			t.Error("an address, and it is not settled")
		}
		r.box.SetAddress(netip.MustParseAddr("5.6.7.9"))
		time.Sleep(time.Minute)
		is("5.6.7.9")
		r.box.SetAddress(netip.MustParseAddr("192.168.100.2"))
		time.Sleep(time.Minute)
		is("192.168.100.2")
		if n := r.logged("public address is private"); n != 1 {
			t.Errorf("a private address is logged %d times", n)
		}
		r.box.Adjust(func(p *igdtest.Profile) { p.Address = "224.0.0.1" })
		time.Sleep(2 * time.Minute)
		is("unknown")
		r.box.Adjust(func(p *igdtest.Profile) { p.Address = "somewhere" })
		time.Sleep(time.Minute)
		is("unknown")
		r.box.Adjust(func(p *igdtest.Profile) { p.Address = "5.6.7.8" })
		time.Sleep(time.Minute)
		is("5.6.7.8")
		r.box.Adjust(func(p *igdtest.Profile) { p.Silent = true })
		time.Sleep(9 * time.Minute)
		is("5.6.7.8")
		time.Sleep(3 * time.Minute)
		is("unknown")
		want := []string{
			"invalid IP → 5.6.7.8", "5.6.7.8 → 5.6.7.9", "5.6.7.9 → 192.168.100.2", "192.168.100.2 → invalid IP",
			"invalid IP → 5.6.7.8", "5.6.7.8 → invalid IP",
		}
		if diff := cmp.Diff(want, r.addresses()); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if s := r.Stats(); s.AddressChanges != uint64(len(want)) || s.LookError == nil || !s.Address.IsValid() {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestPatience: a box that needs longer than usual is given the time, and what it took is
// reported.
func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var took []time.Duration
		r := newRig(t, igdtest.IGD1(), func(r *rig, c *upnp.Config) {
			c.Observe = func(d time.Duration) { r.update(func() { took = append(took, d) }) }
		})
		r.update(func() { took = nil })
		r.box.Adjust(func(p *igdtest.Profile) { p.ServiceTime = 6 * time.Second })
		start := time.Now()
		if _, err := r.ask(t, create(), 20*time.Second); err != nil || time.Since(start) > 11*time.Second {
			t.Errorf("lease: %v after %v", err, time.Since(start))
		}
		second := create()
		second.InnerPort++
		start = time.Now()
		if _, err := r.ask(t, second, 20*time.Second); err != nil || time.Since(start) > 7*time.Second {
			t.Errorf("second lease: %v after %v", err, time.Since(start))
		}
		r.update(func() {
			// Both, and the look after the box was silent for a moment.
			if len(took) < 2 || slices.Max(took) != 6*time.Second || slices.Min(took) != 6*time.Second {
				t.Errorf("reported %v", took)
			}
		})
	})
}

// TestSettled: it is, once the box has said anything about its address, and not before.
func TestSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{Silent: true}, nil)
		time.Sleep(10 * time.Minute)
		select {
		case <-r.Settled():
			t.Error("settled by a silent box")
		default:
		}
		r.box.Adjust(func(p *igdtest.Profile) { p.Silent, p.Unknown = false, []string{"GetExternalIPAddress"} })
		start := time.Now()
		<-r.Settled()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("settled after %v", took)
		}
	})
}

// TestHealth: each change is logged once with what to do, and a recovery is reported.
func TestHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		check := func(want gateway.State, line string, back int) {
			t.Helper()
			time.Sleep(10 * time.Minute)
			s := r.Stats()
			if s.State != want || (s.Advice.String() == "") != (want == gateway.StateOK) || r.returns() != back {
				t.Errorf("state %v, remedy %q, back %d times; want %v, %d", s.State, s.Advice.String(), r.returns(), want, back)
			}
			if n := r.logged("msg=" + line); n != 1 {
				t.Errorf("%d lines %s, want 1:\n%s", n, line, r.log())
			}
		}
		check(gateway.StateOK, `"gateway answers"`, 0)
		r.place.Move(0)
		check(gateway.StateRefused, `"gateway refuses upnp"`, 0)
		r.place.Move(7000)
		time.Sleep(10 * time.Second)
		if r.returns() != 1 {
			t.Errorf("back %d times ten seconds after it was", r.returns())
		}
		r.box.Adjust(func(p *igdtest.Profile) { p.Silent = true })
		check(gateway.StateSilent, `"gateway is silent"`, 1)
		r.box.Adjust(func(p *igdtest.Profile) { p.Silent, p.Response = false, igdtest.Nonsense().Response })
		check(gateway.StateFailing, `"gateway's upnp cannot be used"`, 1)
		r.box.Adjust(func(p *igdtest.Profile) { p.Response = nil })
		time.Sleep(time.Minute)
		if d, permanent := r.Device(); r.returns() != 2 || d.Model != "igdtest" || permanent {
			t.Errorf("back %d times, device %+v", r.returns(), d)
		}
		if s := r.Stats(); s.Client.Sent == 0 || s.Client.Refused == 0 || s.Client.Timeouts == 0 || s.Client.Odd == 0 {
			t.Errorf("counts %+v", s.Client)
		}
	})
}

// TestOwnAddressLater: the router's address is known after a while.
func TestOwnAddressLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		known := time.Now().Add(3 * time.Second)
		r := newRig(t, igdtest.IGD1(), func(_ *rig, c *upnp.Config) {
			c.Self = func() netip.Addr {
				if time.Now().Before(known) {
					return netip.Addr{}
				}
				return routerAddr
			}
		})
		if lease := r.must(t, create()); lease.ExternalPort != 20000 || time.Since(known) > 2*time.Second {
			t.Errorf("lease %+v after %v", lease, time.Since(known))
		}
	})
}

func TestNewChecks(t *testing.T) {
	t.Parallel()
	self := func() netip.Addr { return routerAddr }
	for name, cfg := range map[string]upnp.Config{
		"no address of the router": {Device: igd.Config{Gateway: boxAddr}},
		"no box":                   {Self: self},
		"negative":                 {Self: self, Device: igd.Config{Gateway: boxAddr}, Look: -1},
	} {
		if _, err := upnp.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
