package remedy

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
)

// trust says how a certificate that was not trusted can be, "" if something else
// is wrong with the handshake. The fingerprint is there to be compared with the
// router's own, not to be believed.
func trust(err error) string {
	unverified, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok || len(unverified.UnverifiedCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(unverified.UnverifiedCertificates[0].RawSubjectPublicKeyInfo)
	return fmt.Sprintf("give the certificate's authority in MIKROTIK_API_CA_FILE, or, if this is the router's key, "+
		"set MIKROTIK_API_TLS_FINGERPRINT=%x", sum)
}
