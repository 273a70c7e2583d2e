package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"doublenat/internal/config"
	"doublenat/routeros"
)

// setting is one variable as it is in force.
type setting struct {
	// Name is the variable.
	Name string `json:"name"`
	// Value is what it has as it may be shown, empty for nothing.
	Value string `json:"value"`
	// Source is "environment", "credential" for the password that systemd hands over,
	// "default", or "none" where there is none of them.
	Source string `json:"source"`
}

// newConfig builds the command that prints the configuration.
func newConfig(p *process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print each setting, and where it comes from",
		Long: "config prints the value of each variable and whether it comes from the environment or is the\n" +
			"default; the password may be a systemd credential. Passwords are shown as dots, and of a command's arguments only the number. What the daemon\n" +
			"would refuse or warn of is said as well; the exit code is then 2 for a configuration that cannot be used.",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return printConfig(p, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// settings returns all variables in the order of the reference.
func settings(environ map[string]string) []setting {
	var all []setting
	for _, v := range config.Reference() {
		s := setting{Name: v.Name, Value: environ[v.Name], Source: "environment"}
		_, set := environ[v.Name]
		credential, handed := config.Credential(environ)
		switch {
		case handed && v.Name == "MIKROTIK_API_PASSWORD_FILE":
			s.Value, s.Source = credential, "credential"
		case s.Value == "" && v.Default != "":
			s.Value, s.Source = v.Default, "default"
		case s.Value == "" && (!set || !v.Secret): // the empty password is one
			s.Source = "none"
		}
		switch {
		case s.Source != "environment":
		case v.Secret:
			s.Value = routeros.Secret{}.String() // for the empty password too
		default:
			s.Value = v.Shown(s.Value)
		}
		all = append(all, s)
	}
	return all
}

// printConfig prints the settings and then what is wrong with them.
func printConfig(p *process, asJSON bool) error {
	all := settings(p.environ)
	var err error
	if asJSON {
		encoder := json.NewEncoder(p.stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(all)
	} else {
		err = printSettings(p, all)
	}
	cfg, errConfig := p.config()
	if errConfig != nil {
		return errConfig
	}
	return errors.Join(err, p.warn(cfg))
}

// warn writes what looks odd about a configuration to stderr.
func (p *process) warn(cfg config.Config) error {
	for _, w := range cfg.Warnings {
		if _, err := fmt.Fprintf(p.stderr, "warning: %s\n", w); err != nil {
			return err
		}
	}
	return nil
}

// printSettings prints a table.
func printSettings(p *process, all []setting) error {
	var b strings.Builder
	for _, s := range all {
		value := s.Value
		if value == "" || strings.ContainsAny(value, " \t") {
			value = fmt.Sprintf("%q", value)
		}
		if s.Source == "none" {
			value = "-"
		}
		fmt.Fprintf(&b, "%-28s  %-11s  %s\n", s.Name, s.Source, value)
	}
	_, err := io.WriteString(p.stdout, b.String())
	return err
}
