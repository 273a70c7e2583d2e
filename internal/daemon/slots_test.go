package daemon_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// Without room for more, at the gateway or here, only the new mapping fails, and the
// log says once a minute who has the room.
func TestFull(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		profile natpmptest.Profile
		environ map[string]string
		full    string
		remedy  string
	}{
		{"gateway", natpmptest.Full(3), nil, "gateway", "the gateway has no port left"},
		{"slots of a tunnel", natpmptest.Proton(), nil, "gateway", "the gateway has no port left"},
		{"table", natpmptest.RFC(), map[string]string{"MAX_MAPPINGS": "3"}, "doublenat", "raise MAX_MAPPINGS or"},
		{"client", natpmptest.RFC(), map[string]string{"MAX_MAPPINGS_PER_CLIENT": "2"}, "doublenat", "raise MAX_MAPPINGS or"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			cfg := lab.BenchConfig{Profile: tt.profile, Environ: tt.environ, Logger: slog.New(slog.NewJSONHandler(&log, nil))}
			onBench(t, cfg, func(r *rig) {
				stand := []nat.Key{tcpOf(bob, 1), tcpOf(alice, 1), tcpOf(alice, 2)}
				if tt.name == "slots of a tunnel" {
					stand = append(stand, tcpOf(bob, 10), tcpOf(bob, 11))
				}
				for range 50 {
					for _, key := range stand {
						r.mapped(key.Client, natpmp.OpMapTCP, key.InternalPort)
					}
					got := r.ask(alice, natpmp.OpMapTCP, 3, 0)
					want := natpmp.Response{Opcode: natpmp.OpMapTCP, Result: natpmp.ResultOutOfResources, InternalPort: 3, Epoch: got.Epoch}
					if diff := cmp.Diff(want, got, cmpAddr); diff != "" {
						r.t.Errorf("reply (-want +got):\n%s", diff)
					}
					time.Sleep(2 * time.Second)
				}
				r.agree()
				// Room that is given back is room for the next.
				r.send(alice, natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 2})
				r.mapped(alice, natpmp.OpMapTCP, 3)
				if err := r.Stop(); err != nil {
					r.t.Errorf("stopping: %v", err)
				}
			})
			var lines []string
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "no room for another mapping") {
					lines = append(lines, line)
				}
			}
			if len(lines) != 2 || !strings.Contains(lines[0], `"holders":["192.168.88.1`) ||
				!strings.Contains(lines[0], `192.168.88.10 (2)"`) || !strings.Contains(lines[0], `"full":"`+tt.full+`"`) ||
				!strings.Contains(lines[0], `"remedy":"`+tt.remedy) || !strings.Contains(lines[1], `"suppressed":29`) {
				t.Errorf("lines %s, want two in 100 s with the holders", lines)
			}
		})
	}
}

func tcpOf(client netip.Addr, port uint16) nat.Key {
	return nat.Key{Client: client, Protocol: nat.TCP, InternalPort: port}
}

// The line names the clients that hold most and not all of them.
func TestFullNamesTheLargest(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	cfg := lab.BenchConfig{
		Profile: natpmptest.RFC(), Environ: map[string]string{"MAX_MAPPINGS": "30"}, Logger: slog.New(slog.NewJSONHandler(&log, nil)),
	}
	onBench(t, cfg, func(r *rig) {
		for host := range byte(12) {
			for port := range uint16(1 + host%4) {
				r.mapped(netip.AddrFrom4([4]byte{192, 168, 88, 20 + host}), natpmp.OpMapTCP, 100+port)
			}
		}
		r.ask(alice, natpmp.OpMapTCP, 1, 0)
		if err := r.Stop(); err != nil {
			r.t.Errorf("stopping: %v", err)
		}
	})
	const want = `"holders":["192.168.88.23 (4)","192.168.88.27 (4)","192.168.88.31 (4)","192.168.88.22 (3)","192.168.88.26 (3)",` +
		`"192.168.88.30 (3)","192.168.88.21 (2)","192.168.88.25 (2)","192.168.88.29 (2)","192.168.88.20 (1)"]`
	if !strings.Contains(log.String(), want) {
		t.Errorf("log:\n%s\nlacks %s", log.String(), want)
	}
}
