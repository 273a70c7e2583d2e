package ops_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"doublenat/internal/ops"
)

// stage serves the real page, and pictures that the test makes. It says nothing else:
// on a stage a connection is silent until the next picture.
type stage struct {
	t   *testing.T
	url string

	mu      sync.Mutex // guards what follows
	last    []byte
	streams map[chan []byte]struct{}
	opened  int
	mute    bool
}

// newStage starts a stage with its first picture.
func newStage(t *testing.T, first ops.Status) *stage {
	t.Helper()
	s := &stage{t: t, streams: make(map[chan []byte]struct{})}
	s.show(first)
	mux := http.NewServeMux()
	mux.Handle("/", handler(t))
	mux.HandleFunc(ops.PathEvents, s.serve)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.url = server.URL
	return s
}

// show sends a picture to the pages that are open, and to those that come later.
func (s *stage) show(picture ops.Status) {
	s.t.Helper()
	data, err := json.Marshal(picture)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = append(append([]byte("event: status\ndata: "), data...), "\n\n"...)
	for c := range s.streams {
		c <- s.last
	}
}

// hush keeps pictures from those that come later, or no longer.
func (s *stage) hush(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = mute
}

// visits is how many streams were opened so far.
func (s *stage) visits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// serve answers as /api/v1/events does.
func (s *stage) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	pictures := make(chan []byte, 16)
	s.mu.Lock()
	s.opened++
	if !s.mute {
		pictures <- s.last
	}
	s.streams[pictures] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, pictures)
	}()
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case picture := <-pictures:
			_, _ = w.Write(picture)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// picture is one in which all is well, of now.
func picture() ops.Status {
	in := fine()
	in.Now, in.About.Started = time.Now(), time.Now().Add(-time.Hour)
	in.Parts.Gateway.LastSuccess, in.Parts.Gateway.AddressAt, in.Parts.Core.ReconcileSuccess = in.Now, in.Now, in.Now
	s := ops.Assess(in)
	s.Series = ops.Series{StepSeconds: 30, Mappings: []int{}, GatewayMS: []*float64{}, RouterMS: []*float64{}}
	return s
}

// leap sets the page's clock forward, as it finds it when the host was asleep.
func (b *tab) leap(d time.Duration) {
	b.t.Helper()
	b.eval(`window.leapt = (window.leapt ?? 0) + ` + itoa(uint16(d/time.Second)) + `000; window.clock ??= Date.now; Date.now = () => clock() + leapt`)
}

// A connection that died in silence, without a FIN, is noticed: the page says so and
// opens another one.
func TestPageNoticesSilence(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	s := newStage(t, picture())
	b.visit(s.url)
	b.wait(`document.querySelector("#live").textContent === "live"`)
	b.leap(25 * time.Second) // one sign of life may get lost
	b.eval(`new Promise((done) => setTimeout(done, 1500))`)
	if got := b.text("#live"); got != "live" || s.visits() != 1 {
		t.Errorf("after one missed sign of life: %q, %d streams", got, s.visits())
	}
	s.hush(true)
	b.leap(20 * time.Second)
	b.wait(`document.querySelector("#live").textContent === "reconnecting" && document.documentElement.classList.contains("stale")`)
	if got := b.text("#title"); got != "No connection to doublenat" {
		t.Errorf("headline %q", got)
	}
	// A new connection alone is no sign of life: something between may have taken it.
	b.eval(`new Promise((done) => setTimeout(done, 500))`)
	if got := b.text("#live"); got != "reconnecting" || s.visits() != 2 {
		t.Errorf("before it says anything: %q, %d streams", got, s.visits())
	}
	s.hush(false)
	b.leap(40 * time.Second)
	b.wait(`document.querySelector("#live").textContent === "live" && !document.documentElement.classList.contains("stale")`)
	if got := b.text("#title"); got != "Ready, no port is open yet" {
		t.Errorf("headline %q", got)
	}
	b.clean(s.url)
}

// After a restart of the daemon its events begin anew.
func TestPageOfAnotherRun(t *testing.T) {
	t.Parallel()
	event := func(id uint64, text string) ops.Event {
		return ops.Event{ID: id, Time: time.Now(), Kind: "created", Text: text}
	}
	first := picture()
	first.Events = []ops.Event{event(3, "third of the old run"), event(2, "second of the old run"), event(1, "first of the old run")}
	b := newTab(t)
	s := newStage(t, first)
	b.visit(s.url)
	b.wait(`document.querySelectorAll("#events li").length === 3`)
	second := picture()
	second.Started, second.Instance = time.Now(), "second"
	second.Events = []ops.Event{event(4, "fourth"), event(3, "third"), event(2, "second"), event(1, "first")}
	s.show(second)
	b.wait(`document.querySelector("#instance").textContent === "second"`)
	if got := b.eval(`[...document.querySelectorAll("#events li span")].map((n) => n.textContent).join(", ")`); got != "fourth, third, second, first" {
		t.Errorf("events: %v", got)
	}
	b.clean(s.url)
}
