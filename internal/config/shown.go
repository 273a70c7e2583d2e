package config

import (
	"fmt"
	"strings"

	"doublenat/routeros"
)

// Concealment is what in the value of a variable must not be shown.
type Concealment string

// The concealments.
const (
	// ConcealNothing shows the value as it is.
	ConcealNothing Concealment = ""
	// ConcealUserinfo hides what stands before an @: whoever types a URL where a host
	// is wanted may have typed a password.
	ConcealUserinfo Concealment = "userinfo"
	// ConcealArguments hides all but the program of a command: a token is an argument.
	ConcealArguments Concealment = "arguments"
)

// Shown returns the value as it may be shown to anybody: dots for a secret, and in
// place of the part that is one. The empty text stays empty.
func (v Variable) Shown(text string) string {
	dots := routeros.Secret{}.String()
	switch {
	case text == "":
		return ""
	case v.Secret:
		return dots
	case v.Conceals == ConcealUserinfo:
		return WithoutUserinfo(text)
	case v.Conceals == ConcealArguments:
		return withoutArguments(text)
	default:
		return text
	}
}

// WithoutUserinfo puts dots in the place of what stands before the last @ of an
// address. A path may have one in it.
func WithoutUserinfo(text string) string {
	if i := strings.LastIndexByte(text, '@'); i >= 0 && !strings.HasPrefix(text, unixPrefix) {
		return routeros.Secret{}.String() + text[i:]
	}
	return text
}

// withoutArguments returns the program and the number of its arguments. Of a text
// that is no command only what is a path for sure is shown.
func withoutArguments(text string) string {
	dots := routeros.Secret{}.String()
	argv, err := parseCommand(text)
	switch {
	case err == nil && len(argv) == 1:
		return argv[0]
	case err == nil && len(argv) == 2:
		return argv[0] + " and 1 argument"
	case err == nil:
		return fmt.Sprintf("%s and %d arguments", argv[0], len(argv)-1)
	case strings.HasPrefix(text, "/"):
		if i := strings.IndexAny(text, " \t\r\n'\"\\"); i >= 0 {
			return text[:i] + " " + dots
		}
		return dots
	default:
		return dots
	}
}
