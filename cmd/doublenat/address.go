package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"
)

// newAddress builds the command that asks for the public address.
func newAddress(ctx context.Context, p *process) *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:     "address",
		Short:   "Ask a gateway for its public address",
		Example: "  doublenat address -g 192.168.88.1",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			return p.asking(ctx, &flags, func(ctx context.Context, c *client) error {
				external, err := c.address(ctx)
				if err != nil {
					return err
				}
				if external.IsUnspecified() {
					return fmt.Errorf("%v has no public address now", c.gateway)
				}
				if !flags.json {
					return p.print(external, false)
				}
				return p.print(struct {
					Gateway         netip.AddrPort `json:"gateway"`
					ExternalAddress netip.Addr     `json:"external_address"`
				}{c.gateway, external}, true)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// address asks for the public address.
func (c *client) address(ctx context.Context) (external netip.Addr, err error) {
	err = c.wait(ctx, func(ctx context.Context) error {
		external, err = c.ExternalAddress(ctx)
		return err
	})
	return external, err
}
