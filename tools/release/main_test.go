package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRefusals: what cannot be released is refused before anything is built. `make packages-test`
// makes releases.
func TestRefusals(t *testing.T) {
	t.Parallel()
	there := t.TempDir()
	missing := filepath.Join(there, "none")
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no version":       {[]string{"-out", missing}, 2, `"" is no version`},
		"no folder":        {[]string{"-version", "1.2.3"}, 2, "Usage of release"},
		"half a version":   {[]string{"-version", "v1.2", "-out", missing}, 2, `"1.2" is no version`},
		"a commit":         {[]string{"-version", "9fd8bc6-dirty", "-out", missing}, 2, "is no version"},
		"a zero before it": {[]string{"-version", "1.02.3", "-out", missing}, 2, "is no version"},
		"unknown word":     {[]string{"-version", "1.2.3-first.1", "-out", missing}, 2, "is no version"},
		"unknown platform": {[]string{"-version", "1.2.3", "-out", missing, "-platforms", "linux_amd64,plan9_arm"}, 2, `"plan9_arm" is none of`},
		"there already":    {[]string{"-version", "v1.2.3-rc.1", "-out", there}, 1, "exists"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), test.args, &stdout, &stderr); code != test.code || !strings.Contains(stderr.String(), test.says) {
				t.Errorf("exit code %d, want %d; it says %q, want %q", code, test.code, stderr.String(), test.says)
			}
			if _, err := os.Stat(missing); err == nil {
				t.Error("there is a folder")
			}
		})
	}
}

// TestPrerelease: what comes before a version is written as each kind of package sorts it.
func TestPrerelease(t *testing.T) {
	t.Parallel()
	for version, want := range map[string][3]string{
		"1.2.3": {"", "", ""}, "1.2.3-rc1": {"rc1", "rc1", "rc1"}, "1.2.3-rc.10": {"rc.10", "rc.10", "rc10"}, "1.2.3-alpha": {"alpha", "alpha", "alpha"},
	} {
		if err := checkVersion(version); err != nil {
			t.Error(err)
		}
		if got := [3]string{prerelease(version, "deb"), prerelease(version, "rpm"), prerelease(version, "apk")}; got != want {
			t.Errorf("%s is %q, want %q", version, got, want)
		}
	}
}

// TestClone: how git is set on the machine that makes the release has no say in it.
// It is not parallel, for the current directory is the process's.
func TestClone(t *testing.T) {
	dir, settings := t.TempDir(), filepath.Join(t.TempDir(), "gitconfig")
	const strange = "[user]\n\tname = a\n\temail = a@localhost\n[core]\n\tautocrlf = true\n[tag]\n\tgpgSign = true\n[log]\n\tshowSignature = true\n"
	if err := errors.Join(os.WriteFile(settings, []byte(strange), 0o600), os.WriteFile(filepath.Join(dir, "file"), []byte("text\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("GIT_CONFIG_GLOBAL", settings)
	t.Setenv("GIT_EDITOR", "false") // nobody is asked for anything
	r := release{version: "1.2.3", source: filepath.Join(t.TempDir(), "source"), stderr: t.Output()}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "."}, {"commit", "--quiet", "--message=one", "--date=2026-11-30T14:20:26Z"}} {
		if _, err := r.run(t.Context(), dir, []string{"GIT_COMMITTER_DATE=2026-11-30T15:20:26+01:00"}, "git", args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.clone(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.source, "file"))
	if err != nil || string(text) != "text\n" || len(r.commit) < 40 || r.date.Format(time.RFC3339) != "2026-11-30T14:20:26Z" {
		t.Errorf("%q of %q at %v, %v", text, r.commit, r.date, err)
	}
}

// TestEntries: archives have each file once, and all that the documents say is in them.
func TestEntries(t *testing.T) {
	t.Parallel()
	p := platform{"linux", "amd64", ""}
	r := release{version: "1.2.3", source: filepath.Join("..", ".."), work: t.TempDir()}
	if err := errors.Join(os.Mkdir(filepath.Dir(r.binary(p)), 0o700), os.WriteFile(r.binary(p), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	entries, err := r.entries(p)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if slices.Contains(names, e.name) {
			t.Errorf("%s is there twice", e.name)
		}
		names = append(names, e.name)
	}
	for _, want := range []string{
		"doublenat", "LICENSE", "man/doublenat.1", "contrib/systemd/doublenat.service", "contrib/systemd/doublenat.env",
		"deploy/compose/.env.example", "deploy/compose/compose.yaml", "deploy/kubernetes/kustomization.yaml",
	} {
		if !slices.Contains(names, "doublenat_1.2.3_linux_amd64/"+want) {
			t.Errorf("%s is missing", want)
		}
	}
}

// TestBill: each component has an identifier that SPDX allows, once, and belongs to doublenat.
func TestBill(t *testing.T) {
	t.Parallel()
	r := release{version: "1.2.3", commit: "9fd8bc6572e5", date: time.Date(2026, 11, 30, 14, 20, 26, 0, time.UTC)}
	module := func(path string) *debug.Module { return &debug.Module{Path: path, Version: "v1.0.0", Sum: "h1:x="} }
	d := r.document("1.26.8", map[string]*debug.Module{"b.org/~x/y_z": module("b.org/~x/y_z"), "a.org/x": module("a.org/x")})
	allowed := regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`)
	var ids, named []string
	for _, p := range d.Packages {
		if !allowed.MatchString(p.SPDXID) || slices.Contains(ids, p.SPDXID) {
			t.Errorf("%s has the identifier %s", p.Name, p.SPDXID)
		}
		ids = append(ids, p.SPDXID)
	}
	for _, rel := range d.Relationships {
		named = append(named, rel.To)
	}
	if !slices.Equal(ids, named) || len(ids) != 4 || d.Packages[2].Name != "a.org/x" {
		t.Errorf("components %q, of which are told %q", ids, named)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"spdxVersion":"SPDX-2.3"`, `"created":"2026-11-30T14:20:26Z"`, `"referenceLocator":"pkg:golang/stdlib@1.26.8"`, `"sourceInfo":"git commit 9fd8bc6572e5"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
}
