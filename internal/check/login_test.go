package check_test

import (
	"context"
	"net"
	"os"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/lab"
	"doublenat/internal/remedy"
)

// TestUnreachableNamesBothTables has a router that does not answer doublenat's host,
// as with the raw table of the vendor's advanced firewall. Nothing can be read, so
// the doctor has to name whatever may drop the connection.
func TestUnreachableNamesBothTables(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lab.BenchConfig{})
		r.cfg.API.Dial = func(context.Context) (net.Conn, error) { return nil, os.ErrDeadlineExceeded }
		found := wrong(r.check())
		if len(found) == 0 || found[0].Probe != "login" || found[0].Advice.Kind != remedy.KindConnection {
			t.Fatalf("the doctor found %+v", found)
		}
		var commands []string
		for _, c := range found[0].Advice.Commands {
			commands = append(commands, c.String())
		}
		add := func(table, chain string) string {
			row := " add chain=" + chain + ` action=accept protocol=tcp dst-port=8728 src-address=172.30.254.2 comment="doublenat to the API"`
			return ":local r [" + table + " find where chain=" + chain + " !dynamic]; :if ([:len $r]>0) do={" +
				table + row + " place-before=($r->0)} else={" + table + row + "}"
		}
		want := []string{add("/ip firewall raw", "prerouting"), add("/ip firewall filter", "input")}
		if diff := cmp.Diff(want, commands); diff != "" {
			t.Errorf("commands (-want +got):\n%s", diff)
		}
		r.obey(found[0].Advice.Commands)
		r.cfg.API.Dial = r.Router.Dial
		if found := wrong(r.check()); len(found) != 0 {
			t.Errorf("after typing them: %+v", found)
		}
		r.cfg.Self = nil
		r.cfg.API.Dial = func(context.Context) (net.Conn, error) { return nil, os.ErrDeadlineExceeded }
		if found := wrong(r.check()); len(found[0].Advice.Commands) != 0 {
			t.Errorf("commands for a host whose address is not known: %v", found[0].Advice.Commands)
		}
	})
}
