package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// write prints everything in Markdown.
func (r results) write(out io.Writer) {
	row := func(cells ...string) { fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | ")) }
	if len(r.figures) > 0 {
		row("operation", "clients", "mappings", "gateway + router", "p50", "p99", "a second", "CPU each",
			"allocations each", "packets to the gateway", "router commands", "repeated", "failed", "RSS")
		row("---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:")
	}
	for i := range r.figures {
		row(r.figures[i].cells()...)
	}
	if r.growth.ratio > 0 {
		fmt.Fprintf(out, "\n%v\n", r.growth)
	}
	if len(r.rests) == 0 {
		return
	}
	fmt.Fprintln(out)
	row("at rest", "RSS", "anonymous", "peak", "thread sleeps per minute", "CPU per minute")
	row("---", "--:", "--:", "--:", "--:", "--:")
	for _, s := range r.rests {
		row(s.name, mebibytes(s.held.resident), mebibytes(s.held.anonymous), mebibytes(s.peak), fmt.Sprint(s.switches), ms(s.cpu))
	}
}

// cells returns a row of the table.
func (f *figures) cells() []string {
	cells := []string{string(f.op), fmt.Sprint(f.clients)}
	if f.op == opEcho {
		cells = append(cells, "", "")
	} else {
		cells = append(cells, fmt.Sprint(f.mappings), f.delays.String())
	}
	cells = append(cells, ms(f.quantile(50)), ms(f.quantile(99)), fmt.Sprintf("%.0f", f.perSecond()), us(f.cpuEach()))
	if f.op == opEcho {
		cells = append(cells, "", "", "")
	} else {
		cells = append(cells, fmt.Sprintf("%.0f", f.each(float64(f.allocations))),
			fmt.Sprintf("%.2f", f.each(float64(f.packets))), fmt.Sprintf("%.2f", f.each(float64(f.commands))))
	}
	return append(cells, fmt.Sprint(f.repeats), fmt.Sprint(f.failed), mebibytes(f.resident))
}

// ms, us and mebibytes return values as the table has them.
func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }

func us(d time.Duration) string {
	return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
}

func mebibytes(n int) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
