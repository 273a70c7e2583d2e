package remedy

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"doublenat/routeros"
)

// handshake is for a TLS handshake that failed. It names no setting that has the
// value already: at fault is then something else.
func handshake(err *routeros.TLSError) Advice {
	switch err.Reason {
	case routeros.TLSPlainPort:
		return routerAdvice(KindTLS, "this port does not speak TLS: put the port of api-ssl (8729) in MIKROTIK_API_ADDRESS, or unset MIKROTIK_API_TLS for the plain API (8728)")
	case routeros.TLSNoCertificate:
		return routerAdvice(KindTLS, "assign a certificate to the router's api-ssl service: it has none, or offers only an outdated key exchange (DHE)", certificate(err.Host)...)
	case routeros.TLSNoCommonVersion, routeros.TLSNoCommonCipher:
		return routerAdvice(KindTLS, "api-ssl offers only outdated TLS: allow version 1.2, or update RouterOS",
			NewCommand("/ip/service/set", "numbers", "api-ssl", "tls-version", "only-1.2"))
	case routeros.TLSBadCertificate, routeros.TLSWrongUse:
		return routerAdvice(KindTLS, "api-ssl's certificate is not fit for a server: make a new one", certificate(err.Host)...)
	case routeros.TLSNotYetValid:
		return routerAdvice(KindTLS, "the certificate is valid from "+day(err.NotBefore)+" on: set the clock of this host; or set the router's and then make a new certificate",
			NewCommand("/system/ntp/client/set", "enabled", "yes", "servers", "pool.ntp.org"))
	case routeros.TLSExpired:
		return routerAdvice(KindTLS, "the certificate was valid until "+day(err.NotAfter)+": give api-ssl a new one, or set the clock of this host if it is wrong", certificate(err.Host)...)
	case routeros.TLSNoName, routeros.TLSWrongName:
		return wrongName(err)
	case routeros.TLSWrongPin:
		return wrongPin(err)
	case routeros.TLSUntrusted:
		return untrusted(err)
	case routeros.TLSClosed, routeros.TLSSilent:
		return routerAdvice(KindTLS, "is this the port of api-ssl (8729), and does the service's address list allow this host?", NewCommand("/ip/service/print"))
	default:
		return routerAdvice(KindTLS, "check api-ssl's certificate: its names, its dates, and who signed it", NewCommand("/certificate/print"))
	}
}

// day returns a date as people write it.
func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

// ownName is the certificate that the commands make. setup makes doublenat-api, which
// may be the one that is at fault.
const ownName = "doublenat-api-new"

// certificate returns the commands that give api-ssl a self-signed certificate for
// the host, which is empty where that is not known: then a fingerprint has to do.
func certificate(host string) []Command {
	add := NewCommand("/certificate/add", "name", ownName, "common-name", ownName)
	if host != "" {
		add = NewCommand("/certificate/add", "name", ownName, "common-name", host, "subject-alt-name", alternative(host))
	}
	return []Command{
		add.With("days-valid", "3650"),
		NewCommand("/certificate/sign", "numbers", ownName),
		NewCommand("/ip/service/set", "numbers", "api-ssl", "certificate", ownName),
	}
}

// alternative is the name of a host as a certificate has it.
func alternative(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return "IP:" + host
	}
	return "DNS:" + host
}

// wrongName is for a certificate that is not for the name in MIKROTIK_API_ADDRESS.
func wrongName(err *routeros.TLSError) Advice {
	if sum := fingerprint(err.Cert); sum != "" && !err.Pinned {
		return routerAdvice(KindTLS, "if this is the router's key, "+setPin(sum)+ifAuthorities(err)+"; or give api-ssl a certificate for "+err.Host, certificate(err.Host)...)
	}
	if len(err.Names) > 0 {
		return routerAdvice(KindTLS, "set MIKROTIK_API_ADDRESS to a name that the certificate has ("+strings.Join(err.Names, ", ")+"), or leave MIKROTIK_API_CA_FILE empty: "+
			"then only the fingerprint counts")
	}
	return routerAdvice(KindTLS, "leave MIKROTIK_API_CA_FILE empty: then only the fingerprint counts; or give api-ssl a certificate for "+err.Host, certificate(err.Host)...)
}

// untrusted is for a certificate that no known authority signed. The fingerprint is there
// to be compared with the router's own, not to be believed.
func untrusted(err *routeros.TLSError) Advice {
	sum := fingerprint(err.Cert)
	switch {
	case err.Pinned:
		return routerAdvice(KindTLS, "MIKROTIK_API_CA_FILE does not have the authority that signed the certificate: "+
			"add it, or leave the setting empty: then only the fingerprint counts")
	case err.Authorities && sum != "":
		return routerAdvice(KindTLS, "MIKROTIK_API_CA_FILE does not have the authority that signed the certificate: add it, or, if this is the router's key, "+
			setPin(sum)+ifAuthorities(err))
	case sum != "":
		return routerAdvice(KindTLS, "put the certificate's authority into MIKROTIK_API_CA_FILE, or, if this is the router's key, "+setPin(sum))
	default:
		return routerAdvice(KindTLS, "put the certificate's authority into MIKROTIK_API_CA_FILE")
	}
}

// wrongPin is for another key than the one that is pinned.
func wrongPin(err *routeros.TLSError) Advice {
	pin, ok := errors.AsType[*routeros.PinError](err.Err)
	if !ok {
		return routerAdvice(KindTLS, "compare MIKROTIK_API_TLS_FINGERPRINT with the router's key")
	}
	return routerAdvice(KindTLS, "the router, or whoever answers in its place, has a different key than MIKROTIK_API_TLS_FINGERPRINT says: if its certificate was changed, "+setPin(pin.Got))
}

// setPin is the setting for a key.
func setPin(sum string) string { return "set MIKROTIK_API_TLS_FINGERPRINT=" + sum }

// ifAuthorities says what has to go so that only a fingerprint counts.
func ifAuthorities(err *routeros.TLSError) string {
	if err.Authorities {
		return " and leave MIKROTIK_API_CA_FILE empty"
	}
	return ""
}

// fingerprint returns the SHA-256 sum of a certificate's key, "" for no certificate.
func fingerprint(cert *x509.Certificate) string {
	if cert == nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(cert.RawSubjectPublicKeyInfo))
}
