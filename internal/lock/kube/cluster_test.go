package kube_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doublenat/internal/lock"
	"doublenat/internal/lock/kube"
	"doublenat/internal/lock/kube/kubetest"
)

// account writes what a pod finds, except what is missing, and returns where.
func account(t *testing.T, certificates []byte, missing string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"namespace": "doublenat", "token": kubetest.Token + "\n", "ca.crt": string(certificates)} {
		if name == missing {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestInCluster reaches a server with TLS as a pod does, and no other one.
func TestInCluster(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(new(kubetest.Server))
	t.Cleanup(server.Close)
	ours := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
	join := func(dir string) (*kube.Store, error) {
		cfg, err := kube.InCluster(env, dir)
		cfg.Name, cfg.Holder = kube.LeaseName("default"), "a"
		return kube.New(cfg), err
	}
	dir := account(t, ours, "")
	s, err := join(dir)
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, s, lock.Holder{Name: "a", Mine: true})
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(t.Context(), term); err == nil || !strings.Contains(err.Error(), "token is not accepted") {
		t.Errorf("with a token that was exchanged: %v", err)
	}

	for _, missing := range []string{"namespace", "token", "ca.crt"} {
		if _, err := join(account(t, ours, missing)); !errors.Is(err, kube.ErrNoCluster) || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	if _, err := join(account(t, []byte("no certificate"), "")); !errors.Is(err, kube.ErrNoCluster) {
		t.Errorf("without certificates: %v", err)
	}
	foreign, err := join(account(t, selfSigned(t), ""))
	if err != nil {
		t.Fatal(err)
	}
	var unknown *tls.CertificateVerificationError
	if _, err := foreign.Acquire(t.Context(), term); !errors.As(err, &unknown) {
		t.Errorf("with another authority: %v", err)
	}
	clear(env)
	if _, err := join(dir); !errors.Is(err, kube.ErrNoCluster) {
		t.Errorf("outside: %v", err)
	}
}

// TestLeaseName has names that objects may have.
func TestLeaseName(t *testing.T) {
	t.Parallel()
	for instance, want := range map[string]string{"default": "doublenat-default", "Proton_NL": "doublenat-proton-nl", "-a-": "doublenat--a", "-": "doublenat"} {
		if got := kube.LeaseName(instance); got != want {
			t.Errorf("%s: %s, want %s", instance, got, want)
		}
	}
}

// selfSigned returns a certificate that signed nothing but itself.
func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
