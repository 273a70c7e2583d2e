package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"doublenat/natpmp"
)

// mapFlags are the flags of map as they were given.
type mapFlags struct {
	clientFlags

	external portValue
	lifetime time.Duration
	keep     bool
}

// portValue is a port in a flag.
type portValue uint16

// Set implements pflag.Value.
func (p *portValue) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return errors.New("it is no port from 0 to 65535")
	}
	*p = portValue(n)
	return nil
}

// String implements pflag.Value.
func (p *portValue) String() string { return strconv.Itoa(int(*p)) }

// Type implements pflag.Value.
func (*portValue) Type() string { return "uint16" }

// newMap builds the command that asks for a mapping.
func newMap(ctx context.Context, p *process) *cobra.Command {
	var flags mapFlags
	cmd := &cobra.Command{
		Use:   "map tcp|udp PORT",
		Short: "Ask a gateway for a port, as a client does",
		Long: "map asks a gateway, doublenat or any other, for a mapping of a port of this host: by NAT-PMP, PCP or\n" +
			"UPnP. With --keep it renews the mapping until it is interrupted, and gives it back then.",
		Example: "  doublenat map tcp 8080\n" +
			"  doublenat map udp 3074 --by igd       as a console does\n" +
			"  doublenat map udp 51413 -g 192.168.88.1 --lifetime 2h --external 51413 --keep",
		ValidArgsFunction: completeProtocol,
		Args: func(cmd *cobra.Command, args []string) error {
			_, _, err := mappingArguments(cmd, args)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			op, port, err := mappingArguments(cmd, args)
			if err != nil {
				return err
			}
			return runMap(ctx, p, flags, op, port)
		},
	}
	flags.add(cmd)
	cmd.Flags().Var(&flags.external, "external", "wish for a public port; 0: any")
	cmd.Flags().DurationVar(&flags.lifetime, "lifetime", time.Hour, "how long it is wanted, or asked for with each renewal")
	cmd.Flags().BoolVar(&flags.keep, "keep", false, "renew it until interrupted")
	return cmd
}

// mapped is a mapping as map and unmap print it.
type mapped struct {
	// Gateway is who was asked.
	Gateway netip.AddrPort `json:"gateway"`
	// Protocol is "tcp" or "udp".
	Protocol string `json:"protocol"`
	// InternalPort is the port of this host.
	InternalPort uint16 `json:"internal_port"`
	// ExternalAddress is the public address; absent if the gateway does not tell,
	// or the mapping has ended.
	ExternalAddress *netip.Addr `json:"external_address,omitempty"`
	// ExternalPort is the public port, 0 for a mapping that has ended.
	ExternalPort uint16 `json:"external_port"`
	// Lifetime is in seconds, 0 for a mapping that has ended.
	Lifetime uint32 `json:"lifetime"`
}

// String returns the mapping in a line for people.
func (m mapped) String() string {
	if m.Lifetime == 0 {
		return fmt.Sprintf("%s %d is not mapped any more", m.Protocol, m.InternalPort)
	}
	public := fmt.Sprintf("port %d of the public address", m.ExternalPort)
	if m.ExternalAddress != nil {
		public = netip.AddrPortFrom(*m.ExternalAddress, m.ExternalPort).String()
	}
	return fmt.Sprintf("%s %s is mapped to port %d here for %d s", m.Protocol, public, m.InternalPort, m.Lifetime)
}

// print prints the mapping, as JSON if that is wanted.
func (p *process) print(v any, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(v)
	}
	_, err := fmt.Fprintln(p.stdout, v)
	return err
}

// runMap asks once, and again and again if the mapping is to be kept.
func runMap(ctx context.Context, p *process, flags mapFlags, op natpmp.Opcode, port uint16) error {
	seconds := int64(flags.lifetime / time.Second)
	if seconds < 1 || seconds > math.MaxUint32 { // 32 bits on the wire (RFC 6886 §3.3)
		return usageError{fmt.Errorf("--lifetime %v is less than 1s, or more than the protocol can say", flags.lifetime)}
	}
	lifetime := uint32(seconds)
	return p.asking(ctx, &flags.clientFlags, func(ctx context.Context, c *client) error {
		k := keeper{client: c, flags: flags, request: natpmp.MapRequest{
			Opcode: op, InternalPort: port, SuggestedExternalPort: uint16(flags.external), Lifetime: lifetime,
		}}
		err := k.ask(ctx)
		_, unread := errors.AsType[printError](err)
		switch {
		case unread && flags.keep: // nobody reads what the port is
			return errors.Join(err, k.end(ctx))
		case err != nil:
			return k.undo(ctx, err)
		case !flags.keep:
			return nil
		}
		return errors.Join(k.keep(ctx), k.end(ctx))
	})
}

// keeper keeps one mapping.
type keeper struct {
	client  *client
	flags   mapFlags
	request natpmp.MapRequest
	told    mapped // what was printed last
}

// ask asks for the mapping or for its renewal, and prints it if it is news.
func (k *keeper) ask(ctx context.Context) error {
	now := mapped{Gateway: k.client.gateway, Protocol: k.request.Opcode.String(), InternalPort: k.request.InternalPort}
	err := k.client.wait(ctx, func(ctx context.Context) error {
		m, err := k.client.Map(ctx, k.request)
		now.ExternalPort, now.Lifetime = m.ExternalPort, m.Lifetime
		if m.address.IsValid() {
			now.ExternalAddress = &m.address
		}
		return err
	})
	if err != nil {
		return err
	}
	if now.ExternalPort == 0 || now.Lifetime == 0 {
		return fmt.Errorf("%v said yes and granted nothing", k.client.gateway)
	}
	k.request.SuggestedExternalPort, k.request.Renewal = now.ExternalPort, true
	if now.ExternalAddress == nil {
		if external, err := k.client.address(ctx); err == nil {
			now.ExternalAddress = &external
		}
	}
	if k.told.same(now) {
		k.told.Lifetime = now.Lifetime
		return nil
	}
	k.told = now
	if err := k.client.process.print(now, k.flags.json); err != nil {
		return printError{err}
	}
	return nil
}

// undo gives back what the first request may have brought when it was interrupted: the
// gateway may have granted it, and nobody would renew it or end it. It returns the error
// of the request.
func (k *keeper) undo(ctx context.Context, err error) error {
	unanswered, ok := errors.AsType[*natpmp.TimeoutError](err)
	if ctx.Err() == nil || !ok || unanswered.Tries == 0 && k.told == (mapped{}) {
		return err
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if k.client.Unmap(ending, k.request.Opcode, k.request.InternalPort) == nil {
		return err
	}
	return fmt.Errorf("interrupted; whether the mapping was granted is not known, and it could not be given back: run doublenat unmap %v %d -g %v%s",
		k.request.Opcode, k.request.InternalPort, k.client.gateway, k.client.by.flag())
}

// undoTime bounds how long giving back may take after Ctrl-C.
const undoTime = 3 * time.Second

// printError is a result that could not be written.
type printError struct{ error }

// Unwrap returns the cause.
func (e printError) Unwrap() error { return e.error }

// same reports whether the public side is the same.
func (m mapped) same(other mapped) bool {
	if m.ExternalAddress == nil || other.ExternalAddress == nil {
		return m.ExternalPort == other.ExternalPort
	}
	return m.ExternalPort == other.ExternalPort && *m.ExternalAddress == *other.ExternalAddress
}

// keep renews at half of the lifetime (RFC 6886 §3.3) until ctx ends. A failure is
// told and tried again: while the mapping lives, nothing is lost.
func (k *keeper) keep(ctx context.Context) error {
	wait := time.Duration(k.told.Lifetime) * time.Second / 2
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		err := k.ask(ctx)
		if _, unread := errors.AsType[printError](err); unread {
			return err
		}
		wait = time.Duration(k.told.Lifetime) * time.Second / 2
		if err != nil && ctx.Err() == nil {
			wait = min(wait, 5*time.Second)
			if _, err := fmt.Fprintf(k.client.process.stderr, "not renewed: %v\n", k.client.explain(err)); err != nil {
				return err
			}
		}
	}
}

// end gives the mapping back.
func (k *keeper) end(ctx context.Context) error {
	return k.client.unmap(context.WithoutCancel(ctx), k.request.Opcode, k.request.InternalPort, k.flags.json)
}
