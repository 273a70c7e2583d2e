package ops_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"doublenat/internal/gateway"
	"doublenat/internal/nat"
	"doublenat/internal/ops"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
)

// longError is one as it comes from below: wrapped, with addresses.
func longError() error {
	return errors.New("reconnecting to the router: dialing 192.168.88.1:8728: dial tcp 192.168.88.1:8728: connect: no route to host, " +
		"the attempt before it: logging in: reading the reply: read tcp 172.30.254.2:40112->192.168.88.1:8728: i/o timeout")
}

// withPorts returns an input with n mappings, in all forms that a row has.
func withPorts(n int) ops.Input {
	in := fine()
	in.Now = time.Now()
	in.About.Started = in.Now.Add(-26 * time.Hour)
	in.Parts.Gateway.LastSuccess, in.Parts.Gateway.AddressAt, in.Parts.Core.ReconcileSuccess = in.Now, in.Now, in.Now
	in.Parts.Gateway.Address = netip.MustParseAddr("185.107.56.213")
	in.Latency = map[ops.Hop]time.Duration{ops.HopLAN: 17 * time.Millisecond, ops.HopRouter: 1234 * time.Microsecond, ops.HopGateway: 21 * time.Millisecond}
	in.About.Static = make(map[nat.Key]bool)
	for i := range n {
		m := nat.Mapping{
			Key:          nat.Key{Client: netip.AddrFrom4([4]byte{192, 168, 88, byte(10 + i/3%200)}), Protocol: nat.TCP, InternalPort: uint16(6881 + i)},
			ExternalPort: uint16(36000 + 971*i%29000), Packets: uint64(i * i * i * 1811), Created: in.Now.Add(-time.Hour),
			Granted: time.Minute, LeaseUntil: in.Now.Add(time.Duration(10+i*7%50) * time.Second), Until: in.Now.Add(time.Hour),
		}
		switch i % 8 {
		case 1:
			m.Key.Protocol, m.Companion = nat.UDP, true
		case 2:
			in.About.Static[m.Key], m.Granted, m.LeaseUntil = true, 2*time.Hour, in.Now.Add(119*time.Minute)
		case 3:
			m.Closing = true
		case 4:
			m.LeaseUntil = in.Now.Add(-3 * time.Second)
		case 5:
			m.Adopted = true
		}
		in.Parts.Mappings = append(in.Parts.Mappings, m)
	}
	in.Series = chartOf(n, 17)
	for i := range 12 {
		e := ops.Event{ID: uint64(12 - i), Time: in.Now.Add(-time.Duration(i*i) * time.Minute), Kind: "created", Text: fmt.Sprintf("TCP port %d opened for 192.168.88.10:%d", 36000+i, 6881+i)}
		switch i % 4 {
		case 1:
			e.Kind, e.Text = "expired", "TCP port 51413 closed, 192.168.88.10:51413 did not renew"
		case 2:
			e.Kind, e.State, e.Text = "hop", ops.StateDown, "Gateway: silent"
		case 3:
			e.Kind, e.State, e.Text = "hop", ops.StateOK, "Gateway works again"
		}
		in.Events = append(in.Events, e)
	}
	return in
}

// chartOf is an hour in which n ports were opened, with a latency in milliseconds and one peak.
func chartOf(n int, ms float64) ops.Series {
	s := ops.Series{StepSeconds: 30, End: time.Now()}
	for i := range 120 {
		v := ms + 4*math.Sin(float64(i)/3)
		if i == 71 {
			v = 413
		}
		s.Mappings = append(s.Mappings, n*(41+i)/160)
		s.GatewayMS = append(s.GatewayMS, &v)
		s.RouterMS = append(s.RouterMS, &v)
	}
	s.GatewayMS[40], s.GatewayMS[41], s.GatewayMS[42], s.GatewayMS[43] = nil, nil, nil, nil
	return s
}

// states are pictures of all that a page can look like, by name.
func states() map[string]ops.Status {
	silent := func(in *ops.Input) {
		in.Parts.Gateway.State, in.Parts.Gateway.Advice = gateway.StateSilent, remedy.Silent(remedy.Link{Kind: remedy.LinkTunnel, Interface: "wireguard-to-somewhere-far-away"})
	}
	of := func(n int, changes ...func(in *ops.Input)) ops.Status {
		in := withPorts(n)
		for _, change := range changes {
			change(&in)
		}
		return ops.Assess(in)
	}
	return map[string]ops.Status{
		"empty": of(0, func(in *ops.Input) {
			in.Parts.Server.Received, in.Events, in.Series, in.Latency = 0, nil, ops.Series{Mappings: []int{}, GatewayMS: []*float64{}, RouterMS: []*float64{}}, nil
		}),
		"eight": of(8),
		"three": of(3),
		"203":   of(203),
		"5000":  of(5000),
		"starting": of(0, func(in *ops.Input) {
			in.Parts, in.Latency, in.Events = ops.Parts{}, nil, nil
			in.Series = ops.Series{Mappings: []int{}, GatewayMS: []*float64{}, RouterMS: []*float64{}}
		}),
		"gateway down": of(8, silent),
		"router down": of(8, func(in *ops.Input) {
			in.Parts.Router = router.Status{LastError: longError(), Version: "7.22 (stable)", Board: "hAP ax^3", InInterface: "wireguard-to-somewhere-far-away"}
		}),
		"two down":        of(8, silent, func(in *ops.Input) { in.Parts.Router = router.Status{LastError: longError()} }),
		"router degraded": of(8, func(in *ops.Input) { in.Latency[ops.HopRouter] = 1812 * time.Millisecond }),
		"two degraded": of(8, func(in *ops.Input) {
			in.About.ReadOnly, in.About.Instance = true, "the-doublenat-of-the-second-floor-and-of-the-attic"
			in.Parts.Gateway.LeaseError, in.Parts.Gateway.LeaseErrorAt = longError(), in.Now
		}),
	}
}

// look sets what the page is looked at in, without motion: what is measured stands still.
func (b *tab) look(scheme string, width int) {
	b.t.Helper()
	b.media(map[string]string{"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"})
	b.size(width, 800, 1)
}

// inAllStates calls do with the page in each state, in the order of their names.
func (b *tab) inAllStates(s *stage, do func(name string)) {
	b.t.Helper()
	all := states()
	for i, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		p.Version = fmt.Sprintf("v1.%d.0", i)
		s.show(p)
		b.wait(fmt.Sprintf(`document.querySelector("#about").textContent.startsWith(%q)`, p.Version))
		do(name)
	}
}

// Whatever the state, on each ground all can be read, nothing sticks out, and what is
// no text can be seen.
func TestPageInAllStates(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	s := newStage(t, picture())
	b.look("light", 1100)
	b.visit(s.url)
	b.inAllStates(s, func(name string) {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int{320, 400, 1100} {
				b.look(scheme, width)
				b.readable(fmt.Sprintf("%s, %s at %d", name, scheme, width), width)
			}
		}
	})
	if ground := b.eval(`getComputedStyle(document.body).backgroundColor`); ground != "rgb(15, 17, 19)" {
		t.Errorf("the dark ground is %v", ground)
	}
	b.clean(s.url)
}

// readable fails the test where something cannot be read, or sticks out.
func (b *tab) readable(where string, width int) {
	b.t.Helper()
	if wide := b.eval(`document.documentElement.scrollWidth`); wide != float64(width) {
		b.t.Errorf("%s: %v wide", where, wide)
	}
	if worst := b.eval(contrast); worst != "" {
		b.t.Errorf("%s: %v", where, worst)
	}
}

// What is old is not pale but says so, and can be read.
func TestStalePageIsReadable(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	s := newStage(t, states()["router degraded"])
	for _, scheme := range []string{"light", "dark"} {
		b.look(scheme, 1100)
		s.hush(false)
		b.visit(s.url)
		b.wait(`document.querySelectorAll("#rows tr").length === 8`)
		s.hush(true)
		b.eval(`window.leapt = 0`)
		b.leap(3 * time.Second)
		b.wait(`document.documentElement.classList.contains("stale")`)
		b.eval(`new Promise((done) => setTimeout(done, 500))`)
		b.readable("stale, "+scheme, 1100)
		said := fmt.Sprint(b.eval(`getComputedStyle(document.querySelector(".card h2"), "::after").content`))
		if !strings.Contains(said, "not current") {
			t.Errorf("%s: the cards say %s", scheme, said)
		}
	}
}

// One peak does not flatten the chart; what it shows is there in words.
func TestCharts(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	s := newStage(t, states()["eight"])
	b.visit(s.url)
	b.wait(`document.querySelectorAll("#rows tr").length === 8`)
	// The latency of this moment is one number, however often it is there.
	if hop, now := b.text(`[data-hop="gateway"] .ms`), b.text("#chart-latency .now"); hop != "21 ms" || now != "21 ms now" {
		t.Errorf("the gateway takes %q and %q", hop, now)
	}
	facts := b.text("#chart-latency .facts")
	for _, want := range []string{" ms", "lowest 13 ms", "highest 413 ms"} {
		if !strings.Contains(facts, want) {
			t.Errorf("the facts lack %q: %q", want, facts)
		}
	}
	if got := b.text("#chart-latency .axis"); !strings.Contains(got, "peaks are cut off") {
		t.Errorf("the axis does not say what is missing: %q", got)
	}
	if got := b.eval(`document.querySelector("#chart-latency svg").getAttribute("aria-label")`); !strings.Contains(fmt.Sprint(got), "lowest 13 ms, highest 413 ms") {
		t.Errorf("to a screen reader it is %v", got)
	}
	height := `(() => { const y = [...document.querySelector("#chart-latency .line").getAttribute("d").matchAll(/[ML][\d.]+ ([\d.]+)/g)].map((m) => +m[1]);
		y.sort((a, b) => a - b); return y[Math.floor(y.length * .9)] - y[Math.floor(y.length * .1)]; })()`
	if got, ok := b.eval(height).(float64); !ok || got < 15 {
		t.Errorf("the usual values take %v of 100", got)
	}
	// Without a peak nothing is cut off, and without data there is no empty chart.
	p := states()["eight"]
	for i, v := range p.Series.GatewayMS {
		if v != nil && *v > 100 {
			p.Series.GatewayMS[i] = nil
		}
	}
	s.show(p)
	b.wait(`document.querySelector("#chart-latency .axis").innerText.trim().split(/\s*\n\s*/).join() === "1 h ago,now"`)
	clear(p.Series.GatewayMS)
	s.show(p)
	b.wait(`!document.querySelector("#chart-latency").checkVisibility() && document.querySelector("#chart-ports").checkVisibility()`)
	s.show(states()["empty"])
	b.wait(`document.querySelectorAll(".chart").length === 2 && [...document.querySelectorAll(".chart")].every((c) => !c.closest("section").checkVisibility())`)
	b.clean(s.url)
}

// unfolded returns the text of an element with all that is folded in it.
func (b *tab) unfolded(selector string) string {
	b.t.Helper()
	b.eval(`window.folded = [...document.querySelectorAll("details:not([open])")]; folded.forEach((one) => { one.open = true; })`)
	defer b.eval(`folded.forEach((one) => { one.open = false; })`)
	return b.text(selector)
}

// A remedy is there once, its commands in blocks that can be copied, and the error of the
// program in no headline but once, and whole, under the details.
func TestRemedies(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	all := states()
	s := newStage(t, all["router down"])
	b.visit(s.url)
	b.wait(`document.querySelector("#verdict").dataset.state === "down"`)
	if got := b.text("#verdict"); strings.Contains(got, "dial tcp") || !strings.Contains(got, "Details") {
		t.Errorf("the headline has the error in it:\n%s", got)
	}
	for _, name := range []string{"router down", "two degraded", "gateway down", "two down"} {
		p := all[name]
		p.Version = name
		s.show(p)
		b.wait(fmt.Sprintf(`document.querySelector("#about").textContent.startsWith(%q)`, name))
		body := spaced(b.unfolded("body"))
		for _, h := range p.Hops {
			for _, text := range append([]string{h.Remedy, h.Error}, h.Commands...) {
				if got := strings.Count(body, spaced(text)); text != "" && got != 1 {
					t.Errorf("%s: %d times on the page: %q", name, got, text)
				}
			}
		}
		if want := name != "gateway down"; strings.Contains(body, longError().Error()) != want {
			t.Errorf("%s: the error is on the page: %v", name, !want)
		}
	}
	if got := b.eval(`[...document.querySelectorAll("#hops *")].filter((n) => n.scrollHeight > n.clientHeight + 1 && getComputedStyle(n).overflow === "hidden").length`); got != 0. {
		t.Errorf("%v texts are cut off", got)
	}
	s.show(all["gateway down"])
	b.wait(`document.querySelectorAll("#verdict .command").length === 1`)
	command := all["gateway down"].Verdict.Commands[0]
	if got := b.eval(`getComputedStyle(document.querySelector("#verdict .command code")).fontFamily`); !strings.Contains(fmt.Sprint(got), "mono") {
		t.Errorf("a command is set in %v", got)
	}
	b.eval(`Object.defineProperty(navigator, "clipboard", { value: { writeText: async (text) => { window.copied = text; } } }); document.querySelector("#verdict .copy").click()`)
	b.wait(fmt.Sprintf(`copied === %q`, command))
	// A word about the address does not stand over an address.
	if got := b.text(`[data-hop="address"]`); strings.Contains(got, "not known") || !strings.Contains(got, "last known: 185.107.56.213") {
		t.Errorf("the address is %q", got)
	}
	b.clean(s.url)
}

// counts is what a page holds in a browser.
type counts struct{ Nodes, JsEventListeners int }

// holds returns what the page holds once all is collected that can be, and the bytes
// of its JavaScript.
func (b *tab) holds() (c counts, bytes float64) {
	b.t.Helper()
	var use struct{ UsedSize float64 }
	b.do("HeapProfiler.collectGarbage", nil, nil)
	b.do("Memory.getDOMCounters", nil, &c)
	b.do("Runtime.getHeapUsage", nil, &use)
	return c, use.UsedSize
}

// A page that is fed hundreds of pictures, with ports that come and go, does not grow.
func TestPageDoesNotGrow(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("looks at a page for as long as it takes to see it grow")
	}
	b := newTab(t)
	s := newStage(t, picture())
	b.visit(s.url)
	b.wait(`document.querySelector("#live").textContent === "live"`)
	all := states()
	names := slices.Sorted(maps.Keys(all))
	id := uint64(0)
	feed := func(n int) {
		for i := range n {
			p := all[names[i%len(names)]]
			p.Mappings = p.Mappings[:min(len(p.Mappings), 60)]
			p.Events = nil
			id++
			for e := range uint64(min(50, int(id))) {
				p.Events = append(p.Events, ops.Event{ID: id - e, Time: p.Time, Kind: "created", Text: fmt.Sprintf("event %d", id-e)})
			}
			p.Started, p.Version = time.Time{}, fmt.Sprintf("v1.0.%d", id)
			s.show(p)
			if i%8 == 7 || i == n-1 { // the stage holds 16
				b.wait(fmt.Sprintf(`document.querySelector("#about").textContent.startsWith("%s,")`, p.Version))
			}
		}
	}
	feed(200)
	nodes, bytes := b.holds()
	feed(600)
	after, bytesAfter := b.holds()
	if after.Nodes > nodes.Nodes+nodes.Nodes/10 || after.JsEventListeners > nodes.JsEventListeners+10 {
		t.Errorf("after 600 more pictures: %+v, before: %+v", after, nodes)
	}
	if grown := bytesAfter - bytes; grown > 1<<20 {
		t.Errorf("600 pictures left %.0f kB", grown/1024)
	}
	if got := b.eval(`document.querySelectorAll("#events li").length`); got != 50. {
		t.Errorf("%v events", got)
	}
	b.clean(s.url)
}

// What a host of the LAN calls its mapping is shown as text, whatever it is: it runs nothing,
// moves nothing, and does not stick out.
func TestPageShowsForeignDescriptions(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	in := fine()
	for i, text := range hostileTexts() {
		in.Parts.Mappings = append(in.Parts.Mappings, nat.Mapping{
			Key: nat.Key{Client: alice, Protocol: nat.TCP, InternalPort: uint16(i + 1)}, ExternalPort: 40000, By: nat.IGD, Description: text, LeaseUntil: noon().Add(time.Hour),
		})
	}
	p := ops.Assess(in)
	p.Series = ops.Series{Mappings: []int{}, GatewayMS: []*float64{}, RouterMS: []*float64{}}
	s := newStage(t, p)
	for _, width := range []int{320, 1100} {
		b.size(width, 800, 1)
		b.visit(s.url)
		b.wait(fmt.Sprintf(`document.querySelectorAll("#rows tr").length === %d`, len(p.Mappings)))
		b.readable(fmt.Sprintf("descriptions at %d", width), width)
		for i, m := range p.Mappings {
			if got := b.eval(fmt.Sprintf(`document.querySelectorAll("#rows tr")[%d].querySelector(".description").textContent`, i)); got != m.Description {
				t.Errorf("%q is shown as %q", m.Description, got)
			}
		}
		if got := b.text("#rows tr .by"); got != "UPnP" {
			t.Errorf("by %q", got)
		}
		if made := b.eval(`document.querySelectorAll("#rows img, #rows script, #rows b").length`); made != 0.0 {
			t.Errorf("%v elements were made of text", made)
		}
		if title, ok := b.eval(`document.title`).(string); !ok || strings.Contains(title, "owned") {
			t.Errorf("title %q", title)
		}
		if flips := b.eval(`[...document.querySelectorAll("#rows tr .client")].every((c) => c.textContent.startsWith("192.168.88.10:"))`); flips != true {
			t.Error("a description moved its neighbor")
		}
		// A long one takes a few lines, not a screen.
		if high, ok := b.eval(`Math.max(...[...document.querySelectorAll("#rows .description")].map((d) => d.offsetHeight))`).(float64); !ok || high > 260 {
			t.Errorf("a description is %v pixels high", high)
		}
	}
	b.clean(s.url)
}
