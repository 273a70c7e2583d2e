package natpmp_test

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
)

// linkRig is the links of a host, which come and go.
type linkRig struct {
	mu sync.Mutex // guards what follows
	// up has the links that are there, err what they answer.
	up    []string
	err   map[string]error
	seen  map[string][]time.Duration
	looks int
	start time.Time
}

// oneLink is a link of the rig.
type oneLink struct {
	rig  *linkRig
	name string
}

func (l oneLink) Announce([]byte) error {
	l.rig.mu.Lock()
	defer l.rig.mu.Unlock()
	if l.rig.err[l.name] == nil {
		l.rig.seen[l.name] = append(l.rig.seen[l.name], time.Since(l.rig.start))
	}
	return l.rig.err[l.name]
}

func (r *linkRig) links() (all []natpmp.AnnouncementLink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks++
	for _, name := range r.up {
		all = append(all, natpmp.AnnouncementLink{ID: name, AnnouncementSender: oneLink{r, name}})
	}
	return all
}

// set lets these links be there from now on, the failing ones among them with an error.
func (r *linkRig) set(failing string, up ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up, r.err = up, map[string]error{failing: errNoRoute}
}

// after waits and returns when copies went out on each link since the time before, and
// how often somebody looked for links.
func (r *linkRig) after(d time.Duration) (seen map[string][]time.Duration, looks int) {
	time.Sleep(d)
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, looks = r.seen, r.looks
	r.seen, r.looks, r.start = make(map[string][]time.Duration), 0, time.Now()
	return seen, looks
}

// onLinks runs a test with an announcer in virtual time.
func onLinks(t *testing.T, test func(r *linkRig, a *natpmp.Announcer), up ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &linkRig{up: up, seen: make(map[string][]time.Duration), start: time.Now()}
		test(r, startAnnouncer(t, natpmp.AnnouncerConfig{
			Links: r.links, Epoch: natpmp.NewEpoch(), Address: func() (netip.Addr, bool) { return address5678(), true },
		}))
	})
}

// fullSeries is when the copies of a whole series go out.
func fullSeries(first time.Duration) (all []time.Duration) {
	gap := time.Duration(0)
	for range 10 {
		first += gap
		all = append(all, first)
		gap = max(2*gap, 250*time.Millisecond)
	}
	return all
}

// TestAnnouncerWaitsForLinks: a series for which there is nowhere to send is owed.
func TestAnnouncerWaitsForLinks(t *testing.T) {
	t.Parallel()
	onLinks(t, func(r *linkRig, a *natpmp.Announcer) {
		seen, looks := r.after(10 * time.Minute)
		if len(seen) != 0 || looks > 40 {
			t.Errorf("without a link: sent %v, looked %d times", seen, looks)
		}
		r.set("", "lan")
		seen, _ = r.after(time.Hour)
		if len(seen["lan"]) != 10 || seen["lan"][0] > time.Minute {
			t.Errorf("on a link that came late: %v", seen)
		}
		if seen, looks = r.after(10 * time.Hour); len(seen) != 0 || looks != 0 {
			t.Errorf("at rest: sent %v, looked %d times", seen, looks)
		}
		a.Announce()
		if seen, _ = r.after(time.Hour); cmp.Diff(fullSeries(0), seen["lan"]) != "" {
			t.Errorf("the next series: %v", seen)
		}
	})
}

// TestAnnouncerServesLateLinks: a link that comes up while a series goes on gets a full
// one, also at its very end, and the others no more copies for that.
func TestAnnouncerServesLateLinks(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{100 * time.Millisecond, 3 * time.Second, 40 * time.Second, 120 * time.Second} {
		onLinks(t, func(r *linkRig, _ *natpmp.Announcer) {
			first, _ := r.after(late)
			r.set("", "lan", "wifi")
			seen, _ := r.after(time.Hour)
			if all := slices.Concat(first["lan"], seen["lan"]); len(all) != 10 {
				t.Errorf("wifi after %v: %d copies on the other link", late, len(all))
			}
			if got := seen["wifi"]; len(got) != 10 || got[0] > 5*time.Second || cmp.Diff(fullSeries(got[0]), got) != "" {
				t.Errorf("wifi after %v: copies at %v", late, got)
			}
		}, "lan")
	}
}

// TestAnnouncerServesLinksThatFlap: what was away or failed in the midst of a series
// gets a full one when it is back, and one that never rests is not flooded.
func TestAnnouncerServesLinksThatFlap(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(r *linkRig){
		"gone":  func(r *linkRig) { r.set("", "lan") },
		"fails": func(r *linkRig) { r.set("wifi", "lan", "wifi") },
	} {
		for _, at := range []time.Duration{500 * time.Millisecond, 20 * time.Second, 100 * time.Second} {
			onLinks(t, func(r *linkRig, _ *natpmp.Announcer) {
				first, _ := r.after(at)
				down(r)
				second, _ := r.after(40 * time.Second)
				r.set("", "lan", "wifi")
				seen, _ := r.after(time.Hour)
				if all := slices.Concat(first["lan"], second["lan"], seen["lan"]); len(all) != 10 {
					t.Errorf("%s after %v: %d copies on the other link", name, at, len(all))
				}
				got := seen["wifi"]
				if len(got) != 10 || got[0] > time.Minute || cmp.Diff(fullSeries(got[0]), got) != "" {
					t.Errorf("%s after %v: copies at %v", name, at, got)
				}
			}, "lan", "wifi")
		}
	}
	onLinks(t, func(r *linkRig, _ *natpmp.Announcer) {
		copies := 0
		for i := range 3600 {
			if i%2 == 0 {
				r.set("", "wifi")
			} else {
				r.set("wifi", "wifi")
			}
			seen, _ := r.after(time.Second)
			copies += len(seen["wifi"])
		}
		if copies > 3600 {
			t.Errorf("%d copies in an hour on a link that flaps", copies)
		}
	}, "wifi")
}

// TestAnnouncerForgetsLinks: interfaces that come with a new index each time are not
// remembered for ever.
func TestAnnouncerForgetsLinks(t *testing.T) {
	t.Parallel()
	onLinks(t, func(r *linkRig, a *natpmp.Announcer) {
		for i := range 500 {
			r.set("", strings.Repeat("x", i+1))
			if seen, _ := r.after(5 * time.Second); len(seen) == 0 && i > 1 {
				t.Fatalf("nothing on link %d", i)
			}
		}
		r.set("", "last")
		_, _ = r.after(time.Hour)
		a.Announce()
		if seen, _ := r.after(time.Hour); len(seen["last"]) != 10 || len(seen) != 1 {
			t.Errorf("afterwards: %v", seen)
		}
	})
}
