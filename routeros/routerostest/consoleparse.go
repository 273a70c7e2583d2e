package routerostest

import (
	"fmt"
	"strings"
)

// statement is one command of a script: a menu's, or one of the language's own, whose
// name begins with a colon.
type statement struct {
	line, column int
	text         string
	// absolute is a command that begins with a slash. Otherwise it belongs to the menu
	// where the terminal is.
	absolute bool
	// words are the path, the command, and what stands there without a name.
	words []word
	// args are those with a name, in their order among each other.
	args []consoleArg
	// where is the condition of a find or print, nil for none.
	where expression
}

// word is something in a command without a name.
type word struct {
	// text is a bare word, "" if it is an expression.
	text  string
	value expression
}

// consoleArg is name=value.
type consoleArg struct {
	name  string
	value expression
}

// maxNesting is how deep brackets may be in each other.
const maxNesting = 64

// syntaxError is what a terminal says of a line that it does not understand.
type syntaxError struct {
	what         string
	line, column int
}

// Error returns the text, for example "expected end of command (line 1 column 12)".
func (e *syntaxError) Error() string {
	return fmt.Sprintf("%s (line %d column %d)", e.what, e.line, e.column)
}

// parser reads a script.
type parser struct {
	text string
	at   int
	// strict6 is the terminal of RouterOS 6.
	strict6 bool
	depth   int
}

// parseScript reads a script as it is pasted. What could be read before an error is
// returned with it.
func parseScript(text string, version6 bool) ([]statement, error) {
	p := &parser{text: text, strict6: version6}
	list, err := p.statements("")
	if err == nil && p.at < len(p.text) {
		err = p.fail("syntax error")
	}
	return list, err
}

// fail makes a syntax error at the place where the parser is.
func (p *parser) fail(what string) error {
	before := p.text[:min(p.at, len(p.text))]
	return &syntaxError{what, 1 + strings.Count(before, "\n"), len(before) - strings.LastIndexByte(before, '\n')}
}

// peek returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.at >= len(p.text) {
		return 0
	}
	return p.text[p.at]
}

// blanks passes blanks, and a line end behind a backslash.
func (p *parser) blanks() {
	for {
		switch {
		case p.peek() == ' ':
			p.at++
		case strings.HasPrefix(p.text[p.at:], "\\\n"):
			p.at += 2
		default:
			return
		}
	}
}

// nest guards against brackets without end; the result ends it.
func (p *parser) nest() (func(), error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.fail("too many nested brackets")
	}
	return func() { p.depth-- }, nil
}

// statements reads commands up to the end, or to the closing bracket.
func (p *parser) statements(end string) ([]statement, error) {
	var list []statement
	for {
		for p.peek() == ' ' || p.peek() == '\n' || p.peek() == ';' || p.peek() == '\r' {
			p.at++
		}
		switch c := p.peek(); {
		case c == 0 && p.at >= len(p.text), end != "" && strings.IndexByte(end, c) >= 0:
			return list, nil
		case c == '#':
			if nl := strings.IndexByte(p.text[p.at:], '\n'); nl >= 0 {
				p.at += nl
			} else {
				p.at = len(p.text)
			}
			continue
		}
		s, err := p.statement(end)
		list = append(list, s)
		if err != nil {
			return list, err
		}
	}
}

// statement reads one command.
func (p *parser) statement(end string) (statement, error) {
	start := p.at
	var s statement
	if located, ok := p.fail("").(*syntaxError); ok { //nolint:errorlint // made here
		s.line, s.column = located.line, located.column
	}
	err := p.command(&s, end)
	s.text = strings.TrimSpace(p.text[start:p.at])
	return s, err
}

// command reads the words and arguments of a command.
func (p *parser) command(s *statement, end string) error {
	if p.peek() == '/' {
		s.absolute = true
		p.at++
	}
	for first := true; ; first = false {
		p.blanks()
		if p.ended(end) {
			if first && !s.absolute {
				return p.fail("syntax error")
			}
			return nil
		}
		if err := p.part(s); err != nil {
			return err
		}
		if p.wantsWhere(s) {
			return p.condition(s, end)
		}
		if c := p.peek(); !p.ended(end) && c != ' ' && c != '\\' {
			return p.fail("expected end of command")
		}
	}
}

// ended reports whether a command ends here: at the end of the text or line, at a
// semicolon, or at the bracket that closes it.
func (p *parser) ended(end string) bool {
	if p.at >= len(p.text) {
		return true
	}
	c := p.peek()
	return c == '\n' || c == ';' || c == '\r' || end != "" && strings.IndexByte(end, c) >= 0
}

// part reads one word, argument or value of a command.
func (p *parser) part(s *statement) error {
	c := p.peek()
	switch {
	case c == '\t':
		return p.fail("a tab completes what was typed")
	case isNameStart(c) || isDigit(c) || strings.IndexByte("*:.", c) >= 0:
		return p.wordOrArgument(s)
	case strings.IndexByte("\"[($"+"{", c) >= 0:
		value, err := p.value()
		if err != nil {
			return err
		}
		s.words = append(s.words, word{value: value})
		return nil
	default:
		return p.fail("expected end of command")
	}
}

// wantsWhere reports whether a condition follows the words so far.
func (p *parser) wantsWhere(s *statement) bool {
	if len(s.words) == 0 {
		return false
	}
	last := s.words[len(s.words)-1].text
	if s.where != nil || len(s.args) > 0 {
		return false
	}
	return last == "find" || last == "where" || strings.HasSuffix(last, "/find")
}

// condition reads what comes behind find or where.
func (p *parser) condition(s *statement, end string) error {
	p.blanks()
	if rest := p.text[p.at:]; strings.HasPrefix(rest, "where ") {
		p.at += len("where ")
		p.blanks()
	}
	if p.ended(end) {
		return nil
	}
	var err error
	s.where, err = p.expression(true)
	return err
}

// isNameStart reports whether a name can begin with c.
func isNameStart(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

// bareInside are the characters of a bare word besides letters and digits.
const bareInside = "-_.,:/*!@+%"

// bare reads a bare word.
func (p *parser) bare() string {
	start := p.at
	for p.at < len(p.text) {
		if c := p.text[p.at]; !isNameStart(c) && !isDigit(c) && strings.IndexByte(bareInside, c) < 0 {
			break
		}
		p.at++
	}
	return p.text[start:p.at]
}

// wordOrArgument reads a bare word, or a name with its value.
func (p *parser) wordOrArgument(s *statement) error {
	text := p.bare()
	if p.peek() != '=' {
		s.words = append(s.words, word{text: text})
		return nil
	}
	p.at++
	if strings.HasPrefix(p.text[p.at:], "\\\n") {
		p.blanks() // the value stands in the next line, as in an export
	}
	if p.ended("") || p.peek() == ' ' {
		return p.fail("missing value of " + text)
	}
	value, err := p.value()
	if err != nil {
		return err
	}
	s.args = append(s.args, consoleArg{text, value})
	return nil
}
