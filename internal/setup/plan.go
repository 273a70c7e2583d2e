package setup

import (
	"fmt"
	"io"
	"strings"

	"doublenat/internal/foreign"
	"doublenat/internal/remedy"
)

// Step is one part of the set-up.
type Step struct {
	// Title says what it is for, in one line.
	Title string
	// Notes are further lines about it. Nil for none.
	Notes []string
	// Commands are what to type, in this order. Nil where there is only a note.
	Commands []remedy.Command
}

// New returns the steps in the order in which they have to be done, in the words of
// the router's version.
func New(cfg Config) ([]Step, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	contained := cfg.Container.IsValid()
	var steps []Step
	if contained {
		steps = append(steps, cfg.needs())
	}
	steps = append(steps, cfg.user(), cfg.service())
	if contained {
		steps = append(steps, cfg.network())
	}
	steps = append(steps, cfg.input())
	if cfg.Link != LinkLAN {
		steps = append(steps, cfg.redirect())
	}
	steps = append(steps, cfg.way(), cfg.firewall())
	if cfg.Link != LinkLAN {
		steps = append(steps, cfg.late())
	}
	if cfg.Version.AtLeast(13) {
		steps = append(steps, cfg.builtin())
	}
	if cfg.UPnP != 0 {
		steps = append(steps, cfg.upnp())
	}
	steps = append(steps, cfg.ways(), cfg.heed())
	if contained {
		steps = append(steps, cfg.environment(), cfg.container(), cfg.start())
	}
	for i := range steps {
		steps[i].Commands = remedy.Translate(cfg.Version, steps[i].Commands)
	}
	return steps, nil
}

// Write writes the steps as a script for the router's terminal: comments and
// commands. Names that came from the router cannot end a comment.
func Write(w io.Writer, steps []Step) error {
	var b strings.Builder
	for i, s := range steps {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "# %d. %s\n", i+1, foreign.Text(s.Title))
		for _, n := range s.Notes {
			fmt.Fprintf(&b, "#    %s\n", foreign.Text(n))
		}
		for _, c := range s.Commands {
			fmt.Fprintln(&b, c)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
