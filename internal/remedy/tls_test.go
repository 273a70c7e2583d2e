package remedy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// shown is a certificate that a router may show.
func shown(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestHandshakes has every reason for which a handshake fails: what is said, and what
// is not. No advice names a setting that has the value already.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	cert := shown(t)
	sum := fmt.Sprintf("%x", sha256.Sum256(cert.RawSubjectPublicKeyInfo))
	const (
		pin  = "MIKROTIK_API_TLS_FINGERPRINT"
		file = "MIKROTIK_API_CA_FILE"
	)
	type words []string
	for name, tt := range map[string]struct {
		err       routeros.TLSError
		has, lack words
	}{
		"plain port":     {routeros.TLSError{Reason: routeros.TLSPlainPort}, words{"8729", "8728", "unset MIKROTIK_API_TLS"}, words{pin, "certificate"}},
		"no certificate": {routeros.TLSError{Reason: routeros.TLSNoCertificate}, words{"assign a certificate", "DHE", "/certificate add name=doublenat-api-new common-name=doublenat-api-new days-valid=3650; /certificate sign doublenat-api-new; /ip service set api-ssl certificate=doublenat-api-new"}, words{pin, file}},
		"old TLS":        {routeros.TLSError{Reason: routeros.TLSNoCommonVersion}, words{"/ip service set api-ssl tls-version=only-1.2"}, words{"/certificate", pin}},
		"old cipher":     {routeros.TLSError{Reason: routeros.TLSNoCommonCipher}, words{"update RouterOS"}, words{pin}},
		"unfit":          {routeros.TLSError{Reason: routeros.TLSBadCertificate}, words{"not fit", "/certificate add"}, words{pin}},
		"for a client":   {routeros.TLSError{Reason: routeros.TLSWrongUse}, words{"not fit", "/certificate add"}, words{pin}},
		"not yet valid":  {routeros.TLSError{Reason: routeros.TLSNotYetValid, NotBefore: cert.NotAfter}, words{"valid from 2026-03-04 on", "/system ntp client set"}, words{pin, file, "authority"}},
		"expired": {
			routeros.TLSError{Reason: routeros.TLSExpired, NotAfter: cert.NotAfter, Cert: cert, Host: "192.168.88.1"},
			words{"until 2026-03-04", "clock", "subject-alt-name=IP:192.168.88.1"},
			words{pin, file, "authority"},
		},
		"no name":              {routeros.TLSError{Reason: routeros.TLSNoName, Cert: cert, Host: "router.lan"}, words{pin + "=" + sum, "subject-alt-name=DNS:router.lan"}, words{file}},
		"no name, authorities": {routeros.TLSError{Reason: routeros.TLSNoName, Cert: cert, Host: "router.lan", Authorities: true}, words{pin + "=" + sum + " and leave " + file + " empty"}, nil},
		"no name, both":        {routeros.TLSError{Reason: routeros.TLSNoName, Cert: cert, Host: "router.lan", Authorities: true, Pinned: true}, words{"leave " + file + " empty", "DNS:router.lan"}, words{pin, sum}},
		"wrong name, both": {
			routeros.TLSError{Reason: routeros.TLSWrongName, Cert: cert, Host: "10.0.0.1", Names: []string{"router.lan", "192.168.88.1"}, Authorities: true, Pinned: true},
			words{"set MIKROTIK_API_ADDRESS to a name that the certificate has (router.lan, 192.168.88.1)"},
			words{pin, sum},
		},
		"unknown authority":         {routeros.TLSError{Reason: routeros.TLSUntrusted, Cert: cert}, words{file, pin + "=" + sum}, words{"leave"}},
		"another authority":         {routeros.TLSError{Reason: routeros.TLSUntrusted, Cert: cert, Authorities: true}, words{file + " does not have", pin + "=" + sum + " and leave"}, nil},
		"another authority, pinned": {routeros.TLSError{Reason: routeros.TLSUntrusted, Cert: cert, Authorities: true, Pinned: true}, words{file + " does not have", "leave the setting empty"}, words{pin, sum}},
		"nothing shown":             {routeros.TLSError{Reason: routeros.TLSUntrusted}, words{file}, words{pin}},
		"another key":               {routeros.TLSError{Reason: routeros.TLSWrongPin, Err: &tls.CertificateVerificationError{Err: &routeros.PinError{Got: "7d5a"}}}, words{pin + " says", pin + "=7d5a"}, words{file}},
		"another key, not said":     {routeros.TLSError{Reason: routeros.TLSWrongPin, Err: errors.New("no")}, words{"compare " + pin}, words{pin + "="}},
		"hung up":                   {routeros.TLSError{Reason: routeros.TLSClosed}, words{"8729", "address list", "/ip service print"}, words{pin}},
		"silent":                    {routeros.TLSError{Reason: routeros.TLSSilent}, words{"8729", "address list"}, words{pin}},
		"something else":            {routeros.TLSError{}, words{"who signed it", "/certificate print"}, words{pin}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.err.Err == nil {
				tt.err.Err = errors.New("cause")
			}
			advice, ok := remedy.For(transport("connecting", &tt.err))
			if !ok || advice.Kind != remedy.KindTLS || advice.Hop != nat.HopRouter || advice.Passes() {
				t.Errorf("known: %v, advice %+v", ok, advice)
			}
			said := advice.String()
			for _, w := range tt.has {
				if !strings.Contains(said, w) {
					t.Errorf("%q is not in %q", w, said)
				}
			}
			for _, w := range tt.lack {
				if strings.Contains(said, w) {
					t.Errorf("%q is in %q", w, said)
				}
			}
		})
	}
}
