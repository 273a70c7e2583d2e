package routerostest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// targetList is what a command is for; nil for a command that is for nothing.
type targetList struct{ ids []string }

// isFlag reports whether an argument has no value.
func isFlag(name string) bool {
	return slices.Contains([]string{"fib", "blackhole", "once", "detail", "brief", "terse", "count-only", "as-value", "without-paging"}, name)
}

// call is a command that is being put together.
type call struct {
	console *Console
	*command
	// targets are the rows that it names, nil for none yet.
	targets *targetList
	// positions are the arguments that need no name and are still open.
	positions []string
}

// arguments works out the arguments of a command, and the rows that it names.
func (c *Console) arguments(s *statement, cmd *command, rest []word) (*targetList, error) {
	put := &call{console: c, command: cmd, positions: c.positional(cmd)}
	for _, w := range rest {
		if err := put.unnamed(w); err != nil {
			return nil, err
		}
	}
	for _, a := range s.args {
		if err := put.named(a); err != nil {
			return nil, err
		}
	}
	return put.targets, nil
}

// aim takes the rows that the command is for.
func (p *call) aim(v consoleValue) error {
	if p.targets != nil {
		return errors.New("expected end of command")
	}
	ids, err := p.console.numbers(p.menu, v)
	p.targets = &targetList{ids}
	return err
}

// unnamed takes a word without a name.
func (p *call) unnamed(w word) error {
	v := consoleValue{text: w.text}
	if w.value != nil {
		var err error
		if v, err = w.value.evaluate(p.console); err != nil {
			return err
		}
	}
	switch {
	case w.value == nil && isFlag(w.text):
		p.args = append(p.args, argumentValue{w.text, ""})
		return nil
	case len(p.positions) == 0:
		return fmt.Errorf("expected end of command (%s)", w.text)
	}
	position := p.positions[0]
	p.positions = p.positions[1:]
	if position == "numbers" {
		return p.aim(v)
	}
	p.args = append(p.args, argumentValue{position, v.String()})
	return nil
}

// named takes an argument with its name.
func (p *call) named(a consoleArg) error {
	v, err := a.value.evaluate(p.console)
	if err != nil {
		return err
	}
	switch a.name {
	case "numbers", "number":
		if p.action != "add" {
			return p.aim(v)
		}
	case "place-before", "destination", "copy-from":
		if v, err = p.console.single(p.menu, v); err != nil {
			return err
		}
	}
	p.args = append(p.args, argumentValue{a.name, v.String()})
	return nil
}

// positional returns the arguments of a command that need no name.
func (c *Console) positional(cmd *command) []string {
	r := c.router
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tables[cmd.menu]
	if cmd.action == "add" || t.menu.singleton || t.menu.does[cmd.action] != nil && cmd.action != "uninstall" && cmd.action != "unschedule" {
		if cmd.action == "get" {
			return []string{"value-name"}
		}
		return nil
	}
	switch cmd.action {
	case "get", "unset":
		return []string{"numbers", "value-name"}
	case "move":
		return []string{"numbers", "destination"}
	default:
		return []string{"numbers"}
	}
}

// numbers finds the rows that somebody means: ids, names, or numbers of a print in
// this terminal.
func (c *Console) numbers(menu string, v consoleValue) ([]string, error) {
	if v.many {
		return v.list, nil
	}
	if c.dry {
		return nil, c.judgeNumbers(menu, v.text)
	}
	r := c.router
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tables[menu]
	t.refresh(r)
	var ids []string
	for ref := range strings.SplitSeq(v.text, ",") {
		if number, err := strconv.Atoi(ref); err == nil {
			printed := c.printed[menu]
			if number < 0 || number >= len(printed) {
				return nil, errors.New("no such item")
			}
			ids = append(ids, printed[number])
			continue
		}
		items := t.findAll(ref)
		if items == nil {
			return nil, errors.New("no such item")
		}
		for _, it := range items {
			ids = append(ids, it.id)
		}
	}
	return ids, nil
}

// judgeNumbers refuses numbers of rows that nobody has printed, and the name of a
// service where its connections have the same name.
func (c *Console) judgeNumbers(menu, text string) error {
	for ref := range strings.SplitSeq(text, ",") {
		if _, err := strconv.Atoi(ref); err == nil && c.printed[menu] == nil {
			return fmt.Errorf("no such item: %s is a number, and nothing was printed in this terminal", ref)
		}
	}
	if menu == servicePath && c.router.behavior.connectionRows && text != "" && !strings.HasPrefix(text, "*") {
		return errors.New("this is configured elsewhere, while somebody is connected to the service")
	}
	return nil
}

// single finds the one row that place-before and its like mean.
func (c *Console) single(menu string, v consoleValue) (consoleValue, error) {
	ids, err := c.numbers(menu, v)
	switch {
	case c.dry:
		return v, err
	case err != nil:
		return v, err
	case len(ids) == 0:
		return v, errors.New("no such item")
	case len(ids) > 1:
		return v, errors.New("more than one item")
	}
	return consoleValue{text: ids[0]}, nil
}
