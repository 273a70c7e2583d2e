package upnp_test

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/internal/gateway/upnp"
	"doublenat/internal/nat"
)

// TestCalls: how many calls things cost, with each box that does what it is asked.
func TestCalls(t *testing.T) {
	t.Parallel()
	taken := igd.Mapping{Protocol: igd.TCP, External: 20000, Client: otherHost, Internal: 1}
	for name, tt := range map[string]struct {
		profile                         igdtest.Profile
		taken                           bool
		first, second, renewal, release int
	}{
		"IGD:1":              {igdtest.IGD1(), false, 1, 1, 1, 2},
		"IGD:2":              {igdtest.IGD2(), false, 1, 1, 1, 2},
		"PPP":                {igdtest.PPP(), false, 1, 1, 1, 2},
		"permanent":          {igdtest.Permanent(), false, 2, 1, 1, 2},
		"402":                {igdtest.Invalid402(), false, 2, 1, 1, 2},
		"conflict on IGD:1":  {igdtest.IGD1(), true, 2, 1, 1, 2},
		"conflict on IGD:2":  {igdtest.IGD2(), true, 2, 1, 1, 2},
		"conflict, for ever": {igdtest.Permanent(), true, 3, 1, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.profile, nil)
				if tt.taken {
					r.box.Put(taken)
				}
				before := r.box.Calls()
				cost := func(what string, want int) {
					t.Helper()
					if got := r.box.Calls() - before; got != want {
						t.Errorf("%s: %d calls, want %d", what, got, want)
					}
					before = r.box.Calls()
				}
				lease := r.must(t, create())
				cost("first", tt.first)
				second := create()
				second.InnerPort = 20010
				r.must(t, second)
				cost("second", tt.second)
				renewal := create()
				renewal.ExternalPort, renewal.Renewal = lease.ExternalPort, true
				if again := r.must(t, renewal); again != lease {
					t.Errorf("renewed as %+v, was %+v", again, lease)
				}
				cost("renewal", tt.renewal)
				r.release(t, create())
				cost("release", tt.release)
				if n := len(r.ports()); n != 1 {
					t.Errorf("%d mappings are left, want the second one", n)
				}
			})
		})
	}
}

// portsFrom returns so many ports in a row.
func portsFrom(first uint16, n int) (all []uint16) {
	for i := range n {
		all = append(all, first+uint16(i))
	}
	return all
}

func TestLease(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		profile igdtest.Profile
		taken   []uint16
		change  func(*nat.LeaseRequest)
		want    nat.Lease
		box     time.Duration // the lease of the box
	}{
		"as asked":           {change: func(*nat.LeaseRequest) {}, want: nat.Lease{ExternalPort: 20000, Lifetime: time.Hour}, box: time.Hour},
		"a port":             {change: func(r *nat.LeaseRequest) { r.ExternalPort = 6881 }, want: nat.Lease{ExternalPort: 6881, Lifetime: time.Hour}, box: time.Hour},
		"very long":          {change: func(r *nat.LeaseRequest) { r.Lifetime = 100 * time.Hour }, want: nat.Lease{ExternalPort: 20000, Lifetime: 2 * time.Hour}, box: 2 * time.Hour},
		"taken ports":        {taken: []uint16{20000, 20001}, change: func(*nat.LeaseRequest) {}, want: nat.Lease{ExternalPort: 20002, Lifetime: time.Hour}, box: time.Hour},
		"a range is taken":   {taken: portsFrom(20000, 50), change: func(*nat.LeaseRequest) {}, want: nat.Lease{ExternalPort: 20064, Lifetime: time.Hour}, box: time.Hour},
		"the last ones are":  {taken: portsFrom(65532, 4), change: func(r *nat.LeaseRequest) { r.ExternalPort = 65532 }, want: nat.Lease{ExternalPort: 1024, Lifetime: time.Hour}, box: time.Hour},
		"taken on IGD:2":     {profile: igdtest.IGD2(), taken: []uint16{20000, 20001}, change: func(*nat.LeaseRequest) {}, want: nat.Lease{ExternalPort: 20002, Lifetime: time.Hour}, box: time.Hour},
		"a false IGD:2":      {profile: igdtest.Profile{Version: 2, Unknown: []string{"AddAnyPortMapping"}}, taken: []uint16{20000}, change: func(*nat.LeaseRequest) {}, want: nat.Lease{ExternalPort: 20001, Lifetime: time.Hour}, box: time.Hour},
		"the last port":      {taken: []uint16{65535}, change: func(r *nat.LeaseRequest) { r.ExternalPort = 65535 }, want: nat.Lease{ExternalPort: 1024, Lifetime: time.Hour}, box: time.Hour},
		"other mechanism":    {profile: igdtest.Profile{Conflict: igd.CodeOtherMechanism}, taken: []uint16{20000}, change: func(*nat.LeaseRequest) {}, want: nat.Lease{ExternalPort: 20001, Lifetime: time.Hour}, box: time.Hour},
		"501 for a conflict": {profile: igdtest.Profile{Conflict: igd.CodeActionFailed}, taken: []uint16{20000}, change: func(*nat.LeaseRequest) {}, want: nat.Lease{ExternalPort: 20001, Lifetime: time.Hour}, box: time.Hour},
		"same ports":         {profile: igdtest.Profile{SamePorts: true}, change: func(r *nat.LeaseRequest) { r.ExternalPort = 6881 }, want: nat.Lease{ExternalPort: 20000, Lifetime: time.Hour}, box: time.Hour},
		"permanent":          {profile: igdtest.Permanent(), change: func(*nat.LeaseRequest) {}, want: nat.Lease{ExternalPort: 20000, Lifetime: time.Hour}},
		"slow":               {profile: igdtest.Slow(2 * time.Second), change: func(*nat.LeaseRequest) {}, want: nat.Lease{ExternalPort: 20000, Lifetime: time.Hour}, box: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.profile, nil)
				time.Sleep(time.Minute)
				for _, p := range tt.taken {
					r.box.Put(igd.Mapping{Protocol: igd.TCP, External: p, Client: otherHost, Internal: 1})
				}
				req := create()
				tt.change(&req)
				if got := r.must(t, req); got != tt.want {
					t.Errorf("lease %+v, want %+v", got, tt.want)
				}
				for _, m := range r.box.Mappings() {
					want := igd.Mapping{
						Protocol: igd.TCP, External: tt.want.ExternalPort, Client: routerAddr, Internal: 20000, Lease: tt.box, Description: "doublenat-default",
					}
					if diff := cmp.Diff(want, m, cmpopts.EquateComparable(netip.Addr{})); m.Client == routerAddr && diff != "" {
						t.Errorf("mapping of the box (-want +got):\n%s", diff)
					}
				}
				r.release(t, req)
				if left := r.ports(); len(left) > 0 || len(r.box.Mappings()) != len(tt.taken) {
					t.Errorf("left: %v of %v", left, r.box.Mappings())
				}
			})
		})
	}
}

// TestRefusals: each code has its reason, and leaves nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	always := func(code igd.Code) func(*igdtest.Profile) {
		return func(p *igdtest.Profile) { p.Answers = []igd.Code{code} }
	}
	for name, tt := range map[string]struct {
		change func(*igdtest.Profile)
		want   nat.Reason
		advice string
	}{
		"402":           {always(igd.CodeInvalidArgs), nat.ReasonDenied, "refuses such mappings"},
		"501":           {always(igd.CodeActionFailed), nat.ReasonUnreachable, "refuses such mappings"},
		"606":           {always(igd.CodeNotAuthorized), nat.ReasonDenied, "masquerade"},
		"715":           {always(igd.CodeWildcardSource), nat.ReasonDenied, "refuses"},
		"716":           {always(igd.CodeWildcardExternalPort), nat.ReasonDenied, "refuses"},
		"718":           {always(igd.CodeConflict), nat.ReasonResources, "other hosts have these ports"},
		"724":           {always(igd.CodeSamePortRequired), nat.ReasonDenied, "refuses"},
		"726":           {always(igd.CodeOnlyWildcardHost), nat.ReasonDenied, "refuses"},
		"727":           {always(igd.CodeOnlyWildcardPort), nat.ReasonDenied, "refuses"},
		"728":           {always(igd.CodeNoPortsLeft), nat.ReasonResources, "full"},
		"729":           {always(igd.CodeOtherMechanism), nat.ReasonResources, "other hosts have these ports"},
		"732":           {always(igd.CodeWildcardInternalPort), nat.ReasonDenied, "refuses"},
		"733":           {always(igd.CodeInconsistent), nat.ReasonDenied, "refuses"},
		"unknown":       {always(999), nat.ReasonDenied, "refuses"},
		"full":          {func(p *igdtest.Profile) { p.MaxMappings = 1 }, nat.ReasonResources, "full"},
		"secure by 718": {func(p *igdtest.Profile) { p.Secure = igd.CodeConflict }, nat.ReasonResources, "router's own address"},
		"secure by 606": {func(p *igdtest.Profile) { p.Secure = igd.CodeNotAuthorized }, nat.ReasonDenied, "router's own address"},
		"nonsense":      {func(p *igdtest.Profile) { p.Response = igdtest.Nonsense().Response }, nat.ReasonUnreachable, "Internet Gateway Device is there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, igdtest.Profile{}, func(_ *rig, c *upnp.Config) {
					if strings.HasPrefix(name, "secure") {
						c.Self = func() netip.Addr { return netip.MustParseAddr("172.30.254.2") }
					}
				})
				r.box.Put(igd.Mapping{Protocol: igd.UDP, External: 5000, Client: otherHost, Internal: 1})
				r.box.Adjust(tt.change)
				before := r.box.Calls()
				_, err := r.ask(t, create(), 8*time.Second)
				e := failure(t, err)
				if e.Reason != tt.want || e.Ambiguous != (name == "nonsense") {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if n := r.box.Calls() - before; n > 16 {
					t.Errorf("%d calls", n)
				}
				if got := r.Stats(); got.LeaseError == nil || !strings.Contains(advice(err), tt.advice) {
					t.Errorf("stats %+v, advice %q", got, advice(err))
				}
				r.box.Adjust(func(p *igdtest.Profile) { p.Answers, p.Response = nil, nil })
				r.release(t, create())
				if n := len(r.box.Mappings()); n != 1 {
					t.Errorf("%d mappings are left, want that of the other host", n)
				}
			})
		})
	}
}

// TestTries: how often a box that says no is asked.
func TestTries(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		version  int
		code     igd.Code
		port     uint16
		add, any int
	}{
		"conflicts":           {1, igd.CodeConflict, 0, 8, 0},
		"conflicts on IGD:2":  {2, igd.CodeConflict, 0, 7, 1},
		"failures":            {1, igd.CodeActionFailed, 0, 3, 0},
		"not authorized":      {1, igd.CodeNotAuthorized, 1024, 1, 0},
		"not for small ports": {1, igd.CodeNotAuthorized, 1023, 2, 0},
		"invalid":             {1, igd.CodeInvalidArgs, 0, 2, 0},
		"full":                {2, igd.CodeNoPortsLeft, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, igdtest.Profile{Version: tt.version}, nil)
				r.box.Adjust(func(p *igdtest.Profile) { p.Answers = []igd.Code{tt.code} })
				req := create()
				req.ExternalPort = tt.port
				_, err := r.ask(t, req, 8*time.Second)
				if e := failure(t, err); e.Ambiguous {
					t.Error(err)
				}
				if n := r.box.Stats().Actions; n["AddPortMapping"] != tt.add || n["AddAnyPortMapping"] != tt.any {
					t.Errorf("calls %v, want %d and %d", n, tt.add, tt.any)
				}
			})
		})
	}
}

// TestPatientRelease: it goes on while the box is away.
func TestPatientRelease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		r.must(t, create())
		r.place.Move(0)
		time.AfterFunc(1500*time.Millisecond, func() { r.place.Move(5000) })
		start := time.Now()
		r.release(t, create())
		if took := time.Since(start); len(r.ports()) != 0 || took < 1500*time.Millisecond || took > 5*time.Second {
			t.Errorf("left %v after %v", r.ports(), took)
		}
	})
}

// TestLostAnswers: a box whose answers are lost is asked again, and has one
// mapping in the end, whatever else is suggested.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*igdtest.Profile){
		"hung up":         func(p *igdtest.Profile) { p.LoseAnswers = 1 },
		"silent":          func(p *igdtest.Profile) { p.LoseAnswers, p.HangAnswers = 1, true },
		"a page":          func(p *igdtest.Profile) { p.Response = igdtest.Nonsense().Response },
		"cannot be right": func(p *igdtest.Profile) { p.Status = 500 },
	} {
		for _, profile := range []igdtest.Profile{igdtest.IGD1(), igdtest.IGD2(), igdtest.Permanent()} {
			for _, taken := range []bool{false, true} {
				t.Run(name+" "+profile.Name, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t, profile, nil)
						if taken {
							r.box.Put(igd.Mapping{Protocol: igd.TCP, External: 20000, Client: otherHost, Internal: 1})
						}
						r.box.Adjust(change)
						_, err := r.ask(t, create(), 8*time.Second)
						if e := failure(t, err); !e.Ambiguous || e.Reason != nat.ReasonUnreachable {
							t.Fatalf("error %v, want an ambiguous one", err)
						}
						ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
						defer cancel()
						if err := r.Release(ctx, nat.TCP, 20000); err == nil {
							t.Error("released by a box that does not answer")
						}
						r.box.Adjust(func(p *igdtest.Profile) { *p = profile })
						again := create()
						again.ExternalPort = 7000
						lease := r.must(t, again)
						if n := len(r.ports()); n != 1 || lease.ExternalPort != 7000 && !taken {
							t.Errorf("%d mappings: %v, lease %+v", n, r.ports(), lease)
						}
						r.release(t, create())
						if left := r.ports(); len(left) > 0 {
							t.Errorf("left: %v", left)
						}
					})
				})
			}
		}
	}
}

// TestAnswerLostWithinALease: the same call again is the same mapping, and the lease is
// granted in the same request.
func TestAnswerLostWithinALease(t *testing.T) {
	t.Parallel()
	for _, hang := range []bool{false, true} {
		for _, taken := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, igdtest.IGD2(), nil)
				if taken {
					r.box.Put(igd.Mapping{Protocol: igd.TCP, External: 20000, Client: otherHost, Internal: 1})
				}
				lose := 1
				if taken {
					lose = 2 // the answer to AddAnyPortMapping
				}
				r.box.Adjust(func(p *igdtest.Profile) { p.LoseAnswers, p.HangAnswers = lose, hang })
				time.AfterFunc(500*time.Millisecond, func() { r.box.Adjust(func(p *igdtest.Profile) { p.LoseAnswers = 0 }) })
				lease := r.must(t, create())
				if want := uint16(20000); !taken && lease.ExternalPort != want || taken && lease.ExternalPort != want+1 {
					t.Errorf("lease %+v", lease)
				}
				if got := r.ports(); len(got) != 1 {
					t.Errorf("mappings %v", got)
				}
			})
		}
	}
}

// TestLostAnswerOfABoxThatListsNothing: what it chose cannot be found, and the next lease
// and the release work all the same.
func TestLostAnswerOfABoxThatListsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		profile := igdtest.IGD2()
		profile.Unknown = []string{"GetGenericPortMappingEntry"}
		r := newRig(t, profile, nil)
		r.box.Put(igd.Mapping{Protocol: igd.TCP, External: 20000, Client: otherHost, Internal: 1})
		r.box.Adjust(func(p *igdtest.Profile) { p.LoseAnswers = 2 }) // that to AddAnyPortMapping
		if _, err := r.ask(t, create(), 500*time.Millisecond); !failure(t, err).Ambiguous {
			t.Fatal(err)
		}
		r.box.Adjust(func(p *igdtest.Profile) { p.LoseAnswers = 0 })
		if lease := r.must(t, create()); lease.ExternalPort != 20001 {
			t.Errorf("lease %+v", lease)
		}
		r.release(t, create())
		if left := r.ports(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// TestReleaseOfWhatWasNeverHeard: a create that was lost and is given up leaves nothing.
func TestReleaseOfWhatWasNeverHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Permanent(), nil)
		r.box.Adjust(func(p *igdtest.Profile) { p.OnlyPermanent, p.IgnoresLease, p.LoseAnswers = false, true, 1 })
		if _, err := r.ask(t, create(), 8*time.Second); !failure(t, err).Ambiguous {
			t.Fatal(err)
		}
		if n := len(r.ports()); n != 1 {
			t.Fatalf("%d mappings", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := r.Release(ctx, nat.TCP, 20000); !failure(t, err).Ambiguous {
			t.Errorf("release with lost answers: %v", err)
		}
		r.box.Adjust(func(p *igdtest.Profile) { p.LoseAnswers = 0 })
		r.release(t, create())
		if n := len(r.ports()); n != 0 {
			t.Errorf("%d mappings are left", n)
		}
	})
}

// TestNoTheft: the box would let one of our mappings overwrite another, and a doubtful
// port may be another host's.
func TestNoTheft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		r.must(t, create())
		other := create()
		other.InnerPort, other.ExternalPort = 20010, 20000
		if lease := r.must(t, other); lease.ExternalPort != 20001 {
			t.Errorf("lease %+v, want the next port", lease)
		}
		// Somebody else's, while ours is not known to stand.
		r.box.Adjust(func(p *igdtest.Profile) { p.Silent = true })
		third := create()
		third.InnerPort = 20020
		_, err := r.ask(t, third, 8*time.Second)
		if !failure(t, err).Ambiguous {
			t.Fatal(err)
		}
		r.box.Put(igd.Mapping{Protocol: igd.TCP, External: 20020, Client: otherHost, Internal: 1})
		r.box.Adjust(func(p *igdtest.Profile) { p.Silent, p.Secure = false, 0 })
		r.release(t, third)
		if n := len(r.box.Mappings()); n != 3 {
			t.Errorf("%d mappings, want two of ours and the other host's", n)
		}
	})
}

// TestRouterMoves: the router has another address, and its mappings lead to it then.
func TestRouterMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var self atomic.Pointer[netip.Addr]
		self.Store(&routerAddr)
		r := newRig(t, igdtest.Profile{}, func(_ *rig, c *upnp.Config) { c.Self = func() netip.Addr { return *self.Load() } })
		r.must(t, create())
		moved := netip.MustParseAddr("192.168.1.7")
		self.Store(&moved)
		renewal := create()
		renewal.ExternalPort, renewal.Renewal = 20000, true
		if lease := r.must(t, renewal); lease.ExternalPort != 20000 {
			t.Errorf("lease %+v", lease)
		}
		if all := r.box.Mappings(); len(all) != 1 || all[0].Client != moved {
			t.Errorf("mappings %v", all)
		}
	})
}

// TestNoRenewal: a box that takes a renewal for a conflict, by whatever code, does not make
// the mapping move.
func TestNoRenewal(t *testing.T) {
	t.Parallel()
	for _, profile := range []igdtest.Profile{{NoRenewal: true}, {NoRenewal: true, Version: 2}, {NoRenewal: true, OnlyPermanent: true}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, profile, nil)
			r.must(t, create())
			renewal := create()
			renewal.ExternalPort, renewal.Renewal = 20000, true
			for range 3 {
				time.Sleep(30 * time.Minute)
				if lease := r.must(t, renewal); lease.ExternalPort != 20000 {
					t.Errorf("renewed as %+v", lease)
				}
			}
			if got := r.ports(); len(got) != 1 {
				t.Errorf("mappings %v", got)
			}
		})
	}
}

// TestAdoptedMappingThatTheBoxRefuses: a box that does not list what an earlier run left, and says
// for a while that its port is taken, has one mapping at most when it has come to its senses.
func TestAdoptedMappingThatTheBoxRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := igdtest.New(igdtest.Config{Profile: igdtest.Permanent()})
		box.Put(igd.Mapping{Protocol: igd.TCP, External: 7001, Client: routerAddr, Internal: 20000, Description: "doublenat-default"})
		box.Adjust(func(p *igdtest.Profile) {
			p.Answers = []igd.Code{igd.CodeActionFailed, 0, igd.CodeConflict}
		})
		r := newRigWith(t, box, nil)
		renewal := create()
		renewal.ExternalPort, renewal.Renewal = 7001, true
		lease := r.must(t, renewal)
		box.Adjust(func(p *igdtest.Profile) { p.Answers = nil })
		t.Logf("moved to %d, the box has %v", lease.ExternalPort, r.ports())
		renewal.ExternalPort = lease.ExternalPort
		if again := r.must(t, renewal); again != lease || len(r.ports()) != 1 {
			t.Errorf("%+v, renewed as %+v, and the box has %v", lease, again, r.ports())
		}
	})
}

// TestFailedRenewal: a failure of any kind leaves what stands alone.
func TestFailedRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{NoRenewal: true, Conflict: igd.CodeActionFailed}, nil)
		r.must(t, create())
		renewal := create()
		renewal.ExternalPort, renewal.Renewal = 20000, true
		if _, err := r.ask(t, renewal, 8*time.Second); failure(t, err).Reason != nat.ReasonUnreachable {
			t.Error(err)
		}
		if got := r.ports(); len(got) != 1 {
			t.Errorf("mappings %v", got)
		}
	})
}

// TestLeaseBeforeTheBoxIsFound: it waits, and says why it was in vain.
func TestLeaseBeforeTheBoxIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{Silent: true}, nil)
		_, err := r.ask(t, create(), 8*time.Second)
		if e := failure(t, err); e.Ambiguous || e.Reason != nat.ReasonUnreachable || !strings.Contains(advice(err), "switch UPnP (IGD) on") {
			t.Errorf("error %v, advice %q", err, advice(err))
		}
		r.box.Adjust(func(p *igdtest.Profile) { p.Silent = false })
		if lease := r.must(t, create()); lease.ExternalPort != 20000 {
			t.Errorf("lease %+v", lease)
		}
	})
}
