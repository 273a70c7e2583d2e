package ops_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"doublenat/internal/ops"
)

// page is an open page: a stream of pictures.
type page struct {
	r     *rig
	body  io.ReadCloser
	lines *bufio.Reader
	leave context.CancelFunc
}

// watch opens the stream.
func (r *rig) watch() *page {
	r.t.Helper()
	ctx, leave := context.WithCancel(r.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:8080"+ops.PathEvents, http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: r.http.Transport}).Do(req) //nolint:bodyclose // page.close does
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("stream: %s, %v", resp.Status, resp.Header)
	}
	return &page{r: r, body: resp.Body, lines: bufio.NewReader(resp.Body), leave: leave}
}

// next returns the next picture.
func (p *page) next() ops.Status {
	p.r.t.Helper()
	s, err := p.read()
	if err != nil {
		p.r.t.Fatalf("the stream ended: %v", err)
	}
	return s
}

// read returns the next picture, or how the stream ended.
func (p *page) read() (ops.Status, error) {
	for {
		line, err := p.lines.ReadString('\n')
		if err != nil {
			return ops.Status{}, err
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var s ops.Status
		err = json.Unmarshal([]byte(data), &s)
		return s, err
	}
}

// close leaves the page.
func (p *page) close() {
	p.leave()
	_ = p.body.Close()
}
