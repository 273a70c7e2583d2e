package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is what the Go tool wrote into the binary about its sources.
type version struct {
	// module is the module version ("v1.2.3"), or "(devel)" for a build from a tree without a tag.
	module string
	// revision is the commit, empty when the build did not look.
	revision string
	// time is the commit's time in RFC 3339, empty when the build did not look.
	time string
	// modified is set when files differed from the commit.
	modified bool
}

// buildVersion reads the version from the running binary.
func buildVersion() version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version{module: "(unknown)"}
	}
	return versionOf(info)
}

// versionOf picks what we show out of the build information.
func versionOf(info *debug.BuildInfo) version {
	v := version{module: info.Main.Version}
	if v.module == "" {
		v.module = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.revision = s.Value
		case "vcs.time":
			v.time = s.Value
		case "vcs.modified":
			v.modified = s.Value == "true"
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
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.stdout, buildVersion())
			return err
		},
	}
}
