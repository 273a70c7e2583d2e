package routerostest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros/routerostest"
)

func TestRuleLife(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	before := router.Fingerprint(natPath, nil)
	changes := 0
	router.OnChange(func() { changes++ })
	c := login(t, router)

	const id = "*D"
	steps := []struct {
		words []string
		want  string
	}{
		{[]string{
			natPath + "/add", "=chain=dstnat", "=action=dst-nat", "=protocol=tcp", "=in-interface=wg1", "=dst-port=4000",
			"=to-addresses=192.168.88.10", "=to-ports=6881", "=comment=ours", ".tag=7",
		}, "!done .tag=7 =ret=" + id},
		{
			[]string{natPath + "/print", "?comment=ours", "=.proplist=.id,dst-port,to-ports,disabled"},
			"!re =.id=*D =to-ports=6881 =dst-port=4000 =disabled=false\n!done",
		},
		{[]string{natPath + "/set", "=.id=" + id, "=to-ports=6882", "=disabled=yes"}, "!done"},
		{[]string{natPath + "/print", "?comment=ours", "=.proplist=to-ports,disabled"}, "!re =to-ports=6882 =disabled=true\n!done"},
		{[]string{natPath + "/enable", "=numbers=" + id}, "!done"},
		{[]string{natPath + "/comment", "=.id=" + id, "=comment="}, "!done"},
		{[]string{natPath + "/print", "?.id=" + id, "=.proplist=disabled,comment"}, "!re =disabled=false\n!done"},
		{[]string{natPath + "/get", "=.id=" + id, "=value-name=dst-port"}, "!done =ret=4000"},
		{[]string{natPath + "/unset", "=.id=" + id, "=value-name=in-interface"}, "!done"},
		{[]string{natPath + "/print", "?.id=" + id, "?in-interface", "=count-only="}, "!done =ret=0"},
		{[]string{natPath + "/move", "=.id=" + id, "=destination=*2"}, "!done"},
		{[]string{natPath + "/find"}, "!done =ret=*1;*D;*2;*3;*4;*5;*6;*7;*8;*9;*A;*B;*C"},
		{[]string{natPath + "/remove", "=.id=" + id}, "!done"},
		{[]string{natPath + "/remove", "=.id=" + id}, "!trap =category=0 =message=no such item\n!done"},
		{[]string{natPath + "/print", "?.id=" + id}, "!empty\n!done"},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, c.run(step.words...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", step.words, diff)
		}
	}
	if diff := cmp.Diff(string(before), string(router.Fingerprint(natPath, nil))); diff != "" {
		t.Errorf("foreign rules (-before +after):\n%s", diff)
	}
	if changes != 7 {
		t.Errorf("the hook ran %d times, want 7", changes)
	}
	want := routerostest.Stats{Connections: 1, Logins: 1, Commands: 16, Reads: 7, Writes: 7, Rows: 3, Traps: 1}
	if diff := cmp.Diff(want, router.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func TestCommandsInFlightDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		router := newRouter(t, routerostest.Config{Latency: 10 * time.Millisecond})
		router.SetLatency("/system/identity/print", 5*time.Millisecond)
		c := login(t, router)
		start := time.Now()
		c.send("/user/print", "?name=admin", "=.proplist=name", ".tag=a")
		c.send("/user/print", "?name=doublenat", "=.proplist=name", ".tag=b")
		c.send("/system/identity/print", ".tag=c")
		got := c.lines(6)
		want := []string{
			"!re .tag=c =name=MikroTik", "!done .tag=c",
			"!re .tag=a =name=admin", "!re .tag=b =name=doublenat", "!done .tag=a", "!done .tag=b",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("took %v, want 10ms", took)
		}
	})
}
