package remedy

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/routeros"
)

// For returns what can be done about an error of the router or of the gateway,
// and false for an error of neither.
func For(err error) (Advice, bool) {
	if advisor, ok := errors.AsType[Advisor](err); ok {
		return advisor.Advice(), true
	}
	for _, find := range []func(error) (Advice, bool){gateway, router} {
		if advice, ok := find(err); ok {
			return advice, true
		}
	}
	return Advice{}, false
}

// gateway knows the errors of package natpmp.
func gateway(err error) (Advice, bool) {
	if result, ok := errors.AsType[*natpmp.ResultError](err); ok {
		return ForResult(result.Result), true
	}
	if _, ok := errors.AsType[*natpmp.RefusedError](err); ok {
		return Refused(), true
	}
	if _, ok := errors.AsType[*natpmp.TimeoutError](err); ok {
		return Silent(), true
	}
	return Advice{}, false
}

// router knows the errors of package routeros and those of the connection below it.
func router(err error) (Advice, bool) {
	if _, ok := errors.AsType[*routeros.AuthError](err); ok {
		return routerAdvice(KindLogin, "check MIKROTIK_API_USER and the password; "+
			"the user's group needs the policies api, read and write, and the user's address list has to allow this host"), true
	}
	if secure, ok := errors.AsType[*routeros.TLSError](err); ok {
		return handshake(secure), true
	}
	if trap, ok := errors.AsType[*routeros.TrapError](err); ok {
		return rejected(trap), true
	}
	if transport, ok := errors.AsType[*routeros.TransportError](err); ok {
		return connection(transport.Op, transport.Err), true
	}
	_, garbled := errors.AsType[*routeros.ProtocolError](err)
	_, fatal := errors.AsType[*routeros.FatalError](err)
	if garbled || fatal {
		return connection("", err), true // what ended a connection that stood
	}
	return Advice{}, false
}

// routerAdvice is advice about the router.
func routerAdvice(kind Kind, text string, commands ...Command) Advice {
	return Advice{Hop: nat.HopRouter, Kind: kind, Text: text, Commands: commands}
}

// handshake is for a TLS handshake that failed.
func handshake(err *routeros.TLSError) Advice {
	return routerAdvice(KindTLS, cmp.Or(err.Hint, trust(err.Err),
		"check the certificate of the service api-ssl: its names, its dates, and who signed it"))
}

// rejected is for a command that the router refused.
func rejected(trap *routeros.TrapError) Advice {
	switch {
	case routeros.IsNotPermitted(trap):
		return Permission("", "read, write and api")
	case routeros.Ambiguous(trap):
		return routerAdvice(KindBusy, "the router is overloaded: look at its CPU load and its log")
	default:
		return routerAdvice(KindRejected, "look at the router's log")
	}
}

// connection is for a connection that could not be made, or was lost, while op was done.
func connection(op string, err error) Advice {
	var (
		name     *net.DNSError
		protocol *routeros.ProtocolError
	)
	switch {
	case errors.As(err, &name):
		return routerAdvice(KindAddress, "MIKROTIK_API_ADDRESS names a host that is not found; an address always works")
	case errors.As(err, &protocol):
		return routerAdvice(KindProtocol, "what answers is not the RouterOS API: check the port in MIKROTIK_API_ADDRESS (api 8728, api-ssl 8729)")
	case errors.Is(err, syscall.ECONNREFUSED):
		return routerAdvice(KindPort, "check the port in MIKROTIK_API_ADDRESS, and that the service is enabled", enable(err))
	case op == "logging in" && hungUp(err):
		return routerAdvice(KindClosed, "the service hangs up on this host: look at the address list and max-sessions of /ip/service")
	default:
		return Unreachable()
	}
}

// enable returns the command for the service at whose port nobody listens. On a
// port that somebody chose it may be either service, so that one has to look.
func enable(err error) Command {
	at := netip.AddrPort{}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if tcp, ok := op.Addr.(*net.TCPAddr); ok {
			at = tcp.AddrPort()
		}
	}
	switch at.Port() {
	case 0, 8728:
		return NewCommand("/ip/service/enable", "numbers", "api")
	case 8729:
		return NewCommand("/ip/service/enable", "numbers", "api-ssl")
	default:
		return NewCommand("/ip/service/print")
	}
}

// hungUp reports whether the other side ended the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// Unreachable is for a router that does not answer, for whatever reason.
func Unreachable() Advice {
	return routerAdvice(KindConnection, "is the router up, is the api service enabled, and does the input chain let this host reach it?")
}

// Permission is for a command that the router's user may not do. Group is the
// user's group, or "" if it is not known.
func Permission(group, policy string) Advice {
	who := "the group of the router's user"
	var commands []Command
	if group != "" {
		who = "the group " + group
		commands = append(commands, GrantAll(group))
	}
	return routerAdvice(KindPermission, "add the policy "+policy+" to "+who, commands...)
}

// OwnGroup is for a user that lacks a policy in a group which is not the user's alone:
// what the group got, others would get too. Name is that of the new group.
func OwnGroup(user, group, name, policy string) Advice {
	return routerAdvice(KindPermission, "give the user a group of its own, with the policy "+policy+": the group "+group+" is not this user's alone",
		NewCommand("/user/group/add", "name", name, "policy", Policies),
		NewCommand("/user/set", "numbers", user, "group", name))
}

// GrantAll gives a group the policies that doublenat needs, and no others.
func GrantAll(group string) Command {
	return NewCommand("/user/group/set", "numbers", group, "policy", Policies)
}

// TooMany is for a user that may do more than doublenat ever does.
func TooMany() Advice {
	return routerAdvice(KindTooMany, "give doublenat a user of its own, with a password of its own, and set MIKROTIK_API_USER",
		NewCommand("/user/group/add", "name", "doublenat", "policy", Policies),
		NewCommand("/user/add", "name", "doublenat", "group", "doublenat", "password", "CHANGE-ME"))
}

// Policies are what the router's user needs: to log in, to print, to change rules,
// and to ask for the route to the gateway.
const Policies = "read,write,api,test"

// Interface is for a tunnel interface that is not known. Candidates are the
// interfaces that come into question.
func Interface(candidates []string) Advice {
	text := "set MIKROTIK_IN_INTERFACE"
	if len(candidates) > 0 {
		text += " to one of: " + strings.Join(candidates, ", ")
	}
	return routerAdvice(KindInterface, text)
}
