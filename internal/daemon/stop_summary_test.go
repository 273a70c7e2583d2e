package daemon_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// lockedBuffer is a log that many goroutines write to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// take returns what was written since the last call.
func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.buf.String()
	b.buf.Reset()
	return text
}

// A stop that leaves a thousand mappings behind says so in one line with numbers and
// the first reasons: a router's log has room for a few lines.
func TestStopOfAThousandIsOneLine(t *testing.T) {
	t.Parallel()
	const n = 1000
	var log lockedBuffer
	cfg := lab.BenchConfig{
		Profile: natpmptest.RFC(), Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Environ: map[string]string{"MAX_MAPPINGS_PER_CLIENT": "1024", "CLIENT_RATE": "0"},
	}
	onBench(t, cfg, func(r *rig) {
		for port := range uint16(n) {
			r.mapped(alice, natpmp.OpMapTCP, 1000+port)
		}
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true })
		r.Router.Inject(routerostest.Fault{Kind: routerostest.FaultVanish, Times: -1})
		log.take()
		began := time.Now()
		err := r.Stop()
		if took := time.Since(began); took > 10*time.Second {
			r.t.Errorf("took %v", took)
		}
		if err == nil {
			r.t.Fatal("nothing was said")
		}
		text := err.Error()
		for _, want := range []string{fmt.Sprintf("%d of %d rules not removed: ", n, n), fmt.Sprintf("; %d of %d leases not released: ", n, n)} {
			if !strings.Contains(text, want) {
				r.t.Errorf("%q lacks %q", text, want)
			}
		}
		if strings.Contains(text, "\n") || len(text) > 1500 {
			r.t.Errorf("%d lines, %d bytes: %s", strings.Count(text, "\n")+1, len(text), text)
		}
		if written := log.take(); len(written) > 2000 {
			r.t.Errorf("%d lines in the log: %.2000s", strings.Count(written, "\n"), written)
		}
		r.t.Log(text)
	})
}
