package daemon_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/internal/ops"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// book is a log that can be read while it is written.
type book struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// lines returns the lines that have the text in them.
func (b *book) lines(text string) (found []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.buf.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// rowsToClients returns the rows that lead to a client of ours, whoever they say that made them.
func (r *rig) rowsToClients() (found []routerostest.Row) {
	for _, row := range r.Router.Rows(natPath) {
		if to := row["to-addresses"]; to == alice.String() || to == bob.String() || strings.HasPrefix(row["comment"], "doublenat:") {
			found = append(found, row)
		}
	}
	return found
}

// scripts are what a scheduler on the router might do to each of our rules, again and again.
func scripts() map[string]func(r *rig, row routerostest.Row) error {
	set := func(row routerostest.Row) func(*rig, routerostest.Row) error {
		return func(r *rig, rule routerostest.Row) error { return r.Router.Set(natPath, rule[".id"], row) }
	}
	copied := func(r *rig, rule routerostest.Row, comment string) error {
		rule["comment"] = comment
		delete(rule, ".id")
		_, err := r.Router.Add(natPath, rule)
		return err
	}
	return map[string]func(r *rig, row routerostest.Row) error{
		"blanks comments":        set(routerostest.Row{"comment": ""}),
		"writes comments":        set(routerostest.Row{"comment": "checked by nightly script"}),
		"switches off":           set(routerostest.Row{"disabled": "true"}),
		"writes and switches":    set(routerostest.Row{"disabled": "true", "comment": "off"}),
		"changes the interface":  set(routerostest.Row{"in-interface": routerostest.WANInterface}),
		"changes the client":     set(routerostest.Row{"to-addresses": "192.168.88.99"}),
		"changes comment, ports": set(routerostest.Row{"to-ports": "99", "comment": "99"}),
		"removes":                func(r *rig, rule routerostest.Row) error { return r.Router.Remove(natPath, rule[".id"]) },
		"copies":                 func(r *rig, rule routerostest.Row) error { return copied(r, rule, rule["comment"]) },
		"another inner port in the comment": func(r *rig, rule routerostest.Row) error {
			return r.Router.Set(natPath, rule[".id"], routerostest.Row{"comment": strings.Replace(rule["comment"], "inner=2", "inner=1", 1)})
		},
	}
}

// Whatever a script does to our rules, again and again for two hours, there are not more
// of them than mappings and what it made since the last look, ports stay, one error says
// what goes on, and once it stops all is well again. A clean stop leaves nothing of ours.
func TestScriptsThatMeddle(t *testing.T) {
	t.Parallel()
	for name, script := range scripts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(book)
			cfg := lab.BenchConfig{Profile: natpmptest.RFC(), Logger: slog.New(slog.NewTextHandler(log, nil))}
			onBench(t, cfg, func(r *rig) {
				clean := len(r.rowsToClients())
				ports := r.hold(3)
				mark := r.Router.Mark()
				for minute := range 120 {
					for _, row := range r.OurRules("default") {
						err := script(r, row)
						if _, there := r.Router.Find(natPath, ".id", row[".id"]); err != nil && there {
							r.t.Fatal(err) // else the daemon was faster with that row
						}
					}
					// Never the very instant of the daemon's look, which may be in the middle of its work then.
					time.Sleep(55*time.Second + 137*time.Millisecond)
					if n := len(r.rowsToClients()) - clean; n > 2*3 {
						r.t.Fatalf("minute %d: %d rules for 3 mappings:\n%v", minute, n, r.rowsToClients())
					}
					if minute%20 == 10 {
						for i := range uint16(3) { // Refused where the rule is missing at this moment.
							r.ask(alice, natpmp.OpMapTCP, 6881+i, 0)
						}
					}
				}
				if n := r.Router.StatsSince(mark).Writes; n > 3*2*120/4 && name != "copies" {
					r.t.Errorf("%d writes in two hours: it is mended as often as ever", n)
				}
				time.Sleep(21 * time.Minute)
				if diff := cmp.Diff(ports, r.hold(3)); diff != "" {
					r.t.Errorf("ports (-before +after):\n%s", diff)
				}
				r.agree()
				told := log.lines("somebody else changes or removes our rules")
				if len(told) != 1 || !strings.Contains(told[0], "level=ERROR") || !strings.Contains(told[0], "INSTANCE") {
					r.t.Errorf("said %d times:\n%s", len(told), strings.Join(told, ""))
				}
				if err := r.Stop(); err != nil {
					r.t.Error(err)
				}
				if left := len(r.rowsToClients()) - clean; left != 0 {
					r.t.Errorf("a clean stop leaves %d rules:\n%v", left, r.rowsToClients())
				}
			})
		})
	}
}

// hold maps so many ports of alice and returns inner and external ports.
func (r *rig) hold(n int) []string {
	r.t.Helper()
	for i := range n {
		r.mapped(alice, natpmp.OpMapTCP, uint16(6881+i))
	}
	var ports []string
	for _, m := range r.Daemon().Mappings() {
		ports = append(ports, fmt.Sprint(m.Key, m.InnerPort, m.ExternalPort))
	}
	return ports
}

// A script that puts a rule of its own on each port to which a mapping moves does not
// chase it for ever: the mapping stays, its client is told that it has none, and one
// error names the rule.
func TestChasedMapping(t *testing.T) {
	t.Parallel()
	log := new(book)
	cfg := lab.BenchConfig{Profile: natpmptest.RFC(), Logger: slog.New(slog.NewTextHandler(log, nil))}
	onBench(t, cfg, func(r *rig) {
		r.hold(1)
		defer r.AcceptOthers()
		inner := make(map[uint16]bool)
		for range 20 {
			m := r.Daemon().Mappings()[0]
			if !inner[m.InnerPort] {
				inner[m.InnerPort] = true
				_, err := r.Router.Add(natPath, routerostest.Row{
					"chain": "dstnat", "action": "dst-nat", "in-interface": routerostest.TunnelInterface, "protocol": "tcp",
					"dst-port": fmt.Sprint(m.InnerPort), "to-addresses": "192.168.88.77", "comment": "chaser",
				})
				if err != nil {
					r.t.Fatal(err)
				}
			}
			time.Sleep(65 * time.Second)
		}
		if len(inner) != 4 {
			r.t.Errorf("the mapping stood on %d ports, want 4", len(inner))
		}
		if got := r.ask(alice, natpmp.OpMapTCP, 6881, 0); got.Result != natpmp.ResultOutOfResources {
			r.t.Errorf("a renewal was answered %+v, want out of resources", got)
		}
		if told := log.lines("somebody else changes or removes our rules"); len(told) != 1 {
			r.t.Errorf("said %d times", len(told))
		}
		hop := r.Daemon().Status().Hops[1]
		if !strings.Contains(hop.Remedy, "INSTANCE") {
			r.t.Errorf("the page says %+v", hop)
		}
		for _, row := range r.Router.Rows(natPath) {
			if row["comment"] == "chaser" {
				if err := r.Router.Remove(natPath, row[".id"]); err != nil {
					r.t.Fatal(err)
				}
			}
		}
		time.Sleep(65 * time.Second)
		r.hold(1)
	})
}

// deletedInterface removes the tunnel's interface and, if it is to come back, makes one of
// the same name.
func (r *rig) deletedInterface(again bool) {
	r.t.Helper()
	row, ok := r.Router.Find("/interface", "name", routerostest.TunnelInterface)
	if !ok {
		r.t.Fatal("no tunnel")
	}
	if err := r.Router.Remove("/interface", row[".id"]); err != nil {
		r.t.Fatal(err)
	}
	if !again {
		return
	}
	delete(row, ".id")
	if _, err := r.Router.Add("/interface", row); err != nil {
		r.t.Fatal(err)
	}
	for _, path := range []string{"/ip/route", "/ip/address"} {
		for _, stale := range r.Router.Rows(path) {
			if name := slices.IndexFunc([]string{stale["gateway"], stale["interface"]}, func(s string) bool { return strings.HasPrefix(s, "*") }); name >= 0 {
				prop := []string{"gateway", "interface"}[name]
				if err := r.Router.Set(path, stale[".id"], routerostest.Row{prop: routerostest.TunnelInterface}); err != nil {
					r.t.Fatal(err)
				}
			}
		}
	}
}

// The page tells of a tunnel interface that was deleted. When one of the same name comes
// back the rules are put onto it in place; a clean stop removes them either way.
func TestTunnelDeleted(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("comes back: ", again), func(t *testing.T) {
			t.Parallel()
			onBench(t, lab.BenchConfig{Profile: natpmptest.RFC()}, func(r *rig) {
				clean := len(r.rowsToClients())
				r.hold(2)
				before := r.ids("default")
				r.deletedInterface(again)
				time.Sleep(61 * time.Second)
				hop := r.Daemon().Status().Hops[1]
				if again {
					r.AcceptOthers() // a rule of others was on it too
					r.agree()
					if diff := cmp.Diff(before, r.ids("default")); diff != "" || hop.State != ops.StateOK {
						r.t.Errorf("rules (-before +after):\n%s%+v", diff, hop)
					}
				} else if hop.State != ops.StateDown || hop.Remedy == "" {
					r.t.Errorf("the page says %+v", hop)
				}
				_ = r.Stop() // The router may have nothing that can be used.
				if left := len(r.rowsToClients()) - clean; left != 0 {
					r.t.Errorf("%d rules left:\n%v", left, r.rowsToClients())
				}
			})
		})
	}
}
