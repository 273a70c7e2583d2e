package routerostest

import (
	"fmt"
	"strings"
)

// Console is a terminal on the router, where somebody pastes what a document, the
// set-up or a remedy tells him to. It knows the language of the router's version as
// far as such texts use it: commands with slashes or blanks between their words
// (RouterOS 6: blanks only), names with values, quotes and escapes, [find …], numbers
// of rows that were printed, :local, :set, :if, :foreach, :put, :len and :error.
type Console struct {
	router *Router
	actor  actor
	// menu is where the terminal is, "" for the root.
	menu string
	// printed has the ids of the rows of the last print of a menu: what numbers mean.
	printed map[string][]string
	// variables are the values of the variables that there are. Locals end with their
	// line, globals do not.
	variables, globals map[string]consoleValue
	// row is the one that a condition is asked about.
	row *item
	// dry checks commands and does nothing.
	dry bool
	// idle is set by a command that found none of the rows that it was for.
	idle bool
	out  strings.Builder
	// steps counts the commands of this paste.
	steps int
}

// Pasted is what came of one command.
type Pasted struct {
	// Line counts the lines of the text from 1.
	Line int
	// Text is the command as it was pasted.
	Text string
	// Output is what the terminal printed, "" for nothing.
	Output string
	// Idle is set when the command was accepted and did nothing, because it names
	// rows that there are not.
	Idle bool
	// Err is why the terminal refused the command, nil if it did not.
	Err error
}

// Console opens a terminal for a user of the router, who needs no policy for it.
func (r *Router) Console(user string) *Console {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Console{
		router: r, actor: actor{user, r.policiesLocked(user)},
		printed: make(map[string][]string), variables: make(map[string]consoleValue), globals: make(map[string]consoleValue),
	}
}

// maxSteps is how many commands one text may lead to.
const maxSteps = 1000

// Paste types a text of one or more commands. Like the terminal it goes on after a
// command that was refused; a text whose grammar is wrong is carried out up to there.
func (c *Console) Paste(text string) []Pasted {
	list, syntax := parseScript(text, c.router.version < v701)
	results := make([]Pasted, 0, len(list)+1)
	c.steps = 0
	for i := range list {
		s := &list[i]
		if syntax != nil && i == len(list)-1 {
			break // the one that could not be read to its end
		}
		c.nextLine(list, i)
		c.out.Reset()
		c.idle = false
		_, err := c.run(s)
		results = append(results, Pasted{Line: s.line, Text: s.text, Output: c.out.String(), Idle: c.idle && err == nil, Err: err})
	}
	if syntax != nil {
		p := Pasted{Line: 1, Text: text, Err: syntax}
		if n := len(list); n > 0 {
			p.Line, p.Text = list[n-1].line, list[n-1].text
		}
		results = append(results, p)
	}
	c.router.changed()
	return results
}

// nextLine ends the local variables of a line before the first command of the next.
func (c *Console) nextLine(list []statement, i int) {
	if i == 0 || list[i].line != list[i-1].line {
		clear(c.variables)
	}
}

// Judge reads a text of one or more commands, does nothing, and returns the first
// reason for which the terminal would refuse it whatever the state of its tables:
// grammar, paths, commands and the names of arguments. Nil is a text that may work.
func (c *Console) Judge(text string) error {
	list, err := parseScript(text, c.router.version < v701)
	if err != nil {
		return err
	}
	dry := c.router.Console(c.actor.user)
	dry.menu, dry.dry = c.menu, true
	for i := range list {
		dry.nextLine(list, i)
		if _, err := dry.run(&list[i]); err != nil {
			return fmt.Errorf("%s: %w", list[i].text, err)
		}
	}
	return nil
}

// Refused returns the commands that were refused, each with its reason, and those
// that did nothing, each in one line; nil if all did what they say.
func Refused(results []Pasted) []string {
	var list []string
	for _, p := range results {
		switch {
		case p.Err != nil:
			list = append(list, fmt.Sprintf("%s: %v", p.Text, p.Err))
		case p.Idle:
			list = append(list, p.Text+": there is no such row, so that nothing is done")
		}
	}
	return list
}
