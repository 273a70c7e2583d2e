package routerostest

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// consoleValue is a text or a list.
type consoleValue struct {
	text string
	list []string
	many bool
}

// maxText is how long a text may be that a script puts together.
const maxText = 64 << 10

// asList returns the elements.
func (v consoleValue) asList() []string {
	switch {
	case v.many:
		return v.list
	case v.text == "":
		return nil
	default:
		return []string{v.text}
	}
}

// String returns the value as an argument has it.
func (v consoleValue) String() string {
	if v.many {
		return strings.Join(v.list, ",")
	}
	return v.text
}

// truth makes a boolean.
func truth(b bool) consoleValue { return consoleValue{text: strconv.FormatBool(b)} }

func (l literal) evaluate(*Console) (consoleValue, error) { return consoleValue{text: string(l)}, nil }

func (v variable) evaluate(c *Console) (consoleValue, error) {
	value, known := c.variables[string(v)]
	if !known {
		value, known = c.globals[string(v)]
	}
	if !known {
		return value, fmt.Errorf("variable %s is not set", string(v))
	}
	return value, nil
}

func (p propertyOf) evaluate(c *Console) (consoleValue, error) {
	if c.row == nil {
		return consoleValue{}, nil
	}
	return consoleValue{text: c.row.value(string(p))}, nil
}

func (j joined) evaluate(c *Console) (consoleValue, error) {
	var b strings.Builder
	for _, e := range j {
		v, err := e.evaluate(c)
		if err != nil {
			return v, err
		}
		b.WriteString(v.String())
		if b.Len() > maxText {
			return v, errors.New("the text is too long")
		}
	}
	return consoleValue{text: b.String()}, nil
}

func (i inner) evaluate(c *Console) (consoleValue, error) { return c.runAll(i.statements) }

func (b block) evaluate(c *Console) (consoleValue, error) { return c.runAll(b.statements) }

func (o operation) evaluate(c *Console) (consoleValue, error) {
	left, err := o.left.evaluate(c)
	if err != nil || o.operator == "!" {
		return truth(!isYes(left.text)), err
	}
	right, err := o.right.evaluate(c)
	if err != nil {
		return right, err
	}
	if o.operator == "->" {
		return element(c, left, right.text)
	}
	return workOut(o.operator, left.String(), right.String())
}

// workOut works out an operator with two operands.
func workOut(operator, a, b string) (consoleValue, error) {
	comparison := map[string]bool{
		"=": same(a, b), "!=": !same(a, b), "<": compare(a, b) < 0, ">": compare(a, b) > 0, "<=": compare(a, b) <= 0, ">=": compare(a, b) >= 0,
		"and": isYes(a) && isYes(b), "&&": isYes(a) && isYes(b), "or": isYes(a) || isYes(b), "||": isYes(a) || isYes(b),
	}
	if result, known := comparison[operator]; known {
		return truth(result), nil
	}
	switch operator {
	case "~":
		pattern, err := regexp.Compile(b)
		if err != nil {
			return consoleValue{}, fmt.Errorf("invalid regular expression %q", b)
		}
		return truth(pattern.MatchString(a)), nil
	case "+":
		x, errX := strconv.Atoi(a)
		y, errY := strconv.Atoi(b)
		if errX != nil || errY != nil {
			return consoleValue{}, fmt.Errorf("cannot add %q and %q", a, b)
		}
		return consoleValue{text: strconv.Itoa(x + y)}, nil
	default: // "."
		if len(a)+len(b) > maxText {
			return consoleValue{}, errors.New("the text is too long")
		}
		return consoleValue{text: a + b}, nil
	}
}

// element returns one element of a list, counted from 0.
func element(c *Console, list consoleValue, index string) (consoleValue, error) {
	at, err := strconv.Atoi(index)
	elements := list.asList()
	if c.dry {
		return consoleValue{}, nil
	}
	if err != nil || at < 0 || at >= len(elements) {
		return consoleValue{}, fmt.Errorf("the list has no element %s", index)
	}
	return consoleValue{text: elements[at]}, nil
}

// same compares values as a condition does: yes is true, and a flag that is not there is no.
func same(a, b string) bool {
	if a == b {
		return true
	}
	switch b {
	case "yes", "true":
		return isYes(a)
	case "no", "false":
		return a == "" || a == "no" || a == "false"
	default:
		return false
	}
}
