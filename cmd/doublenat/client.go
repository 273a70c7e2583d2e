package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"doublenat/igd"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/pcp"
)

// clientFlags are the flags that map, unmap and address have in common.
type clientFlags struct {
	gateway string
	by      language
	timeout time.Duration
	json    bool
}

// add defines the flags.
func (f *clientFlags) add(cmd *cobra.Command) {
	set := cmd.Flags()
	set.SortFlags = false
	set.StringVarP(&f.gateway, "gateway", "g", "", "address of the gateway, with or without port; empty: the default route's")
	f.by = inNATPMP
	set.Var(&f.by, "by", "how to ask: natpmp, pcp or igd (UPnP)")
	set.DurationVar(&f.timeout, "timeout", 12*time.Second, "how long to wait for an answer")
	set.BoolVar(&f.json, "json", false, "print JSON, one object a line")
}

// client asks one gateway.
type client struct {
	tongue

	by      language
	gateway netip.AddrPort
	timeout time.Duration
	process *process
	// giveUp ends the request that is waited for, nil if none is.
	giveUp atomic.Pointer[context.CancelCauseFunc]
}

// asking connects to the gateway and runs f. What f returns comes back as a user
// should read it.
func (p *process) asking(ctx context.Context, flags *clientFlags, f func(ctx context.Context, c *client) error) error {
	if flags.timeout <= 0 {
		return usageError{fmt.Errorf("--timeout %v is no time", flags.timeout)}
	}
	gateway, err := flags.find()
	if err != nil {
		return usageError{err}
	}
	if err := reachable(ctx, gateway); err != nil {
		return err
	}
	c := &client{by: flags.by, gateway: gateway, timeout: flags.timeout, process: p}
	if c.tongue, err = speaking(ctx, flags.by, gateway, c.trouble); err != nil {
		return err
	}
	surviveBrokenPipes()                                            // a mapping is given back also when nobody reads what is printed
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // a mapping is given back after a signal
	var serving sync.WaitGroup
	serving.Go(func() { _ = c.Run(running) }) // it returns nil when it is stopped
	err = f(ctx, c)
	stop()
	serving.Wait()
	return c.explain(err)
}

// reachable returns an error if this host knows no way to the gateway: to ask again and
// again does not help then. No packet is sent.
func reachable(ctx context.Context, gateway netip.AddrPort) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp4", gateway.String())
	if err != nil {
		return unreachable(gateway, err)
	}
	return conn.Close()
}

// trouble ends the request that is waited for if no packet gets to the gateway.
func (c *client) trouble(err error) {
	if giveUp := c.giveUp.Load(); giveUp != nil && deadEnd(err) {
		(*giveUp)(unreachable(c.gateway, err))
	}
}

// deadEnd says whether an error means that there is no way to the gateway. One of a
// moment, or a packet that a firewall drops, is worth another try.
func deadEnd(err error) bool {
	for _, end := range []error{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EACCES} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// unreachable names the cause of a packet that cannot be sent.
func unreachable(gateway netip.AddrPort, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno
	}
	return fmt.Errorf("nothing can be sent to %v: %w; look at this host's routes and firewall, or give another gateway with -g", gateway, err)
}

// find returns the gateway that is meant.
func (f *clientFlags) find() (netip.AddrPort, error) {
	if f.gateway == "" {
		addr, err := defaultGateway()
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("%w; give the gateway with -g", err)
		}
		return netip.AddrPortFrom(addr, f.by.port()), nil
	}
	if addr, err := netip.ParseAddr(f.gateway); err == nil && addr.Is4() {
		return netip.AddrPortFrom(addr, f.by.port()), nil
	}
	where, err := netip.ParseAddrPort(f.gateway)
	if err != nil || !where.Addr().Is4() || where.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("-g %q is not an IPv4 address, with or without port; example: -g 192.168.88.1", f.gateway)
	}
	return where, nil
}

// wait runs one request, and says on stderr that it is waited for. It ends when there
// is no way to the gateway any more.
func (c *client) wait(ctx context.Context, request func(context.Context) error) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	c.giveUp.Store(&giveUp)
	defer c.giveUp.Store(nil)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	done := make(chan struct{})
	var telling sync.WaitGroup
	defer telling.Wait()
	defer close(done)
	telling.Go(func() { c.tell(done) })
	err := request(ctx)
	if cause := context.Cause(ctx); err != nil && deadEnd(cause) {
		return cause
	}
	return err
}

// tell says each second how long has been waited, until done.
func (c *client) tell(done <-chan struct{}) {
	start := time.Now()
	sentBefore, failedBefore := c.Sent()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			unsent := ""
			sent, failed := c.Sent()
			if n := failed - failedBefore; n > 0 {
				unsent = fmt.Sprintf(", %d could not be sent", n)
			}
			// That nobody reads it is no reason to stop.
			_, _ = fmt.Fprintf(c.process.stderr, "waiting for %v: %d packets sent%s, no answer for %v\n",
				c.gateway, sent-sentBefore, unsent, time.Since(start).Round(time.Second))
		}
	}
}

// explain turns an error of the client into words that help.
func (c *client) explain(err error) error {
	var (
		result  *natpmp.ResultError
		inPCP   *pcp.ResultError
		version *pcp.VersionError
		action  *igd.ActionError
		refused *natpmp.RefusedError
		timeout *natpmp.TimeoutError
	)
	gateway := c.gateway
	switch {
	case errors.As(err, &inPCP):
		return fmt.Errorf("%v answered: %v (result code %d); %s", gateway, inPCP.Result, uint8(inPCP.Result), reasonInPCP(inPCP.Result))
	case errors.As(err, &version):
		return fmt.Errorf("%v does not speak PCP; set PCP=on if it is doublenat, or ask without --by", gateway)
	case errors.As(err, &action):
		return fmt.Errorf("%v answered: %v; %s", gateway, action.Code, reasonInUPnP(action.Code))
	case errors.As(err, &result):
		return fmt.Errorf("%v answered: %v (result code %d); %s", gateway, result.Result, uint16(result.Result), reason(result.Result))
	case errors.As(err, &refused):
		return fmt.Errorf("nobody answers %s at %v; is it the right gateway, and is doublenat running?", c.by.title(), gateway)
	case errors.As(err, &timeout) && errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.As(err, &timeout) && timeout.Send != nil:
		return unreachable(gateway, timeout.Send)
	case errors.As(err, &timeout) && c.by == inUPnP:
		return fmt.Errorf("%v did not answer %d searches and requests of UPnP; is it the right gateway (-g), has it UPNP=on, and may this host ask (ALLOWED_CLIENTS)?", gateway, timeout.Tries)
	case errors.As(err, &timeout):
		return fmt.Errorf("%v did not answer %d packets; is it the right gateway (-g), and may this host ask (ALLOWED_CLIENTS)?", gateway, timeout.Tries)
	default:
		return err
	}
}

// reason says what lies behind a result code of a gateway like doublenat.
func reason(code natpmp.ResultCode) string {
	switch code {
	case natpmp.ResultNotAuthorized:
		return "it may not map this port for this host"
	case natpmp.ResultNetworkFailure:
		return "the router or the gateway behind it is out of reach: doublenat's log and doublenat check say which"
	case natpmp.ResultOutOfResources:
		return "no port is left, or this host has as many mappings as it may have"
	default:
		return "it may not speak NAT-PMP"
	}
}

// reasonInPCP is reason for the codes of RFC 6887.
func reasonInPCP(code pcp.ResultCode) string {
	switch code {
	case pcp.ResultNotAuthorized:
		return reason(natpmp.ResultNotAuthorized) + ", or another program has it, with a nonce of its own"
	case pcp.ResultNetworkFailure:
		return reason(natpmp.ResultNetworkFailure)
	case pcp.ResultNoResources, pcp.ResultUserExceededQuota:
		return reason(natpmp.ResultOutOfResources)
	case pcp.ResultAddressMismatch:
		return "something between this host and it replaces this host's address: " + remedy.Mismatch().Text
	default:
		return "look at its log"
	}
}

// reasonInUPnP is reason for the codes of UPnP.
func reasonInUPnP(code igd.Code) string {
	switch code {
	case igd.CodeNotAuthorized:
		return reason(natpmp.ResultNotAuthorized)
	case igd.CodeConflict:
		return "the very port is not to be had: it is somebody else's, or the gateway beyond chooses ports itself"
	case igd.CodeNoPortsLeft:
		return reason(natpmp.ResultOutOfResources)
	default:
		return "look at its log"
	}
}

// mappingArguments reads "tcp 8080". Command is for the error.
func mappingArguments(cmd *cobra.Command, args []string) (natpmp.Opcode, uint16, error) {
	fail := func(text string) (natpmp.Opcode, uint16, error) {
		return 0, 0, usageError{fmt.Errorf("%s; example: %s tcp 8080", text, cmd.CommandPath())}
	}
	if len(args) != 2 {
		return fail(fmt.Sprintf("%s takes a protocol and a port, but was given %q", cmd.CommandPath(), args))
	}
	var op natpmp.Opcode
	switch args[0] {
	case "tcp":
		op = natpmp.OpMapTCP
	case "udp":
		op = natpmp.OpMapUDP
	default:
		return fail(fmt.Sprintf("%q is neither tcp nor udp", args[0]))
	}
	port, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil || port == 0 {
		return fail(fmt.Sprintf("%q is not a port from 1 to 65535", args[1]))
	}
	return op, uint16(port), nil
}

// completeProtocol offers the protocols to the shell.
func completeProtocol(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"tcp", "udp"}, cobra.ShellCompDirectiveNoFileComp
}
