package ops_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/internal/ops"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

var screenshots = flag.Bool("screenshots", false, "write the screenshots of docs/monitoring.md")

// hour returns the picture after an hour with a few clients, as the stream has it.
func hour(t *testing.T) []byte {
	t.Helper()
	var message []byte
	profile := natpmptest.Miniupnpd()
	profile.ReplyDelay = 14 * time.Millisecond
	cfg := lab.BenchConfig{
		Profile: profile, Router: routerostest.Config{Latency: 1200 * time.Microsecond}, Seed: 7,
		Environ: map[string]string{"STATIC_MAPPINGS": "tcp:192.168.88.20:8080=8443"},
	}
	onBench(t, cfg, func(r *rig) {
		keep := map[uint16]int{6881: 118, 51413: 90, 27015: 40, 22000: 20}
		for minute := range 119 {
			r.Gateway.Adjust(func(p *natpmptest.Profile) {
				p.ReplyDelay = time.Duration(12+minute*7%9+minute*5%4) * time.Millisecond
				if minute > 60 && minute < 68 {
					p.ReplyDelay += 25 * time.Millisecond
				}
				p.Silent = minute >= 41 && minute < 45
			})
			for _, port := range []uint16{6881, 51413, 27015, 22000} {
				if minute < 119-keep[port] || minute%4 != int(port)%4 && minute > 119-keep[port] {
					continue
				}
				op, client := natpmp.OpMapTCP, alice
				if port == 27015 || port == 22000 {
					op, client = natpmp.OpMapUDP, bob
				}
				if _, err := r.Request(client, natpmp.Request{Opcode: op, InternalPort: port, SuggestedExternalPort: port, Lifetime: 240}); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(30 * time.Second)
			for _, row := range r.OurRules("default") {
				packets := fmt.Sprint((minute + 1) * len(row["to-ports"]) * (3 + int(row["to-ports"][1])%11))
				if err := r.Router.Set("/ip/firewall/nat", row[".id"], routerostest.Row{"packets": packets}); err != nil {
					t.Error(err)
				}
			}
		}
		time.Sleep(20 * time.Second)
		_, _, body := r.get(ops.PathStatus)
		message = []byte("event: status\ndata: " + body + "\n")
	})
	return message
}

func TestScreenshots(t *testing.T) {
	if !*screenshots {
		t.Skip("needs -screenshots")
	}
	message := hour(t)
	monitor, err := ops.NewMonitor(ops.MonitorConfig{Parts: func() ops.Parts { return ops.Parts{} }})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := ops.NewServer(ops.ServerConfig{Monitor: monitor})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.HandleFunc(ops.PathEvents, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write(message)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	defer server.CloseClientConnections()
	for _, shot := range []struct {
		name, scheme string
		width        int
		scale        float64
	}{{"light", "light", 1100, 1}, {"dark", "dark", 1100, 1}, {"phone", "light", 400, 1}} {
		b := newTab(t)
		b.scheme(shot.scheme)
		b.size(shot.width, 800, shot.scale)
		b.visit(server.URL)
		b.wait(`document.querySelectorAll("#rows tr").length > 1 && document.querySelectorAll(".fresh").length === 0`)
		b.eval(`new Promise((done) => setTimeout(done, 1200))`)
		height, ok := b.eval(`document.documentElement.scrollHeight`).(float64)
		if !ok {
			t.Fatal("no height")
		}
		b.size(shot.width, int(height), shot.scale)
		file := filepath.Join("..", "..", "docs", "screenshots", "page-"+shot.name+".png")
		if err := os.WriteFile(file, b.screenshot(), 0o644); err != nil {
			t.Error(err)
		}
	}
}
