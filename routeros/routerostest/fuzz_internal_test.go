package routerostest

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/routeros"
)

// FuzzCommand runs any sentence as the administrator, in a version of each kind:
// nothing panics, every command that ends says so, a refused one stores nothing.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		"/ip/firewall/nat/print ?a=1 ?#! .tag=1", "/ip/firewall/nat/add =chain=dstnat =protocol=tcp =dst-port=!1-2,3 =place-before=*1",
		"/ip/firewall/nat/set =.id=*4,*5 =disabled=yes", "/ip/firewall/nat/remove =numbers=*4", "/ip/firewall/nat/move =.id=*4 =destination=*2",
		"/ip/firewall/nat/unset =.id=*4 =value-name=to-ports", "/ip/firewall/nat/get =.id=*4 =value-name=chain", "/ip/firewall/nat/find",
		"/ip/firewall/nat/listen", "/ip/firewall/nat/reset-counters-all", "/ip/route/check =dst-ip=10.2.0.1 =duration=1w", "/ip/route/check =dst-ip=::1 =once=",
		"/user/set =.id=admin =group=full", "/user/remove =.id=admin", "/system/clock/print =count-only=", "/login =name=x =response=y",
		"ip/service/print", "/", "//", "= = ?", "/ip/firewall/nat/add =copy-from=*4 =chain=x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, " ")
		for _, version := range []string{"6.49", "7.12", "7.22"} {
			r, err := New(Config{Version: version})
			if err != nil {
				t.Fatal(err)
			}
			c := parseCommand(routeros.Sentence(words))
			before := string(r.Fingerprint(natPath, nil))
			r.mu.Lock()
			o := r.executeLocked(actor{AdminUser, r.policiesLocked(AdminUser)}, c)
			r.mu.Unlock()
			if o.done == nil && o.listen == nil && o.repeat == 0 {
				t.Errorf("%q does not end", words)
			}
			if !o.wrote && string(r.Fingerprint(natPath, nil)) != before {
				t.Errorf("%q changed rules and says that it wrote nothing", words)
			}
			if o.wrote && len(o.traps) > 0 {
				t.Errorf("%q was refused and says that it wrote", words)
			}
			r.Match("tcp", TunnelInterface, 80)
		}
	})
}

// FuzzSession plays a script, one command in a line, to a session with latency,
// faults and a reboot: it answers, is silent or ends, and never hangs or panics.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"/system/identity/print .tag=1\n/ip/firewall/nat/listen .tag=2\n/ip/firewall/nat/add =chain=dstnat .tag=3\n/cancel =tag=2 .tag=4",
		"/login\n/login =name=admin =password=x\n/quit", "/ip/route/check =dst-ip=10.2.0.1 =interval=1s .tag=a\n/cancel", "\x00\n\n.tag=\n?",
		"/user/remove =.id=doublenat\n/ip/firewall/nat/print", "/cancel .tag=\n/cancel =tag=",
	} {
		f.Add(seed, uint8(0), false)
		f.Add(seed, seed[0], true)
	}
	f.Fuzz(func(t *testing.T, script string, kind uint8, reboot bool) {
		synctest.Test(t, func(t *testing.T) {
			r, err := New(Config{Latency: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			conn, err := r.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			b := routeros.AppendSentence(nil, []string{"/login", "=name=" + LeastUser, "=password=" + LeastPassword})
			lines := strings.Split(script, "\n")
			for _, line := range lines[:min(len(lines), 50)] {
				b = routeros.AppendSentence(b, strings.Fields(line))
			}
			r.Inject(Fault{Kind: FaultKind(kind) % faultKinds, Skip: 1, Times: 3, Delay: time.Second, Do: func(r *Router) {
				if reboot {
					r.Reboot(Reboot{Down: time.Second, Renumber: true, LoseLast: time.Minute})
				}
			}})
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, conn)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the session ended with %v", err)
			}
		})
	})
}
