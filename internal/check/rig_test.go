package check_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

const (
	natPath    = "/ip/firewall/nat"
	filterPath = "/ip/firewall/filter"
	manglePath = "/ip/firewall/mangle"
)

// rig is a bench, inside a synctest bubble, with what the doctor is told of it.
type rig struct {
	*lab.Bench
	t   *testing.T
	cfg check.Config
}

func newRig(t *testing.T, cfg lab.BenchConfig) *rig {
	t.Helper()
	bench, err := lab.NewBench(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bench.Close(); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait() // for the gateway to open its port
	gateway := netip.AddrPortFrom(netip.MustParseAddr(routerostest.GatewayAddress), natpmp.Port)
	r := &rig{Bench: bench, t: t}
	r.cfg = check.Config{
		API: routeros.Config{
			Dial: bench.Router.Dial, User: routerostest.LeastUser, Password: routeros.NewSecret(routerostest.LeastPassword),
		},
		Router: routerostest.LANAddress, Service: netip.AddrPortFrom(netip.MustParseAddr(routerostest.LANAddress), 8728), Instance: "default", Gateway: gateway,
		DialGateway: func(context.Context) (net.Conn, error) {
			return bench.Net.Dial(netip.AddrPortFrom(netip.MustParseAddr(routerostest.TunnelAddress), 0), gateway)
		},
		Self: []netip.Addr{netip.MustParseAddr(routerostest.ContainerAddress)},
	}
	return r
}

// check lets the doctor look, who must not change anything, and returns the report.
func (r *rig) check() check.Report {
	r.t.Helper()
	mark := r.Router.Mark()
	d, err := check.New(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	report, err := d.Run(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if n := r.Router.StatsSince(mark).Writes; n != 0 {
		r.t.Errorf("the doctor wrote %d times to the router", n)
	}
	r.judge(report)
	return report
}

// judge judges every command of a report in the router's own terminal.
func (r *rig) judge(report check.Report) {
	r.t.Helper()
	terminal := r.Router.Console(routerostest.AdminUser)
	for _, f := range report.Findings {
		for _, c := range f.Advice.Commands {
			err := terminal.Judge(c.String())
			if err != nil && f.Probe == "login" && strings.Contains(err.Error(), "configured elsewhere") {
				continue // before the login the version is not known, and nobody is connected
			}
			if err != nil {
				r.t.Errorf("probe %s: %v", f.Probe, err)
			}
		}
	}
}

// wrong returns the findings that are not ok.
func wrong(report check.Report) []check.Finding {
	var found []check.Finding
	for _, f := range report.Findings {
		if f.Level != check.OK {
			found = append(found, f)
		}
	}
	return found
}

// obey pastes the commands into the router's terminal, as its administrator.
func (r *rig) obey(commands []remedy.Command) {
	r.t.Helper()
	terminal := r.Router.Console(routerostest.AdminUser)
	for _, c := range commands {
		for _, refused := range routerostest.Refused(terminal.Paste(c.String())) {
			r.t.Errorf("%s: %s", c, refused)
		}
	}
}

// id returns the id of the first row of a table that has the value.
func (r *rig) id(path, name, value string) string {
	r.t.Helper()
	row, ok := r.Router.Find(path, name, value)
	if !ok {
		r.t.Fatalf("no %s with %s=%s", path, name, value)
	}
	return row[".id"]
}

// set changes a row of the router that has the value.
func (r *rig) set(path, name, value string, row routerostest.Row) {
	r.t.Helper()
	if err := r.Router.Set(path, r.id(path, name, value), row); err != nil {
		r.t.Fatal(err)
	}
}

// add puts a row, given as "name=value" words, into a table, before the row with
// the id, or at the end.
func (r *rig) add(path, words, before string) string {
	r.t.Helper()
	row := make(routerostest.Row)
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		row[name] = value
	}
	if before != "" {
		row["place-before"] = before
	}
	id, err := r.Router.Add(path, row)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// remove takes the row that has the value out of a table.
func (r *rig) remove(path, name, value string) {
	r.t.Helper()
	if err := r.Router.Remove(path, r.id(path, name, value)); err != nil {
		r.t.Fatal(err)
	}
}

// limitRedirect limits the redirect by the source of requests, and by nothing else.
func (r *rig) limitRedirect(by, value string) {
	r.t.Helper()
	if err := r.Router.Unset(natPath, r.id(natPath, "dst-port", "5351"), "in-interface-list"); err != nil {
		r.t.Fatal(err)
	}
	r.set(natPath, "dst-port", "5351", routerostest.Row{by: value})
}

// serve starts the daemon and lets a client map a port.
func (r *rig) serve() {
	r.t.Helper()
	if err := r.Start(nil); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(time.Second)
	r.request()
}
