package check_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// logBuffer takes a log that several goroutines write.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// said is a remedy, and the hop of which it was said.
type said struct{ Hop, Remedy string }

// remedies returns what the log said, each once.
func (b *logBuffer) remedies(t *testing.T) []said {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []said
	for line := range bytes.Lines(b.buf.Bytes()) {
		var l struct{ Component, Remedy string }
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if s := (said{l.Component, l.Remedy}); l.Remedy != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// told returns what the doctor says to do about what is broken.
func told(report check.Report) []said {
	var all []said
	for _, f := range wrong(report) {
		all = append(all, said{f.Advice.Hop.String(), f.Advice.String()})
	}
	return all
}

// agree runs the daemon for some minutes on a broken bench, then the doctor, and
// compares what the log said to do with what the doctor says. It returns that.
func agree(t *testing.T, cfg lab.BenchConfig, breakIt func(*rig)) []said {
	t.Helper()
	log := new(logBuffer)
	cfg.Logger = slog.New(slog.NewJSONHandler(log, nil))
	r := newRig(t, cfg)
	breakIt(r)
	if err := r.Start(nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	// What becomes of the mapping is not the question here.
	_, _ = r.Request(netip.MustParseAddr("192.168.88.10"), natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 6881, Lifetime: 3600})
	time.Sleep(time.Minute)
	fromLog := log.remedies(t)
	r.Kill() // or its own changes would count as the doctor's
	fromDoctor := told(r.check())
	if diff := cmp.Diff(fromLog, fromDoctor); diff != "" {
		t.Errorf("what to do (-log +doctor):\n%s\nlog:\n%s", diff, log.buf.String())
	}
	return fromDoctor
}

// harmless are the faults that a client has to understand and not to complain of.
func harmless(k routerostest.FaultKind) bool {
	return slices.Contains([]routerostest.FaultKind{
		routerostest.FaultEmpty, routerostest.FaultEmptySentences, routerostest.FaultTagLast, routerostest.FaultTagMiddle,
		routerostest.FaultShuffle, routerostest.FaultExtraProperties, routerostest.FaultMissingProperties, routerostest.FaultBinaryComment,
		routerostest.FaultQueryIgnored, routerostest.FaultUnsettled,
	}, k)
}

// TestLogAndDoctorAgreeOnTheRouter strikes logins, and reads after them, with
// every fault of the test router for as long as anybody looks.
func TestLogAndDoctorAgreeOnTheRouter(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"/login", "/interface/print", "/ip/firewall/nat/print"} {
		for _, kind := range routerostest.FaultKinds() {
			t.Run(command+" "+kind.String(), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					got := agree(t, lab.BenchConfig{}, func(r *rig) {
						r.Router.Inject(routerostest.Fault{Kind: kind, Command: command, Times: -1, Delay: time.Minute})
					})
					if quiet := len(got) == 0; quiet != harmless(kind) {
						t.Errorf("what to do: %v", got)
					}
				})
			})
		}
	}
}

// TestLogAndDoctorAgreeOnWrites strikes the commands that make, change and remove
// rules. The doctor, who writes nothing, finds nothing wrong then; asked for a
// mapping, it must fail exactly where the log blames the router for a rule that
// could not be made. Nobody may blame the gateway.
func TestLogAndDoctorAgreeOnWrites(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"add", "set", "remove"} {
		for _, kind := range routerostest.FaultKinds() {
			t.Run(command+" "+kind.String(), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { agreeOnWrites(t, command, kind) })
			})
		}
	}
}

// agreeOnWrites lets a mapping live while one command is struck: it is made, its
// external port moves, and it is deleted.
func agreeOnWrites(t *testing.T, command string, kind routerostest.FaultKind) {
	t.Helper()
	log := new(logBuffer)
	r := newRig(t, lab.BenchConfig{
		Profile: natpmptest.ProtonRotate(2), Environ: map[string]string{"LEASE_POLICY": "hold"},
		Logger: slog.New(slog.NewJSONHandler(log, nil)),
	})
	r.Router.Inject(routerostest.Fault{Kind: kind, Command: natPath + "/" + command, Times: -1, Delay: time.Minute})
	if err := r.Start(nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	client := netip.MustParseAddr("192.168.88.10")
	// What becomes of the mapping is not the question here.
	_, _ = r.Request(client, natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 6881, Lifetime: 7200})
	time.Sleep(12 * time.Minute)
	_, _ = r.Request(client, natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: 6881})
	time.Sleep(2 * time.Minute)
	r.live(nil)
	live := r.examine()
	time.Sleep(time.Minute)
	fromLog := log.remedies(t)
	r.Kill() // or its own changes would count as the doctor's
	r.cfg.Live = nil
	if got := told(r.check()); len(got) != 0 {
		t.Errorf("the doctor, who writes nothing, says %v", got)
	}
	for _, s := range fromLog {
		if s.Hop != nat.HopRouter.String() {
			t.Errorf("the log blames %v", s)
		}
	}
	if r.Router.FaultCounts()[kind] == 0 {
		t.Error("nothing was struck")
	}
	failed := live.Level != check.OK
	if failed && (len(fromLog) == 0 || !strings.Contains(live.Advice.Text, "router")) || harmless(kind) && (failed || len(fromLog) > 0) {
		t.Errorf("the log says %v, the doctor %s: %s\n%s", fromLog, live.Seen, live.Advice, log.buf.String())
	}
	if command == "add" && !failed && len(fromLog) > 0 && !executed(kind) {
		t.Errorf("no rule can be made, and the doctor got one; the log says %v", fromLog)
	}
}

// executed are the faults in which the router does what it was asked.
func executed(k routerostest.FaultKind) bool {
	return slices.Contains([]routerostest.FaultKind{
		routerostest.FaultDelay, routerostest.FaultDelayReply, routerostest.FaultSilenceReply, routerostest.FaultCloseReply, routerostest.FaultHalfSentence,
		routerostest.FaultResetReply, routerostest.FaultReservedLength, routerostest.FaultHugeLength,
	}, k)
}

// TestLogAndDoctorAgreeOnTrouble has the mistakes of people.
func TestLogAndDoctorAgreeOnTrouble(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*rig){
		"nothing":      func(*rig) {},
		"service off":  func(r *rig) { r.set("/ip/service", "name", "api", routerostest.Row{"disabled": "true"}) },
		"user unknown": func(r *rig) { r.remove("/user", "name", routerostest.LeastUser) },
		"may not write": func(r *rig) {
			r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "read,api,test"})
		},
		"in the group read": func(r *rig) { r.set("/user", "name", "doublenat", routerostest.Row{"group": "read"}) },
		"in a group with others": func(r *rig) {
			r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "read,api,test"})
			r.add("/user", "name=dashboard group=doublenat password=secret", "")
		},
		"may not test": func(r *rig) {
			r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "read,write,api"})
		},
		"may do too much": func(r *rig) {
			r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "read,write,api,test,sniff"})
		},
		"may not read":    func(r *rig) { r.set("/user/group", "name", "doublenat", routerostest.Row{"policy": "write,api,test"}) },
		"no route":        func(r *rig) { r.remove("/ip/route", "dst-address", "10.2.0.1/32") },
		"gateway refuses": func(r *rig) { r.Gateway.Refuse(true) },
		"gateway silent":  func(r *rig) { r.Gateway.Adjust(func(p *natpmptest.Profile) { p.Silent = true }) },
		"gateway cut off": func(r *rig) {
			r.Net.SetFaults(natpmptest.Path{From: netip.MustParsePrefix("10.2.0.2/32")}, natpmptest.Faults{Blackhole: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if got := agree(t, lab.BenchConfig{}, breakIt); len(got) == 0 != (name == "nothing") {
					t.Errorf("what to do: %v", got)
				}
			})
		})
	}
}

// TestLogAndDoctorAgreeOnTheLine has lines to the gateway that lose, delay and
// jumble packets, as far as one can live with, and further.
func TestLogAndDoctorAgreeOnTheLine(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		faults natpmptest.Faults
		quiet  bool
	}{
		"some lost":     {natpmptest.Faults{Loss: 0.2}, true},
		"all lost":      {natpmptest.Faults{Loss: 1}, false},
		"some delay":    {natpmptest.Faults{Delay: 200 * time.Millisecond}, true},
		"much delay":    {natpmptest.Faults{Delay: 5 * time.Minute}, false},
		"jitter":        {natpmptest.Faults{Delay: 50 * time.Millisecond, Jitter: 300 * time.Millisecond}, true},
		"all of it":     {natpmptest.Faults{Loss: 0.1, Delay: 50 * time.Millisecond, Jitter: 200 * time.Millisecond}, true},
		"lost and late": {natpmptest.Faults{Loss: 1, Delay: time.Second, Jitter: time.Second}, false},
	} {
		for _, way := range []string{"requests", "replies"} {
			t.Run(name+" "+way, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					got := agree(t, lab.BenchConfig{}, func(r *rig) {
						r.Gateway.Adjust(func(p *natpmptest.Profile) {
							if way == "requests" {
								p.Requests = tt.faults
							} else {
								p.Replies = tt.faults
							}
						})
					})
					if (len(got) == 0) != tt.quiet {
						t.Errorf("what to do: %v", got)
					}
				})
			})
		}
	}
}

// TestLogAndDoctorAgreeOnTheGateway has every profile of the test gateway.
func TestLogAndDoctorAgreeOnTheGateway(t *testing.T) {
	t.Parallel()
	troubled := []string{"noaddr", "unauth", "pcp"}
	// The trouble of these shows with mappings, or after a while: the log tells of it, and the
	// doctor, who only asks for the address, has nothing to say.
	later := []string{"zeroport", "flip", "swapped", "8bit", "liar", "wrongint"}
	for _, profile := range natpmptest.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if slices.Contains(later, profile.Name) {
					r := newRig(t, lab.BenchConfig{Profile: profile})
					if got := told(r.check()); len(got) > 0 {
						t.Errorf("what to do: %v", got)
					}
					return
				}
				got := agree(t, lab.BenchConfig{Profile: profile}, func(*rig) {})
				if len(got) > 0 != slices.Contains(troubled, profile.Name) {
					t.Errorf("what to do: %v", got)
				}
			})
			if profile.MaxPorts > 0 || profile.MaxLeases > 0 {
				synctest.Test(t, func(t *testing.T) { agreeWhenFull(t, profile) })
			}
		})
	}
}

// agreeWhenFull has a client map ports until the gateway has no more. That shows
// with a mapping only, so the doctor has to ask for one.
func agreeWhenFull(t *testing.T, profile natpmptest.Profile) {
	t.Helper()
	log := new(logBuffer)
	r := newRig(t, lab.BenchConfig{Profile: profile, Logger: slog.New(slog.NewJSONHandler(log, nil))})
	if err := r.Start(nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	for port := range uint16(12) {
		_, _ = r.Request(netip.MustParseAddr("192.168.88.10"), natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 1000 + port, Lifetime: 3600})
	}
	r.live(nil)
	found := r.examine()
	got := slices.DeleteFunc(log.remedies(t), func(s said) bool { return s.Hop == nat.HopGateway.String() && profile.Name == "flip" })
	if len(got) != 1 || !strings.HasPrefix(found.Advice.Text, got[0].Remedy) || found.Advice.Kind != check.KindNotMapped {
		t.Errorf("the log says %v, the doctor %s: %s", got, found.Seen, found.Advice)
	}
}
