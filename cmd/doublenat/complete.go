package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"doublenat/internal/lab"
)

// complete has shells offer the values that a flag or a command takes, and no files where
// neither takes one.
func complete(root *cobra.Command, environ map[string]string) {
	offer := func(flag string, values func(cmd *cobra.Command) []string) func(*cobra.Command) {
		return func(cmd *cobra.Command) {
			if cmd.Flags().Lookup(flag) == nil {
				return
			}
			// It fails for a flag that does not exist or has one already.
			_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
				return values(cmd), cobra.ShellCompDirectiveNoFileComp
			})
		}
	}
	always := func(values ...string) func(*cobra.Command) []string {
		return func(*cobra.Command) []string { return values }
	}
	offers := []func(*cobra.Command){
		offer("by", always(string(inNATPMP), string(inPCP), string(inUPnP))),
		offer("gateway-kind", always(lab.Kinds()...)),
		offer("profile", profileNames),
		offer("page", always("off")),
		offer("addr", always(pageAddress(environ))),
		offer("external", always("0")),
		offer("lifetime", always("1h", "2h", "24h")),
		offer("lan", always("LAN")),
		offer("disk", always("flash", "usb1")),
		offer("container", always(defaultContainer)),
	}
	for _, cmd := range root.Commands() {
		for _, register := range offers {
			register(cmd)
		}
		if cmd.ValidArgsFunction == nil && !cmd.HasSubCommands() && cmd.Name() != "help" {
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if _, has := cmd.GetFlagCompletionFunc(f.Name); !has && f.Value.Type() != "bool" {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions) // it has none
			}
		})
	}
}

// profileNames returns the profiles of the kind of gateway that was given before.
func profileNames(cmd *cobra.Command) []string {
	kind := cmd.Flags().Lookup("gateway-kind").Value.String()
	var names []string
	for _, p := range lab.Profiles(kind) {
		names = append(names, cobra.CompletionWithDesc(p.Name, p.Means))
	}
	return names
}
