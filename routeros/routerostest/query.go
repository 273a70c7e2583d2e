package routerostest

import (
	"strconv"
	"strings"
)

// query is the compiled list of query words of a print: a program for a stack of
// booleans. A row passes when no false is left on the stack, so plain words are
// joined by AND and no words let everything pass.
type query []queryStep

// queryOp is one kind of query word.
type queryOp uint8

// The kinds of query words.
const (
	queryHas queryOp = iota
	queryLacks
	queryEqual
	queryLess
	queryGreater
	queryOperators
)

// queryStep is one query word.
type queryStep struct {
	op queryOp
	// name is the property, or the operators of a "?#" word.
	name string
	// value is what the property is compared with.
	value string
}

// maxQueryStack bounds the stack: every word pushes at most its own length.
const maxQueryStack = 256

// parseQueryWord reads one word that begins with a question mark. Every word has
// a meaning; whether the operators fit the stack shows when they run.
func parseQueryWord(word string) queryStep {
	body := strings.TrimPrefix(word, "?")
	if rest, ok := strings.CutPrefix(body, "#"); ok {
		return queryStep{op: queryOperators, name: rest}
	}
	op := queryEqual
	switch {
	case strings.HasPrefix(body, "-"):
		return queryStep{op: queryLacks, name: body[1:]}
	case strings.HasPrefix(body, "<"):
		op, body = queryLess, body[1:]
	case strings.HasPrefix(body, ">"):
		op, body = queryGreater, body[1:]
	case strings.HasPrefix(body, "="):
		body = body[1:]
	}
	name, value, valued := strings.Cut(body, "=")
	if !valued && op == queryEqual {
		return queryStep{op: queryHas, name: name}
	}
	return queryStep{op: op, name: name, value: value}
}

// passes runs the query over one row. It reports false for ok when an operator
// finds too little on the stack or is none.
func (q query) passes(row *item) (pass, ok bool) {
	stack := make([]bool, 0, 8)
	for _, step := range q {
		if step.op == queryOperators {
			if stack, ok = operate(stack, step.name); !ok {
				return false, false
			}
			continue
		}
		if len(stack) == maxQueryStack {
			return false, false
		}
		stack = append(stack, step.holds(row))
	}
	for _, b := range stack {
		if !b {
			return false, true
		}
	}
	return true, true
}

// holds evaluates a comparison.
func (s queryStep) holds(row *item) bool {
	value, has := row.lookup(s.name)
	switch s.op {
	case queryHas:
		return has
	case queryLacks:
		return !has
	case queryEqual:
		return has && value == s.value
	case queryLess:
		return has && compare(value, s.value) < 0
	case queryGreater:
		return has && compare(value, s.value) > 0
	case queryOperators:
		return false
	default:
		return false
	}
}

// compare orders two values: as numbers where both are, else as strings.
func compare(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX != nil || errY != nil {
		return strings.Compare(a, b)
	}
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	default:
		return 0
	}
}

// operate applies the operators of one "?#" word. A number is an index from the
// top: followed by another character it pushes a copy of that value; at the end
// of the word that value replaces the whole stack.
func operate(stack []bool, operators string) (_ []bool, ok bool) {
	for i := 0; i < len(operators); {
		end := i + 1
		if isDigit(operators[i]) {
			for end < len(operators) && isDigit(operators[end]) {
				end++
			}
			stack, ok = pick(stack, operators[i:end], end == len(operators))
		} else {
			stack, ok = apply(stack, operators[i])
		}
		if !ok || len(stack) > maxQueryStack {
			return nil, false
		}
		i = end
	}
	return stack, true
}

// apply applies one operator that is no index.
func apply(stack []bool, operator byte) (_ []bool, ok bool) {
	top := len(stack) - 1
	switch {
	case operator == '!' && top >= 0:
		stack[top] = !stack[top]
	case operator == '.' && top >= 0:
		stack = append(stack, stack[top])
	case operator == '&' && top >= 1:
		stack[top-1] = stack[top-1] && stack[top]
		stack = stack[:top]
	case operator == '|' && top >= 1:
		stack[top-1] = stack[top-1] || stack[top]
		stack = stack[:top]
	default:
		return nil, false
	}
	return stack, true
}

// isDigit reports whether c is a decimal digit.
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// pick pushes a copy of the value with the given index from the top, or, at the
// end of a word, puts it in the place of the whole stack.
func pick(stack []bool, digits string, last bool) (_ []bool, ok bool) {
	index, err := strconv.Atoi(digits)
	if err != nil || index >= len(stack) {
		return nil, false
	}
	value := stack[len(stack)-1-index]
	if last {
		stack = stack[:0]
	}
	return append(stack, value), true
}
