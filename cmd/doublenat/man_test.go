package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"doublenat/internal/config"
)

var updateManual = flag.Bool("update", false, "write the man pages")

// TestManPages keeps docs/man what the commands say of themselves; with -update it
// writes them. The generator is no part of the binary.
func TestManPages(t *testing.T) {
	t.Parallel()
	root := newRoot(t.Context(), &process{})
	pages := map[string]string{"doublenat.1": manPage(t, root)}
	for _, cmd := range root.Commands() {
		pages[manName(cmd)+".1"] = manPage(t, cmd)
	}
	dir := filepath.Join("..", "..", "docs", "man")
	if *updateManual {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range pages {
		path := filepath.Join(dir, name)
		if *updateManual {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not what the command says; run `go test ./cmd/doublenat -run TestManPages -update`:\n%s", path, diff)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := pages[f.Name()]; !ok {
			t.Errorf("%s is of no command", f.Name())
		}
	}
}

// manName is the name of a command's page.
func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage writes the page of a command in the macros of man(7).
func manPage(t *testing.T, cmd *cobra.Command) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" doublenat \"User Commands\"\n", strings.ToUpper(manName(cmd)))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", manText(manName(cmd)), manText(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", manText(cmd.UseLine()))
	long, _, _ := strings.Cut(cmd.Long, ":\n\n  VPN_GATEWAY") // the variables have a form of their own
	if long == "" {
		long = cmd.Short + "."
	}
	b.WriteString(".SH DESCRIPTION\n")
	for i, paragraph := range strings.Split(long, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(manText(paragraph) + "\n")
	}
	if !cmd.HasParent() {
		b.WriteString(".SH COMMANDS\n")
		for _, c := range cmd.Commands() {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s (see\n.BR %s (1))\n", manText(c.Name()), manText(c.Short), manText(manName(c)))
		}
	}
	manFlags(&b, cmd)
	if cmd.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", manText(cmd.Example))
	}
	if cmd.Name() == "serve" || !cmd.HasParent() {
		manVariables(&b)
		manTable(t, &b, "Signals")
	}
	manEnd(t, &b, cmd)
	return b.String()
}

// manFlags writes the flags in the order in which help has them.
func manFlags(b *strings.Builder, cmd *cobra.Command) {
	if !cmd.LocalFlags().HasAvailableFlags() {
		return
	}
	b.WriteString(".SH OPTIONS\n")
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if f.Value.Type() != "bool" {
			name += " " + f.Value.Type()
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", manText(name), manText(f.Usage))
		if v := f.DefValue; v != "" && v != "false" && !strings.Contains(f.Usage, "default") {
			fmt.Fprintf(b, "Default: %s.\n", manText(v))
		}
	})
	b.WriteString(".TP\n.B \\-h, \\-\\-help\nshow help\n")
}

// manVariables writes the environment variables.
func manVariables(b *strings.Builder) {
	b.WriteString(".SH ENVIRONMENT\n")
	for _, v := range config.Reference() {
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", manText(v.Name), manText(v.Help))
		switch {
		case v.Required:
			b.WriteString("Required.\n")
		case v.Default != "":
			fmt.Fprintf(b, "Default: %s.\n", manText(v.Default))
		}
		fmt.Fprintf(b, "Allowed: %s.\n", manText(v.Allowed))
	}
}

// manTable writes a table of docs/operation.md, which is where the fact stands.
func manTable(t *testing.T, b *strings.Builder, title string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operation.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## "+title+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, table, hasTable := strings.Cut(section, "|---|---|\n")
	if !found || !hasTable {
		t.Fatalf("docs/operation.md has no table %q", title)
	}
	fmt.Fprintf(b, ".SH %s\n", map[string]string{"Signals": "SIGNALS", "Exit codes": "EXIT STATUS"}[title])
	plain := strings.NewReplacer("`", "", `\|`, "|")
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		name, text, _ := strings.Cut(strings.Trim(strings.ReplaceAll(strings.TrimSpace(line), `\|`, "\x00"), "| "), "|")
		text = strings.ReplaceAll(text, "\x00", "|")
		fmt.Fprintf(b, ".TP\n.B %s\n%s.\n", manText(plain.Replace(strings.TrimSpace(name))), manText(plain.Replace(strings.TrimSpace(text))))
	}
}

// manEnd writes what most pages have in common.
func manEnd(t *testing.T, b *strings.Builder, cmd *cobra.Command) {
	t.Helper()
	switch {
	case !cmd.HasParent() || cmd.Name() == "serve":
		manTable(t, b, "Exit codes")
	case cmd.Name() != "check":
		b.WriteString(".SH EXIT STATUS\n0 for success, 1 if it could not do its work, 2 for a mistake in the command line or the configuration.\n")
	}
	b.WriteString(".SH SEE ALSO\n")
	if cmd.HasParent() {
		b.WriteString(".BR doublenat (1),\n")
	}
	b.WriteString("RFC 6886\n")
}

// manText escapes what roff would take for its own: backslashes, hyphens that are
// typed, and dots and quotes at the begin of a line.
func manText(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
