package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
)

// Live says how a mapping is made and tried.
type Live struct {
	// Ask connects a UDP socket to the doublenat that runs, as a client. Required.
	Ask func(ctx context.Context) (net.Conn, error)
	// Listen opens the port that is mapped, on the address from which Ask's packets
	// come, over TCP. Required with Try.
	Listen func(ctx context.Context) (net.Listener, error)
	// Try connects to the public address from outside, or makes somebody else do
	// so, and may return before the connection came. An attempt that could not be made
	// is a [NotTriedError]. Nil is not to try.
	Try func(ctx context.Context, public netip.AddrPort) error
}

// NotTriedError is an attempt to get in from outside that could not be made: it says
// nothing about the mapping.
type NotTriedError struct {
	// Err is what kept it from being made.
	Err error
}

// Error returns the cause.
func (e *NotTriedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *NotTriedError) Unwrap() error { return e.Err }

// live makes a mapping for this host, as any client would, tries it, and ends it.
type live struct{ *Live }

// The kinds of trouble with a live mapping.
const (
	// KindNotRunning is a doublenat that does not answer.
	KindNotRunning remedy.Kind = "not running"
	// KindNotMapped is a doublenat that answers with a failure.
	KindNotMapped remedy.Kind = "not mapped"
	// KindNotReached is a mapping that does not work.
	KindNotReached remedy.Kind = "not reached"
	// KindNotTried is a mapping of which that is not known, because nobody tried it.
	KindNotTried remedy.Kind = "not tried"
)

const (
	// livePort is what is mapped when nobody listens, and liveTime for how long, in seconds.
	livePort = 9
	liveTime = 120
	// liveWait is how long a connection from outside may take.
	liveWait = 15 * time.Second
)

// Name implements Probe.
func (live) Name() string { return "live" }

// Hop implements Probe: a mapping is of all hops.
func (live) Hop() nat.Hop { return nat.HopNone }

// Run implements Probe.
func (l live) Run(ctx context.Context, v *visit) (found []Finding, err error) {
	port := uint16(livePort)
	visitors := make(chan struct{}, 1)
	if l.Try != nil {
		ln, err := l.Listen(ctx)
		if err != nil {
			return []Finding{bad(Fail, KindNotMapped, "opening a port here: "+err.Error(), "run the check where doublenat runs")}, nil
		}
		var serving sync.WaitGroup
		defer serving.Wait()
		defer ln.Close()
		serving.Go(func() { welcome(ln, visitors) })
		local, errPort := netip.ParseAddrPort(ln.Addr().String())
		if errPort != nil {
			return nil, errPort
		}
		port = local.Port()
	}
	err = asking(ctx, l.Ask, func(ctx context.Context, client *natpmp.Client) error {
		found, err = l.make(ctx, v, client, port, visitors)
		return err
	})
	return found, err
}

// make maps the port, tries it, and ends the mapping.
func (l live) make(ctx context.Context, v *visit, client *natpmp.Client, port uint16, visitors <-chan struct{}) ([]Finding, error) {
	ask, cancel := context.WithTimeout(ctx, v.cfg.Patience+10*time.Second)
	defer cancel()
	m, err := client.Map(ask, natpmp.MapRequest{Opcode: natpmp.OpMapTCP, InternalPort: port, Lifetime: liveTime})
	if err != nil {
		return []Finding{notMapped(err)}, nil
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.cfg.Patience)
		defer cancel()
		_ = client.Unmap(end, natpmp.OpMapTCP, port) // it ends by itself in two minutes
	}()
	external, err := client.ExternalAddress(ask)
	if err != nil {
		return []Finding{notMapped(err)}, nil
	}
	public := netip.AddrPortFrom(external, m.ExternalPort)
	found := []Finding{good("%v over TCP was mapped to port %d here for %d s", public, port, m.Lifetime)}
	if l.Try == nil {
		return found, nil
	}
	return append(found, l.tried(ctx, public, visitors)), nil
}

// tried returns what came of a connection from outside.
func (l live) tried(ctx context.Context, public netip.AddrPort, visitors <-chan struct{}) Finding {
	ctx, cancel := context.WithTimeout(ctx, liveWait)
	defer cancel()
	err := l.Try(ctx, public)
	select {
	case <-visitors:
		return good("a connection from outside to %v came through", public)
	default:
	}
	if not, ok := errors.AsType[*NotTriedError](err); ok {
		return bad(Warn, KindNotTried, fmt.Sprintf("nobody tried %v: %v", public, not), "check what --from and --echo say")
	}
	if err == nil {
		select {
		case <-visitors:
			return good("a connection from outside to %v came through", public)
		case <-ctx.Done():
			err = errors.New("no connection came")
		}
	}
	return bad(Fail, KindNotReached, fmt.Sprintf("%v is mapped and not reached from outside: %v", public, err),
		"mend what else this check found; if nothing: try GATEWAY_DELIVERY=both or another server of a VPN, and see whether a box forwards the port at all")
}

// notMapped is the finding for a request that doublenat did not grant.
func notMapped(err error) Finding {
	if result, ok := errors.AsType[*natpmp.ResultError](err); ok {
		return bad(Fail, KindNotMapped, "doublenat answered: "+result.Result.String(), refusal(result.Result))
	}
	return bad(Fail, KindNotRunning, "doublenat does not answer: "+err.Error(), "start it, and run the check where it runs")
}

// refusal says what to do about a result code of doublenat's, which does not tell
// whose it is. What else the doctor found often does.
func refusal(code natpmp.ResultCode) string {
	const look = ": doublenat's log says which"
	switch code {
	case natpmp.ResultNotAuthorized:
		return "ALLOWED_PORTS, DENIED_PORTS or READ_ONLY keep this host from mapping, the router's user lacks a policy, or the gateway allows nothing" + look
	case natpmp.ResultNetworkFailure:
		return "the router or the gateway is out of reach, or does not do what it is asked" + look
	case natpmp.ResultOutOfResources:
		return remedy.ForResult(code).Text + "; or " + remedy.Limit().Text + look
	default:
		return "what answers may not be doublenat: check LISTEN_ADDR"
	}
}

// welcome answers everybody who connects with a line, and tells of it, until the
// listener is closed.
func welcome(ln net.Listener, visitors chan<- struct{}) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(liveWait)) // a connection without deadlines has been closed
		_, err = io.WriteString(conn, "doublenat check\n")
		_ = conn.Close() // all was said
		if err == nil {
			select {
			case visitors <- struct{}{}:
			default: // one is enough
			}
		}
	}
}
