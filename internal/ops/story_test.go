package ops_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/ops"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

// many is how many ports are open in these tests: four times what the list of events holds.
const many = 200

// inCrowd runs a test in virtual time, with many open ports that are held, an hour after they were
// opened. The log is that of the daemon since then.
func inCrowd(t *testing.T, test func(r *rig, log *bytes.Buffer)) {
	t.Helper()
	cfg := rfc("LEASE_POLICY", "hold", "MAX_MAPPINGS_PER_CLIENT", "1000", "CREATE_RATE", "1000", "CLIENT_RATE", "0")
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	onBench(t, cfg, func(r *rig) {
		for i := range uint16(many) {
			r.mapped(alice, natpmp.OpMapTCP, 1000+i)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		log.Reset()
		test(r, &log)
	})
}

// told returns the texts of what happened, the latest first.
func (r *rig) told() []string {
	r.t.Helper()
	var all []string
	for _, e := range r.status().Events {
		all = append(all, e.Text)
	}
	return all
}

// tells fails the test unless just this was told.
func (r *rig) tells(want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.told()); diff != "" {
		r.t.Errorf("told (-want +got):\n%s", diff)
	}
}

// logs fails the test unless the log has so many lines with a text, and not more than so many in all.
func (r *rig) logs(log *bytes.Buffer, text string, times, most int) {
	r.t.Helper()
	if n, all := strings.Count(log.String(), text), strings.Count(log.String(), "\n"); n != times || all > most {
		r.t.Errorf("%d lines with %q of %d, want %d of %d at most:\n%s", n, text, all, times, most, log)
	}
}

// A router that starts again and has lost its rules is one line, whatever it cost, and what
// was before is still told. Each rule is counted all the same.
func TestStoryOfAReboot(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]time.Duration{"long": 40 * time.Second, "short": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inCrowd(t, func(r *rig, log *bytes.Buffer) {
				r.Router.Reboot(routerostest.Reboot{Down: down, Cut: true, LoseLast: time.Hour, Renumber: true})
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				r.tells("Router is back, 200 rules made again", "Router: not reachable", "200 ports opened for 192.168.88.10")
				r.logs(log, `msg="router is back, rules made again" component=nat rules=200`, 1, 3)
				_, _, metrics := r.get(ops.PathMetrics)
				if n := metric(metrics, ops.MetricMappingEvents+`{kind="rule_restored"}`); n != "200" {
					t.Errorf("%s rules are counted", n)
				}
			})
		})
	}
}

// Rules that somebody removes are one line, too.
func TestStoryOfRemovedRules(t *testing.T) {
	t.Parallel()
	inCrowd(t, func(r *rig, log *bytes.Buffer) {
		for _, row := range r.OurRules("default") {
			if err := r.Router.Remove("/ip/firewall/nat", row[".id"]); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		r.tells("rules of 200 ports for 192.168.88.10 were missing or changed on the router and are back", "200 ports opened for 192.168.88.10")
		r.logs(log, `level=WARN msg="rules restored, they were missing or changed on the router" component=nat rules=200`, 1, 1)
	})
}

// A gateway that dies is told, and what follows from it does not push that out.
func TestStoryOfADeadGateway(t *testing.T) {
	t.Parallel()
	inCrowd(t, func(r *rig, log *bytes.Buffer) {
		r.Gateway.Refuse(true)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		r.tells("200 ports closed, 192.168.88.10 did not renew", "Gateway: refuses NAT-PMP", "200 ports opened for 192.168.88.10")
		r.logs(log, `msg="more mapping events, not logged one by one" component=nat seconds=10 expired=192`, 1, 12)
		r.Gateway.Refuse(false)
	})
}

// Another public address is told, beside the ports that changed with it.
func TestStoryOfAnotherAddress(t *testing.T) {
	t.Parallel()
	inCrowd(t, func(r *rig, log *bytes.Buffer) {
		r.Gateway.SetAddress(netip.MustParseAddr("198.51.100.7"))
		r.Gateway.MovePorts()
		r.Gateway.Restart(true)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		r.tells("200 ports of 192.168.88.10 have other numbers at the gateway than before",
			"Public address changed from 5.6.7.8 to 198.51.100.7", "200 ports opened for 192.168.88.10")
		r.logs(log, `msg="external port changed"`, 8, 14)
		_, _, text := r.get(ops.PathText)
		if !strings.Contains(text, "  Public address changed from 5.6.7.8 to 198.51.100.7\n") {
			t.Errorf("as text:\n%s", text)
		}
	})
}

// A broken hop says since when it is, and what that means for the ports that are open: the
// same in JSON and as text.
func TestStoryMeanwhile(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		strike func(r *rig)
		hop    ops.Hop
		open   remedy.OpenPorts
		says   string
	}{
		"router":  {func(r *rig) { r.Router.Reboot(routerostest.Reboot{Down: 10 * time.Minute, Cut: true}) }, ops.HopRouter, remedy.PortsUnsure, "their rules are on it."},
		"gateway": {func(r *rig) { r.Gateway.Refuse(true) }, ops.HopGateway, remedy.PortsExpire, "The first lease ends at 2000-01-01 01:00:07 UTC."},
		"address": {func(r *rig) { r.Gateway.SetAddress(netip.Addr{}) }, ops.HopAddress, remedy.PortsUnsure, "their public address is not known."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inCrowd(t, func(r *rig, _ *bytes.Buffer) {
				struck := time.Now()
				tt.strike(r)
				time.Sleep(4 * time.Minute)
				for _, h := range r.status().Hops {
					broken := h.Name == tt.hop
					if broken != (h.Meanwhile != "") || broken != (h.OpenPorts == tt.open) {
						t.Errorf("%s: %q %q", h.Name, h.OpenPorts, h.Meanwhile)
					}
					if late := h.Since.Sub(struck); broken && (late < 0 || late > time.Minute) {
						t.Errorf("broken since %v, want %v", h.Since, struck)
					}
				}
				_, _, text := r.get(ops.PathText)
				since := regexp.MustCompile(`\n    Since 2000-01-01 00:0[12]:\d\d UTC \([34]m\d+s\)\. Open ports .*` + regexp.QuoteMeta(tt.says) + `\n`)
				if !since.MatchString(text) {
					t.Errorf("as text:\n%s", text)
				}
			})
		})
	}
}
