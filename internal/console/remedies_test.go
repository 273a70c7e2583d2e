package console_test

import (
	"net/netip"
	"testing"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// remedies are those that are the same for everybody but for a name or address.
func remedies() map[string]remedy.Advice {
	host, gateway := netip.MustParseAddr("172.30.254.2"), netip.MustParseAddr("10.2.0.1")
	return map[string]remedy.Advice{
		"unreachable": remedy.Unreachable(), "unreachable from": remedy.UnreachableFrom(host, 8728),
		"refused": remedy.Refused(remedy.Link{}), "silent": remedy.Silent(remedy.Link{}), "silent via": remedy.Silent(remedy.Link{Interface: "wg 1"}),
		"masquerade": {Commands: []remedy.Command{remedy.Masquerade("wg1")}}, "not symmetric": remedy.NotSymmetric(),
		"nothing granted": remedy.NothingGranted(), "limit": remedy.Limit(), "PCP only": remedy.PCPOnly(), "epoch": remedy.EpochJumps(),
		"permission": remedy.Permission("do \"it\"", "write"), "own group": remedy.OwnGroup("nat", "read", "doublenat", "write"),
		"grant all": {Commands: []remedy.Command{remedy.GrantAll("doublenat")}}, "too many": remedy.TooMany(),
		"invalid": remedy.Invalid("*1F", "no such interface"), "contested": remedy.Contested("home"), "strays": remedy.Strays("home"),
		"crowd": remedy.Crowd("home.lan_1"), "too large": limit("/ip/route/print"), "too large somewhere": limit(""),
		"taken": remedy.Taken("*1F"), "interface": remedy.Interface([]string{"wg1", "wg2"}), "no route": remedy.NoRoute(gateway, []string{"wg1"}),
		"no tunnel": remedy.NoTunnel("ether1", "wg1"),
	}
}

// limit is the remedy for a table that is too large.
func limit(path string) remedy.Advice {
	advice, _ := remedy.For(&routeros.LimitError{Path: path, Text: "too much"})
	return advice
}

// TestRemedies judges the commands of remedies as they are said for each release.
func TestRemedies(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	commands := 0
	for _, release := range releases() {
		version, err := remedy.ParseVersion(release)
		if err != nil {
			t.Fatal(err)
		}
		for name, advice := range remedies() {
			for _, command := range advice.For(version).Commands {
				commands++
				if refused := c.judge(command.String(), []string{release}); refused != "" {
					t.Errorf("%s: %s\n\t%s", name, command, refused)
				}
			}
		}
	}
	if commands < 5*len(releases()) {
		t.Errorf("only %d commands were judged", commands)
	}
}
