package igd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doublenat/igd"
	"doublenat/igd/igdtest"
	"doublenat/natpmp/natpmptest"
)

// TestActions: everything once, with each box that does what it is asked, however it
// writes its answers.
func TestActions(t *testing.T) {
	t.Parallel()
	for _, wire := range []igdtest.Wire{{}, {Chunked: true}, {Close: true, BareLF: true}, {Open: true, Prefix: "SOAP-ENV"}} {
		for _, profile := range []igdtest.Profile{igdtest.IGD1(), igdtest.IGD2(), igdtest.PPP(), igdtest.Both()} {
			profile.Wire = wire
			t.Run(profile.Name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { everyAction(t, newRig(t, profile, nil)) })
			})
		}
	}
}

func everyAction(t *testing.T, r *rig) {
	t.Helper()
	ctx := within(t, time.Minute)
	want := mapping()
	for range 2 { // The second time renews.
		if err := r.Add(ctx, want); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]igd.Mapping{want}, r.box.Mappings(), addrs()); diff != "" {
		t.Errorf("mappings of the box (-want +got):\n%s", diff)
	}
	got, err := r.Find(ctx, igd.TCP, want.External)
	if diff := cmp.Diff(want, got, addrs()); err != nil || diff != "" {
		t.Errorf("Find: %v (-want +got):\n%s", err, diff)
	}
	got, err = r.Entry(ctx, 0)
	if diff := cmp.Diff(want, got, addrs()); err != nil || diff != "" {
		t.Errorf("Entry: %v (-want +got):\n%s", err, diff)
	}
	if _, err = r.Entry(ctx, 1); igd.CodeOf(err) != igd.CodeInvalidIndex {
		t.Errorf("Entry after the last: %v", err)
	}
	a, err := r.ExternalAddress(ctx)
	if err != nil || a != netip.MustParseAddr("5.6.7.8") {
		t.Errorf("address %v, %v", a, err)
	}
	for _, code := range []igd.Code{0, igd.CodeNoSuchEntry} {
		if err := r.Delete(ctx, igd.TCP, want.External); igd.CodeOf(err) != code || code == 0 && err != nil {
			t.Errorf("Delete: %v, want code %d", err, code)
		}
	}
	if _, err = r.Find(ctx, igd.TCP, want.External); igd.CodeOf(err) != igd.CodeNoSuchEntry {
		t.Errorf("Find after Delete: %v", err)
	}
	if s := r.box.Stats(); s.Creates != 1 || s.Renewals != 1 || s.Deletes != 1 {
		t.Errorf("the box did %+v", s)
	}
}

func addrs() cmp.Option { return cmpopts.EquateComparable(netip.Addr{}) }

func TestAddAny(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD2(), nil)
		r.box.Put(igd.Mapping{Protocol: igd.TCP, External: 20000, Client: netip.MustParseAddr("192.168.1.9"), Internal: 1})
		ctx := within(t, time.Minute)
		if err := r.Add(ctx, mapping()); igd.CodeOf(err) != igd.CodeConflict {
			t.Errorf("a taken port: %v", err)
		}
		if port, err := r.AddAny(ctx, mapping()); err != nil || port != 20001 {
			t.Errorf("port %d, %v; want 20001", port, err)
		}
	})
}

// TestChoice: of several connections, the one that is connected is asked; of several
// descriptions, that of a gateway.
func TestChoice(t *testing.T) {
	t.Parallel()
	for profile, want := range map[*igdtest.Profile]string{
		{}: "WANIPConnection:1", {Version: 2}: "WANIPConnection:2", {PPP: true, Version: 2}: "WANPPPConnection:1", {Both: true}: "WANPPPConnection:1",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, *profile, nil)
				d, err := r.Discover(within(t, time.Minute))
				if err != nil || d.Service.String() != want || d.Name != "Box & Co" || d.Model != "igdtest" || d.Boot != "1" {
					t.Errorf("%+v, %v; want %s", d, err, want)
				}
			})
		})
	}
}

// TestSearch: lost, late and doubled packets, and boxes that answer to one target alone.
func TestSearch(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		profile igdtest.Profile
		faults  natpmptest.Faults
		err     error
		within  time.Duration
	}{
		"fine":         {within: 300 * time.Millisecond},
		"loss":         {faults: natpmptest.Faults{Loss: 0.5}, within: 3 * time.Second},
		"duplicates":   {profile: igdtest.Profile{SearchCopies: 5}, faults: natpmptest.Faults{Duplicate: 1}, within: 300 * time.Millisecond},
		"a second":     {profile: igdtest.Profile{SearchDelay: time.Second}, within: 1300 * time.Millisecond},
		"too late":     {profile: igdtest.Profile{SearchDelay: time.Minute}, err: igd.ErrSilent, within: 4 * time.Second},
		"silent":       {profile: igdtest.Profile{NoSearch: true}, err: igd.ErrSilent, within: 4 * time.Second},
		"root only":    {profile: igdtest.Profile{Targets: []string{"upnp:rootdevice"}}, within: 300 * time.Millisecond},
		"another host": {profile: igdtest.Profile{Location: "http://192.168.1.66:5000/rootDesc.xml"}, err: igd.ErrElsewhere, within: 4 * time.Second},
		"a name":       {profile: igdtest.Profile{Location: "http://evil.example/rootDesc.xml"}, err: igd.ErrElsewhere, within: 4 * time.Second},
		"another kind": {profile: igdtest.Profile{Location: "file:///etc/passwd"}, err: igd.ErrNonsense, within: 4 * time.Second},
		"in a hurry":   {profile: igdtest.Profile{NoSearch: true}, err: context.DeadlineExceeded, within: 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.profile, nil)
				r.network.SetFaults(natpmptest.Path{}, tt.faults)
				start, ctx := time.Now(), within(t, time.Minute)
				if errors.Is(tt.err, context.DeadlineExceeded) {
					ctx = within(t, tt.within)
				}
				if _, err := r.Discover(ctx); !errors.Is(err, tt.err) {
					t.Errorf("error %v, want %v", err, tt.err)
				}
				if took := time.Since(start); took > tt.within {
					t.Errorf("took %v, want at most %v", took, tt.within)
				}
			})
		})
	}
}

// TestForgedReply: answers of other hosts are not looked at.
func TestForgedReply(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]error{"192.168.1.66:1900": igd.ErrSilent, "192.168.1.1:40000": nil} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, igdtest.Profile{NoSearch: true}, nil)
				forger := time.AfterFunc(100*time.Millisecond, func() {
					for port := uint16(1); port != 0; port++ {
						r.network.Inject(netip.MustParseAddrPort(from), netip.AddrPortFrom(routerAddr, port),
							[]byte("HTTP/1.1 200 OK\nLOCATION: http://192.168.1.1:5000/rootDesc.xml\nST: upnp:rootdevice\n\n"))
					}
				})
				defer forger.Stop()
				if _, err := r.Discover(within(t, time.Minute)); !errors.Is(err, want) {
					t.Errorf("error %v, want %v", err, want)
				}
			})
		})
	}
}

// TestHostile: whatever the box sends, the call ends soon with an error that says why,
// and asks nobody else.
func TestHostile(t *testing.T) {
	t.Parallel()
	page := func() []byte { return []byte("<html><body>Please log in<br></body></html>") }
	for name, tt := range map[string]struct {
		change func(*igdtest.Profile)
		err    error
	}{
		"giant description":    {func(p *igdtest.Profile) { p.Description = igdtest.Giant }, igd.ErrTooLarge},
		"deep description":     {func(p *igdtest.Profile) { p.Description = igdtest.Deep }, igd.ErrTooLarge},
		"wide description":     {func(p *igdtest.Profile) { p.Description = igdtest.Wide }, igd.ErrTooLarge},
		"entities":             {func(p *igdtest.Profile) { p.Description = igdtest.Entities }, igd.ErrDoctype},
		"a page":               {func(p *igdtest.Profile) { p.Description = page }, igd.ErrNonsense},
		"nothing":              {func(p *igdtest.Profile) { p.Description = func() []byte { return nil } }, igd.ErrNonsense},
		"another host":         {func(p *igdtest.Profile) { p.Control = "http://192.168.1.66/ctl" }, igd.ErrElsewhere},
		"a name":               {func(p *igdtest.Profile) { p.Control = "//localhost/ctl" }, igd.ErrElsewhere},
		"no gateway":           {func(p *igdtest.Profile) { p.Description = func() []byte { return []byte("<root><device/></root>") } }, igd.ErrNoService},
		"redirect":             {func(p *igdtest.Profile) { p.Redirect = "http://192.168.1.66/" }, new(igd.StatusError)},
		"giant answer":         {func(p *igdtest.Profile) { p.Response = igdtest.Giant }, igd.ErrTooLarge},
		"deep answer":          {func(p *igdtest.Profile) { p.Response = igdtest.Deep }, igd.ErrTooLarge},
		"entities in answer":   {func(p *igdtest.Profile) { p.Response = igdtest.Entities }, igd.ErrDoctype},
		"a page for an answer": {func(p *igdtest.Profile) { p.Response = page }, igd.ErrNonsense},
		"half an answer":       {func(p *igdtest.Profile) { p.Response = func() []byte { return []byte("<s:Envelope><s:Body>") } }, igd.ErrNonsense},
		"another status":       {func(p *igdtest.Profile) { p.Status = 404 }, new(igd.StatusError)},
		"silence":              {func(p *igdtest.Profile) { p.ServiceTime = time.Hour }, context.DeadlineExceeded},
		"giant headers":        {func(p *igdtest.Profile) { p.Wire.Padding = 1 << 20 }, nil},
		"hung up":              {func(p *igdtest.Profile) { p.LoseAnswers = 1 }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				profile := igdtest.IGD1()
				tt.change(&profile)
				r := newRig(t, profile, nil)
				start := time.Now()
				err := r.Add(within(t, 10*time.Second), mapping())
				failed, ok := errors.AsType[*igd.CallError](err)
				if !ok || !is(err, tt.err) || time.Since(start) > 10*time.Second {
					t.Fatalf("error %v after %v, want %v", err, time.Since(start), tt.err)
				}
				// What was not asked was not done; what was asked may have been.
				if done := len(r.box.Mappings()) > 0; done && !failed.Ambiguous && profile.Status != 404 {
					t.Error("the box did what is said not to be done")
				}
				if s := r.Stats(); s.Calls > 1 {
					t.Errorf("%d calls", s.Calls)
				}
			})
		})
	}
}

// TestRedirectedAction: nobody sends an action elsewhere.
func TestRedirectedAction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		if _, err := r.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.box.Adjust(func(p *igdtest.Profile) { p.Redirect = "http://192.168.1.66/ctl" })
		err := r.Add(within(t, time.Minute), mapping())
		if status, ok := errors.AsType[*igd.StatusError](err); !ok || status.Status != 302 {
			t.Errorf("error %v", err)
		}
		// Who sends us away did nothing; who fails may have done it.
		r.box.Adjust(func(p *igdtest.Profile) { p.Redirect = "" })
		for status, ambiguous := range map[int]bool{300: false, 302: false, 404: false, 499: false, 500: true, 204: true} {
			r.box.Adjust(func(p *igdtest.Profile) { p.Status = status })
			err := r.Add(within(t, time.Minute), mapping())
			if failed, ok := errors.AsType[*igd.CallError](err); !ok || failed.Ambiguous != ambiguous {
				t.Errorf("status %d: %v, ambiguous %v, want %v", status, err, !ambiguous, ambiguous)
			}
		}
	})
}

// TestPatientSearch: three rounds of three packets, then it is over.
func TestPatientSearch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{NoSearch: true}, nil)
		start := time.Now()
		_, err := r.Discover(t.Context())
		if took := time.Since(start); !errors.Is(err, igd.ErrSilent) || took != 3500*time.Millisecond || r.box.Stats().Searches != 9 || r.Stats().Searches != 9 {
			t.Errorf("%v after %v, %d packets", err, took, r.box.Stats().Searches)
		}
	})
}

// TestSeveralReplies: of what answers at one place, the one that calls itself a gateway
// counts, and after the first answer others have a quarter of a second.
func TestSeveralReplies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{NoSearch: true, SearchDelay: 0}, nil)
		reply := func(after time.Duration, port, target string) {
			time.AfterFunc(after, func() {
				for local := uint16(40000); local != 0; local++ {
					r.network.Inject(netip.MustParseAddrPort("192.168.1.1:1900"), netip.AddrPortFrom(routerAddr, local),
						[]byte("HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1:"+port+"/rootDesc.xml\r\nBOOTID.UPNP.ORG: "+target+"\r\nST: "+target+"\r\n\r\n"))
				}
			})
		}
		reply(10*time.Millisecond, "7000", "upnp:rootdevice") // A printer, perhaps.
		reply(20*time.Millisecond, "5000", "upnp:rootdevice")
		reply(100*time.Millisecond, "5000", "urn:schemas-upnp-org:device:InternetGatewayDevice:1")
		start := time.Now()
		d, err := r.Discover(t.Context())
		if took := time.Since(start); err != nil || took != 260*time.Millisecond || d.Boot != "urn:schemas-upnp-org:device:InternetGatewayDevice:1" {
			t.Errorf("%+v, %v after %v", d, err, took)
		}
	})
}

// is says whether an error is another one, or of its type if that is StatusError.
func is(err, want error) bool {
	if _, ok := errors.AsType[*igd.StatusError](want); ok {
		_, ok = errors.AsType[*igd.StatusError](err)
		return ok
	}
	return want == nil || errors.Is(err, want)
}

// TestMove: a box that restarted at another port is found again, and one that was asked
// at a fixed URL is asked there.
func TestMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		ctx := within(t, time.Minute)
		if err := r.Add(ctx, mapping()); err != nil {
			t.Fatal(err)
		}
		r.box.Restart(false)
		r.place.Move(6000)
		synctest.Wait()
		err := r.Add(ctx, mapping())
		if failed, ok := errors.AsType[*igd.CallError](err); !ok || failed.Ambiguous && errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("at the old port: %v", err)
		}
		if err := r.Add(ctx, mapping()); err != nil {
			t.Errorf("at the new port: %v", err)
		}
		if d, _ := r.Known(); d.Boot != "2" || d.Location.String() != "http://192.168.1.1:6000/rootDesc.xml" {
			t.Errorf("found %+v", d)
		}
		r.place.Move(0)
		synctest.Wait()
		_ = r.Add(ctx, mapping())
		if err := r.Add(ctx, mapping()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nowhere: %v", err)
		}
	})
}

func TestDescriptionURL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{NoSearch: true}, func(c *igd.Config) {
			c.Gateway, c.Description = netip.Addr{}, "http://192.168.1.1:5000/rootDesc.xml"
		})
		if err := r.Add(within(t, time.Minute), mapping()); err != nil {
			t.Error(err)
		}
		if s := r.Stats(); s.Searches != 0 || s.Calls != 1 || s.Answers != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestSlow: one answer that is late is no reason to search again, two are.
func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		if _, err := r.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
		slow := func(d time.Duration) { r.box.Adjust(func(p *igdtest.Profile) { p.ServiceTime = d }) }
		slow(5 * time.Second)
		if err := r.Add(within(t, time.Second), mapping()); err == nil {
			t.Error("an answer of nobody")
		}
		slow(0)
		if err := r.Add(t.Context(), mapping()); err != nil {
			t.Error(err)
		}
		slow(5 * time.Second)
		for _, known := range []bool{true, false} {
			err := r.Add(within(t, time.Second), mapping())
			if failed, ok := errors.AsType[*igd.CallError](err); !ok || !failed.Ambiguous {
				t.Errorf("error %v", err)
			}
			if _, ok := r.Known(); ok != known {
				t.Errorf("device known: %v", ok)
			}
		}
		if s := r.Stats(); s.Timeouts != 3 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestSilentConnect: a host that does not even refuse holds no connection for long.
func TestSilentConnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var dials, pending atomic.Int32
		r := newRig(t, igdtest.IGD1(), func(c *igd.Config) {
			c.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
				dials.Add(1)
				pending.Add(1)
				defer pending.Add(-1)
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		start := time.Now()
		err := r.Add(within(t, time.Minute), mapping())
		if failed, ok := errors.AsType[*igd.CallError](err); !ok || failed.Ambiguous || time.Since(start) > 6*time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		for range 10 {
			_ = r.Add(within(t, time.Second), mapping())
		}
		time.Sleep(6 * time.Second)
		if pending.Load() != 0 || dials.Load() < 5 {
			t.Errorf("%d attempts, %d of them go on", dials.Load(), pending.Load())
		}
	})
}

// TestUnknownAction: a service that does not know what all know is not the one that was
// found; what is optional tells nothing.
func TestUnknownAction(t *testing.T) {
	t.Parallel()
	for action, known := range map[string]bool{"AddPortMapping": false, "GetExternalIPAddress": false, "GetSpecificPortMappingEntry": true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, igdtest.Profile{Unknown: []string{action}}, nil)
			_ = r.Add(t.Context(), mapping())
			if action != "AddPortMapping" {
				_, _ = r.Find(t.Context(), igd.TCP, 1)
				_, _ = r.ExternalAddress(t.Context())
			}
			if _, ok := r.Known(); ok != known {
				t.Errorf("without %s: the device is known: %v", action, ok)
			}
		})
	}
}

// TestConnections: they are kept for a while, and bounded.
func TestConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.Profile{ServiceTime: time.Second}, func(c *igd.Config) { c.Connections = 2 })
		done := make(chan error)
		for i := range 20 {
			go func() {
				m := mapping()
				m.External += uint16(i)
				done <- r.Add(t.Context(), m)
			}()
		}
		start := time.Now()
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took, n := time.Since(start), r.box.Stats().Connections; took < 10*time.Second || n > 2 {
			t.Errorf("%d connections, %v", n, took)
		}
		time.Sleep(time.Minute)
		if err := r.Delete(t.Context(), igd.TCP, 20000); err != nil {
			t.Error(err)
		}
		if n := r.box.Stats().Connections; n != 3 {
			t.Errorf("%d connections after a pause, want 3", n)
		}
	})
}

// TestAtOnce: a device that is not known is searched for once.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, igdtest.IGD1(), nil)
		done := make(chan error)
		for range 5 {
			go func() { done <- r.Add(t.Context(), mapping()) }()
		}
		for range 5 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if s := r.box.Stats(); s.Descriptions != 1 || s.Actions["AddPortMapping"] != 5 {
			t.Errorf("the box saw %+v", s)
		}
	})
}

func TestNewClientChecks(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]igd.Config{
		"nothing":       {},
		"IPv6":          {Gateway: netip.MustParseAddr("fe80::1")},
		"another host":  {Gateway: boxAddr, Description: "http://192.168.1.2/"},
		"a name":        {Description: "http://fritz.box:49000/igddesc.xml"},
		"a negative":    {Gateway: boxAddr, Connections: -1},
		"TLS":           {Description: "https://192.168.1.1/"},
		"with password": {Description: "http://a:b@192.168.1.1/"},
	} {
		if _, err := igd.NewClient(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	c, err := igd.NewClient(igd.Config{Gateway: boxAddr})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*igd.Mapping){
		"nothing":          func(m *igd.Mapping) { *m = igd.Mapping{} },
		"no protocol":      func(m *igd.Mapping) { m.Protocol = 3 },
		"no external port": func(m *igd.Mapping) { m.External = 0 },
		"no internal port": func(m *igd.Mapping) { m.Internal = 0 },
		"no client":        func(m *igd.Mapping) { m.Client = netip.Addr{} },
		"IPv6":             func(m *igd.Mapping) { m.Client = netip.MustParseAddr("fe80::1") },
	} {
		m := mapping()
		change(&m)
		if err := c.Add(t.Context(), m); err == nil || !strings.Contains(err.Error(), "no mapping") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s := c.Stats(); s != (igd.Stats{}) {
		t.Errorf("something was sent: %+v", s)
	}
}

// TestNonsenseInAnswers: values that cannot be are errors, odd ones that real boxes send
// are not.
func TestNonsenseInAnswers(t *testing.T) {
	t.Parallel()
	entry := func(change func(map[string]string)) map[string]string {
		out := map[string]string{
			"NewExternalPort": "20000", "NewProtocol": "tcp", "NewInternalPort": "20001", "NewInternalClient": "192.168.1.2",
			"NewEnabled": "1", "NewPortMappingDescription": "x", "NewLeaseDuration": "60", "NewReservedPort": "20002", "NewExternalIPAddress": "5.6.7.8",
		}
		change(out)
		return out
	}
	for name, tt := range map[string]struct {
		out  map[string]string
		want string
	}{
		"all well":          {entry(func(map[string]string) {}), "{TCP 20000 192.168.1.2 20001 1m0s x false} 20002 5.6.7.8"},
		"no lease":          {entry(func(m map[string]string) { delete(m, "NewLeaseDuration") }), "{TCP 20000 192.168.1.2 20001 0s x false} 20002 5.6.7.8"},
		"a name":            {entry(func(m map[string]string) { m["NewInternalClient"] = "laptop.lan" }), "{TCP 20000 invalid IP 20001 1m0s x false} 20002 5.6.7.8"},
		"switched off":      {entry(func(m map[string]string) { m["NewEnabled"] = "0" }), "{TCP 20000 192.168.1.2 20001 1m0s x true} 20002 5.6.7.8"},
		"no address":        {entry(func(m map[string]string) { delete(m, "NewExternalIPAddress") }), "{TCP 20000 192.168.1.2 20001 1m0s x false} 20002 0.0.0.0"},
		"an IPv6 address":   {entry(func(m map[string]string) { m["NewExternalIPAddress"] = "fe80::1" }), "{TCP 20000 192.168.1.2 20001 1m0s x false} 20002 GetExternalIPAddress: answer cannot be read: address fe80::1"},
		"a large port":      {entry(func(m map[string]string) { m["NewExternalPort"] = "65536" }), "GetGenericPortMappingEntry: answer cannot be read: port 65536 20002 5.6.7.8"},
		"no internal port":  {entry(func(m map[string]string) { m["NewInternalPort"] = "" }), "GetGenericPortMappingEntry: answer cannot be read: port 20002 5.6.7.8"},
		"another protocol":  {entry(func(m map[string]string) { m["NewProtocol"] = "SCTP" }), "GetGenericPortMappingEntry: answer cannot be read: protocol SCTP 20002 5.6.7.8"},
		"a long lease":      {entry(func(m map[string]string) { m["NewLeaseDuration"] = "99999999999" }), "GetGenericPortMappingEntry: answer cannot be read: lease 99999999999 20002 5.6.7.8"},
		"no reserved port":  {entry(func(m map[string]string) { m["NewReservedPort"] = "0" }), "{TCP 20000 192.168.1.2 20001 1m0s x false} AddAnyPortMapping: answer cannot be read: port 0 5.6.7.8"},
		"no reserved at al": {entry(func(m map[string]string) { delete(m, "NewReservedPort") }), "{TCP 20000 192.168.1.2 20001 1m0s x false} AddAnyPortMapping: answer cannot be read: port 5.6.7.8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, igdtest.Profile{Response: func() []byte {
					// One response for all three: each looks for its own.
					var args strings.Builder
					for name, value := range tt.out {
						args.WriteString("<" + name + ">" + value + "</" + name + ">")
					}
					var all strings.Builder
					for _, action := range []string{"GetGenericPortMappingEntry", "AddAnyPortMapping", "GetExternalIPAddress"} {
						all.WriteString("<" + action + "Response>" + args.String() + "</" + action + "Response>")
					}
					return []byte("<Envelope><Body>" + all.String() + "</Body></Envelope>")
				}}, nil)
				ctx := within(t, time.Minute)
				m, err1 := r.Entry(ctx, 0)
				port, err2 := r.AddAny(ctx, mapping())
				a, err3 := r.ExternalAddress(ctx)
				if got := either(m, err1) + " " + either(port, err2) + " " + either(a, err3); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

// either returns an error or else a value, in words.
func either(value any, err error) string {
	if err != nil {
		return strings.TrimSpace(err.Error())
	}
	return fmt.Sprint(value)
}
