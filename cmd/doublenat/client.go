package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"doublenat/natpmp"
)

// clientFlags are the flags that map, unmap and address have in common.
type clientFlags struct {
	gateway string
	timeout time.Duration
	json    bool
}

// add defines the flags.
func (f *clientFlags) add(cmd *cobra.Command) {
	set := cmd.Flags()
	set.SortFlags = false
	set.StringVarP(&f.gateway, "gateway", "g", "", "address of the NAT-PMP gateway, with or without port; empty: the default route's")
	set.DurationVar(&f.timeout, "timeout", 12*time.Second, "how long to wait for an answer")
	set.BoolVar(&f.json, "json", false, "print JSON, one object a line")
}

// client asks one gateway.
type client struct {
	*natpmp.Client

	gateway netip.AddrPort
	timeout time.Duration
	process *process
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
	asks, err := natpmp.NewClient(natpmp.ClientConfig{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", gateway.String())
	}})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // a mapping is given back after a signal
	var serving sync.WaitGroup
	serving.Go(func() { _ = asks.Run(running) }) // it returns nil when it is stopped
	err = f(ctx, &client{Client: asks, gateway: gateway, timeout: flags.timeout, process: p})
	stop()
	serving.Wait()
	return explain(gateway, err)
}

// find returns the gateway that is meant.
func (f *clientFlags) find() (netip.AddrPort, error) {
	if f.gateway == "" {
		addr, err := defaultGateway()
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("%w; give the gateway with -g", err)
		}
		return netip.AddrPortFrom(addr, natpmp.Port), nil
	}
	if addr, err := netip.ParseAddr(f.gateway); err == nil && addr.Is4() {
		return netip.AddrPortFrom(addr, natpmp.Port), nil
	}
	where, err := netip.ParseAddrPort(f.gateway)
	if err != nil || !where.Addr().Is4() || where.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("-g %q is not an IPv4 address, with or without port; example: -g 192.168.88.1", f.gateway)
	}
	return where, nil
}

// wait runs one request, and says on stderr that it is waited for.
func (c *client) wait(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	done := make(chan struct{})
	var telling sync.WaitGroup
	defer telling.Wait()
	defer close(done)
	telling.Go(func() { c.tell(done) })
	return request(ctx)
}

// tell says each second how long has been waited, until done.
func (c *client) tell(done <-chan struct{}) {
	start := time.Now()
	before := c.Stats().Sent
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			// That nobody reads it is no reason to stop.
			_, _ = fmt.Fprintf(c.process.stderr, "waiting for %v: %d packets sent, no answer for %v\n",
				c.gateway, c.Stats().Sent-before, time.Since(start).Round(time.Second))
		}
	}
}

// explain turns an error of the client into words that help.
func explain(gateway netip.AddrPort, err error) error {
	var (
		result  *natpmp.ResultError
		refused *natpmp.RefusedError
		timeout *natpmp.TimeoutError
	)
	switch {
	case errors.As(err, &result):
		return fmt.Errorf("%v answered: %v (result code %d); %s", gateway, result.Result, uint16(result.Result), reason(result.Result))
	case errors.As(err, &refused):
		return fmt.Errorf("nobody answers NAT-PMP at %v; is it the right gateway, and is doublenat running?", gateway)
	case errors.As(err, &timeout) && errors.Is(err, context.Canceled):
		return errors.New("interrupted")
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
		return "the router or the VPN gateway behind it is out of reach: doublenat's log and doublenat check say which"
	case natpmp.ResultOutOfResources:
		return "no port is left, or this host has as many mappings as it may have"
	default:
		return "it may not speak NAT-PMP"
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
