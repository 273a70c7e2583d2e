package nat

import (
	"fmt"
	"strings"
)

// maxReasons is how many reasons are told of many failures of one kind.
const maxReasons = 3

// severalError is many failures of one kind, told in one line: how many there were of
// how many, and the first reasons that differ.
type severalError struct {
	what        string // what failed, for example "rules not removed"
	failed, all int
	reasons     []error
}

// several returns the failures among errs as one error, nil if there are none.
func several(what string, errs []error) error {
	e := &severalError{what: what, all: len(errs)}
	seen := make(map[string]bool)
	for _, err := range errs {
		if err == nil {
			continue
		}
		e.failed++
		if text := strings.Map(noDigit, err.Error()); len(e.reasons) < maxReasons && !seen[text] {
			seen[text] = true
			e.reasons = append(e.reasons, err)
		}
	}
	if e.failed == 0 {
		return nil
	}
	return e
}

// noDigit drops digits: reasons that differ in a port or an address only are one.
func noDigit(r rune) rune {
	if '0' <= r && r <= '9' {
		return -1
	}
	return r
}

// Error returns numbers and reasons.
func (e *severalError) Error() string {
	var reasons []string
	for _, err := range e.reasons {
		reasons = append(reasons, err.Error())
	}
	text := fmt.Sprintf("%d of %d %s: %s", e.failed, e.all, e.what, strings.Join(reasons, "; "))
	if e.failed > len(reasons) {
		text += "; …"
	}
	return text
}

// Unwrap returns the reasons that are told.
func (e *severalError) Unwrap() []error { return e.reasons }
