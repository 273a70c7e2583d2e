package routerostest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros/routerostest"
)

// pasted returns what a terminal refused of a text.
func pasted(router *routerostest.Router, text string) string {
	return strings.Join(routerostest.Refused(router.Console(routerostest.AdminUser).Paste(text)), "\n")
}

// TestConsoleGrammar has lines and what the terminal of a version says of them.
func TestConsoleGrammar(t *testing.T) {
	t.Parallel()
	const six, seven = "6.49", "7.22"
	tests := []struct {
		versions, text, refused string
	}{
		{six, "/user group add name=x policy=read,write,api,test", ""},
		{seven, "/user group add name=x policy=read,write,api,test", ""},
		{seven, "/user/group/add name=x policy=read,write,api,test", ""},
		{six, "/user/group/add name=x policy=read", "/user/group/add name=x policy=read: expected end of command (line 1 column 6)"},
		{seven, "/user/group add name=x", ""},
		{seven, "/user\ngroup\nadd name=x\n/ip address print", ""},
		{seven, "user group add name=x", ""},
		{seven, "/user/groups/add name=x", "bad command name groups (line 1 column 1)"},
		{seven, "/user/group/make name=x", "bad command name make (line 1 column 1)"},
		{seven, "/user/group/add name=x shade=red", "unknown parameter shade"},
		{seven, "/user/group/add x", "expected end of command (x)"},
		{seven, "/user/group/add name=a b", "expected end of command (b)"},
		{seven, `/user/group/add name="a b" comment="say \"hi\" for \$5 \E2\82\AC"`, ""},
		{seven, `/user/group/add name="a`, "expected closing quote (line 1 column 24)"},
		{seven, `/user/group/add name="a\x"`, "invalid escape (line 1 column 24)"},
		{seven, `/user/group/add name=a"b"`, "expected end of command (line 1 column 23)"},
		{seven, "/user/group/add name=a=b", "expected end of command (line 1 column 23)"},
		{seven, "/user/group/add name=", "missing value of name (line 1 column 22)"},
		{seven, "/user/group/add name=x comment=a?b", "expected end of command (line 1 column 33)"},
		{six, `/user group add name=x comment="a?b"`, "a question mark asks for help; write \\? (line 1 column 34)"},
		{seven, "/user/group/add name=x policy=\\\nread", ""},
		{seven, "/user/group/add name=x; /user/group/remove x", ""},
		{seven, "# only a comment\n\n/user/group/add name=x # not one", "expected end of command (line 3 column 24)"},
		{seven, "/user/group/remove [find name=full", "expected closing bracket (line 1 column 35)"},
		{seven, "/user/group/set [find name=doublenat] policy=!test", ""},
		{seven, "/user/group/set [find where name=nobody] policy=read", "there is no such row, so that nothing is done"},
		{seven, "/user/group/set nobody policy=read", "no such item"},
		{seven, "/ip/firewall/nat/disable [find (comment=web or comment=voice) and !dynamic]", ""},
		{seven, "/ip/firewall/nat/disable [find comment~\"^nobody\"]", "there is no such row, so that nothing is done"},
		{seven, "/ip/firewall/nat/disable [find where chain=dstnat dst-port=2222]", ""},
		{seven, "/ip/firewall/nat/disable [find where chain=dstnat dst-port=1]", "there is no such row, so that nothing is done"},
		{seven, "/ip/firewall/nat/disable numbers=[find comment=web]", ""},
		{seven, "/ip/firewall/nat/disable *4", ""},
		{seven, "/ip/firewall/nat/disable *FF", "no such item"},
		{seven, "/ip/firewall/nat/disable 3", "no such item"},
		{seven, "/ip/firewall/nat/print\n/ip/firewall/nat/disable 3", ""},
		{seven, "/ip/firewall/nat/print where comment=web\n/ip/firewall/nat/disable 3", "no such item"},
		{seven, "/routing/table/add name=x fib", ""},
		{seven, "/ip/service/set ssh disabled=no", ""},
		{seven, "/ip/nat-pmp/set enabled=no", ""},
		{seven, "/ip/nat-pmp/set 0 enabled=no", "expected end of command (0)"},
		{seven, "/system/ntp/client/set enabled=yes servers=192.0.2.1", ""},
		{six, "/system ntp client set enabled=yes servers=192.0.2.1", "unknown parameter"},
		{seven, ":put [:len [/ip/address find]]", ""},
		{seven, ":put [/system/identity get name]", ""},
		{seven, ":local a \"x\"; /user/group/add name=$a", ""},
		{seven, "/user/group/add name=$a", "variable a is not set"},
		{seven, ":local a x\n/user/group/add name=$a", "variable a is not set"},
		{seven, ":global a x\n/user/group/add name=$a", ""},
		{seven, ":frobnicate", "bad command name frobnicate (line 1 column 2)"},
		{seven, ":if (1=1) do={:put yes} else={:error no}", ""},
		{seven, ":if (1=2) do={:put yes} else={:error no}", "no"},
		{seven, ":local a xxxxxxxxxxxxxxxx; " + strings.Repeat(":set a \"$a$a\"; ", 30), "the text is too long"},
		{seven, ":foreach i in=[/ip/firewall/nat/find comment=web] do={/ip/firewall/nat/disable $i}", ""},
		{seven, "\t/ip/address/print", "a tab completes what was typed (line 1 column 1)"},
		{six, ":put [/ip/address find]", "expected end of command (line 1 column 10)"},
	}
	for _, tt := range tests {
		router := newRouter(t, routerostest.Config{Version: tt.versions})
		got := pasted(router, tt.text)
		if tt.refused == "" && got != "" || !strings.Contains(got, tt.refused) {
			t.Errorf("%s: %s\n\tgot  %q\n\twant %q", tt.versions, tt.text, got, tt.refused)
		}
	}
}

// TestConsolePlaceBefore has the ways to put a rule on top, in tables that are empty,
// that nobody printed, and that have the row of FastTrack on top.
func TestConsolePlaceBefore(t *testing.T) {
	t.Parallel()
	const naive = "/ip firewall filter add chain=input action=accept place-before=0"
	const sound = `:local r [/ip firewall filter find where chain=input !dynamic]; ` +
		`:if ([:len $r]>0) do={/ip firewall filter add chain=input action=accept comment=ours place-before=($r->0)} ` +
		`else={/ip firewall filter add chain=input action=accept comment=ours}`
	empty := func(r *routerostest.Router) {
		for _, row := range r.Rows("/ip/firewall/filter") {
			_ = r.Remove("/ip/firewall/filter", row[".id"])
		}
	}
	fast := func(r *routerostest.Router) {
		_, _ = r.Add("/ip/firewall/filter", routerostest.Row{"chain": "forward", "action": "fasttrack-connection"})
	}
	for _, tt := range []struct {
		name, text, refused string
		prepare             func(*routerostest.Router)
		at                  int
	}{
		{"not printed", naive, "no such item", func(*routerostest.Router) {}, 0},
		{"printed", "/ip firewall filter print\n" + naive + " comment=ours", "", func(*routerostest.Router) {}, 0},
		{"printed and empty", "/ip firewall filter print\n" + naive, "no such item", empty, 0},
		{"FastTrack", "/ip firewall filter print\n" + naive, "failure: cannot move builtin", fast, 0},
		{"sound", sound, "", func(*routerostest.Router) {}, 0},
		{"sound, empty", sound, "", empty, 0},
		{"sound, FastTrack", sound, "", fast, 1},
	} {
		for _, version := range []string{"6.49", "7.24"} {
			router := newRouter(t, routerostest.Config{Version: version})
			tt.prepare(router)
			got := pasted(router, tt.text)
			if tt.refused == "" && got != "" || !strings.Contains(got, tt.refused) {
				t.Errorf("%s, %s: %q, want %q", version, tt.name, got, tt.refused)
			}
			if tt.refused == "" && router.Rows("/ip/firewall/filter")[tt.at]["comment"] != "ours" {
				t.Errorf("%s, %s: the table is %v", version, tt.name, router.Rows("/ip/firewall/filter"))
			}
		}
	}
}

// TestConsoleServices sets the service that somebody is connected to.
func TestConsoleServices(t *testing.T) {
	t.Parallel()
	const naive, sound = "/ip service set api disabled=no", "/ip service set [find name=api and !dynamic] disabled=no"
	for _, tt := range []struct{ version, text, refused string }{
		{"6.49", naive, ""},
		{"7.18", naive, ""},
		{"7.19", naive, naive + ": this is configured elsewhere"},
		{"6.49", sound, ""},
		{"7.19", sound, ""},
	} {
		router := newRouter(t, routerostest.Config{Version: tt.version})
		login(t, router)
		if got := pasted(router, tt.text); got != tt.refused {
			t.Errorf("%s: %s: %q, want %q", tt.version, tt.text, got, tt.refused)
		}
	}
	if got := pasted(newRouter(t, routerostest.Config{Version: "7.19"}), naive); got != "" {
		t.Errorf("while nobody is connected: %q", got)
	}
}

// TestConsoleJudge looks at lines whose rows need not be there.
func TestConsoleJudge(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{Version: "7.22"})
	before := router.Fingerprint(natPath, nil)
	for text, want := range map[string]string{
		"/container/start [find name=doublenat]":                                        "",
		"/ip/firewall/nat/remove [find comment~\"doublenat\"]":                          "",
		"/routing/rule/add src-address=192.168.88.0/24 table=to-proton place-before=*7": "",
		"/ip/firewall/filter/add chain=input action=accept place-before=0":              "no such item: 0 is a number, and nothing was printed",
		"/ip/firewall/filter/print\n/ip/firewall/filter/add chain=x place-before=0":     "",
		"/ip/service/set api disabled=no":                                               "this is configured elsewhere",
		"/ip/service/set [find name=api and !dynamic] disabled=no":                      "",
		"/ip/firewall/nat/add chain=dstnat in-interface=nobody-has-it":                  "",
		"/ip/firewall/nat/add chain=dstnat dst-port=many":                               "invalid value for argument dst-port",
		"/ip/firewall/filter/add chain=input shade=red":                                 "bad argument name shade",
		"/ip/firewall/filter/set chain=input":                                           "missing value(s) of argument(s) numbers",
		"/ip/firewall/filter/enable *1 chain=input":                                     "bad argument name chain",
		":if (1=1) do={/ip/x/add} else={:put a}":                                        "bad command name x",
		":if (1=1) do={:put a} else={/ip/x/add}":                                        "bad command name x",
		"/system/package/apply-changes":                                                 "",
		"/certificate/sign doublenat-api":                                               "",
		"/container/add file=x.tar interface=v envlist=doublenat":                       "bad argument name envlist",
	} {
		err := router.Console(routerostest.AdminUser).Judge(text)
		if got := ""; err != nil && !strings.Contains(err.Error(), want) || err == nil && want != got || want == "" && err != nil {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if diff := cmp.Diff(string(before), string(router.Fingerprint(natPath, nil))); diff != "" {
		t.Errorf("judging changed rules:\n%s", diff)
	}
}

// TestConsoleOutput has what commands print.
func TestConsoleOutput(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	for text, want := range map[string]string{
		":put [:len [/ip/address/find]]":                                     "4\n",
		":put [/system/identity get name]":                                   "MikroTik\n",
		":put [/ip/address get [find interface=wg1] address]":                "10.2.0.2/32\n",
		":local a 3; :put ($a + 4)":                                          "7\n",
		":local a [/ip/address find]; :put \"first $($a->0) of $[:len $a]\"": "first *1 of 4\n",
		"/ip/address/print count-only where interface=wg1":                   "1\n",
		"/ip/address/print where interface=wg1":                              " 0 address=10.2.0.2/32 network=10.2.0.2 interface=wg1 actual-interface=wg1 invalid=false dynamic=false disabled=false\n",
	} {
		results := router.Console(routerostest.AdminUser).Paste(text)
		var got strings.Builder
		for _, p := range results {
			got.WriteString(p.Output)
		}
		if refused := routerostest.Refused(results); got.String() != want || refused != nil {
			t.Errorf("%s: %q (%v), want %q", text, got.String(), refused, want)
		}
	}
	if got := pasted(router, "/user add name=u group=full password=secret"); got != "" {
		t.Fatal(got)
	}
	if row, _ := router.Find("/user", "name", "u"); row["password"] != "" {
		t.Error("the password can be read")
	}
}

// FuzzConsole reads any text: it ends, and what it refuses has a reason.
func FuzzConsole(f *testing.F) {
	for _, seed := range []string{
		"/ip/firewall/nat/add chain=dstnat action=accept", "/ip firewall nat\nadd chain=x; print", ":local r [/ip address find where !dynamic and (a=b)]",
		":if ([:len $r]>0) do={:put \"a $r $($r->0) \\22\"} else={:error x}", ":foreach i in=[/user find] do={/user remove $i}", "((((", "[[[[", "{{{",
		"/user/group/set [find name=\"a\\\"b\"] policy=!x", "# x\n/..\n..", ":set a (1+2.3->4)", "/ip/firewall/filter/print where chain=input !dynamic",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, version := range []string{"6.49", "7.24"} {
			router, err := routerostest.New(routerostest.Config{Version: version})
			if err != nil {
				t.Fatal(err)
			}
			console := router.Console(routerostest.AdminUser)
			judged := console.Judge(text)
			refused := 0
			for _, p := range console.Paste(text) {
				if p.Line < 1 || p.Line > 1+strings.Count(text, "\n") {
					t.Errorf("line %d of %q", p.Line, text)
				}
				if p.Err != nil {
					refused++
				}
			}
			if judged == nil && refused == 0 {
				continue
			}
			if judged != nil && judged.Error() == "" {
				t.Errorf("%q is refused without a reason", text)
			}
		}
	})
}
