package ops

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"doublenat/internal/remedy"
)

// TextOptions says how [WriteText] writes.
type TextOptions struct {
	// Location is whose time is shown; nil is UTC, and says so: who reads it may be anywhere.
	Location *time.Location
	// Events is how many of the last events are shown.
	Events int
	// Paint colors a text by a state; nil colors nothing.
	Paint func(State, string) string
}

// clock shows a time.
func (o TextOptions) clock(t time.Time) string {
	if o.Location == nil {
		return t.UTC().Format(time.DateTime + " UTC")
	}
	return t.In(o.Location).Format(time.DateTime)
}

// WriteText writes the picture for people with a terminal: the verdict, the hops, the
// open ports and the last events.
func WriteText(w io.Writer, s Status, o TextOptions) error {
	if o.Paint == nil {
		o.Paint = func(_ State, text string) string { return text }
	}
	s = visible(s) // it may be the answer of anybody
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", o.Paint(s.Verdict.State, sign(s.Verdict.State)), s.Verdict.Title)
	if s.Verdict.Detail != "" {
		fmt.Fprintf(&b, "  %s\n", s.Verdict.Detail)
	}
	if s.Verdict.Remedy != "" {
		fmt.Fprintf(&b, "  What to do: %s\n", s.Verdict.Advice())
	}
	b.WriteByte('\n')
	writeHops(&b, s, o)
	writeMappings(&b, s)
	writeEvents(&b, s, o)
	_, err := io.WriteString(w, b.String())
	return err
}

// sign is the state in one character.
func sign(s State) string {
	switch s {
	case StateOK:
		return "✓"
	case StateDegraded:
		return "!"
	case StateDown:
		return "✗"
	case StateUnknown:
		return "…"
	default:
		return "?"
	}
}

func writeHops(b *strings.Builder, s Status, o TextOptions) {
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, h := range s.Hops {
		took := "-"
		if h.LatencyMS != nil {
			took = strconv.FormatFloat(*h.LatencyMS, 'f', 1, 64) + " ms"
		}
		fmt.Fprintf(t, "%s %s\t%s\t%s\t%s\n", sign(h.State), h.Title, took, h.Summary, h.Detail)
	}
	_ = t.Flush() // a strings.Builder takes everything
	// Colors come last: to a tabwriter they would have a width.
	lines := strings.SplitAfter(table.String(), "\n")
	for i, h := range s.Hops {
		mark := sign(h.State)
		b.WriteString(o.Paint(h.State, mark) + strings.TrimPrefix(lines[i], mark))
		writeBroken(b, h, s, o)
		if h.Error != "" {
			fmt.Fprintf(b, "    Error: %s\n", h.Error)
		}
		if h.Remedy != "" && h.Name != s.Verdict.Hop { // the verdict has its own above
			fmt.Fprintf(b, "    What to do: %s\n", h.Advice())
		}
	}
}

// writeBroken says of a broken hop since when it is, and how the open ports fare.
func writeBroken(b *strings.Builder, h HopStatus, s Status, o TextOptions) {
	if !h.State.broken() {
		return
	}
	var says []string
	if !h.Since.IsZero() {
		says = append(says, fmt.Sprintf("Since %s (%v).", o.clock(h.Since), s.Time.Sub(h.Since).Round(time.Second)))
	}
	if h.Meanwhile != "" {
		says = append(says, h.Meanwhile)
	}
	if first := firstEnd(s); h.OpenPorts == remedy.PortsExpire && !first.IsZero() {
		says = append(says, fmt.Sprintf("The first lease ends at %s.", o.clock(first)))
	}
	if len(says) > 0 {
		fmt.Fprintf(b, "    %s\n", strings.Join(says, " "))
	}
}

// firstEnd returns when the first of the leases that stand ends, zero if none stands.
func firstEnd(s Status) (first time.Time) {
	for _, m := range s.Mappings {
		if m.LeaseEnds.After(s.Time) && (first.IsZero() || m.LeaseEnds.Before(first)) {
			first = m.LeaseEnds
		}
	}
	return first
}

func writeMappings(b *strings.Builder, s Status) {
	if len(s.Mappings) == 0 {
		return
	}
	b.WriteByte('\n')
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "PUBLIC\tPROTO\tCLIENT\tLEASE ENDS\tPACKETS\tBY\tKIND")
	for _, m := range s.Mappings {
		public := strconv.Itoa(int(m.ExternalPort))
		if m.Public.IsValid() {
			public = m.Public.String()
		}
		ends := "overdue"
		if left := m.LeaseEnds.Sub(s.Time); left >= 0 {
			ends = "in " + left.Round(time.Second).String()
		}
		kind := string(m.Kind)
		if m.Closing {
			kind += ", closing"
		}
		if m.Remote != "" {
			kind += ", only from " + m.Remote
		}
		if m.Description != "" {
			kind += ": " + shorten(m.Description)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
			public, m.Protocol, m.target(), ends, m.Packets, cmp.Or(m.By, "-"), kind)
	}
	_ = t.Flush() // a strings.Builder takes everything
}

// target returns where on the LAN the mapping leads, see [nat.Mapping.Target].
func (m *Mapping) target() netip.AddrPort {
	return netip.AddrPortFrom(m.Client, cmp.Or(m.InternalPort, m.ExternalPort))
}

func writeEvents(b *strings.Builder, s Status, o TextOptions) {
	events := s.Events[:min(len(s.Events), o.Events)]
	if len(events) == 0 {
		return
	}
	b.WriteByte('\n')
	for _, e := range events {
		fmt.Fprintf(b, "%s  %s\n", o.clock(e.Time), e.Text)
	}
}
