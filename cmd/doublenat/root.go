package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"doublenat/internal/config"
)

// newRoot builds the tree of commands.
func newRoot(ctx context.Context, p *process) *cobra.Command {
	root := &cobra.Command{
		Use:   "doublenat",
		Short: "NAT-PMP server for a LAN behind a MikroTik router and a VPN gateway",
		Long: "doublenat answers NAT-PMP requests of LAN hosts. For each mapping it makes a dst-nat\n" +
			"rule on the MikroTik router and a lease on the VPN gateway.\n\n" +
			"Without a command it serves.",
		Example: "  doublenat lab     try it: a router, a gateway and a client on this machine\n" +
			"  doublenat         serve, as the environment variables say",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(*cobra.Command, []string) error { return serve(ctx, p) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see: %s --help)", err, cmd.CommandPath())}
	})
	root.AddCommand(
		newServe(ctx, p), newStatus(ctx, p), newCheck(ctx, p), newSetup(ctx, p), newConfig(p),
		newMap(ctx, p), newUnmap(ctx, p), newAddress(ctx, p), newLab(ctx, p), newVersion(p),
	)
	return root
}

// newServe builds the command that serves, which is also what the root does.
func newServe(ctx context.Context, p *process) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Answer NAT-PMP requests until SIGINT or SIGTERM (the default)",
		Long: "serve answers NAT-PMP requests until SIGINT or SIGTERM. The first signal stops it cleanly,\n" +
			"a second one at once. It is set by environment variables:\n\n" + variables(),
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return serve(ctx, p) },
	}
}

// noArguments refuses arguments; on the root, where an argument is a command
// that does not exist, it names those that are spelled alike.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasParent() {
		return usageError{fmt.Errorf("%s takes no arguments, but was given %q", cmd.CommandPath(), args[0])}
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		text += fmt.Sprintf("; did you mean %s?", strings.Join(like, " or "))
	}
	return usageError{errors.New(text + " (see: doublenat --help)")}
}

// variables lists the environment variables for a terminal.
func variables() string {
	var b strings.Builder
	for _, v := range config.Reference() {
		b.WriteString("  " + v.Name)
		switch {
		case v.Required:
			b.WriteString(" (required)")
		case v.Default != "":
			b.WriteString("=" + v.Default)
		}
		b.WriteString("\n      " + v.Help + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
