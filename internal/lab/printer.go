package lab

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// The colors of a terminal, as escape sequences.
const (
	bold   = "\x1b[1m"
	faint  = "\x1b[2m"
	green  = "\x1b[32m"
	red    = "\x1b[31m"
	normal = "\x1b[0m"
)

// printer writes what a person reads. Its methods may be called from several
// goroutines, one line at a time.
type printer struct {
	out   io.Writer
	color bool

	mu    sync.Mutex // guards what follows, and keeps lines whole
	steps int
}

// line writes a line. The screen is all that a lab has, so a screen that cannot
// be written to is nobody's concern.
func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, strings.TrimRight(format, " ")+"\n", args...)
}

// paint returns the text in a color, if there are colors.
func (p *printer) paint(color, text string) string {
	if !p.color {
		return text
	}
	return color + text + normal
}

// step begins a numbered step.
func (p *printer) step(title string) {
	p.mu.Lock()
	p.steps++
	n := p.steps
	p.mu.Unlock()
	p.line("\n%s", p.paint(bold, fmt.Sprintf("%d  %s", n, title)))
}

// count returns how many steps there were.
func (p *printer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.steps
}

// fact writes a name and what is known about it.
func (p *printer) fact(name, format string, args ...any) {
	p.line("   %-16s  %s", name, fmt.Sprintf(format, args...))
}

// event writes what one side said to another, and how long after the step began.
func (p *printer) event(after time.Duration, from, to, text string) {
	p.line("   %s  %-9s → %-9s  %s", p.paint(faint, fmt.Sprintf("%7.1f ms", float64(after.Microseconds())/1000)), from, to, text)
}

// way writes one address on the way of a connection, in the columns of event.
func (p *printer) way(arrow string, at netip.AddrPort, format string, args ...any) {
	p.line("   %10s  %-21v  %s", arrow, at, fmt.Sprintf(format, args...))
}

// ok ends a step that went well.
func (p *printer) ok(format string, args ...any) {
	p.line("   %s %s", p.paint(green, "✓"), fmt.Sprintf(format, args...))
}

// failed ends a step that did not.
func (p *printer) failed(err error) {
	p.line("   %s %s", p.paint(red, "✗"), strings.ReplaceAll(err.Error(), "\n", "\n     "))
}
