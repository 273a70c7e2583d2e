package igd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
)

// wire is a link that remembers what was sent on it.
type wire struct {
	igd.Link

	mu   sync.Mutex // guards what follows
	sent []notified
	fail error
}

// notified is a notice, with when it was sent.
type notified struct {
	at     time.Duration // since the wire was made
	packet string
}

// header returns a header of the notice.
func (n notified) header(name string) string {
	_, rest, _ := strings.Cut(n.packet, "\r\n"+name+": ")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// newWire returns a link at which the router has an address.
func newWire(id any, location string) *wire {
	began := time.Now()
	w := &wire{}
	w.Link = igd.Link{ID: id, Location: netip.MustParseAddrPort(location), Send: func(packet []byte) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, notified{time.Since(began), string(packet)})
		return w.fail
	}}
	return w
}

// count returns how many notices of a kind were sent.
func (w *wire) count(nts string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, s := range w.sent {
		if s.header("NTS") == nts {
			n++
		}
	}
	return n
}

// everyNotice is how many each round has: ten for each of two devices.
const everyNotice = 20

// notifying runs Notify until stop is called.
func notifying(t *testing.T, s *igd.Server, links func() []igd.Link) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Notify(ctx, links) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Notify: %v", err)
		}
	}
}

// TestNotices: what a link is told: that what there was before is gone, twice that all is
// there, and at the end twice that it is gone (UDA 1.1 §1.2).
func TestNotices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, serverConfig(newPorts(), serverAddr))
		w := newWire(1, "192.168.88.1:5000")
		stop := notifying(t, s, func() []igd.Link { return []igd.Link{w.Link} })
		time.Sleep(time.Second)
		stop()
		var rounds []string
		for _, n := range w.sent {
			if r := fmt.Sprint(n.at, " ", n.header("NTS")); len(rounds) == 0 || rounds[len(rounds)-1] != r {
				rounds = append(rounds, r)
			}
		}
		want := []string{"0s ssdp:byebye", "0s ssdp:alive", "500ms ssdp:alive", "1s ssdp:byebye"}
		if diff := cmp.Diff(want, rounds); diff != "" || len(w.sent) != 5*everyNotice {
			t.Errorf("%d notices, rounds (-want +got):\n%s", len(w.sent), diff)
		}
		seen := make(map[string]string)
		for _, n := range w.sent[everyNotice : 2*everyNotice] {
			nt, usn := n.header("NT"), n.header("USN")
			if uuid, _, _ := strings.Cut(usn, "::"); nt != uuid && usn != uuid+"::"+nt {
				t.Errorf("NT %s, USN %s", nt, usn)
			}
			if seen[usn] != "" {
				t.Errorf("%s twice", usn)
			}
			seen[usn] = n.packet
			// A search for the same finds the same, at the same place.
			if got := answerTo(t, s, search(nt), multicast()); nt != "upnp:rootdevice" && !strings.Contains(nt, ":service:") && !strings.Contains(got, "\r\nUSN: "+usn+"\r\nLOCATION: "+n.header("LOCATION")+"\r\n") {
				t.Errorf("%q, but a search finds %q", n.packet, got)
			}
			if !strings.HasPrefix(n.packet, "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n") || !strings.HasSuffix(n.packet, "\r\n\r\n") ||
				n.header("CACHE-CONTROL") != "max-age=1800" || n.header("SERVER") == "" || n.header("BOOTID.UPNP.ORG") != "7" || n.header("CONFIGID.UPNP.ORG") == "" ||
				!strings.HasPrefix(n.header("LOCATION"), "http://192.168.88.1:5000/igd") {
				t.Errorf("%q", n.packet)
			}
		}
		last := w.sent[len(w.sent)-1]
		if last.header("BOOTID.UPNP.ORG") != "7" || last.header("LOCATION") != "" || seen[last.header("USN")] == "" {
			t.Errorf("the end: %q", last.packet)
		}
	})
}

// TestNoticesAgain: nobody's knowledge runs out, rounds do not come in step, and a change is
// told at once.
func TestNoticesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		boot := uint32(7)
		cfg := serverConfig(newPorts(), serverAddr)
		cfg.Boot = func() uint32 { return boot }
		s := newServer(t, cfg)
		w := newWire(1, "192.168.88.1:5000")
		stop := notifying(t, s, func() []igd.Link { return []igd.Link{w.Link} })
		time.Sleep(24 * time.Hour)
		gaps := make(map[time.Duration]bool)
		last := time.Duration(0)
		w.mu.Lock()
		for _, n := range w.sent {
			if gap := n.at - last; gap > time.Second {
				if gaps[gap] = true; gap < 10*time.Minute || gap >= 15*time.Minute+time.Second {
					t.Errorf("told again after %v", gap)
				}
			}
			last = n.at
		}
		w.mu.Unlock()
		if len(gaps) < 90 {
			t.Errorf("%d different times in a day", len(gaps))
		}
		before := w.count("ssdp:alive")
		boot = 8
		s.Renotify()
		synctest.Wait()
		if got := w.count("ssdp:alive"); got != before+everyNotice || w.sent[len(w.sent)-1].header("BOOTID.UPNP.ORG") != "8" {
			t.Errorf("%d notices after the change", got-before)
		}
		stop()
	})
}

// TestNoticesOnLinks: links that come are told when they come, those that go are not missed,
// and one that fails does not harm the others, nor fill the log.
func TestNoticesOnLinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := serverConfig(newPorts(), serverAddr)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s := newServer(t, cfg)
		first, second, third := newWire(1, "192.168.88.1:5000"), newWire(2, "192.168.89.1:5000"), newWire(3, "192.168.90.1:5000")
		first.fail = errors.New("cable is out")
		links := []igd.Link{first.Link, second.Link}
		var mu sync.Mutex
		stop := notifying(t, s, func() []igd.Link {
			mu.Lock()
			defer mu.Unlock()
			return links
		})
		change := func(all ...igd.Link) {
			mu.Lock()
			defer mu.Unlock()
			links = all
		}
		time.Sleep(5 * time.Second)
		change(first.Link, third.Link)
		time.Sleep(10 * time.Second)
		got := []int{first.count("ssdp:alive"), second.count("ssdp:alive"), third.count("ssdp:alive")}
		if diff := cmp.Diff([]int{2 * everyNotice, 2 * everyNotice, 2 * everyNotice}, got); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
		change(third.Link)
		time.Sleep(10 * time.Second)
		change(first.Link, third.Link)
		time.Sleep(10 * time.Second)
		if got := first.count("ssdp:alive"); got != 4*everyNotice || third.count("ssdp:alive") != 2*everyNotice {
			t.Errorf("%d notices for the link that came back", got)
		}
		if n := strings.Count(log.String(), "gateway not announced on a link"); n != 2 || !strings.Contains(log.String(), "cable is out") {
			t.Errorf("%d lines: %s", n, log.String())
		}
		stop()
		if second.count("ssdp:byebye") != everyNotice || third.count("ssdp:byebye") != 3*everyNotice {
			t.Errorf("the end: %d and %d", second.count("ssdp:byebye"), third.count("ssdp:byebye"))
		}
	})
}
