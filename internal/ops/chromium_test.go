package ops_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a headless Chromium, driven over the DevTools protocol by a pipe
// (chromium --remote-debugging-pipe): messages of JSON with a zero byte after each. One
// serves all tests: to start one takes longer than most of them.
type browser struct {
	cmd  *exec.Cmd
	home string
	out  *os.File
	// turn is held by who writes a message.
	turn    sync.Mutex
	reading sync.WaitGroup

	mu      sync.Mutex // guards what follows
	last    int
	waiting map[int]chan answer
	tabs    map[string]*tab // by session
	ended   error
}

// shared is the browser of all tests, started by the first that needs it, and ended in TestMain.
var shared struct {
	sync.Mutex

	browser *browser
}

// tab is a page in the browser, with cookies, cache and settings of its own.
type tab struct {
	*browser

	t       *testing.T
	session string
	// console has errors and warnings of the page, requests the URLs that it asked for. They
	// are guarded by the browser's mu.
	console, requests []string
}

// answer is the reply to a command.
type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// chromium returns the path of a browser. Where there is none the test is skipped,
// but not in CI.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" { //nolint:forbidigo // CI is what must not skip
		t.Fatal("chromium is not installed (apt-get install chromium)")
	}
	t.Skip("chromium is not installed (apt-get install chromium)")
	return ""
}

// newTab opens an empty page, until the test ends.
func newTab(t *testing.T) *tab {
	t.Helper()
	path := chromium(t)
	shared.Lock()
	if shared.browser == nil {
		b, err := startBrowser(path)
		if err != nil {
			shared.Unlock()
			t.Fatal(err)
		}
		shared.browser = b
	}
	b := shared.browser
	shared.Unlock()

	p := &tab{browser: b, t: t}
	var own struct{ BrowserContextID string }
	p.do("Target.createBrowserContext", nil, &own)
	var target struct{ TargetID string }
	p.do("Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": own.BrowserContextID}, &target)
	var attached struct{ SessionID string }
	p.do("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.mu.Lock()
	p.session = attached.SessionID
	b.tabs[p.session] = p
	b.mu.Unlock()
	t.Cleanup(func() {
		b.mu.Lock()
		delete(b.tabs, p.session)
		b.mu.Unlock()
		_ = b.try("", "Target.disposeBrowserContext", own, nil) // with the page in it
	})
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		p.do(domain+".enable", nil, nil)
	}
	return p
}

// startBrowser starts a browser without a page.
func startBrowser(path string) (*browser, error) {
	home, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return nil, err
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
		"--disable-default-apps", "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en-US", "--remote-debugging-pipe",
		"--user-data-dir="+home)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8") //nolint:forbidigo // a browser needs an environment
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_, _ = theirIn.Close(), theirOut.Close()
	b := &browser{cmd: cmd, home: home, out: ourOut, waiting: make(map[int]chan answer), tabs: make(map[string]*tab)}
	b.reading.Go(func() { b.read(ourIn) })
	return b, nil
}

// close ends the browser.
func (b *browser) close() {
	_ = b.out.Close() // the browser ends when its pipe does
	kill := time.AfterFunc(10*time.Second, func() { _ = b.cmd.Process.Kill() })
	defer kill.Stop()
	_ = b.cmd.Wait() // by a signal, perhaps
	b.reading.Wait()
	_ = os.RemoveAll(b.home)
}

// read takes in what the browser says, until its pipe ends.
func (b *browser) read(from *os.File) {
	defer from.Close()
	in := bufio.NewReaderSize(from, 1<<20)
	for {
		message, err := in.ReadBytes(0)
		if err != nil {
			b.end(err)
			return
		}
		b.take(bytes.TrimSuffix(message, []byte{0}))
	}
}

// end lets go who waits for a reply that does not come any more.
func (b *browser) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = err
	for id, c := range b.waiting {
		delete(b.waiting, id)
		close(c)
	}
}

// take takes in one message.
func (b *browser) take(message []byte) {
	var m struct {
		ID        int
		SessionID string
		Method    string
		Params    struct {
			Type             string
			Args             []struct{ Value, Description any }
			Entry            struct{ Level, Text, URL string }
			ExceptionDetails struct {
				Text      string
				Exception struct{ Description string }
			}
			Request struct{ URL string }
		}
		answer
	}
	if err := json.Unmarshal(message, &m); err != nil {
		return // of a shape that nobody here asked for
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.waiting[m.ID]; c != nil && m.Method == "" {
		delete(b.waiting, m.ID)
		c <- m.answer
	}
	p := b.tabs[m.SessionID]
	if p == nil {
		return
	}
	switch m.Method {
	case "Runtime.consoleAPICalled":
		if m.Params.Type == "error" || m.Params.Type == "warning" {
			p.console = append(p.console, fmt.Sprint(m.Params.Args))
		}
	case "Runtime.exceptionThrown":
		p.console = append(p.console, m.Params.ExceptionDetails.Text+" "+m.Params.ExceptionDetails.Exception.Description)
	case "Log.entryAdded":
		if m.Params.Entry.Level == "error" || m.Params.Entry.Level == "warning" {
			p.console = append(p.console, m.Params.Entry.Text+" "+m.Params.Entry.URL)
		}
	case "Network.requestWillBeSent":
		p.requests = append(p.requests, m.Params.Request.URL)
	}
}

// do sends a command and reads its result into out, unless that is nil.
func (b *tab) do(method string, params, out any) {
	b.t.Helper()
	if err := b.try(b.session, method, params, out); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

// try sends a command to a page or, without a session, to the browser.
func (b *browser) try(session, method string, params, out any) error {
	b.mu.Lock()
	if b.ended != nil {
		b.mu.Unlock()
		return fmt.Errorf("the browser is gone: %w", b.ended)
	}
	b.last++
	id, reply := b.last, make(chan answer, 1)
	b.waiting[id] = reply
	b.mu.Unlock()

	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if session != "" {
		message["sessionId"] = session
	}
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	b.turn.Lock()
	_, err = b.out.Write(append(data, 0))
	b.turn.Unlock()
	if err != nil {
		return err
	}
	a, ok := <-reply
	switch {
	case !ok:
		return errors.New("the browser is gone")
	case a.Error != nil:
		return errors.New(a.Error.Message)
	case out == nil:
		return nil
	default:
		return json.Unmarshal(a.Result, out)
	}
}

// visit opens a page and waits until it is loaded.
func (b *tab) visit(url string) {
	b.t.Helper()
	b.do("Page.navigate", map[string]any{"url": url}, nil)
	b.wait(`document.readyState === "complete" && location.href !== "about:blank"`)
}

// eval returns the value of an expression in the page, a promise's if it is one.
func (b *tab) eval(expression string) any {
	b.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.do("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails.Exception.Description)
	}
	return got.Result.Value
}

// text returns what the page shows of the first element that the selector finds.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return fmt.Sprint(b.eval(fmt.Sprintf(`document.querySelector(%q)?.innerText ?? "(nothing at " + %q + ")"`, selector, selector)))
}

// wait waits until a condition in the page is true, 20 seconds at most.
func (b *tab) wait(condition string) {
	b.t.Helper()
	// A document that is replaced meanwhile ends the evaluation: then it begins anew.
	for range 5 {
		var got struct{ Result struct{ Value any } }
		err := b.try(b.session, "Runtime.evaluate", map[string]any{"awaitPromise": true, "returnByValue": true, "expression": fmt.Sprintf(`new Promise((done) => {
			const until = performance.now() + 20000;
			const look = () => { try { if (%s) return done(true); } catch {} if (performance.now() > until) return done(false); setTimeout(look, 25); };
			look();
		})`, condition)}, &got)
		if err != nil {
			continue
		}
		if got.Result.Value != true {
			b.t.Fatalf("never became true: %s\npage:\n%s", condition, b.eval("document.body.innerText"))
		}
		return
	}
	b.t.Fatalf("cannot be found out: %s", condition)
}

// poll waits until the text of an expression has want in it, 10 seconds at most. It
// does so from outside, for a page without scripts.
func (b *tab) poll(expression, want string) {
	b.t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	var got struct{ Result struct{ Value any } }
	for range 400 {
		err := b.try(b.session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &got)
		if err == nil && strings.Contains(fmt.Sprint(got.Result.Value), want) {
			return
		}
		<-tick.C
	}
	b.t.Fatalf("never had %q in it: %v", want, got.Result.Value)
}

// key presses a key.
func (b *tab) key(name string) {
	b.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13}
	down := map[string]any{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": codes[name]}
	if name == "Enter" {
		down["text"] = "\r"
	}
	b.do("Input.dispatchKeyEvent", down, nil)
	b.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": name, "code": name, "windowsVirtualKeyCode": codes[name]}, nil)
}

// size sets the size of the window in CSS pixels.
func (b *tab) size(width, height int, scale float64) {
	b.t.Helper()
	b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": scale, "mobile": false}, nil)
}

// media sets what the user prefers, by the names of media features.
func (b *tab) media(wishes map[string]string) {
	b.t.Helper()
	var features []map[string]string
	for name, value := range wishes {
		features = append(features, map[string]string{"name": name, "value": value})
	}
	b.do("Emulation.setEmulatedMedia", map[string]any{"features": features}, nil)
}

// screenshot returns the whole page as PNG.
func (b *tab) screenshot() []byte {
	b.t.Helper()
	var shot struct{ Data string }
	b.do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	return png
}

// clean fails the test if the page complained, or asked another host than its own.
func (b *tab) clean(origin string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.console) > 0 {
		b.t.Errorf("the page complains:\n%s", strings.Join(b.console, "\n"))
	}
	others := slices.DeleteFunc(slices.Clone(b.requests), func(url string) bool {
		return strings.HasPrefix(url, origin) || url == "about:blank"
	})
	if len(others) > 0 || len(b.requests) == 0 {
		b.t.Errorf("requests %q, all have to go to %s", b.requests, origin)
	}
}
