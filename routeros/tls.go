package routeros

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// The ports on which RouterOS listens by default.
const (
	plainPort = "8728"
	tlsPort   = "8729"
)

// TLSReason is why a TLS handshake failed.
type TLSReason uint8

// The reasons.
const (
	// TLSOther is none of the reasons below; see [TLSError.Err].
	TLSOther TLSReason = iota
	// TLSPlainPort means that the peer does not speak TLS: the service is api and not
	// api-ssl. It is also assumed on port 8728 if the peer hangs up or stays silent.
	TLSPlainPort
	// TLSNoCertificate means that the peer has no key agreement in common with us. Without
	// a certificate, RouterOS's api-ssl offers only anonymous Diffie-Hellman. A peer that
	// offers only ephemeral finite-field Diffie-Hellman (DHE) looks the same.
	TLSNoCertificate
	// TLSNoCommonVersion means that the peer speaks only versions older than TLS 1.2.
	TLSNoCommonVersion
	// TLSNoCommonCipher means that the peer wants a cipher that is no longer secure.
	TLSNoCommonCipher
	// TLSBadCertificate means that the certificate cannot be read, or is signed with too
	// weak an algorithm or key.
	TLSBadCertificate
	// TLSWrongUse means that the certificate is not for a server: RouterOS's
	// key-usage=tls-server is missing.
	TLSWrongUse
	// TLSNotYetValid means that the certificate is not valid yet, see
	// [TLSError.NotBefore]: one of the clocks is wrong.
	TLSNotYetValid
	// TLSExpired means that the certificate has expired, see [TLSError.NotAfter]. RouterOS
	// does not renew its own.
	TLSExpired
	// TLSUntrusted means that no authority that we trust signed the certificate.
	TLSUntrusted
	// TLSNoName means that the certificate has no subject-alt-name; its common name does
	// not count.
	TLSNoName
	// TLSWrongName means that the certificate is for other names, see [TLSError.Names].
	TLSWrongName
	// TLSWrongPin means that the key is not the pinned one: a [*PinError].
	TLSWrongPin
	// TLSClosed means that the peer hung up during the handshake.
	TLSClosed
	// TLSSilent means that the peer did not reply.
	TLSSilent
)

// TLSError is a TLS handshake that failed.
type TLSError struct {
	// Reason is why.
	Reason TLSReason
	// Cert is the certificate at fault, usually the one that the router showed; nil if the
	// handshake did not get that far.
	Cert *x509.Certificate
	// NotBefore and NotAfter are the dates of Cert, zero without it.
	NotBefore, NotAfter time.Time
	// Names are the names and addresses that Cert is for; nil without it.
	Names []string
	// Host is the name or address used to reach the router, with TLSNoName and
	// TLSWrongName.
	Host string
	// Pinned is set when a key is pinned ([tls.Config.VerifyConnection]), Authorities
	// when certificates to trust were given ([tls.Config.RootCAs]).
	Pinned, Authorities bool
	// Err is the cause, an error of crypto/tls or crypto/x509.
	Err error
}

// Error says what is wrong. The text is the same at each attempt: it contains neither the
// time of day nor our port.
func (e *TLSError) Error() string {
	const prefix = "TLS handshake: "
	switch e.Reason {
	case TLSPlainPort:
		return prefix + "the port does not speak TLS"
	case TLSNotYetValid:
		return prefix + "the certificate is not valid before " + stamp(e.NotBefore)
	case TLSExpired:
		return prefix + "the certificate expired on " + stamp(e.NotAfter)
	case TLSNoName:
		return prefix + "the certificate names no host, and is used for " + e.Host
	case TLSWrongName:
		return prefix + "the certificate is valid for " + strings.Join(e.Names, ", ") + ", not for " + e.Host
	case TLSClosed:
		return prefix + "the router closed the connection"
	case TLSSilent:
		return prefix + ErrTimeout.Error()
	default:
		return prefix + e.Err.Error()
	}
}

// stamp returns a date to the minute: clocks that are wrong are wrong by hours.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// Unwrap returns the cause.
func (e *TLSError) Unwrap() error { return e.Err }

// PinError means that the router's key is not the pinned one. A
// [tls.Config.VerifyConnection] that checks the pin returns it.
type PinError struct {
	// Got is the SHA-256 fingerprint of the router's key, in hexadecimal.
	Got string
}

// Error returns the router's fingerprint.
func (e *PinError) Error() string {
	return "the router's key has the fingerprint " + e.Got + ", which is not the pinned one"
}

// secure does the TLS handshake on the connection.
func (c *Client) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	secure := tls.Client(conn, c.cfg.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		err = c.handshakeError(ctx, err)
		if failed, ok := errors.AsType[*TLSError](err); ok {
			failed.Pinned, failed.Authorities = c.cfg.TLS.VerifyConnection != nil, c.cfg.TLS.RootCAs != nil
		}
		return nil, err
	}
	return secure, nil
}

// handshakeError says why the handshake failed.
func (c *Client) handshakeError(ctx context.Context, err error) error {
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if peer := findPeer(record.RecordHeader[:]); peer != PeerUnknown && peer != PeerTLS {
			return peerError(peer)
		}
		return &TLSError{Reason: TLSPlainPort, Err: err}
	}
	if cause := context.Cause(ctx); cause != nil {
		if !errors.Is(cause, ErrTimeout) {
			return cause // Run is over
		}
		return &TLSError{Reason: c.unless(plainPort, TLSSilent), Err: cause}
	}
	if hungUp(err) {
		return &TLSError{Reason: c.unless(plainPort, TLSClosed), Err: err}
	}
	if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificateError(unverified, c.cfg.TLS.ServerName)
	}
	return &TLSError{Reason: alertReason(err), Err: err}
}

// unless returns the reason, or TLSPlainPort if that port of RouterOS is dialed.
func (c *Client) unless(port string, reason TLSReason) TLSReason {
	if c.dials(port) {
		return TLSPlainPort
	}
	return reason
}

// dials reports whether the port of Config.Address is this one.
func (c *Client) dials(port string) bool {
	_, dialed, err := net.SplitHostPort(c.cfg.Address)
	return err == nil && dialed == port
}

// hungUp reports whether the other side ended the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// alertReason finds the reason in what crypto/tls says of a failure that is none of the
// certificate's. It has no types for them.
func alertReason(err error) TLSReason {
	if _, ok := errors.AsType[*PinError](err); ok {
		return TLSWrongPin
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return TLSSilent
	}
	text := err.Error()
	for _, known := range []struct {
		text   string
		reason TLSReason
	}{
		{"remote error: tls: handshake failure", TLSNoCertificate},
		{"protocol version", TLSNoCommonVersion},
		{"insufficient security level", TLSNoCommonCipher},
		{"cipher suite", TLSNoCommonCipher},
		{"failed to parse certificate", TLSBadCertificate},
		{"RSA key", TLSBadCertificate},
		{"unsupported certificate", TLSBadCertificate},
	} {
		if strings.Contains(text, known.text) {
			return known.reason
		}
	}
	return TLSOther
}

// certificateError says what is wrong with the certificate. crypto/x509 looks at
// the dates first, then at the names, then for the authority.
func certificateError(err *tls.CertificateVerificationError, host string) *TLSError {
	e := &TLSError{Err: err, Host: host}
	if len(err.UnverifiedCertificates) > 0 {
		e.Cert = err.UnverifiedCertificates[0]
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		e.Cert = invalid.Cert
		e.Reason = invalidReason(invalid)
	} else if name, ok := errors.AsType[x509.HostnameError](err); ok {
		e.Cert, e.Host = name.Certificate, name.Host
		e.Reason = TLSWrongName
		if len(namesOf(name.Certificate)) == 0 {
			e.Reason = TLSNoName
		}
	} else if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		e.Reason = TLSUntrusted
	} else if _, ok := errors.AsType[x509.InsecureAlgorithmError](err); ok {
		e.Reason = TLSBadCertificate
	}
	if e.Cert != nil {
		e.NotBefore, e.NotAfter, e.Names = e.Cert.NotBefore, e.Cert.NotAfter, namesOf(e.Cert)
	}
	return e
}

// invalidReason tells the dates apart, which crypto/x509 does not.
func invalidReason(err x509.CertificateInvalidError) TLSReason {
	switch err.Reason {
	case x509.Expired:
		if time.Now().Before(err.Cert.NotBefore) {
			return TLSNotYetValid
		}
		return TLSExpired
	case x509.IncompatibleUsage:
		return TLSWrongUse
	default:
		return TLSOther
	}
}

// namesOf returns the names and addresses that a certificate is for, at most
// maxNames of them.
func namesOf(cert *x509.Certificate) []string {
	names := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if more := len(names) - maxNames; more > 0 {
		names = append(names[:maxNames:maxNames], fmt.Sprintf("%d more", more))
	}
	return names
}

// maxNames is how many names of a certificate an error has.
const maxNames = 8
