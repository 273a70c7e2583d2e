package daemon_test

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/ops"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// twin is a second daemon on the bench's router and gateway.
type twin struct {
	*daemon.Daemon

	r    *rig
	at   netip.AddrPort
	quit context.CancelFunc
	done chan error
}

// startTwin runs a second daemon at another address, with the network of the first.
func (r *rig) startTwin(opts daemon.Options, log *book, environ map[string]string) *twin {
	r.t.Helper()
	tw := &twin{r: r, at: netip.MustParseAddrPort("192.168.88.3:5351"), done: make(chan error, 1)}
	settings := map[string]string{
		"VPN_GATEWAY": routerostest.GatewayAddress, "LISTEN_ADDR": tw.at.String(), "MIKROTIK_API_ADDRESS": routerostest.LANAddress,
		"MIKROTIK_API_USER": routerostest.LeastUser, "MIKROTIK_API_PASSWORD": routerostest.LeastPassword,
	}
	maps.Copy(settings, environ)
	var err error
	if opts.Config, err = config.Parse(settings, os.ReadFile); err != nil {
		r.t.Fatal(err)
	}
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	if tw.Daemon, err = daemon.New(opts); err != nil {
		r.t.Fatal(err)
	}
	ctx, quit := context.WithCancel(context.Background())
	tw.quit = quit
	go func() { tw.done <- tw.Run(ctx) }()
	return tw
}

// stop ends the twin as SIGTERM does.
func (tw *twin) stop() error {
	tw.quit()
	return <-tw.done
}

// mapped asks the twin for a mapping.
func (tw *twin) mapped(client netip.Addr, port uint16) {
	tw.r.t.Helper()
	conn, err := tw.r.Net.Dial(netip.AddrPortFrom(client, 0), tw.at)
	if err != nil {
		tw.r.t.Fatal(err)
	}
	defer conn.Close()
	reply := make([]byte, natpmp.MaxPacket)
	req := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: port, Lifetime: 3600}
	if _, err := conn.Write(req.Append(nil)); err != nil {
		tw.r.t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(8 * time.Second)); err != nil {
		tw.r.t.Fatal(err)
	}
	n, err := conn.Read(reply)
	if err != nil {
		tw.r.t.Fatal(err)
	}
	if got, err := natpmp.ParseResponse(reply[:n]); err != nil || got.Result != natpmp.ResultSuccess {
		tw.r.t.Fatalf("the twin answered %+v, %v", got, err)
	}
}

// Two daemons of one name on one router: each serves a client of its own for hours. Both
// say what is wrong and what to do, neither goes on undoing what the other does, and the
// mappings of both stand. With two names nothing of the kind is said.
func TestTwoOfOneName(t *testing.T) {
	t.Parallel()
	for name, sameName := range map[string]bool{"one name": true, "two names": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := new(book), new(book)
			var opts daemon.Options
			onBench(t, lab.BenchConfig{
				Profile: natpmptest.RFC(), Logger: slog.New(slog.NewTextHandler(first, nil)),
				Options: func(o *daemon.Options) { opts = *o },
			}, func(r *rig) {
				r.mapped(alice, natpmp.OpMapTCP, 1000)
				environ := map[string]string{"INSTANCE": "second"}
				if sameName {
					environ = nil
				}
				tw := r.startTwin(opts, second, environ)
				stopped := false
				defer func() {
					if !stopped {
						_ = tw.stop()
					}
				}()
				time.Sleep(5 * time.Second)
				var mark routerostest.Mark
				for minute := range 180 {
					if minute%20 == 0 {
						r.mapped(alice, natpmp.OpMapTCP, 1000)
						r.mapped(alice, natpmp.OpMapTCP, 1001)
						tw.mapped(bob, 2000)
						tw.mapped(bob, 2001)
					}
					if minute == 60 {
						mark = r.Router.Mark()
					}
					time.Sleep(time.Minute)
				}
				if n := r.Router.StatsSince(mark).Writes; n > 30 {
					r.t.Errorf("%d writes in two hours in which nothing was asked for that was not there", n)
				}
				for at, log := range map[string]*book{"first": first, "second": second} {
					told := log.lines("somebody else changes or removes our rules")
					if (len(told) == 1) != sameName || sameName && (!strings.Contains(told[0], "level=ERROR") || !strings.Contains(told[0], "Give each its own INSTANCE")) {
						r.t.Errorf("the %s said %q", at, told)
					}
				}
				for _, d := range []*daemon.Daemon{r.Daemon(), tw.Daemon} {
					if hop := d.Status().Hops[1]; (hop.State == ops.StateDegraded && strings.Contains(hop.Remedy, "INSTANCE")) != sameName {
						r.t.Errorf("a page says %+v", hop)
					}
				}
				for client, ports := range map[netip.Addr][]string{alice: {"1000", "1001"}, bob: {"2000", "2001"}} {
					for _, port := range ports {
						found := 0
						for _, row := range r.Router.Rows(natPath) {
							if row["to-addresses"] == client.String() && row["to-ports"] == port && row["disabled"] != "true" {
								found++
							}
						}
						if found != 1 {
							r.t.Errorf("%d rules for %v:%s", found, client, port)
						}
					}
				}
				stopped = true
				if err := tw.stop(); err != nil {
					r.t.Error(err)
				}
				if err := r.Stop(); err != nil {
					r.t.Error(err)
				}
				for _, row := range r.rowsToClients() {
					if strings.HasPrefix(row["comment"], "doublenat:default ") && strings.HasSuffix(row["comment"], "00") {
						r.t.Errorf("left after two clean stops: %v", row)
					}
				}
			})
		})
	}
}
