package igdtest_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/natpmp/natpmptest"
)

var (
	boxAddr    = netip.MustParseAddr("192.168.1.1")
	clientAddr = netip.MustParseAddr("192.168.1.2")
)

// serve serves a box in memory until the test ends and returns a client of it.
func serve(t *testing.T, box *igdtest.Gateway) (*igd.Client, *igdtest.Place) {
	t.Helper()
	network := natpmptest.NewNetwork(natpmptest.NetworkConfig{})
	place := &igdtest.Place{Gateway: box, Address: boxAddr, Client: clientAddr, Packets: network.Listen}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := place.Run(ctx); err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	client, err := igd.NewClient(igd.Config{Gateway: boxAddr, Dial: place.Dial, ListenSearch: place.ListenSearch})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		cancel()
		serving.Wait()
		_ = network.Close()
	})
	synctest.Wait()
	return client, place
}

// ask asks for a mapping and says what came of it in a word.
func ask(t *testing.T, c *igd.Client, external uint16, client string, lease time.Duration) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := c.Add(ctx, igd.Mapping{
		Protocol: igd.TCP, External: external, Client: netip.MustParseAddr(client), Internal: 20000, Lease: lease, Description: "a & b",
	})
	failed, broken := errors.AsType[*igd.CallError](err)
	switch {
	case broken && failed.Ambiguous:
		return "lost"
	case err != nil:
		return igd.CodeOf(err).String()
	default:
		return "ok"
	}
}

// TestProfiles: each does what its name says, to the first mapping and to what follows.
func TestProfiles(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"igd1":      "ok/ok/ConflictInMappingEntry/ok",
		"igd2":      "ok/ok/ActionNotAuthorized/ok",
		"ppp":       "ok/ok/ok/ok",
		"both":      "ok/ok/ok/ok",
		"permanent": "OnlyPermanentLeasesSupported/OnlyPermanentLeasesSupported/OnlyPermanentLeasesSupported/ok",
		"402":       "InvalidArgs/InvalidArgs/InvalidArgs/ok",
		"forgets":   "ok/ok/ok/ok",
		"full":      "ok/ok/ok/ok",
		"slow":      "ok/ok/ok/ok",
		"lossy":     "ok/ok/lost/ok",
		"flips":     "ok/ActionFailed/ok/ConflictInMappingEntry",
		"nonsense":  "lost/lost/lost/lost",
	}
	for _, profile := range igdtest.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, _ := serve(t, igdtest.New(igdtest.Config{Profile: profile}))
				if _, err := c.Discover(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := strings.Join([]string{
					ask(t, c, 20000, "192.168.1.2", time.Hour), ask(t, c, 20000, "192.168.1.2", time.Hour),
					ask(t, c, 20001, "192.168.1.3", time.Hour), ask(t, c, 20002, "192.168.1.2", 0),
				}, "/")
				if got != want[profile.Name] {
					t.Errorf("it said %s, want %s", got, want[profile.Name])
				}
			})
		})
	}
}

// TestTime: leases end, and a box that forgets does so whatever was asked.
func TestTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		changes := 0
		box := igdtest.New(igdtest.Config{Profile: igdtest.Profile{MaxLease: 30 * time.Minute}, OnChange: func() { changes++ }})
		c, _ := serve(t, box)
		ask(t, c, 20000, "192.168.1.2", time.Hour)
		ask(t, c, 20001, "192.168.1.2", 0)
		time.Sleep(10 * time.Minute)
		if all := box.Mappings(); len(all) != 2 || all[0].Lease != 20*time.Minute || all[1].Lease != 0 {
			t.Errorf("after ten minutes: %v", all)
		}
		time.Sleep(20 * time.Minute)
		if all := box.Mappings(); len(all) != 1 || all[0].External != 20001 {
			t.Errorf("after thirty minutes: %v", all)
		}
		box.Adjust(func(p *igdtest.Profile) { p.ForgetAfter = 40 * time.Minute })
		time.Sleep(10 * time.Minute)
		if all := box.Mappings(); len(all) != 0 {
			t.Errorf("after forty minutes: %v", all)
		}
		if changes != 2 {
			t.Errorf("%d changes reported, want 2", changes)
		}
	})
}

// TestPlace: a box that moves cuts its connections and refuses at the old port.
func TestPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := igdtest.New(igdtest.Config{})
		c, place := serve(t, box)
		ask(t, c, 20000, "192.168.1.2", 0)
		for port, ok := range map[uint16]bool{5000: false, 6000: true} {
			place.Move(6000)
			synctest.Wait()
			conn, err := place.Dial(t.Context(), netip.AddrPortFrom(boxAddr, port))
			if ok != (err == nil) || !ok && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("port %d: %v", port, err)
			}
			if err == nil {
				if conn.RemoteAddr().String() != "192.168.1.1:6000" || conn.LocalAddr().String() != "192.168.1.2:0" {
					t.Errorf("from %v to %v", conn.LocalAddr(), conn.RemoteAddr())
				}
				conn.Close()
			}
		}
		place.Move(0)
		synctest.Wait()
		if _, err := place.Dial(t.Context(), netip.AddrPortFrom(boxAddr, 6000)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nowhere: %v", err)
		}
	})
}

// TestOnAction: what was asked for is told with its answer, before that goes out.
func TestOnAction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []igdtest.Action
		box := igdtest.New(igdtest.Config{Profile: igdtest.IGD1(), OnAction: func(a igdtest.Action) { told = append(told, a) }})
		client, _ := serve(t, box)
		began := time.Now()
		if _, err := client.ExternalAddress(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, client, 30000, "192.168.1.3", time.Hour); got != "ConflictInMappingEntry" {
			t.Fatal(got)
		}
		want := []igdtest.Action{
			{Name: "GetExternalIPAddress", Args: map[string]string{}, Out: map[string]string{"NewExternalIPAddress": "5.6.7.8"}},
			{Name: "AddPortMapping", Code: igd.CodeConflict, Out: map[string]string{}, Args: map[string]string{
				"NewRemoteHost": "", "NewExternalPort": "30000", "NewProtocol": "TCP", "NewInternalPort": "20000", "NewInternalClient": "192.168.1.3",
				"NewEnabled": "1", "NewPortMappingDescription": "a & b", "NewLeaseDuration": "3600",
			}},
		}
		for i := range told {
			if told[i].At.Before(began) || told[i].Answered.Before(told[i].At) {
				t.Errorf("%s came at %v and was answered at %v", told[i].Name, told[i].At, told[i].Answered)
			}
			told[i].At, told[i].Answered = time.Time{}, time.Time{}
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error(diff)
		}
	})
}
