package ops_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doublenat/internal/lab"
	"doublenat/internal/ops"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

var screenshots = flag.Bool("screenshots", false, "write the screenshots of docs/monitoring.md")

// hour returns the picture after an hour with a few clients, and the one a while after the
// gateway fell silent.
func hour(t *testing.T) (well, silent ops.Status) {
	t.Helper()
	profile := natpmptest.Proton()
	profile.ReplyDelay = 14 * time.Millisecond
	cfg := lab.BenchConfig{
		Profile: profile, Router: routerostest.Config{Latency: 1200 * time.Microsecond}, Seed: 7,
		Environ: map[string]string{"STATIC_MAPPINGS": "tcp:192.168.88.20:8080"},
	}
	onBench(t, cfg, func(r *rig) {
		from := map[uint16]int{6881: 1, 51413: 29, 27015: 79, 22000: 99}
		for step := range 119 {
			r.Gateway.Adjust(func(p *natpmptest.Profile) {
				p.ReplyDelay = time.Duration(12+step*7%9+step*5%4) * time.Millisecond
				if step > 60 && step < 68 {
					p.ReplyDelay += 25 * time.Millisecond
				}
				p.Silent = step >= 41 && step < 45
			})
			for _, port := range []uint16{6881, 51413, 27015, 22000} {
				if step < from[port] {
					continue
				}
				op, client := natpmp.OpMapTCP, alice
				if port == 27015 || port == 22000 {
					op, client = natpmp.OpMapUDP, bob
				}
				r.ask(client, op, port)
			}
			time.Sleep(30 * time.Second)
			for _, row := range r.OurRules("default") {
				packets := fmt.Sprint((step + 1) * len(row["to-ports"]) * (3 + int(row["to-ports"][1])%11))
				if err := r.Router.Set("/ip/firewall/nat", row[".id"], routerostest.Row{"packets": packets}); err != nil {
					t.Error(err)
				}
			}
		}
		time.Sleep(20 * time.Second)
		well = r.status()
		r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true })
		time.Sleep(4 * time.Minute)
		silent = r.status()
	})
	return well, silent
}

// version returns what a build of the last commit calls itself.
func version(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "log", "-1", "--abbrev=12", "--date=format-local:%Y%m%d%H%M%S", "--format=v0.0.0-%cd-%h")
	cmd.Env = append(os.Environ(), "TZ=UTC") //nolint:forbidigo // git needs an environment
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestScreenshots(t *testing.T) {
	if !*screenshots {
		t.Skip("needs -screenshots")
	}
	few, broken := hour(t)
	crowd := withPorts(203)
	for i := range crowd.Parts.Mappings {
		crowd.Parts.Mappings[i].Closing = false // the chart counts those too
	}
	many := ops.Assess(crowd)
	b := newTab(t)
	s := newStage(t, few)
	for _, shot := range []struct {
		name, scheme string
		width        int
		picture      ops.Status
	}{
		{"light", "light", 1100, few},
		{"dark", "dark", 1100, few},
		{"phone", "light", 400, few},
		{"many", "light", 1100, many},
		{"broken", "light", 1100, broken},
	} {
		p := shot.picture
		p.Version = version(t)
		for i := range p.Hops {
			// Requests lead to doublenat on a host of its own; the bench has it where they come out.
			p.Hops[i].Detail = strings.ReplaceAll(p.Hops[i].Detail, "192.168.88.1:5351", "192.168.90.2:5351")
		}
		s.show(p)
		b.look(shot.scheme, shot.width)
		b.visit(s.url)
		b.wait(`document.querySelectorAll("#rows tr").length > 1 && document.querySelector("#live").textContent === "live"`)
		height := b.number(`document.documentElement.scrollHeight`)
		b.size(shot.width, int(height), 1)
		file := filepath.Join("..", "..", "docs", "screenshots", "page-"+shot.name+".png")
		if err := os.WriteFile(file, b.screenshot(), 0o644); err != nil {
			t.Error(err)
		}
	}
}
