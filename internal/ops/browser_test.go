package ops_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// site is the real daemon on a bench in real time, with its page on a socket of this
// host: a browser does not live in virtual time.
type site struct {
	*lab.Bench

	t   *testing.T
	url string
}

// newSite starts a daemon whose leases last for as long as said.
func newSite(t *testing.T, lease time.Duration) *site {
	t.Helper()
	chromium(t) // without one there is nothing to do
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	b, err := lab.NewBench(lab.BenchConfig{
		Profile: natpmptest.Short(lease),
		Environ: map[string]string{"HTTP_ADDR": ":8080"},
		Options: func(o *daemon.Options) {
			o.Version = "v1.2.3"
			o.OnReady = func() { close(ready) }
			o.Network.ListenHTTP = func(context.Context, config.ListenAddress) (net.Listener, error) { return l, nil }
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Logf("closing: %v", err) // a router that is away is not cleaned up
		}
	})
	if err := b.Start(nil); err != nil {
		t.Fatal(err)
	}
	<-ready
	return &site{Bench: b, t: t, url: "http://" + l.Addr().String()}
}

// mapped asks for a mapping of alice's.
func (s *site) mapped(op natpmp.Opcode, port uint16) natpmp.Response {
	s.t.Helper()
	resp, err := s.Request(alice, natpmp.Request{Opcode: op, InternalPort: port, Lifetime: 3600})
	if err != nil || resp.Result != natpmp.ResultSuccess {
		s.t.Fatalf("%+v, %v", resp, err)
	}
	return resp
}

// The page shows a mapping as it appears, its lease as it runs down, and a router
// that goes away, without being loaded again.
func TestPageIsLive(t *testing.T) {
	t.Parallel()
	s := newSite(t, 5*time.Second)
	b := newTab(t)
	b.visit(s.url)
	b.wait(`document.querySelector("#verdict").dataset.state === "ok"`)
	b.wait(`document.querySelector("#live").textContent === "live"`)
	if got := b.text("#title"); got != "Ready, no port is open yet" {
		t.Errorf("headline %q", got)
	}
	if got := b.text("#none"); !strings.HasPrefix(got, "No port is open.") {
		t.Errorf("instead of the table: %q", got)
	}
	for _, hop := range []string{"LAN", "Router", "Gateway", "Public address\n\nconfirmed\n\n5.6.7.8"} {
		if got := b.text("#hops"); !strings.Contains(got, hop) {
			t.Errorf("hops lack %q:\n%s", hop, got)
		}
	}
	b.eval(`window.witness = "not loaded again"`)

	tcp := s.mapped(natpmp.OpMapTCP, 6881)
	b.wait(`document.querySelectorAll("#rows tr").length === 1`)
	row := b.text("#rows tr")
	for _, want := range []string{"5.6.7.8:" + itoa(tcp.ExternalPort), "TCP", "192.168.88.10:6881", "in "} {
		if !strings.Contains(row, want) {
			t.Errorf("the row lacks %q:\n%s", want, row)
		}
	}
	b.wait(`document.querySelector("#title").textContent === "1 port is open" && document.title.startsWith("1 port is open")`)
	b.eval(`window.part = () => Number(getComputedStyle(document.querySelector(".track i")).getPropertyValue("--part"))`)
	b.eval(`window.first = part()`)
	if first, ok := b.eval(`first`).(float64); !ok || first < .5 || first > 1 {
		t.Errorf("the bar begins at %v", first)
	}
	b.wait(`part() < first - .2`)
	b.wait(`document.querySelectorAll("#rows tr").length === 0`) // nobody renewed

	s.mapped(natpmp.OpMapUDP, 27015)
	s.Router.Reboot(routerostest.Reboot{Down: time.Hour, Cut: true})
	b.wait(`document.querySelector("#verdict").dataset.state === "down"`)
	b.wait(`document.querySelector('[data-hop="router"]').dataset.state === "down"`)
	if got := b.text("#title"); got != "Router: not reachable" {
		t.Errorf("headline %q", got)
	}
	// The loss itself does not say why; the next attempt to connect does.
	b.wait(`document.querySelector("#remedy").textContent.includes("/ip service enable api")`)
	b.wait(`document.querySelector("#events li").innerText.includes("Router: not reachable")`)
	if got := b.eval(`window.witness`); got != "not loaded again" {
		t.Errorf("the page was loaded again: %v", got)
	}
	b.clean(s.url)
}

// contrast names the text of the page with less contrast to its ground than 4.5 to 1
// (WCAG 2.2, 1.4.3), and the borders and marks with less than 3 to 1 (1.4.11), "" if
// there are none. What opacity does to a color is taken in.
const contrast = `(() => {
	const channels = (color) => (color.match(/[\d.]+/g) || []).map(Number);
	const light = (color) => color.slice(0, 3).map((c) => c / 255).map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
	const ground = (node) => {
		for (let n = node; n; n = n.parentElement) {
			const c = channels(getComputedStyle(n).backgroundColor);
			if (c.length === 3 || c[3] > 0) return c;
		}
		return [255, 255, 255];
	};
	const faded = (node) => {
		let part = 1;
		for (let n = node; n; n = n.parentElement) part *= Number(getComputedStyle(n).opacity);
		return part;
	};
	const ratio = (node, color, under) => {
		const [over, part] = [channels(color), faded(node)];
		const [a, b] = [light(over.map((c, i) => c * part + under[i] * (1 - part))), light(under)].sort((x, y) => y - x);
		return (a + .05) / (b + .05);
	};
	const marks = [[".track", "borderTopColor"], [".hop .dot", "borderTopColor"], [".chart .line", "stroke"], [".copy", "color"]];
	for (const [selector, property] of marks) {
		for (const node of document.querySelectorAll(selector)) {
			if (!node.checkVisibility()) continue;
			const r = ratio(node, getComputedStyle(node)[property], ground(node.parentElement));
			if (r < 3) return r.toFixed(2) + " to 1: " + selector;
		}
	}
	for (const node of document.querySelectorAll("body *")) {
		const own = [...node.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
		if (!own || !node.checkVisibility() || node.closest("noscript, tr.fresh")) continue;
		const r = ratio(node, getComputedStyle(node).color, ground(node));
		if (r < 4.5) return r.toFixed(2) + " to 1: " + node.textContent.trim();
	}
	return "";
})()`

// All that the page offers can be reached and used with the keyboard, and has a name.
func TestPageByKeyboard(t *testing.T) {
	t.Parallel()
	s := newSite(t, time.Minute)
	tcp := s.mapped(natpmp.OpMapTCP, 6881)
	b := newTab(t)
	b.visit(s.url)
	b.wait(`document.querySelectorAll("#rows tr").length === 1`)
	b.eval(`window.copied = null; document.addEventListener("copy", () => { copied = getSelection().toString() || document.activeElement.value; });
		Object.defineProperty(navigator, "clipboard", { value: { writeText: async (text) => { copied = text; } } })`)
	b.key("Tab")
	if got := b.eval(`document.activeElement.textContent`); got != "Skip to the open ports" {
		t.Errorf("the first stop is %v", got)
	}
	b.key("Enter")
	b.wait(`document.activeElement.id === "ports"`)
	b.key("Tab")
	public := "5.6.7.8:" + itoa(tcp.ExternalPort)
	if got := b.eval(`document.activeElement.getAttribute("aria-label")`); got != "Copy "+public {
		t.Fatalf("the next stop is %v", got)
	}
	if got := b.eval(`getComputedStyle(document.activeElement).outlineStyle`); got != "solid" {
		t.Errorf("where the focus is cannot be seen: outline %v", got)
	}
	b.key("Enter")
	b.wait(`document.activeElement.getAttribute("aria-label").startsWith("Copied")`)
	if got := b.eval(`copied`); got != public {
		t.Errorf("copied %v, want %s", got, public)
	}
	if got := b.eval(`document.querySelector("#said[role=status]").textContent`); got != "Copied "+public {
		t.Errorf("a screen reader says %q", got)
	}
	// A new picture must not take the focus away.
	s.mapped(natpmp.OpMapUDP, 6881)
	b.wait(`document.querySelectorAll("#rows tr").length === 2`)
	if got := b.eval(`document.activeElement.className`); !strings.Contains(fmt.Sprint(got), "copy") {
		t.Errorf("the focus went to %v", got)
	}
	// What scrolls can be reached and has a name; lists stay lists without their dots.
	for range 2 { // the other button, in whatever order the rows are
		b.key("Tab")
		if b.eval(`document.activeElement.id`) == "events-box" {
			break
		}
	}
	if got := b.eval(`document.activeElement.id + " " + document.activeElement.getAttribute("aria-labelledby")`); got != "events-box events-title" {
		t.Errorf("after the buttons comes %v", got)
	}
	plain := b.eval(`[...document.querySelectorAll("ol, ul")].filter((n) => getComputedStyle(n).listStyleType === "none" && n.getAttribute("role") !== "list").map((n) => n.id).join()`)
	if plain != "" {
		t.Errorf("no lists any more to some screen readers: %v", plain)
	}
	nameless := b.eval(`[...document.querySelectorAll("a, button, svg[role=img], table, section, nav, main, [role=region]")].filter((n) =>
		n.checkVisibility() && !n.getAttribute("aria-label") && !n.getAttribute("aria-labelledby") && !n.textContent.trim()).map((n) => n.outerHTML).join("\n")`)
	if nameless != "" {
		t.Errorf("nameless to a screen reader:\n%v", nameless)
	}
	if got := b.eval(`document.querySelector("#verdict :has(> #title)").getAttribute("aria-live") + document.querySelectorAll("h1").length + document.documentElement.lang`); got != "polite1en" {
		t.Errorf("landmarks: %v", got)
	}
	b.clean(s.url)
}

// Without JavaScript the page says where the same is as a table.
func TestPageWithoutScript(t *testing.T) {
	t.Parallel()
	s := newSite(t, time.Minute)
	tcp := s.mapped(natpmp.OpMapTCP, 6881)
	b := newTab(t)
	b.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	// The table first: it names no icon, and a browser then looks for one by itself.
	b.do("Page.navigate", map[string]any{"url": s.url + "/status.txt"}, nil)
	b.poll(`document.body?.innerText ?? ""`, "5.6.7.8:"+itoa(tcp.ExternalPort))
	b.do("Page.navigate", map[string]any{"url": s.url + "/"}, nil)
	b.poll(`document.body?.innerText ?? ""`, "status.txt")
	b.poll(`document.readyState`, "complete")
	text := b.text("body")
	for _, dead := range []string{"onnecting", "Open ports", "Last events", "Skip to", "latency"} {
		if strings.Contains(text, dead) {
			t.Errorf("the page shows %q, which stays so for ever:\n%s", dead, text)
		}
	}
	b.clean(s.url)
}

// When the daemon goes away the page does not show what it was as what is.
func TestPageLosesDoublenat(t *testing.T) {
	t.Parallel()
	s := newSite(t, time.Minute)
	s.mapped(natpmp.OpMapTCP, 6881)
	b := newTab(t)
	b.visit(s.url)
	b.wait(`document.querySelector("#verdict").dataset.state === "ok"`)
	b.eval(`window.lost = 0; new MutationObserver(() => { lost ||= performance.now(); }).observe(document.querySelector("#live"), { childList: true });
		window.said = 0; new MutationObserver(() => { said ||= performance.now(); }).observe(document.documentElement, { attributeFilter: ["class"] })`)
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	b.wait(`document.querySelector("#title").textContent === "No connection to doublenat" && document.documentElement.classList.contains("stale")`)
	// Three seconds at most, and some for a slow machine.
	if took := b.number(`said - lost`); took > 5000 {
		t.Errorf("it says so after %v ms", took)
	}
	if got := b.text("#detail"); !strings.HasPrefix(got, "What you see is of ") {
		t.Errorf("detail %q", got)
	}
}

// itoa returns a port in digits.
func itoa(port uint16) string { return strconv.Itoa(int(port)) }
