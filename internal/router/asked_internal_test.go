package router

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// asked is a fakeClient that notes what it is asked.
type asked struct {
	fakeClient

	commands *[]routeros.Command
}

// Each implements client.
func (a asked) Each(ctx context.Context, cmd routeros.Command, each func(routeros.Row) error) (*routeros.Reply, error) {
	*a.commands = append(*a.commands, cmd)
	return a.fakeClient.Each(ctx, cmd, each)
}

// withLog returns a Router whose commands f answers, and its log.
func withLog(t *testing.T, f fakeClient) (*Router, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	r := routerWith(t, f)
	r.log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return r, log
}

// The router does the searching: it may have the routes of the whole Internet, of which the
// 33 prefixes that contain the gateway are asked for.
func TestRoutesAreSearchedFor(t *testing.T) {
	t.Parallel()
	var commands []routeros.Command
	r := routerWith(t, nil)
	r.client = asked{fakeClient{"/ip/route/print": {attrs("dst-address=10.2.0.0/24 immediate-gw=wg1")}}, &commands}
	rows, told, err := r.routesToGateway(t.Context(), r.cfg.Gateway)
	if err != nil || len(rows) != 1 || !told || len(commands) != 1 {
		t.Fatalf("rows %v, told %v, error %v after %d commands", rows, told, err, len(commands))
	}
	queries := commands[0].Queries
	for _, prefix := range []string{"10.2.0.1/32", "10.2.0.0/24", "0.0.0.0/1", "0.0.0.0/0"} {
		if !slices.Contains(queries, "?dst-address="+prefix) {
			t.Errorf("%s is not asked for", prefix)
		}
	}
	if len(queries) != 33+32 {
		t.Errorf("%d words of a query, want 33 prefixes and 32 times one or the other", len(queries))
	}
}

// A router that sends no route, or one of which it does not say where it leads, keeps
// something back: nothing that it has not is believed to be missing.
func TestRoutesThatAreKeptBack(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rows []string
		told bool
	}{
		"none":                    {nil, false},
		"one of another way":      {[]string{"dst-address=10.3.0.0/24 gateway=wg2"}, true},
		"by gateway":              {[]string{"dst-address=10.2.0.0/24 gateway=wg1"}, true},
		"by its immediate one":    {[]string{"dst-address=10.2.0.0/24 immediate-gw=wg1"}, true},
		"by its status":           {[]string{"dst-address=10.2.0.0/24 gateway-status=wg1_reachable"}, true},
		"one that leads nowhere":  {[]string{"dst-address=10.2.0.0/24", "dst-address=0.0.0.0/0 gateway=ether1"}, false},
		"another without a way":   {[]string{"dst-address=10.3.0.0/24", "dst-address=10.2.0.0/24 gateway=wg1"}, true},
		"one without a prefix":    {[]string{"gateway=wg1", "dst-address=10.2.0.0/24 gateway=wg1"}, false},
		"one of the new protocol": {[]string{"dst-address=fd00::/8 gateway=wg1"}, true},
	} {
		var rows []routeros.Row
		for _, row := range tt.rows {
			rows = append(rows, attrs(row))
		}
		r := routerWith(t, fakeClient{"/ip/route/print": rows})
		if _, told, err := r.routes(t.Context(), r.cfg.Gateway, nil); told != tt.told || err != nil {
			t.Errorf("%s: told %v, error %v", name, told, err)
		}
	}
}

// Where the router itself tells the interface to the gateway, it does; one that knows no such
// command, or has no answer, leaves it to the tables.
func TestCheckRoute(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		f    fakeClient
		want string
	}{
		"told":       {fakeClient{"/ip/route/check": {attrs("status=ok interface=wg1")}}, "wg1"},
		"no answer":  {fakeClient{"/ip/route/check": nil}, ""},
		"no command": {fakeClient{}, ""},
	} {
		r := routerWith(t, tt.f)
		if got, err := r.checkRoute(t.Context(), r.cfg.Gateway); got != tt.want || err != nil {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
	}
}

// An operator who named another interface than the one to the gateway hears which that is,
// unless it is a line to the Internet: nobody is told to open ports there.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	all := parseInterfaces([]routeros.Row{attrs("name=ether1 type=ether"), attrs("name=bridge type=bridge"), attrs("name=wg1 type=wg")}, nil)
	const wan = "dst-address=0.0.0.0/0 immediate-gw=1.1.1.1%ether1 active=true"
	for name, tt := range map[string]struct {
		routes []string
		want   string
	}{
		"through the tunnel":         {[]string{"dst-address=10.2.0.1/32 immediate-gw=wg1 active=true", wan}, "wg1"},
		"through the named one":      {[]string{"dst-address=10.2.0.1/32 immediate-gw=bridge active=true", wan}, ""},
		"in a network of the WAN":    {[]string{"dst-address=10.0.0.0/8 immediate-gw=ether1 active=true", wan}, ""},
		"by the default route":       {[]string{wan}, ""},
		"by that of a tunnel":        {[]string{"dst-address=0.0.0.0/0 immediate-gw=wg1 active=true"}, ""},
		"through what is not there":  {[]string{"dst-address=10.2.0.1/32 immediate-gw=wg7 active=true", wan}, ""},
		"nobody knows through which": {nil, ""},
	} {
		r := routerWith(t, nil)
		r.cfg.InInterface = "bridge"
		read := new(tables)
		for _, row := range tt.routes {
			read.routes = append(read.routes, attrs(row))
		}
		d, err := r.findTunnel(all, read, r.cfg.Gateway)
		if diff := cmp.Diff(discovery{name: "bridge", found: settingName, elsewhere: tt.want}, d, cmp.AllowUnexported(discovery{})); diff != "" || err != nil {
			t.Errorf("%s: error %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// Of the users the router is asked for ours alone.
func TestRightsAreAskedForOneUser(t *testing.T) {
	t.Parallel()
	var commands []routeros.Command
	r := routerWith(t, nil)
	r.client = asked{fakeClient{"/user/print": {attrs("name=u group=g")}, "/user/group/print": {attrs("name=g policy=read,write,api,test")}}, &commands}
	found, ok := r.lookAtRights(t.Context())
	if diff := cmp.Diff(rights{group: "g"}, found, cmp.AllowUnexported(rights{})); diff != "" || !ok {
		t.Errorf("told %v (-want +got):\n%s", ok, diff)
	}
	var queries []string
	for _, cmd := range commands {
		queries = append(queries, cmd.Path+" "+strings.Join(cmd.Queries, " "))
	}
	if diff := cmp.Diff([]string{"/user/print ?name=u", "/user/group/print ?name=g"}, queries); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// What mends a right that is missing depends on who else is in the group. Where the router
// does not tell that, the user's group is named.
func TestGrantAsFarAsIsTold(t *testing.T) {
	t.Parallel()
	users := []routeros.Row{attrs("name=u group=g"), attrs("name=other group=g")}
	groups := []routeros.Row{attrs("name=g policy=read,api")}
	lacks := rights{group: "g", missing: []string{"write", "test"}}
	own, named := remedy.OwnGroup("u", "g", "doublenat", "write and test"), remedy.Permission("g", "write and test")
	for name, tt := range map[string]struct {
		f    fakeClient
		want remedy.Advice
	}{
		"all":       {fakeClient{"/user/print": users, "/user/group/print": groups}, own},
		"no users":  {fakeClient{"/user/group/print": groups}, named},
		"no groups": {fakeClient{"/user/print": users}, named},
	} {
		if got := routerWith(t, tt.f).grant(t.Context(), lacks); got.String() != tt.want.String() {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// ownRow is a rule of ours on an interface.
func ownRow(iface string) routeros.Row {
	row := attrs(".id=*1 chain=dstnat action=dst-nat protocol=tcp dst-port=20001 to-addresses=192.168.88.10 to-ports=1 in-interface=" + iface)
	return append(row, routeros.Attr{Name: "comment", Value: "doublenat:default tcp 192.168.88.10:1 inner=20001 ext=1 life=60"})
}

// Rules go from an interface that runs and by which the gateway is not reached, from one that
// is gone, and from a line to the Internet whatever is reached through it.
func TestEvacuate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		present map[string]bool
		why     InterfaceError
		want    int
	}{
		"another way":             {map[string]bool{"wg1": true}, InterfaceError{through: []string{"ether1"}}, 1},
		"it is one of the ways":   {map[string]bool{"wg1": true}, InterfaceError{through: []string{"ether1", "wg1"}}, 0},
		"a line to the Internet":  {map[string]bool{"wg1": true}, InterfaceError{through: []string{"wg1"}, exposed: "wg1"}, 1},
		"another one is the line": {map[string]bool{"wg1": true}, InterfaceError{through: []string{"wg1"}, exposed: "ether1"}, 0},
		"it is down":              {map[string]bool{"wg1": false}, InterfaceError{through: []string{"ether1"}}, 0},
		"it is gone":              {map[string]bool{}, InterfaceError{through: []string{"ether1"}}, 1},
	} {
		r := routerWith(t, fakeClient{natPath + "/print": {ownRow("wg1")}, natPath + "/remove": nil})
		s := testSite()
		s.present = tt.present
		if n, err := r.evacuate(t.Context(), s, &tt.why); n != tt.want || err != nil {
			t.Errorf("%s: %d rules removed, error %v, want %d", name, n, err, tt.want)
		}
	}
}

// That rules could not be carried to another interface yet is a detail for the log, where it
// is so.
func TestCarryTellsOfFailures(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		f     fakeClient
		lines int
	}{
		"carried": {fakeClient{natPath + "/print": {ownRow("wg0")}, natPath + "/set": nil}, 0},
		"refused": {fakeClient{natPath + "/print": {ownRow("wg0")}}, 1},
	} {
		r, log := withLog(t, tt.f)
		r.carry(t.Context(), testSite())
		if n := strings.Count(log.String(), "rules not moved to the in-interface yet"); n != tt.lines {
			t.Errorf("%s: %d lines:\n%s", name, n, log)
		}
	}
}

// A rule that the router calls invalid is told after as long as a change of an interface may
// take, to the moment, and once.
func TestExamineAfterAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, log := withLog(t, nil)
		for i, look := range []struct {
			pause time.Duration
			told  int
		}{{0, 0}, {confirmAfter - 1, 0}, {1, 1}, {time.Minute, 1}} {
			time.Sleep(look.pause)
			r.examine(t.Context(), &view{invalid: []natRow{{id: "*1", comment: "c"}}})
			if n := strings.Count(log.String(), "invalid: it takes no packets"); n != look.told {
				t.Errorf("at the look %d: told %d times, want %d", i+1, n, look.told)
			}
		}
		r.examine(t.Context(), &view{})
		if !strings.Contains(log.String(), "rule is no longer invalid") {
			t.Errorf("not told that it is over:\n%s", log)
		}
	})
}

// Rows that cannot be looked into are told of while there are some, when there are others
// than before.
func TestUnreadRowsAreTold(t *testing.T) {
	t.Parallel()
	r, log := withLog(t, nil)
	s := testSite()
	r.site = s
	long := attrs(".id=" + strings.Repeat("*", maxWord+1) + " chain=dstnat")
	for i, tt := range []struct{ rows, lines int }{{0, 0}, {1, 1}, {1, 1}, {0, 1}, {2, 2}} {
		r.client = fakeClient{natPath + "/print": slices.Repeat([]routeros.Row{long}, tt.rows)}
		if _, err := r.look(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != tt.lines {
			t.Errorf("at the look %d: %d lines:\n%s", i+1, n, log)
		}
	}
}

// Since when a connection stands is since it was made, however often that is told.
func TestSinceWhen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := routerWith(t, nil)
		begin := time.Now()
		for i, tt := range []struct {
			state routeros.State
			since time.Duration
		}{
			{routeros.State{Err: routeros.ErrTimeout}, 0},
			{routeros.State{Err: routeros.ErrTimeout}, 0},
			{routeros.State{Connected: true}, 2 * time.Minute},
			{routeros.State{Connected: true}, 2 * time.Minute},
			{routeros.State{Err: routeros.ErrTimeout}, 4 * time.Minute},
		} {
			r.onState(tt.state)
			if got := r.Status().Since.Sub(begin); got != tt.since {
				t.Errorf("after the state %d since %v, want %v", i+1, got, tt.since)
			}
			time.Sleep(time.Minute)
		}
	})
}

// Who waits for the router in vain hears why it is away, as far as that is known.
func TestWaitingInVain(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancelCause(t.Context())
	patience := errors.New("patience is over")
	cancel(patience)
	for _, down := range []error{nil, routeros.ErrTimeout} {
		r := routerWith(t, nil)
		r.onState(routeros.State{Err: down})
		_, err := r.ready(over)
		if !errors.Is(err, patience) || down != nil && !errors.Is(err, down) || strings.Contains(err.Error(), "%!") {
			t.Errorf("down by %v: got %v", down, err)
		}
	}
}
