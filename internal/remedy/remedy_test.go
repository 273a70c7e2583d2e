package remedy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/natpmp"
	"doublenat/routeros"
)

// transport is an error as the client of the RouterOS API returns it.
func transport(op string, err error) error { return &routeros.TransportError{Op: op, Err: err} }

// trap is a refusal of the router.
func trap(message string) error {
	return &routeros.TrapError{Path: "/ip/firewall/nat/add", Traps: []routeros.Trap{{Message: message, Category: routeros.NoCategory}}}
}

// refusedAt is a dial to a port that nobody listens on.
func refusedAt(port int) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, Err: syscall.ECONNREFUSED}
}

func TestFor(t *testing.T) {
	t.Parallel()
	type verdict struct {
		Hop    nat.Hop
		Kind   remedy.Kind
		Passes bool
	}
	tests := map[string]struct {
		err  error
		want verdict
		text string
	}{
		"wrong password":  {&routeros.AuthError{User: "u", Message: "m"}, verdict{nat.HopRouter, remedy.KindLogin, false}, "MIKROTIK_API_USER"},
		"no certificate":  {transport("connecting", &routeros.TLSError{Reason: routeros.TLSNoCertificate, Err: io.EOF}), verdict{nat.HopRouter, remedy.KindTLS, false}, "assign a certificate"},
		"unknown issuer":  {transport("connecting", &routeros.TLSError{Err: io.EOF}), verdict{nat.HopRouter, remedy.KindTLS, false}, "who signed it"},
		"no such host":    {transport("connecting", &net.DNSError{}), verdict{nat.HopRouter, remedy.KindAddress, true}, "an address always works"},
		"port closed":     {transport("connecting", fmt.Errorf("dial: %w", syscall.ECONNREFUSED)), verdict{nat.HopRouter, remedy.KindPort, true}, "/ip service enable api"},
		"api-ssl closed":  {transport("connecting", refusedAt(8729)), verdict{nat.HopRouter, remedy.KindPort, true}, "/ip service enable api-ssl"},
		"api closed":      {transport("connecting", refusedAt(8728)), verdict{nat.HopRouter, remedy.KindPort, true}, "the service is enabled: /ip service enable api"},
		"own port closed": {transport("connecting", refusedAt(9999)), verdict{nat.HopRouter, remedy.KindPort, true}, "/ip service print"},
		"hung up":         {transport("logging in", fmt.Errorf("%w: closed", io.EOF)), verdict{nat.HopRouter, remedy.KindClosed, true}, "max-sessions"},
		"cut off":         {transport("logging in", syscall.ECONNRESET), verdict{nat.HopRouter, remedy.KindClosed, true}, "address list"},
		"no reader":       {transport("logging in", syscall.EPIPE), verdict{nat.HopRouter, remedy.KindClosed, true}, "address list"},
		"another service": {transport("logging in", &routeros.ProtocolError{Message: "m"}), verdict{nat.HopRouter, remedy.KindProtocol, true}, "8728"},
		"tls service":     {transport("logging in", &routeros.ProtocolError{Peer: routeros.PeerTLS}), verdict{nat.HopRouter, remedy.KindProtocol, true}, "set MIKROTIK_API_TLS=true"},
		"web server":      {transport("logging in", &routeros.ProtocolError{Peer: routeros.PeerHTTP}), verdict{nat.HopRouter, remedy.KindProtocol, true}, "a web server answers at this port"},
		"web, over tls":   {transport("connecting", &routeros.ProtocolError{Peer: routeros.PeerHTTP}), verdict{nat.HopRouter, remedy.KindProtocol, true}, "does not speak REST"},
		"ssh server":      {transport("logging in", &routeros.ProtocolError{Peer: routeros.PeerSSH}), verdict{nat.HopRouter, remedy.KindProtocol, true}, "an SSH server answers"},
		"a greeting":      {transport("logging in", &routeros.ProtocolError{Peer: routeros.PeerText}), verdict{nat.HopRouter, remedy.KindProtocol, true}, "not the RouterOS API"},
		"no answer":       {transport("logging in", &routeros.LoginError{Err: routeros.ErrLoginSilent}), verdict{nat.HopRouter, remedy.KindClosed, true}, "does not answer the login: check that the service's address list"},
		"closed unread":   {transport("logging in", &routeros.LoginError{Err: routeros.ErrLoginClosed}), verdict{nat.HopRouter, remedy.KindClosed, true}, "max-sessions: /ip service print detail"},
		"plain to 8729":   {transport("logging in", &routeros.LoginError{Err: routeros.ErrLoginClosed, WrongPort: true}), verdict{nat.HopRouter, remedy.KindClosed, true}, "set MIKROTIK_API_TLS=true"},
		"silent at 8729":  {transport("logging in", &routeros.LoginError{Err: routeros.ErrLoginSilent, WrongPort: true}), verdict{nat.HopRouter, remedy.KindClosed, true}, "port of api-ssl"},
		"refused, closed": {&routeros.AuthError{User: "u", Message: "m", Closed: true}, verdict{nat.HopRouter, remedy.KindLogin, false}, "the password"},
		"huge table":      {&routeros.LimitError{Path: "/ip/route/print", Text: "reply of more than 20000 rows"}, verdict{nat.HopRouter, remedy.KindTooLarge, false}, "more in /ip/route than doublenat reads: count its rows, and remove those that nobody needs: /ip route print count-only"},
		"huge sentence":   {&routeros.LimitError{Text: "word of 70000 bytes"}, verdict{nat.HopRouter, remedy.KindTooLarge, false}, "more in one table than doublenat reads: count its NAT rules, and remove those that nobody needs: /ip firewall nat print count-only"},
		"garbled":         {&routeros.ProtocolError{Message: "m"}, verdict{nat.HopRouter, remedy.KindProtocol, true}, "RouterOS API"},
		"thrown out":      {&routeros.FatalError{Reason: "m"}, verdict{nat.HopRouter, remedy.KindConnection, true}, "is the router up"},
		"silent router":   {transport("connecting", routeros.ErrTimeout), verdict{nat.HopRouter, remedy.KindConnection, true}, "input chain"},
		"lost connection": {transport("/ip/firewall/nat/add", io.EOF), verdict{nat.HopRouter, remedy.KindConnection, true}, "is the router up"},
		"overloaded":      {trap("action timed out - try again (13)"), verdict{nat.HopRouter, remedy.KindBusy, true}, "CPU load"},
		"not permitted":   {trap("not enough permissions (9)"), verdict{nat.HopRouter, remedy.KindPermission, false}, "read, write and api"},
		"rejected":        {trap("failure: strange"), verdict{nat.HopRouter, remedy.KindRejected, false}, "router's log"},
		"known policy":    {&router.PermissionError{Policy: "write", Err: trap("not enough permissions (9)")}, verdict{nat.HopRouter, remedy.KindPermission, false}, "add the policy write"},
		"interface":       {&router.InterfaceError{Reason: "r", Candidates: []string{"wg1", "wg2"}}, verdict{nat.HopRouter, remedy.KindInterface, false}, "MIKROTIK_IN_INTERFACE to one of: wg1, wg2"},
		"refused":         {&natpmp.RefusedError{}, verdict{nat.HopGateway, remedy.KindRefused, true}, "make a key with NAT-PMP"},
		"silent gateway":  {&natpmp.TimeoutError{Err: context.DeadlineExceeded}, verdict{nat.HopGateway, remedy.KindSilent, true}, "own address on that side"},
		"PCP only":        {&natpmp.ResultError{Result: natpmp.ResultUnsupportedVersion, Version: 2}, verdict{nat.HopGateway, remedy.KindPCPOnly, false}, "switch NAT-PMP on"},
		"8 bits":          {&natpmp.TimeoutError{Err: context.DeadlineExceeded, Odd: natpmp.OddCut}, verdict{nat.HopGateway, remedy.KindNonsense, false}, "8 bits"},
		"not authorized":  {&natpmp.ResultError{Result: natpmp.ResultNotAuthorized}, verdict{nat.HopGateway, remedy.KindNotAuthorized, false}, "permission list"},
		"no network":      {&natpmp.ResultError{Result: natpmp.ResultNetworkFailure}, verdict{nat.HopGateway, remedy.KindNoNetwork, true}, "another server"},
		"no ports":        {&natpmp.ResultError{Result: natpmp.ResultOutOfResources}, verdict{nat.HopGateway, remedy.KindNoPorts, true}, "no port left"},
		"another version": {&natpmp.ResultError{Result: natpmp.ResultUnsupportedVersion}, verdict{nat.HopGateway, remedy.KindNotNATPMP, false}, "what VPN_GATEWAY says"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The core wraps what the hops return, and so does whoever logs it.
			advice, ok := remedy.For(fmt.Errorf("doing: %w", &nat.Error{Err: tt.err}))
			got := verdict{advice.Hop, advice.Kind, advice.Passes()}
			if diff := cmp.Diff(tt.want, got); diff != "" || !ok {
				t.Errorf("known: %v, verdict (-want +got):\n%s", ok, diff)
			}
			if !strings.Contains(advice.String(), tt.text) {
				t.Errorf("%q is not in %q", tt.text, advice)
			}
		})
	}
	for _, err := range []error{nil, errors.New("other"), context.Canceled} {
		if advice, ok := remedy.For(err); ok || !advice.IsZero() {
			t.Errorf("%v: got %v", err, advice)
		}
	}
	if !remedy.ForResult(natpmp.ResultSuccess).IsZero() {
		t.Error("success needs a remedy")
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	tests := map[string]remedy.Command{
		`/routing table add name=vpn fib`:                                remedy.NewCommand("/routing/table/add", "name", "vpn", "fib"),
		`/ip nat-pmp set enabled=no`:                                     remedy.NewCommand("/ip/nat-pmp/set", "enabled", "no"),
		`/ip firewall nat set *1F in-interface-list=LAN`:                 remedy.NewCommand("/ip/firewall/nat/set", "numbers", "*1F", "in-interface-list", "LAN"),
		`/container start [find interface=veth1]`:                        remedy.NewCommand("/container/start").Found("interface=veth1"),
		`/user set "my \"user\"" comment="cost: \$5; a\\b = caf\C3\A9"`:  remedy.NewCommand("/user/set", "numbers", `my "user"`, "comment", `cost: $5; a\b = café`),
		`/ip service set api address=""`:                                 remedy.NewCommand("/ip/service/set", "numbers", "api", "address"),
		`/user group set doublenat policy=read,write,api,test`:           remedy.GrantAll("doublenat"),
		`/interface enable "[find disabled=yes]"`:                        remedy.NewCommand("/interface/enable", "numbers", "[find disabled=yes]"),
		`/ip firewall nat print detail where comment~"^doublenat:home "`: remedy.NewCommand("/ip/firewall/nat/print", "detail").Found(`comment~"^doublenat:home "`),
		`/user add name=u address=""`:                                    remedy.NewCommand("/user/add", "name", "u").With("address", ""),
		`:local r [/ip firewall filter find where chain=input !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=input action=accept comment="the API" place-before=($r->0)} ` +
			`else={/ip firewall filter add chain=input action=accept comment="the API"}`: remedy.NewCommand("/ip/firewall/filter/add", "chain", "input", "action", "accept", "comment", "the API").Before("chain=input !dynamic"),
		`:local r [/routing rule find]; :if ([:len $r]>0) do={/routing rule add table=main place-before=($r->0)} else={/routing rule add table=main}`: remedy.NewCommand("/routing/rule/add", "table", "main").Before(""),
	}
	for want, command := range tests {
		if got := command.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		text, err := json.Marshal(command)
		var back string
		if err := errors.Join(err, json.Unmarshal(text, &back)); err != nil || back != want {
			t.Errorf("in JSON: %q, error %v", back, err)
		}
	}
}

// TestDialects has one command of each kind that is not the same in all versions.
func TestDialects(t *testing.T) {
	t.Parallel()
	advice := remedy.Advice{Kind: "k", Commands: []remedy.Command{
		remedy.NewCommand("/ip/service/enable", "numbers", "api"),
		remedy.NewCommand("/ip/service/set", "numbers", "*3", "port", "8728"),
		remedy.NewCommand("/routing/table/add", "name", "vpn", "fib"),
		remedy.NewCommand("/ip/route/add", "dst-address", "0.0.0.0/0", "gateway", "wg1", "routing-table", "vpn"),
		remedy.NewCommand("/routing/rule/add", "dst-address", "172.30.254.2/32", "table", "main").Before(""),
		remedy.NewCommand("/system/ntp/client/set", "enabled", "yes", "servers", "pool.ntp.org"),
		remedy.NewCommand("/system/ntp/client/set", "servers", "192.0.2.1"),
		remedy.NewCommand("/ip/firewall/nat/set", "numbers", "*1", "routing-mark", "m"),
	}}
	before := advice.String()
	seven := []string{
		"/ip service enable api", "/ip service set *3 port=8728", "/routing table add name=vpn fib",
		"/ip route add dst-address=0.0.0.0/0 gateway=wg1 routing-table=vpn",
		":local r [/routing rule find]; :if ([:len $r]>0) do={/routing rule add dst-address=172.30.254.2/32 table=main place-before=($r->0)} " +
			"else={/routing rule add dst-address=172.30.254.2/32 table=main}",
		"/system ntp client set enabled=yes servers=pool.ntp.org", "/system ntp client set servers=192.0.2.1", "/ip firewall nat set *1 routing-mark=m",
	}
	late := append([]string{"/ip service enable [find name=api and !dynamic]"}, seven[1:]...)
	six := []string{
		seven[0], seven[1], "/ip route add dst-address=0.0.0.0/0 gateway=wg1 routing-mark=vpn",
		":local r [/ip route rule find]; :if ([:len $r]>0) do={/ip route rule add dst-address=172.30.254.2/32 table=main place-before=($r->0)} " +
			"else={/ip route rule add dst-address=172.30.254.2/32 table=main}",
		"/system ntp client set enabled=yes server-dns-names=pool.ntp.org", "/system ntp client set primary-ntp=192.0.2.1", seven[7],
	}
	for version, want := range map[string][]string{"6.49.18 (long-term)": six, "7.9": seven, "7.18.2": seven, "7.19": late, "7.24beta2 (development)": late, "?": seven} {
		var got []string
		for _, c := range advice.For(remedy.VersionOf(version)).Commands {
			got = append(got, c.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", version, diff)
		}
	}
	if after := advice.String(); after != before {
		t.Errorf("translating changed the advice itself: %s", after)
	}
	if got := (remedy.Advice{Kind: "k"}).For(remedy.Version{Major: 7, Minor: 24}); got.Commands != nil {
		t.Errorf("got %+v", got)
	}
}

func TestAdviceInOneLine(t *testing.T) {
	t.Parallel()
	a := remedy.Advice{Text: "do this", Commands: []remedy.Command{remedy.NewCommand("/a", "b", "c"), remedy.NewCommand("/d")}}
	const want = "do this: /a b=c; /d"
	if got := a.String(); got != want || a.LogValue().String() != want {
		t.Errorf("got %q and %q, want %q", got, a.LogValue(), want)
	}
	if got := remedy.Permission("limited", "write").String(); got != "add the policy write to the group limited: /user group set limited policy=read,write,api,test" {
		t.Errorf("got %q", got)
	}
	const own = `give the user its own group, with the policy write: the group read is not for this user alone: ` +
		`/user group add name=doublenat policy=read,write,api,test; /user set nat group=doublenat`
	if got := remedy.OwnGroup("nat", "read", "doublenat", "write").String(); got != own {
		t.Errorf("got %q", got)
	}
	if got := remedy.NotSymmetric(); got.Hop != nat.HopGateway || got.Passes() || !strings.Contains(got.String(), "unset GATEWAY_SYMMETRIC") {
		t.Errorf("got %+v", got)
	}
	if got := remedy.NothingGranted(); got.Hop != nat.HopGateway || got.Passes() {
		t.Errorf("got %+v", got)
	}
}

// TestTunnel has what is said where the tunnel, or the way to the gateway, is the trouble.
func TestTunnel(t *testing.T) {
	t.Parallel()
	gateway := netip.MustParseAddr("10.2.0.1")
	for want, advice := range map[string]remedy.Advice{
		"type: /ip firewall nat add chain=srcnat action=masquerade out-interface=wg1 ":                                     remedy.Silent(remedy.Link{Interface: "wg1", Kind: remedy.LinkTunnel}),
		"and the tunnel's last handshake; they must come from the router's own address on wg1":                             remedy.Silent(remedy.Link{Interface: "wg1", Kind: remedy.LinkTunnel}),
		"they must come from the router's own address on ether1, so unless":                                                remedy.Silent(remedy.Link{Interface: "ether1", Kind: remedy.LinkLine}),
		"that the protocol doublenat uses is switched on in the box":                                                       remedy.Silent(remedy.Link{Interface: "ether1", Kind: remedy.LinkLine}),
		"(masquerade them, or bind to it)":                                                                                 remedy.Silent(remedy.Link{}),
		"NAT-PMP is off for this WireGuard key or on this server: make a key":                                              remedy.Refused(remedy.Link{Kind: remedy.LinkTunnel}),
		"switch NAT-PMP or PCP on in the box":                                                                              remedy.Refused(remedy.Link{Kind: remedy.LinkLine}),
		"for a VPN, make a key":                                                                                            remedy.Refused(remedy.Link{}),
		"through wg1; doublenat then finds the interface by that route: /ip route add dst-address=10.2.0.1/32 gateway=wg1": remedy.NoRoute(gateway, []string{"wg1"}),
		"add a route to 10.2.0.1 through the right one of these tunnels: wg1, wg2; ":                                       remedy.NoRoute(gateway, []string{"wg1", "wg2"}),
		"add a route to 10.2.0.1 through the interface that leads to it; ":                                                 remedy.NoRoute(gateway, nil),
		"set it to wg1: that leads to the gateway, not ether1":                                                             remedy.NoTunnel("ether1", "wg1"),
		"and ether1 does not lead there":                                                                                   remedy.NoTunnel("ether1", ""),
	} {
		if got := advice.String(); !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
		if advice.Hop == nat.HopNone {
			t.Errorf("%v: no hop", advice)
		}
	}
}
