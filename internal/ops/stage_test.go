package ops_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"testing"
	"time"

	"doublenat/internal/ops"
)

// stage serves the real page, pictures that the test makes, and signs of life.
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

// muted says whether the stage is hushed.
func (s *stage) muted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mute
}

// hush keeps signs of life from all, and pictures from those that come later, or no longer.
func (s *stage) hush(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = mute
}

// wait waits until so many streams were opened, 20 seconds at most.
func (s *stage) wait(visits int) {
	s.t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for range 800 {
		s.mu.Lock()
		opened := s.opened
		s.mu.Unlock()
		if opened >= visits {
			return
		}
		<-tick.C
	}
	s.t.Fatalf("never were %d streams opened", visits)
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
	alive := time.NewTicker(time.Second)
	defer alive.Stop()
	for {
		message := []byte("event: alive\ndata:\n\n")
		select {
		case <-r.Context().Done():
			return
		case <-alive.C:
			if s.muted() {
				continue
			}
		case message = <-pictures:
		}
		_, _ = w.Write(message)
		_ = http.NewResponseController(w).Flush()
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
	first := picture()
	first.Started = first.Time.Add(-10 * time.Second)
	s := newStage(t, first)
	b.visit(s.url)
	b.wait(`document.querySelector("#live").textContent === "live"`)
	s.hush(true)
	b.leap(3 * time.Second)
	b.wait(`document.querySelector("#live").textContent === "reconnecting" && document.documentElement.classList.contains("stale")`)
	if got := b.text("#title"); got != "No connection to doublenat" {
		t.Errorf("headline %q", got)
	}
	// It asks anew after a while. The connection alone is no sign of life: something between
	// may have taken it.
	b.leap(10 * time.Second)
	s.wait(2)
	if got := b.text("#live"); got != "reconnecting" {
		t.Errorf("before it says anything: %q", got)
	}
	s.hush(false)
	b.wait(`document.querySelector("#live").textContent === "live" && !document.documentElement.classList.contains("stale")`)
	if got := b.text("#title"); got != "Ready, no port is open yet" {
		t.Errorf("headline %q", got)
	}
	// What it shows again is old, and its clocks are not: 10 seconds then, and 13 of silence.
	if got := b.text("#about"); !regexp.MustCompile(`up for (2[3-9] s|[3-8]\d s|\d+ min)$`).MatchString(got) {
		t.Errorf("its clock went back: %q", got)
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
