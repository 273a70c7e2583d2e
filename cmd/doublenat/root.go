package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"doublenat/internal/config"
)

// newRoot builds the tree of commands.
func newRoot(ctx context.Context, p *process) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "doublenat",
		Short: "NAT-PMP server for a LAN behind a MikroTik router and another NAT",
		Long: "doublenat answers NAT-PMP requests of LAN hosts. For each mapping it makes a dst-nat\n" +
			"rule on the MikroTik router and a lease at the gateway beyond.\n\n" +
			"Without a command it serves.",
		Example: "  doublenat lab     try it: a router, a gateway and a client on this machine\n" +
			"  doublenat         serve, as the environment variables say",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE: func(*cobra.Command, []string) error {
			if version {
				return printVersion(p)
			}
			return serve(ctx, p)
		},
	}
	// Not cobra's own flag, which would link a template engine.
	root.Flags().BoolVar(&version, "version", false, "print the version")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see: %s --help)", err, cmd.CommandPath())}
	})
	root.AddCommand(
		newServe(ctx, p), newStatus(ctx, p), newCheck(ctx, p), newSetup(ctx, p.plain()), newConfig(p.plain()),
		newMap(ctx, p.plain()), newUnmap(ctx, p.plain()), newAddress(ctx, p.plain()), newLab(ctx, p), newVersion(p),
	)
	return root
}

// strict makes the commands that cobra adds refuse what they do not know, as ours do.
func strict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Args = knownTopic
		case "completion":
			// A command that cannot be run is not asked about its arguments.
			cmd.Args, cmd.RunE = noArguments, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			for _, shell := range cmd.Commands() {
				shell.Args = noArguments
			}
		}
	}
}

// knownTopic refuses help about commands that do not exist.
func knownTopic(cmd *cobra.Command, args []string) error {
	topic := cmd.Root()
	for _, word := range args {
		i := slices.IndexFunc(topic.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
		if i < 0 {
			return unknownCommand(topic, word)
		}
		topic = topic.Commands()[i]
	}
	return nil
}

// newServe builds the command that serves, which is also what the root does.
func newServe(ctx context.Context, p *process) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Answer NAT-PMP requests until SIGINT or SIGTERM (the default)",
		Long: "serve answers NAT-PMP requests until SIGINT or SIGTERM, which stop it cleanly; Ctrl-C during the\n" +
			"stop ends it at once. SIGHUP compares the rules with the router now, or stops it where it was\n" +
			"started from a terminal; SIGUSR1 switches the log to DEBUG and back. It is set by environment\n" +
			"variables:\n\n" + variables(),
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return serve(ctx, p) },
	}
}

// noArguments refuses arguments. Of a command that has others below it, an argument
// is one that does not exist.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return unknownCommand(cmd, args[0])
	default:
		return usageError{fmt.Errorf("%s takes no arguments, but was given %q", cmd.CommandPath(), args[0])}
	}
}

// unknownCommand is the error for a command that does not exist below parent. It
// names those that are spelled alike.
func unknownCommand(parent *cobra.Command, name string) error {
	path := name
	if parent.HasParent() {
		path = parent.Name() + " " + name
	}
	text := fmt.Sprintf("there is no command %q", path)
	if parent.SuggestionsMinimumDistance <= 0 {
		parent.SuggestionsMinimumDistance = 2
	}
	if like := parent.SuggestionsFor(name); len(like) > 0 {
		text += fmt.Sprintf("; did you mean %s?", strings.Join(like, " or "))
	}
	return usageError{fmt.Errorf("%s (see: %s --help)", text, parent.CommandPath())}
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
