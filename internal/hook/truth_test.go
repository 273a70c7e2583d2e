package hook_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/hook"
	"doublenat/internal/nat"
)

var other = netip.MustParseAddr("9.9.9.9")

// addresses returns event, old and new address of each body.
func addresses(t *testing.T, bodies []string) []string {
	t.Helper()
	var all []string
	for _, body := range bodies {
		ev := decode(t, body)
		all = append(all, fmt.Sprintf("%s %v<-%v", ev.Kind, ev.ExternalAddress, ev.OldExternalAddress))
	}
	return all
}

// An event has the address of the moment in which it is sent, not of that in which
// something happened.
func TestAddressOfNow(t *testing.T) {
	t.Parallel()
	posting(t, nil, func(r *rig) {
		r.to.set(func(to *receiver) { to.down = true })
		r.Mapping(happened(nat.EventCreated, alice, 1, 0))
		time.Sleep(10 * time.Second)
		r.Address(public, other)
		r.to.set(func(to *receiver) { to.down = false })
		time.Sleep(time.Minute)
		got := make(map[string]bool)
		for _, told := range addresses(t, r.to.got()) {
			got[told] = true
		}
		want := map[string]bool{"created 9.9.9.9<-invalid IP": true, "address_changed 9.9.9.9<-5.6.7.8": true}
		if diff := cmp.Diff(want, got); diff != "" {
			r.t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// A newer address is never followed by an older one, in whatever order the notifier
// hears of them; one that is known already is no news.
func TestAddressesInOrder(t *testing.T) {
	t.Parallel()
	posting(t, nil, func(r *rig) {
		r.Address(netip.Addr{}, public)
		synctest.Wait()
		r.now(other) // the gateway told of other, and then public's call comes late
		r.Notifier.Address(public, other)
		synctest.Wait()
		r.Notifier.Address(netip.Addr{}, public)
		time.Sleep(time.Second)
		want := []string{"address_changed 5.6.7.8<-invalid IP", "address_changed 9.9.9.9<-5.6.7.8"}
		if diff := cmp.Diff(want, addresses(t, r.to.got())); diff != "" {
			r.t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// An address whose delivery failed may have arrived all the same: when the old one
// comes back, that is news.
func TestAddressWhoseReplyGotLost(t *testing.T) {
	t.Parallel()
	posting(t, nil, func(r *rig) {
		r.Address(netip.Addr{}, public)
		synctest.Wait()
		r.to.set(func(to *receiver) { to.hangs = 1 }) // it reads the event and never replies
		r.Address(public, other)
		synctest.Wait()
		r.Address(other, public)
		time.Sleep(time.Minute)
		r.Notifier.Address(other, public) // the receiver knows that by now
		time.Sleep(time.Minute)
		want := []string{
			"address_changed 5.6.7.8<-invalid IP", "address_changed 9.9.9.9<-5.6.7.8", "address_changed 5.6.7.8<-9.9.9.9",
		}
		if diff := cmp.Diff(want, addresses(t, r.to.got())); diff != "" {
			r.t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// Whatever a receiver did not take, for however long, its last word is the present
// state once it takes events again.
func TestLastWordIsTrue(t *testing.T) {
	t.Parallel()
	carol := nat.Key{Client: netip.MustParseAddr("192.168.88.12"), Protocol: nat.TCP, InternalPort: 1}
	for name, harm := range map[string]func(*receiver){
		"down":              func(to *receiver) { to.down = true },
		"failing":           func(to *receiver) { to.status = 500 },
		"another's answers": func(to *receiver) { to.status = 404 },
		"too slow":          func(to *receiver) { to.delay = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			posting(t, func(cfg *hook.Config) { cfg.Queue = 2 }, func(r *rig) {
				r.Mapping(happened(nat.EventCreated, alice, 1, 0))
				r.Mapping(happened(nat.EventCreated, bob, 2, 0))
				synctest.Wait()
				r.to.got()
				r.to.set(harm)
				r.Mapping(happened(nat.EventDeleted, alice, 1, 0))
				r.Mapping(happened(nat.EventPortChanged, bob, 3, 2))
				r.Address(public, other)
				for port := range uint16(20) { // more than may wait
					key := carol
					key.InternalPort += port
					r.Mapping(happened(nat.EventCreated, key, 100+port, 0))
				}
				time.Sleep(5 * time.Hour)
				r.to.got()
				r.to.set(func(to *receiver) { to.down, to.status, to.delay = false, 0, 0 })
				key := carol
				key.InternalPort = 1000
				r.Mapping(happened(nat.EventCreated, key, 200, 0))
				time.Sleep(10 * time.Minute)
				last := make(map[string]string)
				for _, body := range r.to.got() {
					ev := decode(t, body)
					last[fmt.Sprint(ev.Client, ev.InternalPort)] = fmt.Sprint(ev.Kind, ev.ExternalPort, ev.OldExternalPort, ev.ExternalAddress)
				}
				if len(last) != 24 || last["192.168.88.10 6881"] != "deleted1 0 9.9.9.9" || last["192.168.88.11 53"] != "port_changed3 2 9.9.9.9" ||
					!strings.HasPrefix(last["invalid IP0"]+last["invalid IP 0"], "address_changed") {
					r.t.Errorf("%d last words: %v", len(last), last)
				}
				if got := r.Stats()["hook_url"]; got.Waiting != 0 || got.Lost != 0 {
					r.t.Errorf("stats %+v", got)
				}
			})
		})
	}
}

// A receiver that never wants an event is not asked for ever.
func TestRejectedForGood(t *testing.T) {
	t.Parallel()
	posting(t, nil, func(r *rig) {
		for round := range uint16(10) {
			r.to.set(func(to *receiver) { to.status = 400 })
			if round == 0 {
				r.Mapping(happened(nat.EventCreated, alice, 1, 0))
				time.Sleep(time.Second)
			}
			r.to.set(func(to *receiver) { to.status = 0 })
			r.to.refuse("192.168.88.10")
			r.Mapping(happened(nat.EventPortChanged, bob, 2+round, 1))
			time.Sleep(time.Minute)
		}
		tries := 0
		for _, body := range r.to.got() {
			if decode(t, body).Client == alice.Client {
				tries++
			}
		}
		if got := r.Stats()["hook_url"]; tries != 3 || got.Lost != 1 {
			r.t.Errorf("tried %d times, want 3; stats %+v", tries, got)
		}
	})
}

// Each event has its own hour, however long an older one of its mapping was tried.
func TestHourOfItsOwn(t *testing.T) {
	t.Parallel()
	posting(t, nil, func(r *rig) {
		r.to.set(func(to *receiver) { to.down = true })
		r.Mapping(happened(nat.EventCreated, alice, 1, 0))
		time.Sleep(59 * time.Minute)
		r.Mapping(happened(nat.EventPortChanged, alice, 2, 1))
		time.Sleep(55 * time.Minute)
		r.to.set(func(to *receiver) { to.down = false })
		time.Sleep(2 * time.Minute)
		expect(r, "port_changed 2<-0") // the receiver knows of none before
	})
}

// distinct returns how many of the bodies are not sent twice.
func distinct(bodies []string) int {
	slices.Sort(bodies)
	return len(slices.Compact(bodies))
}

// At the end each mapping's event is tried, and what is not delivered is one line.
func TestEndTriesEachEvent(t *testing.T) {
	t.Parallel()
	stopping := func(r *rig) {
		for port := range uint16(5) {
			key := alice
			key.InternalPort = port + 1
			r.Mapping(happened(nat.EventShutdown, key, 7, 0))
		}
		r.stop()
	}
	posting(t, nil, func(r *rig) {
		r.to.refuse(`"internal_port":1,`)
		stopping(r)
		if n := len(r.to.got()); n != 5 {
			r.t.Errorf("%d of 5 events were tried", n)
		}
		if got := r.Stats()["hook_url"]; got.Delivered != 4 || got.Lost != 1 {
			r.t.Errorf("stats %+v", got)
		}
	})
	posting(t, nil, func(r *rig) { // one hangs that is on its way when the stop comes
		r.to.set(func(to *receiver) { to.hangs = 1 })
		r.Mapping(happened(nat.EventShutdown, alice, 7, 0))
		synctest.Wait()
		for port := range uint16(4) {
			key := alice
			key.InternalPort = port + 1
			r.Mapping(happened(nat.EventShutdown, key, 7, 0))
		}
		began := time.Now()
		r.stop()
		if n := distinct(r.to.got()); n != 5 || time.Since(began) > 2*time.Second {
			r.t.Errorf("%d of 5 events were tried, in %v", n, time.Since(began))
		}
	})
	posting(t, nil, func(r *rig) {
		r.to.set(func(to *receiver) { to.hangs = 1 })
		began := time.Now()
		stopping(r)
		if n := distinct(r.to.got()); n != 5 || time.Since(began) > 2*time.Second {
			r.t.Errorf("%d of 5 events were tried, in %v", n, time.Since(began))
		}
	})
	posting(t, nil, func(r *rig) {
		r.to.set(func(to *receiver) { to.down = true })
		r.Mapping(happened(nat.EventCreated, bob, 7, 0))
		synctest.Wait()
		stopping(r)
		if log := r.log.String(); strings.Count(log, "before the stop") != 1 || !strings.Contains(log, "events=6") || strings.Count(log, "\n") != 2 {
			r.t.Errorf("log: %s", log)
		}
	})
}

// program runs a notifier with a shell script until the test ends it.
func program(t *testing.T, script string, external func() (netip.Addr, bool), args ...string) (n *hook.Notifier, stop func(), log *safeLog) {
	t.Helper()
	log = &safeLog{}
	n, err := hook.New(hook.Config{
		Exec: append([]string{"/bin/sh", "-c", script, "sh"}, args...), ExecTimeout: 20 * time.Second, External: external, Logger: log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	return n, func() {
		cancel()
		running.Wait()
	}, log
}

// lines returns the lines of a file, as soon as there are so many.
func lines(t *testing.T, path string, want int) []string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(path) // it may not be there yet
		if n := strings.Count(string(text), "\n"); n >= want {
			return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		} else if time.Now().After(end) {
			t.Fatalf("%d lines, want %d: %s", n, want, text)
		}
	}
}

// A program that fails while doublenat stops ran once, and one that the stop cuts off
// is called so.
func TestExecAtTheEnd(t *testing.T) {
	t.Parallel()
	ran := filepath.Join(t.TempDir(), "ran")
	n, stop, log := program(t, `echo run >>"$1"; sleep 0.5; exit 3`, nil, ran)
	n.Mapping(happened(nat.EventCreated, alice, 1, 0))
	lines(t, ran, 1)
	stop()
	if got := lines(t, ran, 1); len(got) != 1 {
		t.Errorf("ran %d times", len(got))
	}
	if text := log.String(); !strings.Contains(text, "exit status 3") {
		t.Errorf("log: %s", text)
	}

	ran = filepath.Join(t.TempDir(), "ran")
	n, stop, log = program(t, `echo run >>"$1"; sleep 60`, nil, ran)
	n.Mapping(happened(nat.EventCreated, alice, 1, 0))
	lines(t, ran, 1)
	stop()
	if text := log.String(); !strings.Contains(text, "cut off because doublenat stops") || strings.Contains(text, "killed after") {
		t.Errorf("log: %s", text)
	}
}

// TestDocumentedScript runs the script in docs/events.md: it announces the port, and
// hears of another port and of another address.
func TestDocumentedScript(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(text), "```sh\n")
	script, _, found := strings.Cut(script, "```")
	if !found || !strings.Contains(script, "/var/lib/announce-port/") || !strings.Contains(script, "/usr/local/bin/announce-port") {
		t.Fatalf("the document has another script now: %s", script)
	}
	dir := t.TempDir()
	announced := filepath.Join(dir, "announced")
	if err := os.WriteFile(filepath.Join(dir, "announce-port"), []byte("#!/bin/sh\necho \"$@\" >>"+announced+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	script = strings.ReplaceAll(script, "/var/lib/announce-port/", dir+"/")
	script = strings.ReplaceAll(script, "/usr/local/bin/announce-port", dir+"/announce-port")

	var mu sync.Mutex
	var now netip.Addr
	n, stop, log := program(t, script, func() (netip.Addr, bool) {
		mu.Lock()
		defer mu.Unlock()
		return now, now.IsValid()
	})
	key := nat.Key{Client: alice.Client, Protocol: nat.TCP, InternalPort: 51413}
	settled := func() {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if s := n.Stats()["hook_exec"]; s.Waiting == 0 && s.Delivered+s.Failed > 0 {
				return
			} else if time.Now().After(end) {
				t.Fatalf("%+v", s)
			}
		}
	}
	tell := func(ev nat.Event) {
		t.Helper()
		before := n.Stats()["hook_exec"]
		n.Mapping(ev)
		for end := time.Now().Add(20 * time.Second); n.Stats()["hook_exec"].Delivered == before.Delivered; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not delivered: %+v\n%s", n.Stats(), log.String())
			}
		}
	}
	address := func(a netip.Addr) {
		t.Helper()
		mu.Lock()
		before := now
		now = a
		mu.Unlock()
		stats := n.Stats()["hook_exec"]
		n.Address(before, a)
		for end := time.Now().Add(20 * time.Second); n.Stats()["hook_exec"].Delivered == stats.Delivered; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not delivered: %+v\n%s", n.Stats(), log.String())
			}
		}
	}
	tell(happened(nat.EventCreated, key, 40000, 0)) // the address is not known yet
	address(public)
	tell(happened(nat.EventCreated, bob, 1, 0)) // somebody else's
	address(other)
	tell(happened(nat.EventPortChanged, key, 40001, 40000))
	tell(happened(nat.EventDeleted, key, 40001, 0))
	address(public) // the port is gone
	settled()
	stop()
	want := []string{"5.6.7.8 40000", "9.9.9.9 40000", "9.9.9.9 40001"}
	if diff := cmp.Diff(want, lines(t, announced, 3)); diff != "" {
		t.Errorf("announced (-want +got):\n%s\n%s", diff, log.String())
	}
}

// A program that does not exist is told of at the start.
func TestMissingProgramIsToldOf(t *testing.T) {
	t.Parallel()
	log := &safeLog{}
	n, err := hook.New(hook.Config{Exec: []string{"/no/such/program"}, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "program not found") || !strings.Contains(text, "use ON_CHANGE_URL") {
		t.Errorf("log: %s", text)
	}
}
