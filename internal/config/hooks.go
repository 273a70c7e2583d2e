package config

import (
	"errors"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"unicode"

	"doublenat/routeros"
)

// parseHookURL reads an absolute http or https URL. No reason may show the URL:
// it can hold a password, or a token.
func parseHookURL(s string) (routeros.Secret, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return routeros.Secret{}, errors.New("is not an absolute URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return routeros.Secret{}, errors.New("is neither an http nor an https URL")
	case u.Fragment != "":
		return routeros.Secret{}, errors.New("has a fragment, which no server ever sees")
	}
	if port := u.Port(); port != "" {
		if _, err := parsePort(port); err != nil {
			return routeros.Secret{}, errors.New("has a port that is not from 1 to 65535")
		}
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil && !oneHost(addr) {
		return routeros.Secret{}, errors.New("names no host that could listen")
	}
	return routeros.NewSecret(s), nil
}

// errNotAbsolute is the reason for a program without a path: where it would be
// looked for depends on the process's environment.
var errNotAbsolute = errors.New("does not begin with the absolute path of a program")

// parseCommand splits a command line into words as a POSIX shell does, with its
// three kinds of quotes and nothing else: no variables, no patterns, no operators.
func parseCommand(s string) ([]string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		return nil, errors.New("has characters that cannot be printed")
	}
	var argv []string
	for rest := strings.TrimLeft(s, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		word, after, err := cutWord(rest)
		if err != nil {
			return nil, err
		}
		argv = append(argv, word)
		rest = after
	}
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return nil, errNotAbsolute
	}
	return argv, nil
}

// cutWord returns the first word of s, which does not begin with a blank, and what
// comes after it.
func cutWord(s string) (word, after string, err error) {
	var w wordReader
	for i, r := range s {
		if w.ends(r) {
			return w.text.String(), s[i:], nil
		}
		w.read(r)
	}
	switch {
	case w.escaped:
		return "", "", errors.New("has a backslash at the end")
	case w.quote != 0:
		return "", "", errors.New("has a quote that does not end")
	}
	return w.text.String(), "", nil
}

// wordReader reads one word of a command line, rune by rune.
type wordReader struct {
	text    strings.Builder
	quote   rune // that is open, 0 for none
	escaped bool // by the rune before
}

// ends says whether the rune is the blank after the word.
func (w *wordReader) ends(r rune) bool { return r == ' ' && w.quote == 0 && !w.escaped }

// read takes a rune of the word.
func (w *wordReader) read(r rune) {
	switch {
	case w.escaped:
		if w.quote == '"' && r != '"' && r != '\\' {
			w.text.WriteRune('\\') // Between double quotes it escapes only these two.
		}
		w.text.WriteRune(r)
		w.escaped = false
	case r == '\\' && w.quote != '\'':
		w.escaped = true
	case r == w.quote:
		w.quote = 0
	case w.quote == 0 && (r == '\'' || r == '"'):
		w.quote = r
	default:
		w.text.WriteRune(r)
	}
}
