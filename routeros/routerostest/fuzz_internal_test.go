package routerostest

import (
	"strings"
	"testing"

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
			o := r.executeLocked(AdminUser, c)
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
