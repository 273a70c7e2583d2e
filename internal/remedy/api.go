package remedy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// router knows the errors of package routeros and those of the connection below it.
func router(err error) (Advice, bool) {
	if _, ok := errors.AsType[*routeros.AuthError](err); ok {
		return routerAdvice(KindLogin, "check MIKROTIK_API_USER and the password; "+
			"the user's group needs the policies api, read and write, and the user's address list must allow this host"), true
	}
	if secure, ok := errors.AsType[*routeros.TLSError](err); ok {
		return handshake(secure), true
	}
	if trap, ok := errors.AsType[*routeros.TrapError](err); ok {
		return rejected(trap), true
	}
	if limit, ok := errors.AsType[*routeros.LimitError](err); ok {
		return tooLarge(limit.Path), true
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

// tooLarge is for a table with more in it than doublenat reads. Path is the command
// that printed it, "" where that is not known.
func tooLarge(path string) Advice {
	menu, printed := strings.CutSuffix(path, "/print")
	if !printed {
		return routerAdvice(KindTooLarge, "the router has more in one table than doublenat reads: count its NAT rules, and remove those that nobody needs",
			NewCommand("/ip/firewall/nat/print", "count-only"))
	}
	return routerAdvice(KindTooLarge, "the router has more in "+menu+" than doublenat reads: count its rows, and remove those that nobody needs",
		NewCommand(path, "count-only"))
}

// rejected is for a command that the router refused.
func rejected(trap *routeros.TrapError) Advice {
	switch {
	case routeros.IsNotPermitted(trap):
		return Permission("", "read, write and api")
	case routeros.Ambiguous(trap):
		return routerAdvice(KindBusy, "the router is overloaded: check its CPU load and its log")
	default:
		return routerAdvice(KindRejected, "look at the router's log")
	}
}

// connection is for a connection that could not be made, or was lost, while op was done.
func connection(op string, err error) Advice {
	if protocol, ok := errors.AsType[*routeros.ProtocolError](err); ok {
		return routerAdvice(KindProtocol, another(protocol.Peer))
	}
	if login, ok := errors.AsType[*routeros.LoginError](err); ok {
		return unanswered(login)
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return routerAdvice(KindAddress, "the host name in MIKROTIK_API_ADDRESS cannot be resolved; an address always works")
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return routerAdvice(KindPort, "check the port in MIKROTIK_API_ADDRESS, and that the service is enabled", enable(err))
	case op == "logging in" && hungUp(err):
		return closed()
	default:
		return Unreachable()
	}
}

// another says what to do about a port at which something else answers.
func another(peer routeros.Peer) string {
	const usual = "in MIKROTIK_API_ADDRESS use the port of the API (api 8728, api-ssl 8729), or none"
	switch peer {
	case routeros.PeerTLS:
		return "this port speaks TLS: set MIKROTIK_API_TLS=true if it is api-ssl (8729), or put the port of api (8728) in MIKROTIK_API_ADDRESS"
	case routeros.PeerHTTP:
		return "a web server answers at this port, and doublenat does not speak REST: " + usual
	case routeros.PeerSSH:
		return "an SSH server answers at this port: " + usual
	default:
		return "what answers is not the RouterOS API: " + usual
	}
}

// unanswered is for a login that the router did not answer. In most cases that is the
// address list of the service.
func unanswered(err *routeros.LoginError) Advice {
	switch {
	case err.WrongPort:
		return routerAdvice(KindClosed, "this is the port of api-ssl: set MIKROTIK_API_TLS=true, or put the port of api (8728) in MIKROTIK_API_ADDRESS")
	case errors.Is(err, routeros.ErrLoginSilent):
		return routerAdvice(KindClosed, "the router accepts the connection but does not answer the login: "+
			"check that the service's address list allows this host", NewCommand("/ip/service/print", "detail"))
	default:
		return closed()
	}
}

// closed is for a service that hangs up before it has answered a login.
func closed() Advice {
	return routerAdvice(KindClosed, "the service hangs up on this host: check its address list and max-sessions", NewCommand("/ip/service/print", "detail"))
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
	return routerAdvice(KindConnection, "is the router up, is its api service enabled, and do the input chain and the raw table let this host through?")
}

// UnreachableFrom is Unreachable for a host whose address is known: it has the
// commands that let the host reach the API at the port. Where doublenat is let
// through already, they change nothing.
func UnreachableFrom(host netip.Addr, port uint16) Advice {
	advice := Unreachable()
	for _, at := range [][2]string{{"/ip/firewall/raw/add", "prerouting"}, {"/ip/firewall/filter/add", "input"}} {
		advice.Commands = append(advice.Commands, NewCommand(at[0], "chain", at[1], "action", "accept", "protocol", "tcp", "dst-port", strconv.Itoa(int(port)),
			"src-address", host.String(), "comment", "doublenat to the API").Before("chain="+at[1]+" !dynamic"))
	}
	return advice
}
