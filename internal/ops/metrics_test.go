package ops_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"doublenat/igd"
	"doublenat/internal/frontend"
	"doublenat/internal/gateway"
	"doublenat/internal/ops"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/pcp"
)

var update = flag.Bool("update", false, "write the table of metrics into docs/monitoring.md")

// The marks between which docs/monitoring.md holds what is made from the code.
const (
	tableBegin = "<!-- metrics: made by `go test ./internal/ops -update` -->\n"
	tableEnd   = "<!-- metrics end -->\n"
)

// Prometheus' own parser reads the metrics, and its linter finds nothing.
func TestMetricsAreSound(t *testing.T) {
	t.Parallel()
	onBench(t, rfc(), func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		time.Sleep(time.Minute)
		_, header, body := r.get(ops.PathMetrics)
		if got := header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
			t.Errorf("content type %q", got)
		}
		problems, err := promlint.New(strings.NewReader(body)).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("%v %+v", err, problems)
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range append(ops.Metrics(), ops.Metric{Name: ops.MetricHopLatency}) {
			if alone := strings.HasPrefix(m.Name, "doublenat_lock_"); (families[m.Name] == nil) != alone {
				t.Errorf("%s is missing, or there although no lock is", m.Name)
			}
		}
		for name := range families {
			if strings.HasPrefix(name, "doublenat_") && !documented(name) {
				t.Errorf("%s is not in the table", name)
			}
		}
	})
}

// documented says whether the name is one of ours.
func documented(name string) bool {
	return name == ops.MetricHopLatency || slices.ContainsFunc(ops.Metrics(), func(m ops.Metric) bool { return m.Name == name })
}

// The metrics say what happened.
func TestMetricsCount(t *testing.T) {
	t.Parallel()
	cfg := rfc()
	cfg.Profile.ReplyDelay = 30 * time.Millisecond
	onBench(t, cfg, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		r.Gateway.MovePorts()
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		r.ask(alice, natpmp.OpExternalAddress, 0)
		r.Ask(alice, []byte{9, 9}, time.Second)
		r.Ask(alice, []byte{0}, time.Second)
		r.mapped(alice, natpmp.OpMapUDP, 27015)
		if resp, err := r.Request(alice, natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 27015}); err != nil || resp.Result != 0 {
			t.Errorf("%+v %v", resp, err)
		}
		time.Sleep(2 * time.Second)
		_, _, body := r.get(ops.PathMetrics)
		for series, want := range map[string]string{
			ops.MetricBuildInfo: "", // its labels differ
			ops.MetricReady:     "1",
			ops.MetricRequests + `{opcode="tcp",result="success"}`:               "2",
			ops.MetricRequests + `{opcode="udp",result="success"}`:               "2",
			ops.MetricRequests + `{opcode="address",result="success"}`:           "1",
			ops.MetricRequests + `{opcode="other",result="unsupported_version"}`: "1",
			ops.MetricDropped + `{reason="short"}`:                               "1",
			ops.MetricMappings + `{protocol="tcp"}`:                              "1",
			ops.MetricMappings + `{protocol="udp"}`:                              "0",
			ops.MetricMappingsBy + `{by="natpmp"}`:                               "1",
			ops.MetricMappingsBy + `{by="igd"}`:                                  "0",
			ops.MetricMappingsIdle + `{protocol="tcp"}`:                          "1",
			ops.MetricLeases + `{protocol="tcp"}`:                                "1",
			ops.MetricMappingEvents + `{kind="created"}`:                         "2",
			ops.MetricMappingEvents + `{kind="deleted"}`:                         "1",
			ops.MetricMappingEvents + `{kind="port_changed"}`:                    "1",
			ops.MetricRouterConnected:                                            "1",
			ops.MetricRouterCommands + `{kind="write"}`:                          "3",
			ops.MetricReconcileFailed:                                            "0",
			ops.MetricGatewayFailures + `{reason="refused"}`:                     "0",
			ops.MetricAddressChanges:                                             "1",
			ops.MetricWatchers:                                                   "0",
			ops.MetricHopLatency + `_bucket{hop="gateway",le="0.025"}`:           "0",
			ops.MetricHopLatency + `_count{hop="lan"}`:                           "5",
			ops.MetricHopLatency + `_bucket{hop="router",le="0.001"}`:            metric(body, ops.MetricHopLatency+`_count{hop="router"}`),
		} {
			if got := metric(body, series); got != want {
				t.Errorf("%s is %q, want %q", series, got, want)
			}
		}
		if !strings.Contains(body, ops.MetricBuildInfo+`{version="v1.2.3",goversion="go`) {
			t.Error("no build information")
		}
	})
}

// What goes wrong inside doublenat, and who is left without an answer, is counted.
func TestMetricsOfServer(t *testing.T) {
	t.Parallel()
	m, err := ops.NewMonitor(ops.MonitorConfig{Parts: func() ops.Parts {
		return ops.Parts{
			Server:   natpmp.ServerStats{Silenced: 3, Panics: 2, Crowded: 7, ReadErrors: 8},
			Frontend: frontend.Stats{PCP: map[pcp.ResultCode]uint64{pcp.ResultNoResources: 9}, Mismatches: 6, Updates: 11, IGD: map[igd.Code]uint64{0: 21, igd.CodeConflict: 22}},
			UPnP:     igd.ServerStats{Successes: 12, Failures: 13, Documents: 14, Refused: 15, NotAdmitted: 16, Crowded: 17},
			Gateway:  gateway.Stats{ClockStops: 4, EpochUnreliable: true, Client: natpmp.ClientStats{Odd: 5}},
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ops.NewServer(ops.ServerConfig{Monitor: m})
	if err != nil {
		t.Fatal(err)
	}
	body := ask(t, s, http.MethodGet, "localhost", ops.PathMetrics).Body.String()
	for series, want := range map[string]string{
		ops.MetricRequestsSilenced: "3", ops.MetricRequestsPanicked: "2", ops.MetricRepliesDropped: "7", ops.MetricReadErrors: "8",
		ops.MetricGatewayClockStops: "4", ops.MetricGatewayEpoch: "1", ops.MetricGatewayOdd: "5",
		ops.MetricPCPRequests + `{result="no_resources"}`: "9", ops.MetricPCPRequests + `{result="address_mismatch"}`: "6",
		ops.MetricUPnPActions + `{result="success"}`: "21", ops.MetricUPnPActions + `{result="conflict"}`: "22", ops.MetricUPnPActions + `{result="no_ports_left"}`: "0",
		ops.MetricUPnPRequests + `{result="success"}`: "12", ops.MetricUPnPRequests + `{result="failure"}`: "13", ops.MetricUPnPRequests + `{result="document"}`: "14",
		ops.MetricUPnPRequests + `{result="refused"}`: "15", ops.MetricUPnPRequests + `{result="not_admitted"}`: "16", ops.MetricUPnPRequests + `{result="crowded"}`: "17", ops.MetricPCPUpdates: "11",
	} {
		if got := metric(body, series); got != want {
			t.Errorf("%s is %q, want %q", series, got, want)
		}
	}
}

// However many clients come, there are no more series than before.
func TestMetricsAreBounded(t *testing.T) {
	t.Parallel()
	cfg := rfc()
	cfg.Profile = natpmptest.Miniupnpd()
	onBench(t, cfg, func(r *rig) {
		series := func() int {
			_, _, body := r.get(ops.PathMetrics)
			return len(regexp.MustCompile(`(?m)^doublenat_`).FindAllString(body, -1))
		}
		r.mapped(alice, natpmp.OpMapTCP, 1)
		r.mapped(alice, natpmp.OpMapUDP, 1)
		before := series()
		for i := range uint16(60) {
			r.mapped(alice.Next().Next(), natpmp.OpMapTCP, 7000+i)
			r.mapped(bob, natpmp.OpMapUDP, 7000+i)
		}
		if after := series(); after != before {
			t.Errorf("%d series, %d before", after, before)
		}
	})
}

// docs/monitoring.md has the metrics as the code has them.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "monitoring.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(text), tableBegin)
	got, after, hasEnd := strings.Cut(rest, tableEnd)
	if !hasBegin || !hasEnd {
		t.Fatalf("%s lacks the marks %q and %q", path, tableBegin, tableEnd)
	}
	want := metricsTable()
	if *update {
		if err := os.WriteFile(path, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run `go test ./internal/ops -update` (-want +got):\n%s", diff)
	}
}

// metricsTable is the table of docs/monitoring.md.
func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | what it is |\n|---|---|---|---|\n")
	row := func(name, kind string, labels []string, help string) {
		for i := range labels {
			labels[i] = "`" + labels[i] + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, kind, strings.Join(labels, ", "), help)
	}
	for _, m := range ops.Metrics() {
		kind := "gauge"
		if m.Counter {
			kind = "counter"
		}
		row(m.Name, kind, slices.Clone(m.Labels), m.Help)
		if m.Name == ops.MetricHopState {
			row(ops.MetricHopLatency, "histogram", []string{"hop"}, ops.HelpHopLatency)
		}
	}
	return b.String()
}

// Dashboards and alerts name metrics that exist, with labels that they have.
func TestContributedNamesExist(t *testing.T) {
	t.Parallel()
	labels := map[string][]string{ops.MetricHopLatency: {"hop"}}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		labels[ops.MetricHopLatency+suffix] = []string{"hop", "le"}
	}
	for _, m := range ops.Metrics() {
		labels[m.Name] = m.Labels
	}
	for _, name := range []string{"grafana/doublenat.json", "prometheus/doublenat.rules.yml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "contrib", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".json") && !json.Valid(text) {
			t.Errorf("%s is no JSON", name)
		}
		used := regexp.MustCompile(`\b(doublenat_[a-z0-9_]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(string(text), -1)
		if len(used) < 10 {
			t.Errorf("%s uses %d metrics", name, len(used))
		}
		for _, use := range used {
			known, ok := labels[use[1]]
			if !ok {
				t.Errorf("%s: there is no metric %s", name, use[1])
			}
			for _, label := range regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`).FindAllStringSubmatch(use[2], -1) {
				if l := label[1]; l != "job" && l != "instance" && !slices.Contains(known, l) {
					t.Errorf("%s: %s has no label %s", name, use[1], l)
				}
			}
		}
	}
}

// alert returns an alert's expression.
func alert(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "contrib", "prometheus", "doublenat.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "- alert: "+name+"\n")
	rest, _, ends := strings.Cut(rest, "\n        labels: ")
	_, expr, has := strings.Cut(rest, "expr: ")
	if !found || !ends || !has {
		t.Fatalf("no alert %s", name)
	}
	return expr
}

// A client that asks with PCP first, as many do, is no failure; of two doublenats
// each one is missed.
func TestAlertsAreFair(t *testing.T) {
	t.Parallel()
	expr := alert(t, "DoublenatRequestsFail")
	all := strings.Count(expr, ops.MetricRequests)
	without := regexp.MustCompile(ops.MetricRequests+`\{[^}]*result!~"[^"]*unsupported_version\|unsupported_opcode"`).FindAllString(expr, -1)
	if all != 2 || len(without) != all {
		t.Errorf("%d of %d rates are without what PCP is answered:\n%s", len(without), all, expr)
	}
	if expr := alert(t, "DoublenatAbsent"); !strings.Contains(expr, `up{job="doublenat"} == 0`) {
		t.Errorf("one of two that is away is not seen:\n%s", expr)
	}
}

// The dashboard shows no age of what never was, and several doublenats do not add up.
func TestDashboardIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "contrib", "grafana", "doublenat.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	ages, hops := 0, 0
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			if age, ok := strings.CutPrefix(target.Expr, "time() - "); ok {
				ages++
				if series, _, _ := strings.Cut(age, " "); age != series+" and "+series+" > 0" {
					t.Errorf("%s: 56 years before the first success: %s", panel.Title, target.Expr)
				}
			}
			if strings.Contains(target.Expr, ops.MetricHopState) {
				hops++
				if strings.Contains(target.Expr, "+") || !strings.HasPrefix(target.Expr, "max by (hop) (3 * ") {
					t.Errorf("%s: more than 3 with two instances: %s", panel.Title, target.Expr)
				}
			}
		}
	}
	if ages != 3 || hops != 2 {
		t.Errorf("%d ages and %d states of hops", ages, hops)
	}
}

// What a program asks for by UPnP is counted and shown as such, from its request to the page's
// JSON, its table and the last events.
func TestUPnPIsShown(t *testing.T) {
	t.Parallel()
	cfg := rfc()
	cfg.Profile = natpmptest.Miniupnpd()
	cfg.Environ = map[string]string{"UPNP": "on"}
	onBench(t, cfg, func(r *rig) {
		r.mapped(bob, natpmp.OpMapUDP, 9)
		c, err := r.ControlPoint(alice)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		m := igd.Mapping{Protocol: igd.TCP, External: 32400, Client: alice, Internal: 32400, Lease: time.Hour, Description: "Plex <b>\u202e"}
		if err := c.Add(r.t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Find(r.t.Context(), igd.TCP, 1); igd.CodeOf(err) != igd.CodeNoSuchEntry {
			t.Error(err)
		}
		time.Sleep(time.Second)
		_, _, body := r.get(ops.PathMetrics)
		for series, want := range map[string]string{
			ops.MetricMappingsBy + `{by="igd"}`: "1", ops.MetricMappingsBy + `{by="natpmp"}`: "1", ops.MetricMappingsBy + `{by="none"}`: "0",
			ops.MetricUPnPActions + `{result="success"}`: "1", ops.MetricUPnPRequests + `{result="failure"}`: "1",
		} {
			if got := metric(body, series); got != want {
				t.Errorf("%s is %q, want %q", series, got, want)
			}
		}
		for path, wants := range map[string][]string{
			ops.PathStatus: {`"by":"igd","description":"Plex \u003cb\u003e\\u202e"`, `"by":"natpmp","description":""`, `TCP port 32400 opened for 192.168.88.10:32400 by UPnP (Plex \u003cb\u003e\\u202e)`},
			ops.PathText:   {"igd     client: Plex <b>\\u202e\n", "natpmp  client\n"},
		} {
			_, _, body := r.get(path)
			for _, want := range wants {
				if !strings.Contains(body, want) {
					t.Errorf("%s lacks %q:\n%s", path, want, body)
				}
			}
		}
	})
}
