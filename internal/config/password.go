package config

import (
	"path/filepath"
	"strings"

	"doublenat/routeros"
)

// The variable with which systemd tells a service where its credentials are, and
// the name of ours among them (LoadCredential=router-password:…).
const (
	credentials    = "CREDENTIALS_DIRECTORY"
	credentialName = "router-password"
)

// password finds the password in one of its three places. A variable that is set
// and empty is the empty password, which RouterOS users may have; an empty file
// is a mistake.
func (p *parser) password(environ map[string]string, given raw, readFile func(string) ([]byte, error)) routeros.Secret {
	const inline, file = "MIKROTIK_API_PASSWORD", "MIKROTIK_API_PASSWORD_FILE"
	if given.PasswordFile != "" {
		if given.Password != "" {
			p.fail(inline, given.Password, "is set together with "+file)
			return routeros.Secret{}
		}
		return p.passwordIn(given.PasswordFile, file, readFile)
	}
	if _, ok := environ[inline]; ok {
		return routeros.NewSecret(given.Password)
	}
	if credential, ok := Credential(environ); ok {
		return p.passwordIn(credential, file, readFile)
	}
	p.fail(inline, "", "is not set, nor is "+file)
	return routeros.Secret{}
}

// Credential returns the file in which systemd hands the password to the service
// (LoadCredential=router-password:…), and false where it is not the one that counts: a
// variable goes before it.
func Credential(environ map[string]string) (file string, ok bool) {
	dir := environ[credentials]
	_, inline := environ["MIKROTIK_API_PASSWORD"]
	if dir == "" || inline || environ["MIKROTIK_API_PASSWORD_FILE"] != "" {
		return "", false
	}
	return filepath.Join(dir, credentialName), true
}

// passwordIn reads a file with a password; variable is what named it.
func (p *parser) passwordIn(name, variable string, readFile func(string) ([]byte, error)) routeros.Secret {
	content, err := readFile(name)
	if err != nil {
		p.fail(variable, name, unreadable(err))
		return routeros.Secret{}
	}
	// Editors of Windows put a byte order mark before the text.
	text := strings.TrimPrefix(string(content), "\ufeff")
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	switch {
	case text == "":
		p.fail(variable, name, "is an empty file")
	case strings.HasPrefix(text, "\xff\xfe"), strings.HasPrefix(text, "\xfe\xff"):
		p.fail(variable, name, "is a file in UTF-16: save it as UTF-8 or plain text")
	case strings.ContainsAny(text, "\r\n\x00"):
		p.fail(variable, name, "is a file with more than one line")
	}
	return routeros.NewSecret(text)
}

// suspicious warns of a password in the environment that has in it what env files and
// shells add by mistake: there quotes are taken literally, and a line end stays.
func suspicious(environ map[string]string) []string {
	const name = "MIKROTIK_API_PASSWORD"
	text := environ[name]
	quoted := false
	for _, q := range []string{`"`, "'"} {
		quoted = quoted || len(text) >= 2 && strings.HasPrefix(text, q) && strings.HasSuffix(text, q)
	}
	var all []string
	if quoted {
		all = append(all, name+" begins and ends with a quote, which is part of the password: leave the quotes out, unless the router's password has them")
	}
	if strings.ContainsAny(text, "\r\n") {
		all = append(all, name+" has a line end in it, which is part of the password: was it read from a file? MIKROTIK_API_PASSWORD_FILE ignores the one at its end")
	}
	if strings.HasPrefix(text, "\ufeff") {
		all = append(all, name+" begins with a byte order mark, which is part of the password: save the file that it comes from as UTF-8 without one")
	}
	return all
}
