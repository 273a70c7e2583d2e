package config

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
)

// tlsMode is what MIKROTIK_API_TLS says.
type tlsMode uint8

const (
	tlsOff tlsMode = iota
	tlsOn
	// tlsInsecure encrypts and does not look at whom it talks to.
	tlsInsecure
)

// parseTLS reads a boolean, or the word with which an operator gives up to know
// the router: it has to be said, no other setting implies it.
func parseTLS(s string) (tlsMode, error) {
	if strings.EqualFold(s, "insecure") {
		return tlsInsecure, nil
	}
	on, err := parseBool(s)
	switch {
	case err != nil:
		return tlsOff, errors.New("is neither true, false nor insecure")
	case on:
		return tlsOn, nil
	default:
		return tlsOff, nil
	}
}

// Fingerprint is the SHA-256 sum of a public key in the form in which
// certificates have it (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7). It stays the
// same when a certificate is renewed for the same key. It is comparable.
type Fingerprint [sha256.Size]byte

// IsZero says whether it is no fingerprint at all.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// parseFingerprint reads 64 hexadecimal digits, with colons between bytes or not.
func parseFingerprint(s string) (Fingerprint, error) {
	sum, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(sum) != sha256.Size {
		return Fingerprint{}, errors.New("is not a SHA-256 sum of 64 hexadecimal digits")
	}
	f := Fingerprint(sum)
	if f.IsZero() {
		return f, errors.New("is all zeros, which would pin nothing")
	}
	return f, nil
}

// tls reads how TLS is spoken with the router. Who says by what to know the
// router wants TLS, and need not say so twice.
func (p *parser) tls(environ map[string]string, given raw) tlsMode {
	known := len(p.errs)
	mode := value(p, "MIKROTIK_API_TLS", given.TLS, parseTLS)
	if given.CAFile == "" && given.Fingerprint == "" || len(p.errs) > known {
		return mode
	}
	switch {
	case environ["MIKROTIK_API_TLS"] == "":
		return tlsOn
	case mode != tlsOn:
		p.fail("MIKROTIK_API_TLS", given.TLS, "does not go with MIKROTIK_API_CA_FILE or MIKROTIK_API_TLS_FINGERPRINT, which are to know the router by")
	}
	return mode
}

// authorities reads the file of those who may vouch for the router.
func (p *parser) authorities(name string, readFile func(string) ([]byte, error)) *x509.CertPool {
	const variable = "MIKROTIK_API_CA_FILE"
	if name == "" {
		return nil
	}
	content, err := readFile(name)
	if err != nil {
		p.fail(variable, name, unreadable(err))
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		p.fail(variable, name, "is a file without a certificate in PEM form")
	}
	return pool
}
