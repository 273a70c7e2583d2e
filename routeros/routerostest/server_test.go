package routerostest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// certificate makes a self-signed one, as routers have.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// dialTCP connects to a real listener.
func dialTCP(t *testing.T, address string) *client {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, reader: routeros.NewReader(conn, routeros.Limits{})}
}

const leastPassword = "=password=" + routerostest.LeastPassword

func TestServeTLS(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	cert := certificate(t)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	address := serve(t, router, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})

	connect := func() (*client, error) {
		d := tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
		conn, err := d.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		return &client{t: t, conn: conn, reader: routeros.NewReader(conn, routeros.Limits{})}, nil
	}
	c, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.run("/login", leastLogin, leastPassword); got != "!done" {
		t.Error(got)
	}
	// The plain service has its own switch.
	if err := router.Disable("/ip/service", "api"); err != nil {
		t.Fatal(err)
	}
	if got := c.run("/system/identity/print"); !strings.HasPrefix(got, "!re") {
		t.Error(got)
	}
	if err := router.Disable("/ip/service", "api-ssl"); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(); err == nil {
		t.Error("connected to a disabled service")
	}
}

func TestServeCutsWithReset(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	address := serve(t, router, nil)
	c := dialTCP(t, address)
	if got := c.run("/login", leastLogin, leastPassword); got != "!done" {
		t.Fatal(got)
	}
	router.Inject(routerostest.Fault{Kind: routerostest.FaultReset})
	c.send("/system/identity/print")
	if err := c.cut(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	router.Reboot(routerostest.Reboot{Down: time.Hour})
	// The reset may come before the connection is there for the client.
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err == nil {
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("router down: %v, want a reset", err)
	}
}

// TestHookSeesEveryChange has several clients who change rules at the same time:
// when a reply is there, the hook has run for it, and never twice at once.
func TestHookSeesEveryChange(t *testing.T) {
	t.Parallel()
	router := newRouter(t, routerostest.Config{})
	rules := len(router.Rows(natPath))
	running, seen := 0, 0 // without a lock: the race detector proves that calls do not overlap
	router.OnChange(func() {
		running++
		if running != 1 {
			t.Error("the hook runs twice at once")
		}
		seen = len(router.Rows(natPath)) - rules
		running--
	})
	const clients, each = 8, 25
	results := make(chan error, clients)
	for range clients {
		c := login(t, router)
		go func() {
			for range each {
				if _, err := c.conn.Write(routeros.AppendSentence(nil, []string{natPath + "/add", "=chain=dstnat"})); err != nil {
					results <- err
					return
				}
				if _, err := c.reader.ReadSentence(); err != nil {
					results <- err
					return
				}
			}
			results <- nil
		}()
	}
	for range clients {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if seen != clients*each {
		t.Errorf("the hook saw %d rules, want %d", seen, clients*each)
	}
}
