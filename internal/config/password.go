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
	if dir := environ[credentials]; dir != "" {
		return p.passwordIn(filepath.Join(dir, credentialName), file, readFile)
	}
	p.fail(inline, "", "is not set, nor is "+file)
	return routeros.Secret{}
}

// passwordIn reads a file with a password; variable is what named it.
func (p *parser) passwordIn(name, variable string, readFile func(string) ([]byte, error)) routeros.Secret {
	content, err := readFile(name)
	if err != nil {
		p.fail(variable, name, "cannot be read: "+err.Error())
		return routeros.Secret{}
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	switch {
	case text == "":
		p.fail(variable, name, "is an empty file")
	case strings.ContainsAny(text, "\r\n\x00"):
		p.fail(variable, name, "is a file with more than one line")
	}
	return routeros.NewSecret(text)
}
