package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"doublenat/internal/config"
)

// authority returns a certificate as it is in a file.
func authority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestParseAuthorities(t *testing.T) {
	t.Parallel()
	content := authority(t)
	read := func(string) ([]byte, error) { return content, nil }
	cfg, err := config.Parse(minimal("MIKROTIK_API_CA_FILE", "ca.pem"), read)
	if err != nil {
		t.Fatal(err)
	}
	want := x509.NewCertPool()
	want.AppendCertsFromPEM(content)
	if !cfg.RouterTLS || cfg.Router.Port != 8729 || !cfg.RouterCA.Equal(want) {
		t.Errorf("got TLS %v, port %d, the certificate %v", cfg.RouterTLS, cfg.Router.Port, cfg.RouterCA.Equal(want))
	}
	content = []byte("-----BEGIN NOTHING-----")
	if _, err = config.Parse(minimal("MIKROTIK_API_CA_FILE", "ca.pem"), read); err == nil || !strings.Contains(err.Error(), "without a certificate") {
		t.Errorf("a file without a certificate: %v", err)
	}
}

// What an operator says about knowing the router must not be ignored.
func TestParseContradictoryTLS(t *testing.T) {
	t.Parallel()
	read := func(string) ([]byte, error) { return authority(t), nil }
	for _, mode := range []string{"false", "insecure"} {
		for _, v := range []string{"MIKROTIK_API_CA_FILE", "MIKROTIK_API_TLS_FINGERPRINT"} {
			_, err := config.Parse(minimal("MIKROTIK_API_TLS", mode, v, strings.Repeat("a5", 32)), read)
			if err == nil || !strings.Contains(err.Error(), "MIKROTIK_API_TLS=\""+mode+"\" does not go with") {
				t.Errorf("TLS %s with %s: %v", mode, v, err)
			}
		}
	}
}
