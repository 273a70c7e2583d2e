package datagram

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// member is a socket that notes which groups it is in.
type member struct {
	mu    sync.Mutex // guards what follows
	did   []string
	fails map[int]bool // interfaces on which nothing works
}

func (m *member) JoinGroup(ifi *net.Interface, group net.Addr) error {
	return m.do("join", ifi, group)
}

func (m *member) LeaveGroup(ifi *net.Interface, group net.Addr) error {
	return m.do("leave", ifi, group)
}

func (m *member) do(what string, ifi *net.Interface, group net.Addr) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, _ := group.(*net.UDPAddr) // nothing else is joined
	m.did = append(m.did, fmt.Sprintf("%s %v on %d", what, at.IP, ifi.Index))
	if m.fails[ifi.Index] {
		return errors.New("no such device")
	}
	return nil
}

// took returns what was done since the last look.
func (m *member) took() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.did
	m.did = nil
	return out
}

// TestMembership: a group is joined on what is there, on what comes later, and again on what
// failed. What is gone is left, and joined again when it is back. The log hears of a failure
// once.
func TestMembership(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var (
			log     bytes.Buffer
			mu      sync.Mutex
			present = []int{2, 3}
			socket  = member{fails: map[int]bool{3: true}}
		)
		m, err := NewMembership(MembershipConfig{
			Socket: &socket, Group: netip.MustParseAddr("239.255.255.250"), Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Interfaces: func() []int {
				mu.Lock()
				defer mu.Unlock()
				return slices.Clone(present)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		expect := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, socket.took()); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
		}
		change := func(fails bool, now ...int) {
			mu.Lock()
			defer mu.Unlock()
			socket.mu.Lock()
			defer socket.mu.Unlock()
			present, socket.fails[3] = now, fails
		}
		const join, leave = "join 239.255.255.250 on ", "leave 239.255.255.250 on "
		expect(join+"2", join+"3")
		time.Sleep(membershipLook / 2) // Changes come between two looks.
		change(true, 2, 3, 4)
		time.Sleep(membershipLook)
		expect(join+"3", join+"4")
		change(false, 3, 4)
		time.Sleep(membershipLook)
		expect(join+"3", leave+"2")
		change(false, 2, 3, 4)
		time.Sleep(membershipLook)
		expect(join + "2")
		time.Sleep(membershipLook)
		expect([]string(nil)...)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "multicast group not joined"); n != 1 {
			t.Errorf("%d warnings: %s", n, log.String())
		}
	})
}

// TestMembershipConfigs: what is missing is said at once.
func TestMembershipConfigs(t *testing.T) {
	t.Parallel()
	whole := MembershipConfig{Socket: &member{}, Group: netip.MustParseAddr("239.255.255.250"), Interfaces: func() []int { return nil }}
	for name, change := range map[string]func(*MembershipConfig){
		"socket": func(c *MembershipConfig) { c.Socket = nil }, "interfaces": func(c *MembershipConfig) { c.Interfaces = nil },
		"group": func(c *MembershipConfig) { c.Group = netip.MustParseAddr("192.168.88.1") }, "any group": func(c *MembershipConfig) { c.Group = netip.Addr{} },
	} {
		cfg := whole
		change(&cfg)
		if _, err := NewMembership(cfg); err == nil {
			t.Errorf("without its %s it is made", name)
		}
	}
}
