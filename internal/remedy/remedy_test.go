package remedy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
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
		"no certificate":  {transport("connecting", &routeros.TLSError{Hint: "assign a certificate", Err: io.EOF}), verdict{nat.HopRouter, remedy.KindTLS, false}, "assign a certificate"},
		"unknown issuer":  {transport("connecting", &routeros.TLSError{Err: io.EOF}), verdict{nat.HopRouter, remedy.KindTLS, false}, "who signed it"},
		"no such host":    {transport("connecting", &net.DNSError{}), verdict{nat.HopRouter, remedy.KindAddress, true}, "an address always works"},
		"port closed":     {transport("connecting", fmt.Errorf("dial: %w", syscall.ECONNREFUSED)), verdict{nat.HopRouter, remedy.KindPort, true}, "/ip/service/enable api"},
		"api-ssl closed":  {transport("connecting", refusedAt(8729)), verdict{nat.HopRouter, remedy.KindPort, true}, "/ip/service/enable api-ssl"},
		"api closed":      {transport("connecting", refusedAt(8728)), verdict{nat.HopRouter, remedy.KindPort, true}, "the service is enabled: /ip/service/enable api"},
		"own port closed": {transport("connecting", refusedAt(9999)), verdict{nat.HopRouter, remedy.KindPort, true}, "/ip/service/print"},
		"hung up":         {transport("logging in", fmt.Errorf("%w: closed", io.EOF)), verdict{nat.HopRouter, remedy.KindClosed, true}, "max-sessions"},
		"cut off":         {transport("logging in", syscall.ECONNRESET), verdict{nat.HopRouter, remedy.KindClosed, true}, "address list"},
		"no reader":       {transport("logging in", syscall.EPIPE), verdict{nat.HopRouter, remedy.KindClosed, true}, "address list"},
		"another service": {transport("logging in", &routeros.ProtocolError{Message: "m"}), verdict{nat.HopRouter, remedy.KindProtocol, true}, "8728"},
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
		"silent gateway":  {&natpmp.TimeoutError{Err: context.DeadlineExceeded}, verdict{nat.HopGateway, remedy.KindSilent, true}, "tunnel's address"},
		"not authorized":  {&natpmp.ResultError{Result: natpmp.ResultNotAuthorized}, verdict{nat.HopGateway, remedy.KindNotAuthorized, false}, "permission list"},
		"no network":      {&natpmp.ResultError{Result: natpmp.ResultNetworkFailure}, verdict{nat.HopGateway, remedy.KindNoNetwork, true}, "another server"},
		"no ports":        {&natpmp.ResultError{Result: natpmp.ResultOutOfResources}, verdict{nat.HopGateway, remedy.KindNoPorts, true}, "no port left"},
		"another version": {&natpmp.ResultError{Result: natpmp.ResultUnsupportedVersion}, verdict{nat.HopGateway, remedy.KindNotNATPMP, false}, "speaks NAT-PMP"},
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
		`/routing/table/add name=vpn fib`:                               remedy.NewCommand("/routing/table/add", "name", "vpn", "fib"),
		`/ip/nat-pmp/set enabled=no`:                                    remedy.NewCommand("/ip/nat-pmp/set", "enabled", "no"),
		`/ip/firewall/nat/set *1F in-interface-list=LAN`:                remedy.NewCommand("/ip/firewall/nat/set", "numbers", "*1F", "in-interface-list", "LAN"),
		`/container/start [find interface=veth1]`:                       remedy.NewCommand("/container/start", "numbers", "[find interface=veth1]"),
		`/user/set "my \"user\"" comment="cost: \$5; a\\b = caf\C3\A9"`: remedy.NewCommand("/user/set", "numbers", `my "user"`, "comment", `cost: $5; a\b = café`),
		`/ip/service/set api address=""`:                                remedy.NewCommand("/ip/service/set", "numbers", "api", "address"),
		`/user/group/set doublenat policy=read,write,api,test`:          remedy.GrantAll("doublenat"),
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

func TestAdviceInOneLine(t *testing.T) {
	t.Parallel()
	a := remedy.Advice{Text: "do this", Commands: []remedy.Command{remedy.NewCommand("/a", "b", "c"), remedy.NewCommand("/d")}}
	const want = "do this: /a b=c; /d"
	if got := a.String(); got != want || a.LogValue().String() != want {
		t.Errorf("got %q and %q, want %q", got, a.LogValue(), want)
	}
	if got := remedy.Permission("limited", "write").String(); got != "add the policy write to the group limited: /user/group/set limited policy=read,write,api,test" {
		t.Errorf("got %q", got)
	}
	const own = `give the user a group of its own, with the policy write: the group read is not this user's alone: ` +
		`/user/group/add name=doublenat policy=read,write,api,test; /user/set nat group=doublenat`
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
