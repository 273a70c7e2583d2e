package ops_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/internal/ops"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

const (
	natPrint = "/ip/firewall/nat/print"
	natAdd   = "/ip/firewall/nat/add"
)

// shown is what all that shows the picture showed at nearly the same moment.
type shown struct {
	status, streamed     ops.Status
	code                 int
	ready, metrics, text string
}

// look looks at everything.
func (r *rig) look() shown {
	r.t.Helper()
	all := shown{status: r.status()}
	all.code, _, all.ready = r.get(ops.PathReady)
	_, _, all.metrics = r.get(ops.PathMetrics)
	_, _, all.text = r.get(ops.PathText)
	page := r.watch()
	defer page.close()
	all.streamed = page.next()
	return all
}

// disagreements returns where not everything names the same broken hop, or not its remedy.
func (all shown) disagreements() []string {
	var wrong []string
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	s := all.status
	digit := map[bool]string{true: "1", false: "0"}
	if !reflect.DeepEqual(all.streamed.Verdict, s.Verdict) {
		complain("the page says %+v, the status %+v", all.streamed.Verdict, s.Verdict)
	}
	if want := map[bool]int{true: http.StatusOK, false: http.StatusServiceUnavailable}[s.Verdict.Ready]; all.code != want {
		complain("readiness %d, want %d", all.code, want)
	}
	if got := metric(all.metrics, ops.MetricReady); got != digit[s.Verdict.Ready] {
		complain("metric of readiness %q", got)
	}
	for name, body := range map[string]string{"readiness": all.ready, "text": all.text} {
		if !strings.Contains(body, s.Verdict.Title+"\n") || !strings.Contains(body, s.Verdict.Advice()) {
			complain("%s lacks the verdict %+v:\n%s", name, s.Verdict, body)
		}
	}
	for i, h := range s.Hops {
		if want := fmt.Sprintf("\n%s %s: %s", h.State, h.Name, h.Summary); !strings.Contains(all.ready, want) {
			complain("readiness lacks %q:\n%s", want, all.ready)
		}
		if got := all.streamed.Hops[i]; got.State != h.State || got.Advice() != h.Advice() {
			complain("the page says %+v, the status %+v", got, h)
		}
		for _, state := range ops.States() {
			if got := metric(all.metrics, fmt.Sprintf("%s{hop=%q,state=%q}", ops.MetricHopState, h.Name, state)); got != digit[h.State == state] {
				complain("%s is %s: metric for %s is %q", h.Name, h.State, state, got)
			}
		}
	}
	return wrong
}

// agree fails the test unless status, stream, readiness, metrics and text all name
// the same broken hop, and the remedy where there is one. It returns the picture. A
// router that comes and goes may do so between two looks; then it looks again.
func (r *rig) agree() ops.Status {
	r.t.Helper()
	for tries := 0; ; tries++ {
		all := r.look()
		wrong := all.disagreements()
		if len(wrong) == 0 || tries == 10 {
			for _, w := range wrong {
				r.t.Error(w)
			}
			return all.status
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// metric returns the value of a line of Prometheus' text format, "" if there is none.
func metric(body, series string) string {
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.*)$`).FindStringSubmatch(body)
	if found == nil {
		return ""
	}
	return found[1]
}

// fault is something that goes wrong on the bench.
type fault struct {
	name string
	// cfg is the bench on which it does.
	cfg lab.BenchConfig
	// strike makes it happen; nil where cfg is all.
	strike func(r *rig)
	// hop and state are what all have to name; the zero values mean that nothing is wrong.
	hop   ops.Hop
	state ops.State
	// chance is set where it is left to chance what is wrong; then only all have to say the same.
	chance bool
	// remedy is a part of it.
	remedy string
}

// rfc is a bench with a gateway that gives everybody what they want, and variables
// by name and value in turn.
func rfc(environ ...string) lab.BenchConfig {
	cfg := lab.BenchConfig{Profile: natpmptest.RFC(), Environ: make(map[string]string)}
	for i := 0; i+1 < len(environ); i += 2 {
		cfg.Environ[environ[i]] = environ[i+1]
	}
	return cfg
}

// routerFaults are all faults of the test router: at each command, at the table, and
// at the making of rules.
func routerFaults() []fault {
	// What a client of the API has to live with.
	harmless := []routerostest.FaultKind{
		routerostest.FaultEmpty, routerostest.FaultEmptySentences, routerostest.FaultTagLast, routerostest.FaultTagMiddle,
		routerostest.FaultShuffle, routerostest.FaultExtraProperties, routerostest.FaultMissingProperties, routerostest.FaultBinaryComment,
		routerostest.FaultUnsettled, routerostest.FaultQueryIgnored,
	}
	// An add that is carried out and whose reply is lost is found by the next look.
	carriedOut := []routerostest.FaultKind{
		routerostest.FaultDelayReply, routerostest.FaultSilenceReply, routerostest.FaultCloseReply, routerostest.FaultHalfSentence,
		routerostest.FaultResetReply, routerostest.FaultReservedLength, routerostest.FaultHugeLength,
	}
	var all []fault
	for _, kind := range routerostest.FaultKinds() {
		for where, command := range map[string]string{"everywhere": "", "listing": natPrint, "adding": natAdd} {
			f := fault{name: fmt.Sprintf("router %s %s", kind, where), cfg: rfc(), hop: ops.HopRouter, state: ops.StateDown, strike: func(r *rig) {
				r.Router.Inject(routerostest.Fault{
					Kind: kind, Command: command, Times: -1, Delay: 20 * time.Second, Properties: []string{"comment", "name", "chain"},
				})
			}}
			if slices.Contains(harmless, kind) || command == natAdd && slices.Contains(carriedOut, kind) {
				f.hop, f.state = "", ops.StateOK
			}
			switch {
			case kind == routerostest.FaultMissingProperties && command == "":
				f.hop, f.state = ops.HopRouter, ops.StateDown // interfaces without names are none
			case kind == routerostest.FaultSilenceReply && command == natAdd:
				f.chance = true // each add costs the connection: it may be back, or wait for its next try
			}
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b fault) int { return strings.Compare(a.name, b.name) })
	return append(all, []fault{
		{name: "router wrong password", cfg: rfc("MIKROTIK_API_PASSWORD", "wrong"), hop: ops.HopRouter, state: ops.StateDown, remedy: "MIKROTIK_API_USER"},
		{name: "router unknown tunnel", cfg: rfc("MIKROTIK_IN_INTERFACE", "wireguard9"), hop: ops.HopRouter, state: ops.StateDown, remedy: "MIKROTIK_IN_INTERFACE"},
		{name: "router is off", cfg: rfc(), hop: ops.HopRouter, state: ops.StateDown, remedy: "/ip service enable", strike: func(r *rig) {
			r.Router.Reboot(routerostest.Reboot{Down: time.Hour, Cut: true})
		}},
		{name: "router may not write", cfg: poorUser("read,api,test"), hop: ops.HopRouter, state: ops.StateDown, remedy: "write"},
		{name: "router may not read", cfg: poorUser("write,api,test"), hop: ops.HopRouter, state: ops.StateDown, remedy: "read"},
		{name: "router slow", cfg: lab.BenchConfig{Profile: natpmptest.RFC(), Router: routerostest.Config{Latency: 1500 * time.Millisecond}}, hop: ops.HopRouter, state: ops.StateDegraded, remedy: "CPU load"},
	}...)
}

// poorUser is a bench whose router's user lacks a policy.
func poorUser(policy string) lab.BenchConfig {
	cfg := rfc("MIKROTIK_API_USER", "poor", "MIKROTIK_API_PASSWORD", "secret")
	cfg.Prepare = func(r *routerostest.Router) {
		if err := r.AddUser("poor", "secret", policy); err != nil {
			panic(err)
		}
	}
	return cfg
}

// gatewayFaults are all profiles of the test gateway, and what may happen on the way.
func gatewayFaults() []fault {
	const full, denied, silent = "no port left", "allows no mappings", "requests get lost"
	expected := map[string]fault{
		"proton":        {hop: ops.HopGateway, state: ops.StateDegraded, remedy: full}, // six ports are asked for, five to be had
		"proton-ext":    {hop: ops.HopGateway, state: ops.StateDegraded, remedy: full},
		"proton-rotate": {hop: ops.HopGateway, state: ops.StateDegraded, remedy: full},
		"proton-dup":    {hop: ops.HopGateway, state: ops.StateDegraded, remedy: full},
		"proton-refuse": {hop: ops.HopGateway, state: ops.StateDegraded, remedy: full},
		"split":         {hop: ops.HopGateway, state: ops.StateDegraded, remedy: full},
		"full":          {hop: ops.HopGateway, state: ops.StateDegraded, remedy: full},
		"noaddr":        {hop: ops.HopAddress, state: ops.StateDown, remedy: "no public address"},
		"unauth":        {hop: ops.HopGateway, state: ops.StateDown, remedy: denied},
		"wrongint":      {hop: ops.HopGateway, state: ops.StateDegraded, remedy: "another port than it was asked"},
		"pcp":           {hop: ops.HopGateway, state: ops.StateDown, remedy: "speaks PCP only"},
		"8bit":          {hop: ops.HopGateway, state: ops.StateDown, remedy: "8 bits"},
		"swapped":       {hop: ops.HopGateway, state: ops.StateDown, remedy: "swaps internal and external"},
		"flip":          {hop: ops.HopGateway, state: ops.StateDegraded, remedy: full},
		"suspend":       {hop: ops.HopGateway, state: ops.StateDegraded, remedy: full},
		"lossy":         {chance: true}, // some replies take 20 seconds
		"slow":          {hop: ops.HopGateway},
	}
	var all []fault
	for _, profile := range natpmptest.Profiles() {
		f, known := expected[profile.Name]
		if !known {
			f.state = ops.StateOK
		}
		f.name, f.cfg.Profile = "gateway "+profile.Name, profile
		all = append(all, f)
	}
	path := natpmptest.Between(netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("10.2.0.2"))
	faulty := func(f natpmptest.Faults) func(*rig) {
		return func(r *rig) { r.Net.SetFaults(path, f) }
	}
	for _, f := range []fault{
		{name: "gateway swallowed", strike: faulty(natpmptest.Faults{Blackhole: true}), hop: ops.HopGateway, state: ops.StateDown, remedy: silent},
		{name: "gateway replies lost", strike: faulty(natpmptest.Faults{Loss: 1}), hop: ops.HopGateway, state: ops.StateDown, remedy: silent},
		{name: "gateway far away", strike: faulty(natpmptest.Faults{Delay: 3 * time.Second}), hop: ops.HopGateway, state: ops.StateDegraded, remedy: "loss and distance"},
		{name: "gateway doubled and reordered", strike: faulty(natpmptest.Faults{Duplicate: 1, Reorder: .5}), state: ops.StateOK},
		{name: "gateway jitters", strike: faulty(natpmptest.Faults{Jitter: 200 * time.Millisecond}), state: ops.StateOK},
		{name: "gateway silent", strike: func(r *rig) { r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true }) }, hop: ops.HopGateway, state: ops.StateDown, remedy: silent},
		{name: "gateway refuses", strike: func(r *rig) { r.Gateway.Refuse(true) }, hop: ops.HopGateway, state: ops.StateDown, remedy: "make a key with NAT-PMP"},
		{name: "gateway grants no time", strike: func(r *rig) {
			r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Lifetime, p.FixedLifetime = 0, true })
		}, hop: ops.HopGateway, state: ops.StateDegraded, remedy: "grants nothing"},
		{name: "address taken away", strike: func(r *rig) { r.Gateway.SetAddress(netip.Addr{}) }, hop: ops.HopAddress, state: ops.StateDown, remedy: "no public address"},
		{name: "address of another NAT", strike: func(r *rig) { r.Gateway.SetAddress(netip.MustParseAddr("100.64.3.4")) }, hop: ops.HopAddress, state: ops.StateDegraded, remedy: "another NAT"},
		{name: "address changed", strike: func(r *rig) { r.Gateway.SetAddress(netip.MustParseAddr("9.9.9.9")) }, state: ops.StateOK},
		{name: "gateway restarted", strike: func(r *rig) { r.Gateway.Restart(false) }, state: ops.StateOK},
	} {
		f.cfg = rfc()
		all = append(all, f)
	}
	return all
}

// album keeps one picture of each kind that the faults made.
type album struct {
	mu       sync.Mutex // guards what follows
	pictures map[string]ops.Status
}

// add keeps the picture unless there is one that says the same.
func (a *album) add(s ops.Status) {
	says := fmt.Sprint(s.Verdict.State)
	for _, h := range s.Hops {
		says += fmt.Sprintf("; %s %s %s: %s", h.Name, h.State, h.Summary, h.Remedy)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pictures[says] = s
}

// Whatever goes wrong, everything that shows it names the same hop, and what to do:
// the page in a browser too.
func TestEveryFaultIsNamed(t *testing.T) { //nolint:tparallel // the page shows what all the others made
	t.Parallel()
	all := album{pictures: make(map[string]ops.Status)}
	t.Run("everywhere", func(t *testing.T) {
		for _, f := range slices.Concat(routerFaults(), gatewayFaults()) {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				onBench(t, f.cfg, func(r *rig) { all.add(f.named(r)) })
			})
		}
	})
	t.Run("on the page", func(t *testing.T) { all.shown(t) })
}

// named lets the fault happen, looks at everything, and returns the picture.
func (f fault) named(r *rig) ops.Status {
	if f.strike != nil {
		r.mapped(alice, natpmp.OpMapTCP, 1000)
		f.strike(r)
	}
	time.Sleep(time.Minute)
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() {
		for i := range uint16(6) {
			r.ask(alice, natpmp.OpMapTCP, 1001+i)
		}
	})
	time.Sleep(30 * time.Second)
	s := r.agree()
	v := s.Verdict
	if f.chance {
		return s
	}
	if v.Hop != f.hop || f.state != "" && v.State != f.state {
		r.t.Errorf("%q is %s, want %q %s: %+v", v.Hop, v.State, f.hop, f.state, v)
	}
	if f.hop != "" && (v.Remedy == "" || !strings.Contains(v.Advice(), f.remedy)) {
		r.t.Errorf("remedy %q lacks %q", v.Advice(), f.remedy)
	}
	if f.hop != "" && !slices.ContainsFunc(s.Events, func(e ops.Event) bool {
		return e.Kind == "hop" && strings.HasPrefix(e.Text, f.hop.Title()+": ")
	}) {
		r.t.Errorf("no event tells of it: %+v", s.Events)
	}
	return s
}

// shown fails the test unless a real page names hops, states and remedies of all
// pictures in its text.
func (a *album) shown(t *testing.T) {
	t.Helper()
	b := newTab(t)
	stage := newStage(t, picture())
	b.visit(stage.url)
	broken := 0
	for i, says := range slices.Sorted(maps.Keys(a.pictures)) {
		s := a.pictures[says]
		s.Instance = fmt.Sprintf("picture %d", i)
		stage.show(s)
		b.wait(fmt.Sprintf(`document.querySelector("#instance").textContent === %q`, s.Instance))
		if got, want := b.text("#verdict"), s.Verdict.Title; !strings.Contains(got, want) || !strings.Contains(got, spaced(s.Verdict.Remedy)) {
			t.Errorf("the headline lacks %q or %q:\n%s", want, s.Verdict.Remedy, got)
		}
		for _, h := range s.Hops {
			if h.State == ops.StateDown || h.State == ops.StateDegraded {
				broken++
			}
			for _, wrong := range b.misses(h, s.Verdict) {
				t.Errorf("%s: %s", says, wrong)
			}
		}
	}
	if len(a.pictures) < 15 || broken < 15 {
		t.Errorf("%d pictures with %d broken hops", len(a.pictures), broken)
	}
	b.clean(stage.url)
}

// misses returns what the page does not say of a hop.
func (b *tab) misses(h ops.HopStatus, v ops.Verdict) (wrong []string) {
	b.t.Helper()
	at := fmt.Sprintf(`[data-hop=%q]`, h.Name)
	at = strings.ReplaceAll(at, `"`, `'`)
	text := b.text(at)
	word := map[ops.State]string{ops.StateDown: "down: ", ops.StateDegraded: "degraded: "}[h.State]
	for _, want := range []string{h.Title, word + spaced(h.Summary), h.Meanwhile} {
		if !strings.Contains(text, want) {
			wrong = append(wrong, fmt.Sprintf("%q is not in %q", want, text))
		}
	}
	if h.Remedy == "" {
		return wrong
	}
	// What helps the verdict's own hop is in the headline, and nowhere else.
	if in := strings.Contains(text, spaced(h.Remedy)) && strings.Contains(text, "What to do"); in == (h.Name == v.Hop) {
		wrong = append(wrong, fmt.Sprintf("remedy %q is there: %v, in %q", h.Remedy, in, text))
	}
	return wrong
}

// spaced returns a text as innerText has it, with one space where there are several.
func spaced(text string) string { return strings.Join(strings.Fields(text), " ") }

// What is over is not shown any more, and told once.
func TestFaultsPass(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct{ strike, mend func(*rig) }{
		"router":  {func(r *rig) { r.Router.Reboot(routerostest.Reboot{Down: 2 * time.Minute, Cut: true}) }, func(*rig) {}},
		"gateway": {func(r *rig) { r.Gateway.Refuse(true) }, func(r *rig) { r.Gateway.Refuse(false) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBench(t, rfc(), func(r *rig) {
				r.mapped(alice, natpmp.OpMapTCP, 1000)
				f.strike(r)
				time.Sleep(90 * time.Second)
				if v := r.agree().Verdict; v.State != ops.StateDown || v.Ready {
					t.Errorf("meanwhile: %+v", v)
				}
				f.mend(r)
				time.Sleep(3 * time.Minute)
				s := r.agree()
				if s.Verdict.Title != "1 port is open" || !s.Verdict.Ready || s.Verdict.Hop != "" {
					t.Errorf("afterwards: %+v", s.Verdict)
				}
				var told []string
				for _, e := range s.Events {
					if e.Kind == "hop" {
						told = append(told, e.Text)
					}
				}
				if len(told) != 2 || !strings.HasSuffix(told[0], " works again") {
					t.Errorf("told %q", told)
				}
			})
		})
	}
}

// No answer has a secret in it, whatever goes wrong.
func TestNothingSecretIsShown(t *testing.T) {
	t.Parallel()
	const password, hook = "correct horse battery", "https://me:hunter2@hooks.example.com/x"
	onBench(t, rfc("MIKROTIK_API_PASSWORD", password, "ON_CHANGE_URL", hook), func(r *rig) {
		r.ask(alice, natpmp.OpMapTCP, 1000)
		time.Sleep(time.Minute)
		for _, path := range []string{"/", ops.PathStatus, ops.PathReady, ops.PathMetrics, ops.PathText, ops.PathHealth, "/nothing", "/debug/pprof/"} {
			_, _, body := r.get(path)
			for _, secret := range []string{password, "hunter2", "goroutine ", ".go:"} {
				if bytes.Contains([]byte(body), []byte(secret)) {
					t.Errorf("%s shows %q", path, secret)
				}
			}
		}
	})
}
