package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version is what the Go tool wrote into the binary about its sources.
type version struct {
	// module is the tag ("v1.2.3", or "v1.2.3-4-g0123456789ab" after it), the commit where there
	// is no tag, or "(devel)" for a build that knew neither. With files that differ from the
	// commit it ends in "-dirty" by git, or "+dirty" by the Go tool.
	module string
	// revision is the commit, empty when the build did not look.
	revision string
	// time is the commit's time in RFC 3339, empty when the build did not look.
	time string
	// modified is set when files differed from the commit.
	modified bool
}

// stamp is the tag or commit that `make binary` hands to the linker: the Go tool knows neither
// in a second worktree, without .git, and where it is told not to look.
var stamp string //nolint:gochecknoglobals // a linker sets nothing else

// buildVersion reads the version from the running binary.
func buildVersion() version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(info, stamp)
}

// versionOf picks what we show out of the build information, and the stamp where there is one.
func versionOf(info *debug.BuildInfo, stamp string) version {
	v := version{module: cmp.Or(stamp, info.Main.Version, "(devel)"), modified: strings.HasSuffix(stamp, "-dirty")}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.revision = s.Value
		case "vcs.time":
			v.time = s.Value
		case "vcs.modified":
			v.modified = v.modified || s.Value == "true"
		}
	}
	return v
}

// short returns the version as one word, for logs and metrics.
func (v version) short() string { return v.module }

// String returns everything in one line.
func (v version) String() string {
	s := "doublenat " + v.module
	if v.revision != "" {
		s += fmt.Sprintf(", commit %.12s of %s", v.revision, v.time)
	}
	if v.modified {
		s += ", modified"
	}
	return s + fmt.Sprintf(", %s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// newVersion builds the command that prints the version.
func newVersion(p *process) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE:  func(*cobra.Command, []string) error { return printVersion(p) },
	}
}

// printVersion prints the version.
func printVersion(p *process) error {
	_, err := fmt.Fprintln(p.stdout, buildVersion())
	return err
}
