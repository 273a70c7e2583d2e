package routerostest_test

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// errProtocol stands for any error that the codec finds in the bytes.
var errProtocol = errors.New("protocol error")

// TestFaults has every kind: what the client sees of an add, whether the router
// made the rule, and how the connection ends, if it does.
func TestFaults(t *testing.T) {
	t.Parallel()
	const ok = "!done .tag=1 =ret=*D"
	const overload = "action timed out - try again, if error continues contact MikroTik support and send a supout file (13)"
	silence := os.ErrDeadlineExceeded
	tests := []struct {
		fault routerostest.Fault
		want  []string
		made  bool
		after time.Duration
		end   error // how reading on ends; silence while the connection is fine
	}{
		{fault: routerostest.Fault{Kind: routerostest.FaultDelay, Delay: 3 * time.Second}, want: []string{ok}, made: true, after: 3 * time.Second, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultDelayReply, Delay: 3 * time.Second}, want: []string{ok}, made: true, after: 3 * time.Second, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultSilence}, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultSilenceReply}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultClose}, end: io.EOF},
		{fault: routerostest.Fault{Kind: routerostest.FaultCloseReply}, made: true, end: io.EOF},
		{fault: routerostest.Fault{Kind: routerostest.FaultHalfSentence}, made: true, end: io.ErrUnexpectedEOF},
		{fault: routerostest.Fault{Kind: routerostest.FaultReset}, end: syscall.ECONNRESET},
		{fault: routerostest.Fault{Kind: routerostest.FaultResetReply}, made: true, end: syscall.ECONNRESET},
		{fault: routerostest.Fault{Kind: routerostest.FaultVanish}, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultTrap}, want: []string{"!trap .tag=1 =message=" + overload, "!done .tag=1"}, end: silence},
		{
			fault: routerostest.Fault{Kind: routerostest.FaultDoubleTrap, Message: "first", Category: "4"},
			want:  []string{"!trap .tag=1 =category=4 =message=first", "!trap .tag=1 =message=action failed", "!done .tag=1"}, end: silence,
		},
		{fault: routerostest.Fault{Kind: routerostest.FaultFatal, Message: "bye"}, want: []string{"!fatal bye"}, end: io.EOF},
		{fault: routerostest.Fault{Kind: routerostest.FaultFatal}, want: []string{"!fatal session terminated"}, end: io.EOF},
		{fault: routerostest.Fault{Kind: routerostest.FaultEmpty}, want: []string{"!empty .tag=1", ok}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultReservedLength}, made: true, end: errProtocol},
		{fault: routerostest.Fault{Kind: routerostest.FaultHugeLength}, made: true, end: errProtocol},
		{fault: routerostest.Fault{Kind: routerostest.FaultEmptySentences}, want: []string{ok}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultTagLast}, want: []string{"!done =ret=*D .tag=1"}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultTagMiddle}, want: []string{ok}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultShuffle}, want: []string{ok}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultExtraProperties}, want: []string{ok}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultMissingProperties}, want: []string{ok}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultBinaryComment}, want: []string{ok}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultQueryIgnored}, want: []string{ok}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultUnsettled, Delay: 5 * time.Second}, want: []string{ok}, made: true, end: silence},
		{fault: routerostest.Fault{Kind: routerostest.FaultNone}, want: []string{ok}, made: true, end: silence},
	}
	seen := make(map[routerostest.FaultKind]bool)
	for _, tt := range tests {
		seen[tt.fault.Kind] = true
		t.Run(tt.fault.Kind.String()+" "+tt.fault.Message, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				router := newRouter(t, routerostest.Config{})
				rules := len(router.Rows(natPath))
				c := login(t, router)
				tt.fault.Command = natPath + "/add"
				router.Inject(tt.fault)
				start := time.Now()
				c.send(natPath+"/add", "=chain=dstnat", ".tag=1")
				if diff := cmp.Diff(tt.want, c.lines(len(tt.want))); diff != "" {
					t.Errorf("reply (-want +got):\n%s", diff)
				}
				if took := time.Since(start); took != tt.after {
					t.Errorf("took %v, want %v", took, tt.after)
				}
				got := c.cut()
				if _, garbage := errors.AsType[*routeros.ProtocolError](got); garbage {
					got = errProtocol
				}
				if !errors.Is(got, tt.end) {
					t.Errorf("then: %v, want %v", got, tt.end)
				}
				if made := len(router.Rows(natPath)) == rules+1; made != tt.made {
					t.Errorf("rule made: %v, want %v", made, tt.made)
				}
				if got := router.FaultCounts()[tt.fault.Kind]; got != 1 {
					t.Errorf("the fault struck %d times, want 1", got)
				}
				last := router.Journal()[1]
				if diff := cmp.Diff([]routerostest.FaultKind{tt.fault.Kind}, last.Faults); diff != "" || last.Wrote != tt.made {
					t.Errorf("journal: %+v", last)
				}
			})
		})
	}
	for _, kind := range routerostest.FaultKinds() {
		if !seen[kind] {
			t.Errorf("fault %v is not tested", kind)
		}
	}
	if got := routerostest.FaultKind(200).String(); got != "unknown" {
		t.Errorf("a kind that there is not: %q", got)
	}
}

func TestFaultsInRows(t *testing.T) {
	t.Parallel()
	const plain = "!re .tag=1 =name=LAN =comment=defconf"
	tests := []struct {
		fault routerostest.Fault
		want  string
	}{
		{routerostest.Fault{Kind: routerostest.FaultNone}, plain},
		{routerostest.Fault{Kind: routerostest.FaultTagLast}, "!re =name=LAN =comment=defconf .tag=1"},
		{routerostest.Fault{Kind: routerostest.FaultTagMiddle}, "!re =name=LAN .tag=1 =comment=defconf"},
		{routerostest.Fault{Kind: routerostest.FaultExtraProperties}, plain + " =.nextid=*FFFFFFFF =from-the-future= =x.y=a=b=c"},
		{
			routerostest.Fault{Kind: routerostest.FaultMissingProperties, Properties: []string{"name", "x"}},
			"!re .tag=1 =comment=defconf",
		},
		{routerostest.Fault{Kind: routerostest.FaultBinaryComment}, plain},
	}
	for _, tt := range tests {
		t.Run(tt.fault.Kind.String(), func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{})
			c := login(t, router)
			router.Inject(tt.fault)
			want := []string{tt.want, "!done .tag=1"}
			if tt.fault.Kind == routerostest.FaultTagLast {
				want[1] = "!done .tag=1"
			}
			c.send("/interface/list/print", "?name=LAN", "=.proplist=name,comment", ".tag=1")
			if diff := cmp.Diff(want, c.lines(2)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	router := newRouter(t, routerostest.Config{})
	c := login(t, router)
	router.Inject(routerostest.Fault{Kind: routerostest.FaultBinaryComment})
	if got := c.run("/interface/list/print", "?name=all", "=.proplist=name"); got != "!re =name=all =comment=\xff\xfeT\xfcr \xc3\x28\x00\n!done" {
		t.Errorf("%q", got)
	}
}

func TestFaultsCountOccurrences(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	c := login(t, router)
	run := func() (struck []string) {
		for range 5 {
			words := "-"
			if strings.HasPrefix(c.run("/system/identity/print"), "!trap") {
				words = "x"
			}
			c.run("/system/clock/print")
			struck = append(struck, words)
		}
		return struck
	}
	trap := routerostest.Fault{Kind: routerostest.FaultTrap, Command: "/system/identity/print"}
	second, twice, always := trap, trap, trap
	second.Skip, twice.Times, always.Times = 1, 2, -1
	for _, tt := range []struct {
		name  string
		fault routerostest.Fault
		want  string
	}{
		{"once", trap, "x----"}, {"the second", second, "-x---"}, {"twice", twice, "xx---"}, {"always", always, "xxxxx"},
	} {
		disarm := router.Inject(tt.fault)
		if got := strings.Join(run(), ""); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		disarm()
		if got := strings.Join(run(), ""); got != "-----" {
			t.Errorf("%s, disarmed: %s", tt.name, got)
		}
	}
	router.Inject(routerostest.Fault{Kind: routerostest.FaultTrap, Times: -1})
	router.ClearFaults()
	if got := strings.Join(run(), ""); got != "-----" {
		t.Errorf("cleared: %s", got)
	}
}

// TestAdministratorInBetween edits a rule between a client's command and its execution.
func TestAdministratorInBetween(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	c := login(t, router)
	router.Inject(routerostest.Fault{Command: natPath + "/remove", Do: func(r *routerostest.Router) {
		if err := r.Remove(natPath, "*4"); err != nil {
			t.Error(err)
		}
	}})
	if got := c.run(natPath+"/remove", "=.id=*4"); got != "!trap =category=0 =message=no such item\n!done" {
		t.Error(got)
	}
}

func TestReboot(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			router := newRouter(t, routerostest.Config{})
			c := login(t, router)
			if _, _, ok := router.Match("tcp", routerostest.TunnelInterface, 2222); !ok {
				t.Fatal("no match")
			}
			before := router.Rows(natPath)
			time.Sleep(time.Hour)
			c.run(natPath+"/add", "=chain=dstnat", "=comment=old")
			time.Sleep(10 * time.Second)
			c.run(natPath+"/add", "=chain=dstnat", "=comment=young")
			router.Reboot(routerostest.Reboot{Down: time.Minute, Cut: cut, LoseLast: 5 * time.Second})

			if _, err := router.Dial(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("Dial while down: %v", err)
			}
			want, uptime := os.ErrDeadlineExceeded, "2m" // a minute passes in waiting for the old connection
			if cut {
				want, uptime = syscall.ECONNRESET, "1m"
			}
			if err := c.cut(); !errors.Is(err, want) {
				t.Errorf("old connection: %v, want %v", err, want)
			}
			time.Sleep(2 * time.Minute)
			if !cut {
				c.send("/system/identity/print") // the router does not know this connection any more
				if err := c.cut(); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("old connection, router up: %v", err)
				}
			}
			c = login(t, router)
			const wear = " =write-sect-since-reboot=0 =write-sect-total=2\n!done"
			if got := c.run("/system/resource/print", "=.proplist=uptime,write-sect-since-reboot,write-sect-total"); got != "!re =uptime="+uptime+wear {
				t.Error(got)
			}
			wantRows := slices.Concat(before[1:], []routerostest.Row{{ // without the dynamic one
				".id": "*D", "chain": "dstnat", "action": "accept", "comment": "old", "log": "false", "log-prefix": "", "bytes": "0", "packets": "0",
				"invalid": "false", "dynamic": "false", "disabled": "false", "in-interface-list": "", "dst-address-list": "",
			}})
			for _, row := range wantRows {
				row["bytes"], row["packets"] = "0", "0"
			}
			if diff := cmp.Diff(wantRows, router.Rows(natPath)); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			if rows := router.Rows("/ip/firewall/connection"); len(rows) != 0 {
				t.Errorf("connections %v", rows)
			}
		})
	}
}

func TestRebootChangesIDs(t *testing.T) {
	t.Parallel()
	newest := func(r *routerostest.Router) string {
		rows := r.Rows(natPath)
		return rows[len(rows)-1][".id"]
	}
	for _, tt := range []struct {
		name           string
		reuse          bool
		how            routerostest.Reboot
		kept, nextRule string
	}{
		{"kept", false, routerostest.Reboot{}, "*C", "*E"},
		{"reused", true, routerostest.Reboot{}, "*C", "*D"},
		{"renumbered", false, routerostest.Reboot{Renumber: true}, "*18", "*19"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{ReuseIDs: tt.reuse})
			c := login(t, router)
			c.run(natPath+"/add", "=chain=dstnat")
			c.run(natPath+"/remove", "=.id=*D")
			router.Reboot(tt.how)
			if got := newest(router); got != tt.kept {
				t.Errorf("the last rule is %s, want %s", got, tt.kept)
			}
			if got := login(t, router).run(natPath+"/add", "=chain=dstnat"); got != "!done =ret="+tt.nextRule {
				t.Errorf("the next rule: %s, want %s", got, tt.nextRule)
			}
		})
	}
}

// TestRebootInTheMiddleOfACommand loses the command, not the router.
func TestRebootInTheMiddleOfACommand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		router := newRouter(t, routerostest.Config{})
		c := login(t, router)
		router.Inject(routerostest.Fault{Command: natPath + "/add", Do: func(r *routerostest.Router) { r.Reboot(routerostest.Reboot{}) }})
		c.send(natPath+"/add", "=chain=dstnat", "=comment=lost")
		if err := c.cut(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, want silence", err)
		}
		if row, found := router.Find(natPath, "comment", "lost"); found {
			t.Errorf("made %v", row)
		}
		c = login(t, router)
		router.Disconnect()
		if err := c.cut(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v, want a reset", err)
		}
	})
}

// TestRebootForgetsSessions fills a service with connections that the reboot
// makes vanish: the router that came up knows none of them.
func TestRebootForgetsSessions(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	for range 20 {
		login(t, router)
	}
	router.Reboot(routerostest.Reboot{})
	login(t, router)
}
