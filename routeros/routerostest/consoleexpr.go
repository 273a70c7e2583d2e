package routerostest

import (
	"encoding/hex"
	"strings"
)

// expression is a value of the terminal's language, to be worked out when it is needed.
type expression interface {
	// evaluate works it out.
	evaluate(c *Console) (consoleValue, error)
}

// The kinds of expressions.
type (
	// literal is a text.
	literal string
	// variable is $name.
	variable string
	// property is the name of a property of the row that a condition is about.
	propertyOf string
	// joined is a text with expressions in it.
	joined []expression
	// inner is a command in brackets.
	inner struct{ statements []statement }
	// block is a script in braces.
	block struct{ statements []statement }
	// operation is an operator with one or two operands.
	operation struct {
		operator    string
		left, right expression
	}
)

// value reads the value of an argument, or an expression that stands alone.
func (p *parser) value() (expression, error) {
	switch p.peek() {
	case '"':
		return p.quoted()
	case '[':
		return p.bracketed('[', ']')
	case '{':
		return p.bracketed('{', '}')
	case '(':
		p.at++
		leave, err := p.nest()
		if err != nil {
			return nil, err
		}
		defer leave()
		e, err := p.expression(false)
		if err != nil {
			return nil, err
		}
		if p.peek() != ')' {
			return nil, p.fail("expected closing parenthesis")
		}
		p.at++
		return e, nil
	case '$':
		return p.variable()
	default:
		text := p.bare()
		if text == "" {
			return nil, p.fail("syntax error")
		}
		return literal(text), nil
	}
}

// variable reads $name.
func (p *parser) variable() (expression, error) {
	p.at++
	start := p.at
	for p.at < len(p.text) && (isNameStart(p.text[p.at]) && p.text[p.at] != '_' || isDigit(p.text[p.at])) {
		p.at++
	}
	if p.at == start {
		return nil, p.fail("expected variable name")
	}
	return variable(p.text[start:p.at]), nil
}

// bracketed reads commands in brackets or braces.
func (p *parser) bracketed(open, end byte) (expression, error) {
	p.at++
	leave, err := p.nest()
	if err != nil {
		return nil, err
	}
	defer leave()
	list, err := p.statements(string(end))
	if err != nil {
		return nil, err
	}
	if p.peek() != end {
		return nil, p.fail("expected closing bracket")
	}
	p.at++
	if open == '{' {
		return block{list}, nil
	}
	return inner{list}, nil
}

// escaped returns what a character behind a backslash stands for, and whether it is one.
func escaped(c byte) (string, bool) {
	at := strings.IndexByte(`"\nrt$?_abfv`, c)
	if at < 0 {
		return "", false
	}
	return "\"\\\n\r\t$? \a\b\f\v"[at : at+1], true
}

// quoted reads a text in quotes, with escapes, variables and expressions.
func (p *parser) quoted() (expression, error) {
	p.at++
	var parts joined
	var text strings.Builder
	for {
		c := p.peek()
		switch {
		case p.at >= len(p.text), c == '\n' || c == '\r':
			return nil, p.fail("expected closing quote")
		case c == '"':
			p.at++
			return append(parts, literal(text.String())), nil
		case c == '\\':
			s, err := p.escape()
			if err != nil {
				return nil, err
			}
			text.WriteString(s)
			continue
		case c == '$':
			parts = append(parts, literal(text.String()))
			text.Reset()
			e, err := p.embedded()
			if err != nil {
				return nil, err
			}
			parts = append(parts, e)
			continue
		case c == '\t':
			return nil, p.fail("a tab completes what was typed")
		case c == '?' && p.strict6:
			return nil, p.fail("a question mark asks for help; write \\?")
		}
		text.WriteByte(c)
		p.at++
	}
}

// embedded reads $name, $(expression) or $[command] within quotes.
func (p *parser) embedded() (expression, error) {
	if p.at+1 < len(p.text) {
		switch p.text[p.at+1] {
		case '(', '[':
			p.at++
			return p.value()
		}
	}
	return p.variable()
}

// escape reads what a backslash begins.
func (p *parser) escape() (string, error) {
	rest := p.text[p.at+1:]
	if rest == "" {
		return "", p.fail("expected closing quote")
	}
	if s, known := escaped(rest[0]); known {
		p.at += 2
		return s, nil
	}
	if rest[0] == '\n' { // goes on in the next line
		p.at += 2
		return "", nil
	}
	const digits = "0123456789ABCDEF"
	if len(rest) < 2 || strings.IndexByte(digits, rest[0]) < 0 || strings.IndexByte(digits, rest[1]) < 0 {
		return "", p.fail("invalid escape")
	}
	p.at += 3
	decoded, err := hex.DecodeString(rest[:2])
	return string(decoded), err
}

// operators by how strongly they bind, weakest first.
func operators(level int) []string {
	return [][]string{
		{"or", "||"},
		{"and", "&&"},
		{"!=", "<=", ">=", "=", "<", ">", "~"},
		{".", "+"},
		{"->"},
	}[level]
}

// strongest is the level of the operator that binds most strongly.
const strongest = 4

// expression reads an expression; where says that bare names are properties, and
// that conditions that stand side by side must all hold.
func (p *parser) expression(where bool) (expression, error) { return p.binary(0, where) }

// binary reads operators of a level and of those that bind more strongly.
func (p *parser) binary(level int, where bool) (expression, error) {
	if level > strongest {
		return p.operand(where)
	}
	leave, err := p.nest()
	if err != nil {
		return nil, err
	}
	defer leave()
	left, err := p.binary(level+1, where)
	if err != nil {
		return nil, err
	}
	for {
		p.blanks()
		operator := p.operator(level, where)
		if operator == "" {
			return left, nil
		}
		p.blanks()
		var right expression
		if where && level == comparisons {
			right, err = p.value()
		} else {
			right, err = p.binary(level+1, where)
		}
		if err != nil {
			return nil, err
		}
		left = operation{operator, left, right}
	}
}

// The levels of operators that need more than their names.
const (
	conjunctions = 1
	comparisons  = 2
)

// operator reads an operator of the level, "" if there is none.
func (p *parser) operator(level int, where bool) string {
	rest := p.text[p.at:]
	for _, o := range operators(level) {
		after, found := strings.CutPrefix(rest, o)
		if !found {
			continue
		}
		if isNameStart(o[0]) && after != "" && (isNameStart(after[0]) || isDigit(after[0]) || after[0] == '-') {
			continue // a name that begins like it
		}
		p.at += len(o)
		return o
	}
	if where && level == conjunctions && rest != "" && !p.startsWord("or", rest) && (isNameStart(rest[0]) || rest[0] == '!' || rest[0] == '(') {
		return "and"
	}
	return ""
}

// startsWord reports whether text begins with a word.
func (p *parser) startsWord(w, text string) bool {
	after, found := strings.CutPrefix(text, w)
	return found && (after == "" || after[0] == ' ' || after[0] == '(' || after[0] == '!')
}

// operand reads what operators bind.
func (p *parser) operand(where bool) (expression, error) {
	leave, err := p.nest()
	if err != nil {
		return nil, err
	}
	defer leave()
	p.blanks()
	switch c := p.peek(); {
	case c == '!':
		p.at++
		e, err := p.operand(where)
		return operation{operator: "!", left: e}, err
	case c == '(' && where:
		p.at++
		e, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		if p.peek() != ')' {
			return nil, p.fail("expected closing parenthesis")
		}
		p.at++
		return e, nil
	case where && (isNameStart(c) || c == '.'):
		return propertyOf(p.name()), nil
	case !where && isNameStart(c):
		return literal(p.name()), nil
	case isDigit(c):
		start := p.at
		for isDigit(p.peek()) {
			p.at++
		}
		return literal(p.text[start:p.at]), nil
	default:
		return p.value()
	}
}

// name reads a name: letters, digits, dots and dashes.
func (p *parser) name() string {
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		dash := c == '-' && !strings.HasPrefix(p.text[p.at:], "->")
		if !isNameStart(c) && !isDigit(c) && c != '.' && !dash {
			break
		}
		p.at++
	}
	return p.text[start:p.at]
}
