package routerostest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ownCall is a command of the language itself.
type ownCall struct {
	console *Console
	*statement

	named map[string]expression
}

// runOwn carries out a command of the language itself.
func (c *Console) runOwn(s *statement) (consoleValue, error) {
	o := ownCall{c, s, make(map[string]expression)}
	for _, a := range s.args {
		o.named[a.name] = a.value
	}
	commands := map[string]func(ownCall) (consoleValue, error){
		":local": ownCall.set, ":global": ownCall.set, ":set": ownCall.set, ":if": ownCall.choice, ":foreach": ownCall.each,
		":len": ownCall.length, ":put": ownCall.put, ":error": ownCall.fail, ":delay": ownCall.first,
	}
	run, known := commands[s.words[0].text]
	if !known {
		return consoleValue{}, fmt.Errorf("bad command name %s (line %d column %d)", strings.TrimPrefix(s.words[0].text, ":"), s.line, s.column+1)
	}
	return run(o)
}

// word works out one of the words behind the command, counted from 1.
func (o ownCall) word(i int) (consoleValue, error) {
	if i >= len(o.words) {
		return consoleValue{}, fmt.Errorf("missing value of %s", o.words[0].text)
	}
	if e := o.words[i].value; e != nil {
		return e.evaluate(o.console)
	}
	return consoleValue{text: o.words[i].text}, nil
}

// first returns the first of them.
func (o ownCall) first() (consoleValue, error) { return o.word(1) }

// set gives a variable a value.
func (o ownCall) set() (consoleValue, error) {
	name, err := o.word(1)
	if err != nil {
		return name, err
	}
	value := consoleValue{}
	if len(o.words) > 2 {
		if value, err = o.word(2); err != nil {
			return value, err
		}
	}
	c, command := o.console, o.words[0].text
	if _, global := c.globals[name.text]; command == ":global" || command == ":set" && global {
		c.globals[name.text] = value
	} else {
		c.variables[name.text] = value
	}
	return value, nil
}

// choice is :if (condition) do={…} else={…}.
func (o ownCall) choice() (consoleValue, error) {
	condition, err := o.word(1)
	if err != nil {
		return condition, err
	}
	if o.named["do"] == nil || len(o.named) > 1 && o.named["else"] == nil {
		return consoleValue{}, errors.New("missing value of do")
	}
	return o.console.choose(isYes(condition.text), o.named["do"], o.named["else"])
}

// each is :foreach name in=list do={…}.
func (o ownCall) each() (consoleValue, error) { return o.console.foreach(o.statement, o.named) }

// length is :len.
func (o ownCall) length() (consoleValue, error) {
	v, err := o.word(1)
	if v.many {
		return consoleValue{text: strconv.Itoa(len(v.list))}, err
	}
	return consoleValue{text: strconv.Itoa(len(v.text))}, err
}

// put prints a value.
func (o ownCall) put() (consoleValue, error) {
	v, err := o.word(1)
	fmt.Fprintln(&o.console.out, v.String())
	return v, err
}

// fail is :error.
func (o ownCall) fail() (consoleValue, error) {
	v, err := o.word(1)
	if err == nil && !o.console.dry {
		err = errors.New(v.String())
	}
	return v, err
}

// choose runs one of two blocks; a judge looks at both.
func (c *Console) choose(yes bool, do, otherwise expression) (consoleValue, error) {
	if c.dry {
		v, err := do.evaluate(c)
		if err != nil || otherwise == nil {
			return v, err
		}
		return otherwise.evaluate(c)
	}
	switch {
	case yes:
		return do.evaluate(c)
	case otherwise != nil:
		return otherwise.evaluate(c)
	default:
		return consoleValue{}, nil
	}
}

// foreach runs a block for each element: :foreach name in=list do={…}.
func (c *Console) foreach(s *statement, args map[string]expression) (consoleValue, error) {
	if len(s.words) != 2 || args["in"] == nil || args["do"] == nil {
		return consoleValue{}, errors.New("missing value of in or do")
	}
	list, err := args["in"].evaluate(c)
	if err != nil {
		return list, err
	}
	elements := list.asList()
	if c.dry {
		elements = []string{""}
	}
	for _, e := range elements {
		c.variables[s.words[1].text] = consoleValue{text: e}
		if v, err := args["do"].evaluate(c); err != nil {
			return v, err
		}
	}
	return consoleValue{}, nil
}
