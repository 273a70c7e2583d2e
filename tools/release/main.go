// Release makes what is published of a version; `make release` calls it.
//
// It builds from a clone of the commit, which carries the version as its tag: so the Go tool writes
// version and commit into the programs, what is not committed stays out, and the folder says
// nothing. The same commit, version, Go and authorities give the same bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) //nolint:forbidigo // a program of its own
}

// release is a release in the making.
type release struct {
	// version has no v before it.
	version string
	// commit is what is released, and date when it was made: how old all files are.
	commit string
	date   time.Time
	// source is the clone, work a folder for what is in the making, and out the folder of the files.
	source, work, out string
	// certificates is the file of the authorities for the images; empty for those of this machine.
	certificates string
	platforms    []platform
	stderr       io.Writer
}

// run makes the release that the arguments say.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(stderr)
	r := release{stderr: stderr}
	flags.StringVar(&r.version, "version", "", "`version` to make, such as 1.2.3")
	flags.StringVar(&r.out, "out", "", "`folder` for the files; it must not exist")
	flags.StringVar(&r.certificates, "certificates", "", "`file` with the authorities for the images; empty for those of this machine")
	only := flags.String("platforms", "", "`list` of platforms with commas between; empty for all")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	r.version = strings.TrimPrefix(r.version, "v")
	platforms, err := parsePlatforms(*only)
	if err = errors.Join(err, checkVersion(r.version)); err != nil || r.out == "" || flags.NArg() > 0 {
		if err != nil {
			fmt.Fprintln(stderr, "release:", err)
		}
		flags.Usage()
		return 2
	}
	r.platforms = platforms
	if err := r.make(ctx); err != nil {
		fmt.Fprintln(stderr, "release:", err)
		return 1
	}
	fmt.Fprintf(stdout, "%s has doublenat %s of %.12s\n", r.out, r.version, r.commit)
	return 0
}

// checkVersion wants the form that the Go tool takes for a version, with what may come after it in all packages: apk
// knows no other words.
func checkVersion(version string) error {
	if !regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(alpha|beta|pre|rc)(\.?[1-9]\d*)?)?$`).MatchString(version) {
		return fmt.Errorf("%q is no version such as 1.2.3 or 1.2.3-rc.1 (or alpha, beta, pre)", version)
	}
	return nil
}

// make makes all files, in a folder beside the one where they go when all are there.
func (r *release) make(ctx context.Context) error {
	if _, err := os.Stat(r.out); err == nil {
		return fmt.Errorf("%s exists", r.out)
	}
	out, err := filepath.Abs(r.out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil { //nolint:gosec // to be published
		return err
	}
	if r.work, err = os.MkdirTemp(filepath.Dir(out), ".release-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	r.source, r.out = filepath.Join(r.work, "source"), filepath.Join(r.work, "out")
	if err := os.Mkdir(r.out, 0o755); err != nil { //nolint:gosec // to be published
		return err
	}
	for _, step := range []func(context.Context) error{r.clone, r.build, r.words, r.archives, r.packages, r.images, r.bill, r.sums} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	made := r.out
	r.out = out
	return os.Rename(made, out)
}

// clone copies the commit, and calls it by its version. What git is set to on this machine makes no
// difference: signed tags want a message, and other line ends are other bytes.
func (r *release) clone(ctx context.Context) error {
	if _, err := r.run(ctx, ".", nil, "git", "clone", "--quiet", "--no-tags", "--config", "core.autocrlf=false", "--config", "tag.gpgSign=false", "--config", "log.showSignature=false", ".", r.source); err != nil {
		return err
	}
	if _, err := r.run(ctx, r.source, nil, "git", "tag", "v"+r.version); err != nil {
		return err
	}
	said, err := r.run(ctx, r.source, nil, "git", "log", "-1", "--format=%H %cI")
	if err != nil {
		return err
	}
	commit, date, _ := strings.Cut(strings.TrimSpace(said), " ")
	r.commit = commit
	r.date, err = time.Parse(time.RFC3339, date)
	r.date = r.date.UTC()
	return err
}

// run runs a program, with more variables, and returns what it prints.
func (r *release) run(ctx context.Context, dir string, environ []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // all of them are named here
	cmd.Dir, cmd.Stderr = dir, r.stderr
	cmd.Env = append(cmd.Environ(), environ...)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}

// file is the path of a file of the release, whose name ends with rest.
func (r *release) file(rest string) string {
	return filepath.Join(r.out, "doublenat_"+r.version+"_"+rest)
}
