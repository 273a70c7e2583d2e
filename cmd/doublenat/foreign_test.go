package main

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/foreign"
	"doublenat/routeros/routerostest"
)

// forgery is text that would be a line of its own, a command to the terminal, and
// text read backwards, wherever it is shown as it is.
const forgery = "x\x1b[2J\r\nFORGED \u202e\u0085\xff"

// poisonable are the tables and properties in which a router has text of people.
func poisonable() map[string][]string {
	return map[string][]string{
		"/ip/firewall/nat":           {"comment", "to-addresses", "in-interface-list"},
		"/ip/firewall/filter":        {"comment", "in-interface-list"},
		"/ip/firewall/mangle":        {"comment", "new-routing-mark"},
		"/ip/firewall/raw":           {"comment"},
		"/ip/firewall/address-list":  {"comment", "list"},
		"/interface":                 {"comment", "type", "name"},
		"/interface/list":            {"comment", "name"},
		"/interface/list/member":     {"comment", "list"},
		"/ip/address":                {"comment"},
		"/ip/route":                  {"comment"},
		"/ip/route/rule":             {"comment", "table"},
		"/ip/route/vrf":              {"comment", "routing-mark"},
		"/ip/vrf":                    {"comment", "name"},
		"/ip/ipsec/policy":           {"comment", "group"},
		"/ip/settings":               {"rp-filter"},
		"/ip/nat-pmp":                {"enabled"},
		"/routing/rule":              {"comment", "table"},
		"/routing/table":             {"comment"},
		"/interface/bridge/port":     {"comment", "bridge"},
		"/interface/veth":            {"comment", "gateway"},
		"/interface/wireguard":       {"comment", "public-key"},
		"/system/clock":              {"gmt-offset", "time-zone-name"},
		"/ip/service":                {"comment", "certificate"},
		"/system/identity":           {"name"},
		"/system/resource":           {"board-name", "platform", "architecture-name", "version"},
		"/user":                      {"comment"},
		"/user/group":                {"comment"},
		"/ip/firewall/connection":    {"comment"},
		"/interface/wireguard/peers": {"comment"},
		"/container":                 {"comment", "name"},
		"/ip/dhcp-server/lease":      {"comment", "host-name"},
		"/ip/pool":                   {"comment", "name"},
		"/system/package":            {"version"},
		"/file":                      {"name"},
		"/certificate":               {"name", "common-name"},
	}
}

// poison puts the forgery behind every text of the router.
func poison(t *testing.T, box *routerostest.Router) {
	t.Helper()
	poisoned := 0
	for path, properties := range poisonable() {
		for _, row := range box.Rows(path) {
			for _, name := range properties {
				if name == "name" && row["name"] == routerostest.TunnelInterface {
					continue // it is configured by name
				}
				if box.Set(path, row[".id"], routerostest.Row{name: row[name] + forgery}) == nil {
					poisoned++
				}
			}
		}
	}
	if poisoned < 20 {
		t.Fatalf("%d properties: the router has other tables now", poisoned)
	}
}

// hostileRouter serves a router that lies in its texts. Its commands fail with the
// faults.
func hostileRouter(t *testing.T, faults ...routerostest.Fault) (box *routerostest.Router, at string) {
	t.Helper()
	box, at = newRouterAt(t, secretPassword)
	for path, row := range map[string]routerostest.Row{
		"/ip/firewall/raw": {"chain": "prerouting", "action": "accept"},
		"/ip/vrf":          {"name": "other", "interfaces": "ether3"},
	} {
		if _, err := box.Add(path, row); err != nil {
			t.Fatal(err)
		}
	}
	poison(t, box)
	for _, f := range faults {
		f.Times, f.Message = -1, forgery
		box.Inject(f)
	}
	return box, at
}

// allPoisoned holds that every table which was read has the forgery in it, so that one
// that is read some day is not forgotten here.
func allPoisoned(t *testing.T, box *routerostest.Router) {
	t.Helper()
	for _, entry := range box.Journal() {
		path, reads := strings.CutSuffix(entry.Command, "/print")
		if !reads {
			continue
		}
		forged := len(box.Rows(path)) == 0 // nothing is there to be read
		for _, row := range box.Rows(path) {
			for _, value := range row {
				forged = forged || strings.Contains(value, "FORGED")
			}
		}
		if !forged || poisonable()[path] == nil {
			t.Errorf("%s was read, and has no forged text in it", path)
		}
	}
}

// TestForeignTextIsShownAsText runs what people look at against a router that puts
// the forgery into every place that it has, and holds that no terminal, log, text
// answer or page shows it as anything but text.
func TestForeignTextIsShownAsText(t *testing.T) {
	t.Parallel()
	trap := func(command string) routerostest.Fault {
		return routerostest.Fault{Kind: routerostest.FaultTrap, Command: command}
	}
	for name, faults := range map[string][]routerostest.Fault{
		"texts":           nil,
		"login refused":   {trap("/login")},
		"rule refused":    {trap("/ip/firewall/nat/add")},
		"table refused":   {trap("/ip/firewall/nat/print")},
		"version refused": {trap("/system/resource/print"), trap("/ip/route/print"), trap("/ip/route/check")},
		"cannot read":     {trap("/interface/print"), trap("/user/print"), trap("/ip/service/print"), trap("/ip/address/print")},
		"ended":           {{Kind: routerostest.FaultFatal, Command: "/ip/firewall/nat/print"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box, router := hostileRouter(t, faults...)
			shown := showAll(t, router)
			seen := false
			for _, where := range slices.Sorted(maps.Keys(shown)) {
				onlyText(t, where, shown[where])
				seen = seen || strings.Contains(shown[where], "FORGED")
			}
			allPoisoned(t, box)
			if !seen {
				t.Errorf("the forgery is nowhere: this test looked at nothing\n%v", shown)
			}
		})
	}
}

// showAll returns all that people look at with a router, by where that is: none waits for
// another.
func showAll(t *testing.T, router string) map[string]string {
	t.Helper()
	var mu sync.Mutex
	shown := make(map[string]string)
	show := func(where, text string) {
		mu.Lock()
		defer mu.Unlock()
		shown[where] = text
	}
	t.Run("shown", func(t *testing.T) { // which ends when all of them have
		for _, format := range []string{"text", "json"} {
			t.Run("serve "+format, func(t *testing.T) {
				t.Parallel()
				environ := secretive(t, router)
				environ["LOG_FORMAT"], environ["HTTP_ADDR"] = format, environ["LISTEN_ADDR"]
				log, pages := serveSecretly(t, environ, "router")
				show("log "+format, log)
				show("pages "+format, pages)
			})
		}
		for _, args := range [][]string{{"check"}, {"check", "--json"}, {"setup"}} {
			command := strings.Join(args, " ")
			t.Run(command, func(t *testing.T) {
				t.Parallel()
				var out output
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				p := &process{environ: secretive(t, router), stdin: strings.NewReader(""), stdout: &out, stderr: &out, daemon: runDaemon}
				p.run(ctx, args) // it may well find something wrong
				show(command, out.String())
			})
		}
	})
	return shown
}

// onlyText holds that nothing in a text is more than text, and that the forgery did
// not begin a line.
func onlyText(t *testing.T, where, text string) {
	t.Helper()
	if diff := cmp.Diff(foreign.Lines(text), text); diff != "" {
		t.Errorf("%s has more than text in it (-made visible +shown):\n%s", where, diff)
	}
	if at := regexp.MustCompile(`(?m)^\s*FORGED.*$`).FindString(text); at != "" {
		t.Errorf("%s has a forged line %q in\n%s", where, at, text)
	}
}

// TestStatusOfSomebodyElse: what answers in place of the daemon is shown as text, and
// nothing that it says leads elsewhere.
func TestStatusOfSomebodyElse(t *testing.T) {
	t.Parallel()
	reached := make(chan string, 1)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case reached <- r.Host:
		default:
		}
	}))
	t.Cleanup(elsewhere.Close)
	for name, answer := range map[string]http.HandlerFunc{
		"failure": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte(forgery))
		},
		"picture": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"verdict":{"title":"x\u001b[2J\r\nFORGED \u202e"},"events":[{"text":"\nFORGED"}],"hops":[{"name":"\nFORGED","title":"\nFORGED"}]}`))
		},
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(forgery)) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/api/v1/status", http.StatusFound)
		},
		"redirect by another name": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1), http.StatusTemporaryRedirect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(answer)
			t.Cleanup(server.Close)
			_, port, err := net.SplitHostPort(server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{nil, {"--json"}, {"--health"}} {
				code, out, errs := runStatus(t, nil, append(args, "--addr", "127.0.0.1:"+port)...)
				onlyText(t, name, out+errs)
				if strings.HasPrefix(name, "redirect") && (code != exitFailure || !strings.Contains(errs, "to another address, which is not followed")) {
					t.Errorf("%v: %d %q %q", args, code, out, errs)
				}
			}
		})
	}
	t.Cleanup(func() {
		select {
		case host := <-reached:
			t.Errorf("the redirect was followed, to %s", host)
		default:
		}
	})
}
