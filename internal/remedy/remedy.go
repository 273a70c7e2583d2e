package remedy

import (
	"log/slog"
	"strings"

	"doublenat/internal/nat"
)

// Kind tells troubles apart whose remedies differ. It is for programs and stays
// the same when texts change.
type Kind string

// The kinds of trouble.
const (
	// KindAddress is a name that cannot be resolved.
	KindAddress Kind = "address"
	// KindPort is a host on which nobody listens at the port.
	KindPort Kind = "port"
	// KindClosed is a service that hangs up before the login.
	KindClosed Kind = "closed"
	// KindProtocol is a port at which something else than the RouterOS API speaks.
	KindProtocol Kind = "protocol"
	// KindConnection is a router that does not answer, or not any more.
	KindConnection Kind = "connection"
	// KindTLS is a TLS handshake that failed.
	KindTLS Kind = "tls"
	// KindLogin is a refused login.
	KindLogin Kind = "login"
	// KindPermission is a policy that the router's user lacks.
	KindPermission Kind = "permission"
	// KindTooMany is a user that may do more than doublenat ever does.
	KindTooMany Kind = "too many rights"
	// KindInterface is a tunnel interface that is not known.
	KindInterface Kind = "interface"
	// KindOtherLine is a STUN server that does not show a pool's public address, mostly
	// because requests reach it over another line.
	KindOtherLine Kind = "other line"
	// KindBusy is a router that is too slow to do what it was asked.
	KindBusy Kind = "busy"
	// KindTooLarge is a router that has more in a table than doublenat reads.
	KindTooLarge Kind = "too large"
	// KindRejected is a command that the router will not do for another reason.
	KindRejected Kind = "rejected"

	// KindRefused is a gateway with nobody on its NAT-PMP port.
	KindRefused Kind = "refused"
	// KindSilent is a gateway that does not answer.
	KindSilent Kind = "silent"
	// KindNotNATPMP is a gateway that answers, but not NAT-PMP.
	KindNotNATPMP Kind = "not nat-pmp"
	// KindPCPOnly is a gateway that speaks PCP and no NAT-PMP.
	KindPCPOnly Kind = "pcp only"
	// KindNonsense is a gateway with implausible replies.
	KindNonsense Kind = "nonsense"
	// KindNotAuthorized is a gateway that allows no mappings.
	KindNotAuthorized Kind = "not authorized"
	// KindNoNetwork is a gateway without a public address.
	KindNoNetwork Kind = "no network"
	// KindNoPorts is a gateway that has no port left.
	KindNoPorts Kind = "no ports"
	// KindNothingGranted is a gateway that calls it a success to grant nothing.
	KindNothingGranted Kind = "nothing granted"

	// KindLimit is a limit of doublenat itself.
	KindLimit Kind = "limit"
)

// Advice says where something is wrong and what to do. The zero value is no
// advice. It is comparable but for Commands.
type Advice struct {
	// Hop is what is broken.
	Hop nat.Hop
	// Kind tells this trouble from others of the hop.
	Kind Kind
	// Text is what to do, a phrase in the imperative or the question to ask.
	Text string
	// Commands are what to type on the router, nil where no command would help.
	Commands []Command
}

// Advisor is an error that knows its own remedy.
type Advisor interface {
	error
	// Advice returns the remedy.
	Advice() Advice
}

// String returns the text and the commands in one line, for a log.
func (a Advice) String() string {
	return Line(a.Text, a.Typed())
}

// Typed returns the commands as they are typed, each in one line; nil for none.
func (a Advice) Typed() []string {
	var typed []string
	for _, c := range a.Commands {
		typed = append(typed, c.String())
	}
	return typed
}

// Line returns a text and the commands that go with it, as they are typed, in one line.
func Line(text string, typed []string) string {
	if len(typed) == 0 {
		return text
	}
	return text + ": " + strings.Join(typed, "; ")
}

// LogValue returns what String returns, made only when the record is written.
func (a Advice) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Passes reports whether the trouble may end by itself, as a reboot does. Any other
// trouble needs a human.
func (a Advice) Passes() bool {
	switch a.Kind {
	case KindAddress, KindPort, KindClosed, KindProtocol, KindConnection, KindBusy, KindRefused, KindSilent, KindNoNetwork, KindNoPorts:
		return true
	default:
		return false
	}
}

// IsZero reports whether there is no advice.
func (a Advice) IsZero() bool { return a.Kind == "" && a.Text == "" && len(a.Commands) == 0 }
