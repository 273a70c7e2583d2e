package router

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// fakeClient answers commands from a table of rows by path, and leaves queries
// and properties aside. A path that is not in the table traps.
type fakeClient map[string][]routeros.Row

// Do implements client.
func (f fakeClient) Do(_ context.Context, cmd routeros.Command) (*routeros.Reply, error) {
	rows, ok := f[cmd.Path]
	if !ok {
		return nil, &routeros.TrapError{Path: cmd.Path, Traps: []routeros.Trap{{Message: "no such command"}}}
	}
	return &routeros.Reply{Rows: rows}, nil
}

// Each implements client. It lends rows out as the real one does.
func (f fakeClient) Each(ctx context.Context, cmd routeros.Command, each func(routeros.Row) error) (*routeros.Reply, error) {
	reply, err := f.Do(ctx, cmd)
	if err != nil {
		return nil, err
	}
	for _, row := range reply.Rows {
		lent := row.Clone()
		if err := each(lent); err != nil {
			return nil, err
		}
		clear(lent)
	}
	return &routeros.Reply{}, nil
}

// routerWith returns a Router whose commands f answers.
func routerWith(t *testing.T, f fakeClient) *Router {
	t.Helper()
	r, err := New(Config{
		API:      routeros.Config{Address: "192.0.2.1:8728", User: "u"},
		Instance: "default",
		Gateway:  netip.MustParseAddr("10.2.0.1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.client = f
	return r
}

// TestFindTrustsNobody has a router that takes no notice of the query.
func TestFindTrustsNobody(t *testing.T) {
	t.Parallel()
	row := func(id, comment string) routeros.Row {
		return append(attrs(".id="+id+" in-interface=wg1"), routeros.Attr{Name: "comment", Value: comment})
	}
	o := owned{
		instance: "default",
		key:      nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: 1},
		inner:    2, external: 3, lifetime: time.Second,
	}
	other := o
	other.external = 4
	r := routerWith(t, fakeClient{natPath + "/print": {row("*1", "web"), row("*2", other.String()), row("*3", o.String()), row("*4", "")}})
	found, err := r.find(t.Context(), testSite(), "", o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"*3"}, removable(found, "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCheckDisagrees has a router that decides by more than its main table:
// /ip/route/check names an interface to which no route of that table leads.
func TestCheckDisagrees(t *testing.T) {
	t.Parallel()
	r := routerWith(t, nil)
	all := interfaces{names: []string{"ether2", "bridge", "wg1"}, tunnels: []string{"wg1"}}
	read := &tables{routes: []routeros.Row{attrs("dst-address=10.2.0.0/24 immediate-gw=bridge active=true")}, exit: "ether2"}
	if d, err := r.findTunnel(all, read, r.cfg.Gateway); err == nil {
		t.Errorf("got %+v, want a refusal", d)
	}
}

// TestPublishStale publishes what was read from a connection that is gone.
func TestPublishStale(t *testing.T) {
	t.Parallel()
	r := routerWith(t, nil)
	r.onState(routeros.State{Connected: true})
	r.onState(routeros.State{Err: routeros.ErrTimeout})
	if r.publish(t.Context(), testSite(), 0) || r.site != nil {
		t.Error("it was published")
	}
	r.fail(&InterfaceError{Reason: "none"}, 0)
	if r.problem != nil {
		t.Error("a finding about the former connection is held against the next one")
	}
	if !r.publish(t.Context(), testSite(), 1) {
		t.Error("what was read from the present connection was not published")
	}
}

// TestFormerIsBounded moves the tunnel to and fro.
func TestFormerIsBounded(t *testing.T) {
	t.Parallel()
	r := routerWith(t, nil)
	names := []string{"a", "b", "a", "c", "d", "e", "f", "g", "h", "i", "j", "k"}
	for _, name := range names {
		s := testSite()
		s.iface = name
		if !r.publish(t.Context(), s, 0) {
			t.Fatal("not published")
		}
	}
	if diff := cmp.Diff([]string{"j", "i", "h", "g", "f", "e", "d", "c"}, r.site.former); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
