package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"doublenat/internal/check"
	"doublenat/internal/config"
	"doublenat/internal/daemon"
	"doublenat/internal/foreign"
	"doublenat/stun"
)

// checkFlags are the flags of check as they were given.
type checkFlags struct {
	json, live bool
	from, echo string
}

// newCheck builds the command that examines router and gateway.
func newCheck(ctx context.Context, p *process) *cobra.Command {
	var flags checkFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find out which hop is broken, and what to type to mend it",
		Long: "check looks at the router and the gateway as the daemon would, with the same environment\n" +
			"variables (see: doublenat serve --help). Of each thing it says whether it is as it has to be,\n" +
			"and where it is not, the command or setting that mends it. It changes nothing without --live.\n\n" +
			"The exit code is 0 if all is well, 1 if something should be looked at, 2 if something is broken.",
		Example: "  doublenat check\n" +
			"  doublenat check --json | jq '.findings[] | select(.level != \"ok\")'\n" +
			"  doublenat check --live --from 192.168.1.7     map a port, and try it from a second address\n" +
			"  doublenat check --live --echo 'https://ifconfig.co/port/{port}'",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return runCheck(ctx, p, flags) },
	}
	set := cmd.Flags()
	set.SortFlags = false
	set.BoolVar(&flags.json, "json", false, "print the report as one JSON object")
	set.BoolVar(&flags.live, "live", false, "ask the doublenat that runs here for a mapping, and give it back")
	set.StringVar(&flags.from, "from", "", "with --live: connect to the mapping from this address of this host,\nwhich must leave by another way than through the gateway")
	set.StringVar(&flags.echo, "echo", "", "with --live: fetch this URL, whose server then connects to the mapping;\n{address} and {port} in it are replaced")
	return cmd
}

// askInAll has the doctor ask the gateway in the language that is set, and in the others if it
// does not answer, or if none is set. A gateway that the router has to tell is asked then.
func askInAll(doctor *check.Config, cfg config.Config) {
	switch {
	case cfg.GatewayKind == config.GatewayPool:
		return
	case cfg.FindsGateway():
		doctor.Find = func(gateway netip.AddrPort) []check.Language {
			var found check.Config
			askInAll(&found, cfg.At(gateway.Addr()))
			return found.Others
		}
		return
	}
	names := map[config.GatewayKind]string{config.GatewayNATPMP: "NAT-PMP", config.GatewayPCP: "PCP", config.GatewayIGD: "UPnP"}
	for _, kind := range []config.GatewayKind{config.GatewayNATPMP, config.GatewayPCP, config.GatewayIGD} {
		if kind == cfg.GatewayKind {
			doctor.Speaks, doctor.Ask = names[kind], daemon.AskGateway(cfg, daemon.Network{})
			continue
		}
		other := cfg
		other.GatewayKind, other.Description = config.GatewayAuto, ""
		other = other.Of(kind)
		line := "VPN_GATEWAY=" + kind.String() + "://" + cfg.Gateway.Addr().String()
		doctor.Others = append(doctor.Others, check.Language{Name: names[kind], Line: line, Ask: daemon.AskGateway(other, daemon.Network{})})
	}
}

// runCheck examines and prints.
func runCheck(ctx context.Context, p *process, flags checkFlags) error {
	cfg, err := p.config()
	if err != nil {
		return err
	}
	if err := p.warn(cfg); err != nil {
		return err
	}
	self := selfAddresses(cfg)
	doctor := check.Config{
		API: daemon.RouterAPI(cfg), Router: cfg.Router.String(), Service: service(cfg), InInterface: cfg.InInterface, Instance: cfg.Instance,
		Gateway: cfg.Gateway, Place: daemon.Place(cfg), Pool: cfg.Pool, Public: cfg.PublicAddress, Self: self,
	}
	if server := cfg.STUNServer; cfg.Pool != nil && server != (config.Endpoint{}) {
		doctor.STUN = &check.STUN{
			Server: server.String(), Judge: daemon.JudgeSTUN,
			Ask: func(ctx context.Context) (stun.Answer, error) { return daemon.AskSTUN(ctx, cfg, daemon.Network{}) },
		}
	}
	if cfg.Lock.Kind == config.LockRouter {
		doctor.Lock = &check.Lock{Redirect: cfg.Lock.Redirect}
	}
	askInAll(&doctor, cfg)
	doctor.Ways = waysIn(cfg, self)
	if doctor.Live, err = newLive(flags, cfg, self); err != nil {
		return usageError{err}
	}
	printer := &findingPrinter{w: p.stdout, color: colorful(p.stdout, p.environ)}
	if !flags.json {
		doctor.OnFinding = printer.print
	}
	d, err := check.New(doctor)
	if err != nil {
		return err
	}
	report, err := d.Run(ctx)
	if err != nil {
		return err
	}
	if flags.json {
		encoder := json.NewEncoder(foreign.NewWriter(p.stdout))
		encoder.SetEscapeHTML(false) // for people, and for "->"
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	}
	return errors.Join(err, printer.err, diagnosis(report))
}

// service returns the router's API as an address, the zero value if the
// configuration has a name.
func service(cfg config.Config) netip.AddrPort {
	host, err := netip.ParseAddr(cfg.Router.Host)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(host, cfg.Router.Port)
}

// selfAddresses returns the addresses of this host at which the router may reach
// doublenat, the best one first; nil where that cannot be known, because the
// router is on this host too.
func selfAddresses(cfg config.Config) []netip.Addr {
	if router, err := netip.ParseAddr(cfg.Router.Host); err == nil && router.IsLoopback() {
		return nil
	}
	if listen := cfg.Listen.Addr(); !listen.IsUnspecified() && !listen.IsLoopback() {
		return []netip.Addr{listen}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() && prefix.Addr().IsGlobalUnicast() {
			own = append(own, prefix.Addr())
		}
	}
	return own
}

// findingPrinter prints findings for people, as they come.
type findingPrinter struct {
	w     io.Writer
	color bool
	err   error // the first that writing returned
}

// print prints one finding, with what to do below it.
func (p *findingPrinter) print(f check.Finding) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-9s %-11s %s\n", p.level(f.Level), f.Advice.Hop, f.Probe, foreign.Text(f.Seen))
	if f.Level != check.OK {
		fmt.Fprintf(&b, "%28s→ %s\n", "", foreign.Text(f.Advice.Text))
		for _, c := range f.Advice.Commands {
			fmt.Fprintf(&b, "%30s%s\n", "", foreign.Text(c.String()))
		}
		if f.Meanwhile != "" {
			fmt.Fprintf(&b, "%28s  %s\n", "", f.Meanwhile)
		}
	}
	if _, err := io.WriteString(p.w, b.String()); err != nil && p.err == nil {
		p.err = err
	}
}

// level returns the level in four characters, in color where color is shown.
func (p *findingPrinter) level(l check.Level) string {
	text := fmt.Sprintf("%-4s", l)
	if !p.color {
		return text
	}
	code := 32 // green
	switch l {
	case check.Warn:
		code = 33
	case check.Fail:
		code = 31
	case check.OK:
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", code, text)
}

// diagnosisError is a report in which not all is well. Its exit code says how bad it is.
type diagnosisError struct{ failures, warnings int }

// diagnosis returns the error for a report, nil if all is well.
func diagnosis(r check.Report) error {
	var d diagnosisError
	for _, f := range r.Findings {
		switch f.Level {
		case check.Fail:
			d.failures++
		case check.Warn:
			d.warnings++
		case check.OK:
		}
	}
	if d == (diagnosisError{}) {
		return nil
	}
	return d
}

// Error counts what was found.
func (d diagnosisError) Error() string {
	return fmt.Sprintf("check: %d broken, %d to be looked at", d.failures, d.warnings)
}

// exitCode is 2 if something is broken and 1 if not.
func (d diagnosisError) exitCode() int {
	if d.failures > 0 {
		return exitUsage
	}
	return exitFailure
}
