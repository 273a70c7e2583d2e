package daemon

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"

	"doublenat/internal/config"
	"doublenat/routeros"
)

// tlsFor returns how TLS is spoken with the router; nil for not at all.
//
// Certificates of routers are mostly made by their owners and have other names
// than the router is reached by. So a key can be pinned, which replaces chain and
// name, or adds to them where there are authorities too.
func tlsFor(cfg config.Config) *tls.Config {
	if !cfg.RouterTLS {
		return nil
	}
	c := &tls.Config{ServerName: cfg.Router.Host, MinVersion: tls.VersionTLS12, RootCAs: cfg.RouterCA}
	if !cfg.RouterFingerprint.IsZero() {
		c.VerifyConnection = pinned(cfg.RouterFingerprint)
		c.InsecureSkipVerify = cfg.RouterCA == nil // the pin is checked in its place
	}
	if cfg.RouterInsecure {
		c.InsecureSkipVerify = true // said by the operator, and warned of at every start
	}
	return c
}

// pinned returns a check that the other side has the one key.
func pinned(want config.Fingerprint) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the router showed no certificate")
		}
		got := config.Fingerprint(sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo))
		if got != want {
			return &routeros.PinError{Got: hex.EncodeToString(got[:])}
		}
		return nil
	}
}
