package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io/fs"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/router"
	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// identity is a key with its certificate, as a router's owner makes one.
type identity struct {
	tls.Certificate

	pem         []byte
	fingerprint string
}

// newIdentity makes a certificate for the address, signed by itself.
func newIdentity(t *testing.T, address string) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "router"},
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(address)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return identity{
		Certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		pem:         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		fingerprint: hex.EncodeToString(sum[:]),
	}
}

// serveTLS runs a RouterOS for tests with the service api-ssl on loopback.
func serveTLS(t *testing.T, cfg *tls.Config) net.Addr {
	t.Helper()
	box, err := routerostest.New(routerostest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- box.Serve(ctx, tls.NewListener(ln, cfg)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	return addr
}

// firstWord gets the first line that a router's log has of a connection, made or not.
type firstWord struct {
	once sync.Once
	said chan string
}

func (f *firstWord) Write(p []byte) (int, error) {
	for _, message := range []string{"router unavailable", "router connected"} {
		if strings.Contains(string(p), message) {
			f.once.Do(func() { f.said <- string(p) })
		}
	}
	return len(p), nil
}

// TestRouterTLS connects with each setting to a RouterOS with TLS on loopback.
func TestRouterTLS(t *testing.T) {
	t.Parallel()
	right, other, elsewhere := newIdentity(t, "127.0.0.1"), newIdentity(t, "127.0.0.1"), newIdentity(t, "192.0.2.1")
	files := map[string][]byte{"/right": right.pem, "/other": other.pem, "/elsewhere": elsewhere.pem}
	const ca, pin, mode = "MIKROTIK_API_CA_FILE", "MIKROTIK_API_TLS_FINGERPRINT", "MIKROTIK_API_TLS"
	for _, tt := range []struct {
		name    string
		server  identity
		oldest  uint16 // the newest version that the server speaks; 0 for all
		environ map[string]string
		want    string // in the log; empty means that it connects
	}{
		{name: "unknown authority", server: right, environ: map[string]string{mode: "true"}, want: pin + "=" + right.fingerprint},
		{name: "authority", server: right, environ: map[string]string{ca: "/right"}},
		{name: "another authority", server: right, environ: map[string]string{ca: "/other"}, want: "certificate signed by unknown authority"},
		{name: "another name", server: elsewhere, environ: map[string]string{ca: "/elsewhere"}, want: "certificate is valid for 192.0.2.1"},
		{name: "pin", server: right, environ: map[string]string{pin: right.fingerprint}},
		{name: "pin, another name", server: elsewhere, environ: map[string]string{pin: elsewhere.fingerprint}},
		{name: "pin of another key", server: right, environ: map[string]string{pin: other.fingerprint}, want: "has the fingerprint " + right.fingerprint},
		{name: "pin and authority", server: right, environ: map[string]string{pin: right.fingerprint, ca: "/right"}},
		{name: "pin and another authority", server: right, environ: map[string]string{pin: right.fingerprint, ca: "/other"}, want: "unknown authority"},
		{name: "authority and another pin", server: right, environ: map[string]string{pin: other.fingerprint, ca: "/right"}, want: "fingerprint"},
		{name: "insecure", server: elsewhere, environ: map[string]string{mode: "insecure"}},
		{name: "TLS 1.2", server: right, oldest: tls.VersionTLS12, environ: map[string]string{ca: "/right"}},
		{name: "TLS 1.1", server: right, oldest: tls.VersionTLS11, environ: map[string]string{ca: "/right"}, want: "protocol version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{tt.server.Certificate}, MinVersion: tls.VersionTLS10, MaxVersion: tt.oldest})
			connects(t, addr.String(), tt.environ, files, tt.want)
		})
	}
	t.Run("service without a certificate", func(t *testing.T) {
		t.Parallel()
		// It offers only what a client does not speak, as RouterOS does, in other words.
		addr := serveTLS(t, &tls.Config{
			Certificates: []tls.Certificate{right.Certificate}, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		})
		connects(t, addr.String(), map[string]string{mode: "true"}, nil, "assign a certificate to the router's api-ssl service")
	})
}

// connects starts a router adapter with the settings and looks at what it says first.
func connects(t *testing.T, addr string, environ map[string]string, files map[string][]byte, want string) {
	t.Helper()
	given := map[string]string{
		"VPN_GATEWAY": routerostest.GatewayAddress, "MIKROTIK_API_ADDRESS": addr,
		"MIKROTIK_API_USER": routerostest.LeastUser, "MIKROTIK_API_PASSWORD": routerostest.LeastPassword,
	}
	maps.Copy(given, environ)
	cfg, err := config.Parse(given, func(name string) ([]byte, error) {
		if content, ok := files[name]; ok {
			return content, nil
		}
		return nil, fs.ErrNotExist
	})
	if err != nil {
		t.Fatal(err)
	}
	word := &firstWord{said: make(chan string, 1)}
	r, err := router.New(router.Config{
		API: routeros.Config{
			Address: cfg.Router.String(), User: cfg.RouterUser, Password: cfg.RouterPassword, TLS: tlsFor(cfg),
		},
		Instance: cfg.Instance, Gateway: netip.MustParseAddr(routerostest.GatewayAddress),
		Logger: slog.New(slog.NewTextHandler(word, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	said := ""
	select {
	case said = <-word.said:
	case <-time.After(20 * time.Second):
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want == "" {
		want = "router connected"
	}
	if !strings.Contains(said, want) {
		t.Errorf("%q is not in %q", want, said)
	}
}

func TestNoTLS(t *testing.T) {
	t.Parallel()
	if tlsFor(config.Config{RouterFingerprint: config.Fingerprint{1}}) != nil {
		t.Error("TLS although it is off")
	}
}
