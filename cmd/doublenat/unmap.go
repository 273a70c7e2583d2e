package main

import (
	"context"

	"github.com/spf13/cobra"

	"doublenat/natpmp"
)

// newUnmap builds the command that ends a mapping.
func newUnmap(ctx context.Context, p *process) *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "unmap tcp|udp PORT",
		Short: "Give a port back to a gateway",
		Long: "unmap ends the mapping of a port of this host. That there was none is a success, as the protocol\n" +
			"wants it.",
		Example:           "  doublenat unmap tcp 8080",
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
			return p.asking(ctx, &flags, func(ctx context.Context, c *client) error {
				return c.unmap(ctx, op, port, flags.json)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// unmap ends a mapping and says so.
func (c *client) unmap(ctx context.Context, op natpmp.Opcode, port uint16, asJSON bool) error {
	err := c.wait(ctx, func(ctx context.Context) error { return c.Unmap(ctx, op, port) })
	if err != nil {
		return err
	}
	return c.process.print(mapped{Gateway: c.gateway, Protocol: op.String(), InternalPort: port}, asJSON)
}
