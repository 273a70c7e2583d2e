package routeros_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
)

// issue returns a certificate that is made from the template and signed by itself.
func issue(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(1), pkix.Name{CommonName: "router"}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// firstFailure runs one command until the first attempt to connect has failed, and
// returns why.
func firstFailure(t *testing.T, cfg routeros.Config, play script) error {
	t.Helper()
	r := newRig(t, cfg, play)
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
	defer cancel()
	if _, err := r.Do(ctx, routeros.Command{Path: "/x"}); err == nil {
		t.Fatal("the connection was made")
	}
	r.stop()
	return r.failures()[0]
}

// tlsFailure is what an operator needs to know of a TLSError.
type tlsFailure struct {
	Reason routeros.TLSReason
	Cert   bool // there is one
	Names  []string
	Host   string
	Text   string
}

func TestTLSReasons(t *testing.T) {
	t.Parallel()
	// The clock of a bubble begins at 2000-01-01.
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	valid := func(change func(*x509.Certificate)) tls.Certificate {
		template := &x509.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
		change(template)
		return issue(t, template)
	}
	trusting := func(cert tls.Certificate) *tls.Config {
		pool := x509.NewCertPool()
		pool.AddCert(cert.Leaf)
		return &tls.Config{RootCAs: pool}
	}
	good := valid(func(*x509.Certificate) {})
	expired := valid(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	future := valid(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) })
	noName := valid(func(c *x509.Certificate) { c.IPAddresses = nil })
	wrongName := valid(func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = []net.IP{net.IPv4(192, 0, 2, 1)}, []string{"a.example", "b.example", "c.example", "d.example", "e.example", "f.example", "g.example", "h.example"}
	})
	forClients := valid(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	pinned := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error {
		return &routeros.PinError{Got: "abcd"}
	}}
	shows := func(cert tls.Certificate) script {
		return func(p *peer) { p.secure(cert) }
	}
	raw := func(reply string) script {
		return func(p *peer) {
			_, _ = p.conn.Read(make([]byte, 4096))
			_, _ = p.conn.Write([]byte(reply))
			p.hang()
		}
	}
	closes := func(p *peer) { _, _ = p.conn.Read(make([]byte, 4096)) }
	const plain, secure = "127.0.0.1:8728", "127.0.0.1:8729"
	tests := map[string]struct {
		address string
		tls     *tls.Config
		play    script
		want    tlsFailure
	}{
		"expired": {secure, trusting(expired), shows(expired), tlsFailure{
			routeros.TLSExpired, true, []string{"127.0.0.1"}, "127.0.0.1", "the certificate expired on 1999-12-31 23:59 UTC",
		}},
		"expired, of nobody": {secure, &tls.Config{}, shows(expired), tlsFailure{
			routeros.TLSExpired, true, []string{"127.0.0.1"}, "127.0.0.1", "the certificate expired on 1999-12-31 23:59 UTC",
		}},
		"not yet valid": {secure, trusting(future), shows(future), tlsFailure{
			routeros.TLSNotYetValid, true, []string{"127.0.0.1"}, "127.0.0.1", "the certificate is not valid before 2000-01-01 00:01 UTC",
		}},
		"untrusted": {secure, &tls.Config{RootCAs: x509.NewCertPool()}, shows(good), tlsFailure{
			routeros.TLSUntrusted, true,
			[]string{"127.0.0.1"},
			"127.0.0.1",
			"tls: failed to verify certificate: x509: certificate signed by unknown authority",
		}},
		"no name": {secure, trusting(noName), shows(noName), tlsFailure{
			routeros.TLSNoName, true, nil, "127.0.0.1", "the certificate names no host, and is used for 127.0.0.1",
		}},
		"wrong name": {secure, trusting(wrongName), shows(wrongName), tlsFailure{
			routeros.TLSWrongName, true,
			[]string{"a.example", "b.example", "c.example", "d.example", "e.example", "f.example", "g.example", "h.example", "1 more"},
			"127.0.0.1",
			"the certificate is valid for a.example, b.example, c.example, d.example, e.example, f.example, g.example, h.example, 1 more, not for 127.0.0.1",
		}},
		"for clients": {secure, trusting(forClients), shows(forClients), tlsFailure{
			routeros.TLSWrongUse, true,
			[]string{"127.0.0.1"},
			"127.0.0.1",
			"tls: failed to verify certificate: x509: certificate specifies an incompatible key usage",
		}},
		"wrong pin": {secure, pinned, shows(good), tlsFailure{
			routeros.TLSWrongPin, false, nil, "", "the router's key has the fingerprint abcd, which is not the pinned one",
		}},
		"no certificate":    {secure, &tls.Config{}, raw("\x15\x03\x03\x00\x02\x02\x28"), tlsFailure{Reason: routeros.TLSNoCertificate, Text: "remote error: tls: handshake failure"}},
		"old version":       {secure, &tls.Config{}, raw("\x15\x03\x01\x00\x02\x02\x46"), tlsFailure{Reason: routeros.TLSNoCommonVersion, Text: "remote error: tls: protocol version not supported"}},
		"weak":              {secure, &tls.Config{}, raw("\x15\x03\x01\x00\x02\x02\x47"), tlsFailure{Reason: routeros.TLSNoCommonCipher, Text: "remote error: tls: insufficient security level"}},
		"another alert":     {secure, &tls.Config{}, raw("\x15\x03\x03\x00\x02\x02\x50"), tlsFailure{Reason: routeros.TLSOther, Text: "remote error: tls: internal error"}},
		"plain API":         {secure, &tls.Config{}, raw("\x06!fatal\x0dnot logged in\x00"), tlsFailure{Reason: routeros.TLSPlainPort, Text: "the port does not speak TLS"}},
		"closed":            {secure, &tls.Config{}, closes, tlsFailure{Reason: routeros.TLSClosed, Text: "the router closed the connection"}},
		"closed at 8728":    {plain, &tls.Config{}, closes, tlsFailure{Reason: routeros.TLSPlainPort, Text: "the port does not speak TLS"}},
		"silent":            {secure, &tls.Config{}, func(p *peer) { drain(p.conn) }, tlsFailure{Reason: routeros.TLSSilent, Text: "no answer from the router in time"}},
		"silent at 8728":    {plain, &tls.Config{}, func(p *peer) { drain(p.conn) }, tlsFailure{Reason: routeros.TLSPlainPort, Text: "the port does not speak TLS"}},
		"silent after half": {secure, &tls.Config{}, raw("\x16\x03\x03\x00\x7a\x02"), tlsFailure{Reason: routeros.TLSSilent, Text: "no answer from the router in time"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				err := firstFailure(t, routeros.Config{Address: tt.address, TLS: tt.tls}, tt.play)
				failed, ok := errors.AsType[*routeros.TLSError](err)
				if !ok {
					t.Fatalf("got %v (%T), want a TLSError", err, err)
				}
				got := tlsFailure{failed.Reason, failed.Cert != nil, failed.Names, failed.Host, strings.TrimPrefix(failed.Error(), "TLS handshake: ")}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("failure (-want +got):\n%s", diff)
				}
				if failed.Pinned != (tt.tls.VerifyConnection != nil) || failed.Authorities != (tt.tls.RootCAs != nil) {
					t.Errorf("pinned %v, authorities %v", failed.Pinned, failed.Authorities)
				}
				if transport(t, err).Op != "connecting" {
					t.Errorf("got %v, want an error of connecting", err)
				}
				if failed.Cert != nil && (!failed.NotBefore.Equal(failed.Cert.NotBefore) || !failed.NotAfter.Equal(failed.Cert.NotAfter)) {
					t.Errorf("dates %v to %v are not the certificate's", failed.NotBefore, failed.NotAfter)
				}
			})
		})
	}
}

// TestPeers has somebody else at the router's address, with TLS and without.
func TestPeers(t *testing.T) {
	t.Parallel()
	greets := func(text string) script {
		return func(p *peer) {
			p.hurry()
			_, _ = p.conn.Write([]byte(text))
			drain(p.conn)
		}
	}
	answers := func(text string) script {
		return func(p *peer) {
			_, _ = p.conn.Read(make([]byte, 4096))
			_, _ = p.conn.Write([]byte(text))
		}
	}
	tests := map[string]struct {
		tls  *tls.Config
		play script
		want routeros.Peer
		text string
	}{
		"alert":            {nil, answers("\x15\x03\x01\x00\x02\x02\x0a"), routeros.PeerTLS, "a TLS service answers"},
		"alert of TLS 1.2": {nil, answers("\x15\x03\x03\x00\x02\x02\x46"), routeros.PeerTLS, "a TLS service answers"},
		"web server":       {nil, answers("HTTP/1.1 400 Bad Request\r\n\r\n"), routeros.PeerHTTP, "a web server answers"},
		"old web server":   {nil, answers("<html>"), routeros.PeerHTTP, "a web server answers"},
		"SSH":              {nil, greets("SSH-2.0-ROSSSH\r\n"), routeros.PeerSSH, "an SSH server answers"},
		"FTP":              {nil, greets("220 router FTP server (MikroTik 7.20) ready\r\n"), routeros.PeerText, "a text protocol answers"},
		"telnet":           {nil, greets("\xff\xfb\x01\xff\xfd\x18\xff\xfd"), routeros.PeerUnknown, "reserved length byte"},
		"zeros and noise":  {nil, answers("\x00\x00\x03a=b\x00"), routeros.PeerUnknown, `"a=b" is no reply`},
		"few bytes":        {nil, answers("\x15\x03"), routeros.PeerUnknown, "without an answer"},
		"web server, TLS":  {&tls.Config{}, answers("HTTP/1.1 400 Bad Request\r\n\r\n"), routeros.PeerHTTP, "a web server answers"},
		"SSH, TLS":         {&tls.Config{}, greets("SSH-2.0-ROSSSH\r\n"), routeros.PeerSSH, "an SSH server answers"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				err := firstFailure(t, routeros.Config{Address: "192.0.2.1:80", TLS: tt.tls}, tt.play)
				got := routeros.PeerUnknown
				if protocol, ok := errors.AsType[*routeros.ProtocolError](err); ok {
					got = protocol.Peer
				}
				if got != tt.want || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v and %q, want %v and %q in it", got, err, tt.want, tt.text)
				}
			})
		})
	}
}

// TestPeerInsideTLS has a web server behind a TLS handshake that works.
func TestPeerInsideTLS(t *testing.T) {
	t.Parallel()
	cert, pool := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		err := firstFailure(t, routeros.Config{Address: "127.0.0.1:443", TLS: &tls.Config{RootCAs: pool}}, func(p *peer) {
			q := p.secure(cert)
			_, _ = q.conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(q.conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			drain(q.conn)
		})
		if protocol, ok := errors.AsType[*routeros.ProtocolError](err); !ok || protocol.Peer != routeros.PeerHTTP {
			t.Errorf("got %v, want a web server", err)
		}
	})
}

// TestLoginUnanswered has a router that reads the login and says nothing, or hangs
// up, on the port of either service. With TLS the handshake has worked before.
func TestLoginUnanswered(t *testing.T) {
	t.Parallel()
	cert, pool := certificate(t)
	silent := func(p *peer) { p.hang() }
	closed := func(p *peer) { p.recv() }
	secure := func(play script) script {
		return func(p *peer) {
			if q := p.secure(cert); q != nil {
				play(q)
			}
		}
	}
	tests := map[string]struct {
		address string
		tls     *tls.Config
		play    script
		want    routeros.LoginError
	}{
		"silent":           {"127.0.0.1:8728", nil, silent, routeros.LoginError{Err: routeros.ErrLoginSilent}},
		"closed":           {"127.0.0.1:8728", nil, closed, routeros.LoginError{Err: routeros.ErrLoginClosed}},
		"silent, TLS port": {"127.0.0.1:8729", nil, silent, routeros.LoginError{Err: routeros.ErrLoginSilent, WrongPort: true}},
		"closed, TLS port": {"127.0.0.1:8729", nil, closed, routeros.LoginError{Err: routeros.ErrLoginClosed, WrongPort: true}},
		"silent, TLS":      {"127.0.0.1:8729", &tls.Config{RootCAs: pool}, secure(silent), routeros.LoginError{Err: routeros.ErrLoginSilent}},
		"closed, TLS":      {"127.0.0.1:8729", &tls.Config{RootCAs: pool}, secure(closed), routeros.LoginError{Err: routeros.ErrLoginClosed}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				err := firstFailure(t, routeros.Config{Address: tt.address, TLS: tt.tls}, tt.play)
				failed, ok := errors.AsType[*routeros.LoginError](err)
				if !ok || failed.WrongPort != tt.want.WrongPort || !errors.Is(err, tt.want.Err) || transport(t, err).Op != "logging in" {
					t.Errorf("got %#v in %v, want %v of logging in", failed, err, tt.want)
				}
				if strings.Contains(err.Error(), "without TLS") != tt.want.WrongPort {
					t.Errorf("got %q", err)
				}
				if errors.Is(err, routeros.ErrTimeout) != errors.Is(err, routeros.ErrLoginSilent) {
					t.Errorf("%v: a silent login is out of time, and no other", err)
				}
				if took := time.Since(start); took != 12*time.Second {
					t.Errorf("the command ended after %v", took)
				}
			})
		})
	}
}
