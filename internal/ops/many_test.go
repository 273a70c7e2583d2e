package ops_test

import (
	"fmt"
	"maps"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"doublenat/internal/ops"
)

// number returns what is a number in the page.
func (b *tab) number(expression string) float64 {
	b.t.Helper()
	n, ok := b.eval(expression).(float64)
	if !ok {
		b.t.Fatalf("no number: %s", expression)
	}
	return n
}

// lines is how many lines of the table there are.
const lines = `document.querySelectorAll("#rows tr").length`

// However many ports are open, the page has a few lines of them and is a few screens high; they
// can be found, sorted and unfolded with the keyboard.
func TestPageWithManyPorts(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	s := newStage(t, states()["203"])
	for width, most := range map[int]float64{1100: 1800, 400: 3600} {
		b.look("light", width)
		b.visit(s.url)
		b.wait(lines + ` === 20`)
		if high := b.number(`document.documentElement.scrollHeight`); high > most {
			t.Errorf("%v pixels high at %d", high, width)
		}
	}
	if got := b.text("#count"); got != "178 from 68 clients" {
		t.Errorf("counted are %q", got)
	}
	b.unfold()
	b.find(s)
	b.sort()
	b.clean(s.url)
}

// unfold unfolds the first client, and shows all clients.
func (b *tab) unfold() {
	b.t.Helper()
	head := `document.querySelector("#rows .fold")`
	if got := b.text("#rows tr"); !strings.Contains(got, "192.168.88.10") || !strings.Contains(got, "3 ports") || !strings.Contains(got, "36000, 36971, 37942") {
		b.t.Errorf("a client is %q", got)
	}
	b.eval(head + `.focus()`)
	b.key("Enter")
	b.wait(lines + ` === 23 && ` + head + `.getAttribute("aria-expanded") === "true" && document.activeElement === ` + head)
	if got := b.text("#rows tr:nth-child(2)"); !strings.Contains(got, "185.107.56.213:36000") {
		b.t.Errorf("its first port is %q", got)
	}
	b.key("Enter")
	b.wait(lines + ` === 20 && ` + head + `.getAttribute("aria-expanded") === "false"`)
	if got := b.text("#more"); got != "Show 48 more" {
		b.t.Errorf("the rest is %q", got)
	}
	b.eval(`document.querySelector("#more").click()`)
	b.wait(lines + ` === 68 && !document.querySelector("#more").checkVisibility()`)
}

// find looks for ports. What comes meanwhile takes neither the words nor the focus away.
func (b *tab) find(s *stage) {
	b.t.Helper()
	b.eval(`document.querySelector("#filter").focus()`)
	b.do("Input.insertText", map[string]any{"text": "88.11: TCP"}, nil)
	b.wait(lines + ` === 3 && document.querySelector("#count").textContent === "3 of 203"`)
	b.wait(`document.querySelector("#said").textContent === "Open ports: 3 of 203"`)
	p := states()["203"]
	p.Version = "another"
	s.show(p)
	b.wait(`document.querySelector("#about").textContent.startsWith("another")`)
	if got := b.eval(`document.activeElement.id + ": " + document.activeElement.value`); got != "filter: 88.11: TCP" {
		b.t.Errorf("the reader is at %q", got)
	}
	if got := b.eval(lines); got != 3. {
		b.t.Errorf("then there are %v lines", got)
	}
	b.eval(`document.activeElement.select()`)
	b.do("Input.insertText", map[string]any{"text": "nothing like that"}, nil)
	b.wait(lines + ` === 0 && document.querySelector("#count").textContent === "0 of 203"`)
	b.eval(`document.activeElement.value = ""; document.activeElement.dispatchEvent(new Event("input"))`)
	b.wait(lines + ` === 20`)
}

// sort sorts the rows in each order, and says so in the head of the table.
func (b *tab) sort() {
	b.t.Helper()
	for order, row := range map[string]string{"port": ":36000", "packets": ":", "newest": ":"} {
		b.eval(fmt.Sprintf(`{ const sort = document.querySelector("#sort"); sort.value = %q; sort.dispatchEvent(new Event("change")); }`, order))
		b.wait(`document.querySelectorAll("#rows .port-row").length === 20`)
		if got := b.text("#rows tr .address"); !strings.Contains(got, row) {
			b.t.Errorf("by %s the first is %q", order, got)
		}
		want := map[string]string{"port": "ascending", "packets": "descending", "newest": "null"}[order]
		if got := fmt.Sprint(b.eval(fmt.Sprintf(`document.querySelector('#head [data-order=%q]')?.getAttribute("aria-sort") ?? "null"`, order))); got != want {
			b.t.Errorf("by %s the head says %s", order, got)
		}
	}
	sorted := b.eval(`(() => { const sort = document.querySelector("#sort"); sort.value = "packets"; sort.dispatchEvent(new Event("change"));
		const all = [...document.querySelectorAll("#rows .packets")].map((n) => Number(n.textContent.replaceAll(",", "")));
		return all.every((n, i) => i === 0 || all[i - 1] >= n); })()`)
	if sorted != true {
		b.t.Error("by packets they are out of order")
	}
}

// With 5,000 ports the page is there soon, holds little, and a new picture touches what differs
// in the lines that are shown and no more.
func TestPageWithThousandsOfPorts(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	p := states()["5000"]
	s := newStage(t, p)
	b.visit(s.url)
	b.wait(lines + ` === 20`)
	first := b.number(`performance.getEntriesByType("paint").find((e) => e.name === "first-contentful-paint").startTime`)
	rows := b.number(`performance.getEntriesByName("ports shown")[0].startTime`)
	held, bytes := b.holds()
	t.Logf("first paint after %.0f ms, the ports after %.0f ms; %d nodes, %.1f MB of JavaScript", first, rows, held.Nodes, bytes/1e6)
	if held.Nodes > 4000 || bytes > 16e6 {
		t.Errorf("the page holds %d nodes and %.1f MB", held.Nodes, bytes/1e6)
	}
	b.eval(`document.querySelector("#rows .fold").click(); window.touched = 0;
		new MutationObserver((all) => { touched += all.length; }).observe(document.querySelector("#rows"), { subtree: true, childList: true, characterData: true })`)
	p.Version = "another"
	p.Mappings = slices.Clone(p.Mappings)
	for i := range p.Mappings {
		p.Mappings[i].LeaseEnds, p.Mappings[i].Packets = p.Mappings[i].LeaseEnds.Add(time.Hour), p.Mappings[i].Packets+1
	}
	s.show(p)
	b.wait(`document.querySelector("#about").textContent.startsWith("another")`)
	if got := b.number(`touched`); got < 20 || got > 200 {
		t.Errorf("a picture touches %v times what is in the table", got)
	}
	b.clean(s.url)
}

// A port that appears moves nothing at a stroke: the columns keep their widths, and what is
// below it glides to its place. Chromium measures no shift of the layout, of which a tenth
// counts as good. It takes for one that a glide goes on from where another was, which happens here
// on a machine so slow that the page gives the daemon up for a moment: that one is not counted.
func TestPortsAppearWithoutShift(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	all := map[int]ops.Status{}
	for _, n := range []int{1, 3, 4, 20, 21, 22} {
		all[n] = ops.Assess(withPorts(n))
	}
	s := newStage(t, all[1])
	for _, width := range []int{1100, 400} {
		b.size(width, 2400, 1)
		s.show(all[1])
		b.visit(s.url)
		b.wait(lines + ` === 1`)
		b.eval(`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))`)
		b.eval(`window.shifts = []; window.cut = [-Infinity];
			Animation.prototype.cancel = new Proxy(Animation.prototype.cancel, { apply(cancel, one) { cut.push(performance.now()); cancel.call(one); } });
			new PerformanceObserver((list) => shifts.push(...list.getEntries().filter((e) => e.startTime - cut.at(-1) > 500)
				.map((e) => e.value + " " + e.sources.map((s) => s.node?.className).join())))
				.observe({ type: "layout-shift" })`)
		columns := b.eval(`[...document.querySelectorAll("#head th")].map((n) => n.offsetWidth).join()`)
		for i, n := range slices.Sorted(maps.Keys(all)) {
			p := all[n]
			p.Version, p.Verdict, p.Hops, p.Events = fmt.Sprintf("v%d.%d", width, i), all[3].Verdict, all[3].Hops, all[3].Events
			s.show(p)
			b.wait(fmt.Sprintf(`document.querySelector("#about").textContent.startsWith(%q)`, p.Version))
			b.wait(`!document.getAnimations().some((a) => a.id === "glide")`)
		}
		// A digit more moves the word behind it.
		if got := b.number(`shifts.reduce((sum, shift) => sum + parseFloat(shift), 0)`); got > .01 {
			t.Errorf("at %d it jumps by %v:\n%v", width, got, b.eval(`shifts.join("\n")`))
		}
		if got := b.eval(`[...document.querySelectorAll("#head th")].map((n) => n.offsetWidth).join()`); got != columns {
			t.Errorf("at %d the columns were %v wide and are %v", width, columns, got)
		}
	}
	b.clean(s.url)
}

// Behind a proxy that has the page under a path all of it is found.
func TestPageUnderPath(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	s := newStage(t, states()["three"])
	behind, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		path, under := strings.CutPrefix(r.In.URL.Path, "/doublenat/")
		if !under {
			path = "not/below/the/path"
		}
		r.SetURL(behind)
		r.Out.URL.Path = "/" + path
	}})
	t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
	})
	b.visit(proxy.URL + "/doublenat/")
	b.wait(lines + ` === 3 && document.querySelector("#live").textContent === "live"`)
	if got := b.eval(`getComputedStyle(document.body).maxWidth`); got == "none" {
		t.Error("the page is without its style")
	}
	if got := b.eval(`document.querySelector(".brand img").naturalWidth > 0`); got != true {
		t.Error("the page is without its icon")
	}
	for _, path := range []string{"api/v1/status", "metrics", "readyz", "status.txt"} {
		if got := b.eval(fmt.Sprintf(`[...document.querySelectorAll(".foot a")].some((a) => a.href === %q)`, proxy.URL+"/doublenat/"+path)); got != true {
			t.Errorf("no link leads to %s below the path", path)
		}
	}
	b.clean(proxy.URL + "/doublenat/")
}

// A daemon that starts again has no port for a moment. What the reader unfolded stays so.
func TestPortsStayUnfoldedOverRestart(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	s := newStage(t, ops.Assess(withPorts(203)))
	b.visit(s.url)
	b.wait(lines + ` === 20`)
	b.eval(`document.querySelector("#rows .fold").click()`)
	b.wait(lines + ` === 23`)
	s.show(ops.Assess(withPorts(0)))
	b.wait(lines + ` === 0`)
	s.show(ops.Assess(withPorts(203)))
	b.wait(lines + ` > 0`)
	if got := b.number(lines); got != 23 {
		t.Errorf("%v lines, want 23", got)
	}
	b.clean(s.url)
}
