// Command load measures the built binary: how long clients wait, what that costs, and
// what it takes of the memory. `make load` calls it; docs/performance.md has what it
// printed, and what the columns mean.
//
// Gateway, router and clients are in this process, doublenat is one of its own, and all
// of them talk over loopback. Beside it runs a server that sends packets back and does
// nothing else: what is lost to the kernel and to this process shows there as well.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code) //nolint:forbidigo // a program of its own
}

// options is what the command line says.
type options struct {
	settings

	plan   plan
	bounds bool
	echo   string
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	quick := flags.Bool("quick", false, "less than a minute: shorter, fewer mappings, no daemons at rest")
	full := flags.Bool("full", false, "some ten minutes: longer, and each delay alone")
	logged := flags.Bool("log", false, "show what doublenat logs")
	each := flags.Duration("each", 0, "how long each row lasts, if not as long as usual")
	watch := flags.Duration("watch", -time.Second, "how long daemons at rest are watched, if not as long as usual; 0 for not at all")
	clients := flags.String("clients", "", "with how many clients, as a list with commas, if not as usual")
	mappings := flags.String("mappings", "", "with how many mappings, as a list with commas, if not as usual")
	only := flags.String("only", "", "measure rows alone whose operation has this `word` in it")
	flags.StringVar(&o.profiles, "profiles", "", "write a CPU profile of doublenat for each row into this `folder`")
	flags.StringVar(&o.binary, "binary", "./doublenat", "doublenat's `file`")
	flags.BoolVar(&o.bounds, "bounds", false, "exit with 1 if a figure is beyond its bound")
	flags.StringVar(&o.echo, "echo", "", "be the echo server at this `address`")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.plan = standard()
	switch {
	case *quick:
		o.plan = o.plan.quick()
	case *full:
		o.plan = o.plan.full()
	}
	if *each > 0 {
		o.plan.each = *each
	}
	if *watch >= 0 {
		o.plan.watch = *watch
	}
	if *logged {
		o.log = stderr
	}
	o.plan.only = *only
	return o, errors.Join(numbers(&o.plan.clients, *clients), numbers(&o.plan.mappings, *mappings))
}

// numbers reads a list of numbers from 1, unless it is empty.
func numbers(list *[]int, text string) error {
	if text == "" {
		return nil
	}
	*list = nil
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no list of numbers from 1", text)
		}
		*list = append(*list, n)
	}
	return nil
}

// run does what the arguments say and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "load:", err)
		return 2
	}
	if o.echo != "" {
		err = serveEcho(ctx, o.echo)
	} else {
		err = o.measure(ctx, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "load:", err)
		return 1
	}
	return 0
}

// measure measures, prints, and judges if that is wanted.
func (o options) measure(ctx context.Context, stdout, stderr io.Writer) error {
	found, err := o.plan.run(ctx, o.settings, stderr)
	found.write(stdout)
	if err != nil || !o.bounds {
		return err
	}
	missed := found.missed()
	for _, m := range missed {
		fmt.Fprintln(stderr, "missed:", m)
	}
	if len(missed) > 0 {
		return fmt.Errorf("%d bounds are missed", len(missed))
	}
	return nil
}
