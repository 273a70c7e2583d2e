package routeros_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/routeros"
)

const password = "correct horse"

func TestLogin(t *testing.T) {
	t.Parallel()
	trap := func(words ...string) script {
		return func(p *peer) {
			p.recv()
			p.send(append([]string{"!trap"}, words...)...)
			p.send("!done")
			p.hang()
		}
	}
	tests := map[string]struct {
		play script
		want string // the error's text within; empty means that the login works
	}{
		"since 6.43": {play: func(p *peer) {
			want := routeros.Sentence{"/login", "=name=doublenat", "=password=" + password}
			if diff := cmp.Diff(want, p.recv()); diff != "" {
				p.t.Errorf("login (-want +got):\n%s", diff)
			}
			p.send("!done")
			p.echo()
		}},
		"before 6.43": {play: func(p *peer) {
			p.recv()
			p.send("!done", "=ret=ebddd18303a54111e2dea05a92ab46b4")
			want := routeros.Sentence{"/login", "=name=doublenat", "=response=00" + challengeSum}
			if diff := cmp.Diff(want, p.recv()); diff != "" {
				p.t.Errorf("login (-want +got):\n%s", diff)
			}
			p.send("!done")
			p.echo()
		}},
		"wrong password":       {trap("=message=invalid user name or password (6)"), `login as "doublenat" refused: invalid user name or password (6)`},
		"wrong password, old":  {trap("=message=cannot log in"), `login as "doublenat" refused: cannot log in`},
		"busy":                 {trap("=message=action timed out - try again, if error continues contact MikroTik support (13)"), "logging in: /login: action timed out"},
		"bad challenge":        {func(p *peer) { p.recv(); p.send("!done", "=ret=xyz"); p.hang() }, `login challenge "xyz" is not hexadecimal`},
		"fatal":                {func(p *peer) { p.recv(); p.send("!fatal", "too many commands before login") }, "router ended the connection: too many commands before login"},
		"refused and closed":   {func(p *peer) { p.recv(); p.send("!trap", "=message=cannot log in") }, "refused: cannot log in"},
		"refused, then fatal":  {func(p *peer) { p.recv(); p.send("!trap", "=message=no"); p.send("!fatal", "bye") }, "refused: no"},
		"refused, then silent": {func(p *peer) { p.recv(); p.send("!trap", "=message=no"); p.hang() }, "refused: no"},
		"refused, then noise":  {func(p *peer) { p.recv(); p.send("!trap", "=message=no"); _, _ = p.conn.Write([]byte("\xff")) }, "refused: no"},
		"closed before login":  {func(*peer) {}, "logging in: the router closed the connection without an answer"},
		"closed at login":      {func(p *peer) { p.recv() }, "logging in: the router closed the connection without an answer"},
		"half an answer":       {func(p *peer) { p.recv(); _, _ = p.conn.Write([]byte("\x05!d")) }, "logging in: the router closed the connection without an answer"},
		"silent":               {func(p *peer) { p.hang() }, "logging in: no answer from the router in time"},
		"reads nothing":        {func(*peer) { time.Sleep(time.Minute) }, "logging in: no answer from the router in time"},
		"garbage":              {func(p *peer) { p.recv(); _, _ = p.conn.Write([]byte("\xffHTTP")) }, "reserved length byte"},
		"no reply":             {func(p *peer) { p.recv(); p.send("=some=thing"); p.hang() }, `"=some=thing" is no reply to /login`},
		"long answer":          {func(p *peer) { p.recv(); p.send("!done", "=ret="+strings.Repeat("x", 5000)); p.hang() }, "longer than any answer to /login"},
		"no end of the answer": {func(p *peer) { p.recv(); flood(p) }, "no end of the answer to /login"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routeros.Config{Password: routeros.NewSecret(password)}, tt.play)
				if tt.want == "" {
					r.get(t, "/x")
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
				defer cancel()
				_, err := r.Do(ctx, routeros.Command{Path: "/x"})
				if te := transport(t, err); te.Sent || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v: want an unsent command and the context's error", err)
				}
				r.mu.Lock()
				first := r.states[0].Err
				r.mu.Unlock()
				if first == nil || !strings.Contains(first.Error(), tt.want) {
					t.Errorf("got %v, want an error with %q", first, tt.want)
				}
				if strings.Contains(fmt.Sprintf("%v %+v %#v", first, first, first), password) {
					t.Errorf("the error has the password in it: %v", first)
				}
				if _, ok := errors.AsType[*routeros.AuthError](first); ok != strings.Contains(tt.want, "refused") {
					t.Errorf("%T: is it an AuthError? got %v", first, ok)
				}
			})
		})
	}
}

// challengeSum is the MD5 sum of a zero byte, "correct horse" and the bytes of
// the challenge in TestLogin, as md5sum prints it.
const challengeSum = "f7a4df83ab1f0a745a818152dafdc140"

// flood sends rows that nobody asked for.
func flood(p *peer) {
	for range 100 {
		p.send("!re")
	}
}

// TestBackoff counts the attempts to connect to a router that is down.
func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{BackoffMin: time.Second, BackoffMax: 16 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		_, err := r.Do(ctx, routeros.Command{Path: "/x"})
		if !errors.Is(err, errRefused) || !errors.Is(err, context.DeadlineExceeded) || routeros.Ambiguous(err) {
			t.Errorf("got error %v, want both the last attempt's and the context's", err)
		}
		dials := r.dialed()
		for i := 1; i < len(dials); i++ {
			most := min(time.Second<<min(i-1, 4), 16*time.Second)
			if pause := dials[i] - dials[i-1]; pause < most/2 || pause > most {
				t.Errorf("pause %d: got %v, want between %v and %v", i, pause, most/2, most)
			}
		}
		if n := len(dials); n < 38 || n > 80 {
			t.Errorf("dialed %d times in ten minutes", n)
		}
		time.Sleep(time.Hour)
		if n := len(r.dialed()); n > len(dials)+1 {
			t.Errorf("dialed %d times more while no command waited", n-len(dials))
		}
	})
}

// TestBackoffRepeats has a source of chance that always says the same.
func TestBackoffRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, routeros.Config{
			BackoffMin: time.Second, BackoffMax: 4 * time.Second, Random: func() float64 { return 0.5 },
		})
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		_, _ = r.Do(ctx, routeros.Command{Path: "/x"})
		want := []time.Duration{0, 750 * time.Millisecond, 2250 * time.Millisecond, 5250 * time.Millisecond, 8250 * time.Millisecond}
		if diff := cmp.Diff(want, r.dialed()); diff != "" {
			t.Errorf("attempts to connect (-want +got):\n%s", diff)
		}
	})
}

// TestBackoffAfterUselessLogins has a router that accepts the login and then ends
// the connection, again and again.
func TestBackoffAfterUselessLogins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		useless := func(p *peer) { p.login() }
		r := newRig(t, routeros.Config{}, slices.Repeat([]script{useless}, 1000)...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		for ctx.Err() == nil {
			_, _ = r.Do(ctx, routeros.Command{Path: "/x"})
		}
		if n := len(r.dialed()); n < 20 || n > 60 {
			t.Errorf("dialed %d times in ten minutes", n)
		}
	})
}

// TestBackoffAfterHangUps has routers that take the login, answer something, and
// end the connection, again and again: that is no reason to log in each second.
func TestBackoffAfterHangUps(t *testing.T) {
	t.Parallel()
	answer := func(p *peer, lives time.Duration) {
		p.hurry()
		p.login()
		end := time.AfterFunc(lives, func() { _ = p.conn.Close() })
		defer end.Stop()
		for cmd := p.recv(); cmd != nil; cmd = p.recv() {
			time.Sleep(min(lives/2, 100*time.Millisecond))
			p.send("!re", tagOf(cmd))
			p.send("!done", tagOf(cmd))
		}
	}
	tests := map[string]struct {
		proves      bool
		lives       time.Duration
		least, most int // logins in ten minutes
	}{
		"answers and hangs up":              {false, time.Millisecond, 20, 60},
		"proves itself and hangs up":        {true, time.Millisecond, 20, 60},
		"answers for some seconds":          {false, 5 * time.Second, 15, 60},
		"proves itself for some seconds":    {true, 5 * time.Second, 15, 120},
		"answers for a minute":              {false, time.Minute, 9, 11},
		"proves itself for half a minute":   {true, 30 * time.Second, 15, 20},
		"proves itself for almost a minute": {true, 59 * time.Second, 9, 11},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routeros.Config{}, slices.Repeat([]script{func(p *peer) { answer(p, tt.lives) }}, 3000)...)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				for range 16 { // as many as may ask at once
					wg.Go(func() {
						for ctx.Err() == nil {
							_, _ = r.Do(ctx, routeros.Command{Path: "/x", Proves: tt.proves})
						}
					})
				}
				wg.Wait()
				if n := len(r.dialed()); n < tt.least || n > tt.most {
					t.Errorf("dialed %d times in ten minutes, want %d to %d", n, tt.least, tt.most)
				}
			})
		})
	}
}

// TestBackoffStartsOver is down for a while, and then proves itself: the next loss
// is answered with the shortest pause again.
func TestBackoffStartsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := func(*peer) {}
		lives := func(d time.Duration) script {
			return func(p *peer) {
				p.hurry()
				p.login()
				p.send("!done", tagOf(p.recv()))
				time.Sleep(d)
			}
		}
		r := newRig(t, routeros.Config{BackoffMin: time.Second, BackoffMax: 16 * time.Second, Random: func() float64 { return 1 }},
			down, down, down, lives(4*time.Second), lives(0), lives(time.Second-1), lives(2*time.Second), down)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for ctx.Err() == nil {
			_, _ = r.Do(ctx, routeros.Command{Path: "/x", Proves: true})
			time.Sleep(10 * time.Millisecond)
		}
		r.stop()
		var pauses []time.Duration
		for i, at := range r.dialed()[1:] {
			pauses = append(pauses, (at - r.dialed()[i]).Round(100*time.Millisecond))
		}
		want := []time.Duration{
			time.Second, 2 * time.Second, 4 * time.Second, // down
			4 * time.Second, // at once, after it has lived as long as the pause before it
			time.Second,     // at most one in a minute without a pause
			3 * time.Second, // shorter than the pause before it: no success
			3 * time.Second, // just as long
		}
		if diff := cmp.Diff(want, pauses); diff != "" {
			t.Errorf("from one attempt to the next (-want +got):\n%s", diff)
		}
	})
}

func TestBackoffAfterRefusedLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refuse := func(p *peer) {
			p.recv()
			p.send("!trap", "=message=invalid user name or password (6)")
			p.send("!done")
			p.hang()
		}
		r := newRig(t, routeros.Config{}, refuse, refuse, refuse, func(p *peer) { p.login(); p.echo() })
		r.get(t, "/x")
		dials := r.dialed()
		for i := 1; i < len(dials); i++ {
			if pause := dials[i] - dials[i-1]; pause < 30*time.Second || pause > time.Minute {
				t.Errorf("pause %d: got %v, want between 30s and 1m", i, pause)
			}
		}
	})
}

// TestReconnectAtOnce loses a connection that worked: the next command does not
// wait for a pause.
func TestReconnectAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		once := func(p *peer) {
			p.login()
			cmd := p.recv()
			p.send("!re", tagOf(cmd), "=command="+cmd[0])
			p.send("!done", tagOf(cmd))
		}
		r := newRig(t, routeros.Config{}, once, once, once)
		for range 3 {
			start := time.Now()
			if _, err := r.Do(t.Context(), routeros.Command{Path: "/x", Proves: true}); err != nil || time.Since(start) != 0 {
				t.Errorf("got error %v after %v, want none at once", err, time.Since(start))
			}
			time.Sleep(time.Minute) // the loss is known
		}
	})
}

// TestShutdownWhileConnecting ends Run in the middle of a login and of a pause.
func TestShutdownWhileConnecting(t *testing.T) {
	t.Parallel()
	tests := map[string][]script{"login": {func(p *peer) { p.hang() }}, "pause": nil}
	for name, scripts := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routeros.Config{ConnectTimeout: time.Hour, BackoffMin: time.Hour, BackoffMax: time.Hour}, scripts...)
				done := make(chan error, 1)
				go func() {
					_, err := r.Do(t.Context(), routeros.Command{Path: "/x"})
					done <- err
				}()
				time.Sleep(time.Second)
				start := time.Now()
				r.stop()
				if err := <-done; !errors.Is(err, routeros.ErrClosed) || time.Since(start) != 0 {
					t.Errorf("got error %v after %v, want %v at once", err, time.Since(start), routeros.ErrClosed)
				}
			})
		})
	}
}

// certificate returns a self-signed one for 127.0.0.1, and a pool with it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "router"},
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// secure does the TLS handshake and returns the peer inside, nil if it failed.
func (p *peer) secure(cert tls.Certificate) *peer {
	p.hurry()
	conn := tls.Server(p.conn, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if conn.HandshakeContext(p.t.Context()) != nil {
		return nil
	}
	return &peer{t: p.t, conn: conn, reader: routeros.NewReader(conn, routeros.Limits{})}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, pool := certificate(t)
	secure := func(p *peer) {
		if q := p.secure(cert); q != nil {
			q.login()
			q.echo()
		}
	}
	raw := func(reply string) script {
		return func(p *peer) {
			_, _ = p.conn.Read(make([]byte, 4096))
			_, _ = p.conn.Write([]byte(reply))
			p.hang()
		}
	}
	tests := map[string]struct {
		cfg  *tls.Config
		play script
		want string
	}{
		"trusted":        {&tls.Config{RootCAs: pool}, secure, ""},
		"unknown issuer": {&tls.Config{}, secure, "certificate signed by unknown authority"},
		"other name":     {&tls.Config{RootCAs: pool, ServerName: "other.example"}, secure, "certificate is"},
		"no certificate": {&tls.Config{}, raw("\x15\x03\x03\x00\x02\x02\x28"), "remote error: tls: handshake failure"},
		"plain service":  {&tls.Config{}, raw("\x06!fatal\x0dnot logged in\x00"), "the port does not speak TLS"},
		"silent":         {&tls.Config{}, func(p *peer) { drain(p.conn) }, "connecting: TLS handshake: no answer from the router in time"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, routeros.Config{Address: "127.0.0.1:8729", TLS: tt.cfg}, tt.play)
				if tt.want == "" {
					r.get(t, "/x")
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
				defer cancel()
				_, _ = r.Do(ctx, routeros.Command{Path: "/x"})
				errs := r.failures()
				if len(errs) == 0 || !strings.Contains(errs[0].Error(), tt.want) {
					t.Fatalf("got errors %v, want one with %q", errs, tt.want)
				}
				if _, ok := errors.AsType[*routeros.TLSError](errs[0]); !ok {
					t.Errorf("got %T, want a TLSError", errs[0])
				}
			})
		})
	}
}

// TestDeadTLS has a router that dies while the connection is secure. Closing TLS
// in order means to write to it, which nobody must wait for.
func TestDeadTLS(t *testing.T) {
	t.Parallel()
	cert, pool := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := routeros.Config{Address: "127.0.0.1:8729", TLS: &tls.Config{RootCAs: pool}, CommandTimeout: 3 * time.Second}
		r := newRig(t, cfg, func(p *peer) {
			q := p.secure(cert)
			q.login()
			q.recv()
			time.Sleep(time.Hour)
		})
		start := time.Now()
		_, err := r.Do(t.Context(), routeros.Command{Path: "/x"})
		if took := time.Since(start); !errors.Is(err, routeros.ErrTimeout) || took != 3*time.Second {
			t.Errorf("got error %v after %v, want %v after 3s", err, took, routeros.ErrTimeout)
		}
	})
}

// TestAddress connects over TCP, without a dial function.
func TestAddress(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		p := &peer{t: t, conn: conn, reader: routeros.NewReader(conn, routeros.Limits{})}
		p.login()
		p.echo()
	})
	client, err := routeros.New(routeros.Config{Address: listener.Addr().String(), User: "u"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	wg.Go(func() { _ = client.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	defer func() { _ = listener.Close() }()
	reply, err := client.Do(ctx, routeros.Command{Path: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	want := &routeros.Reply{Rows: []routeros.Row{{{Name: "command", Value: "/x"}}}}
	if diff := cmp.Diff(want, reply); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
}

// TestSecretsStaySecret runs with everything logged and looks for the passwords.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := routeros.Config{
			Password: routeros.NewSecret(password),
			Logger:   slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}
		r := newRig(t, cfg, func(p *peer) { p.login(); p.recv() })
		secrets := []routeros.Attr{{Name: "name", Value: "u"}, {Name: "Password", Value: password}, {Name: "private-key", Value: password}}
		_, err := r.Do(t.Context(), routeros.Command{Path: "/user/add", Args: secrets})
		r.stop()
		all := log.String() + fmt.Sprintf("%v %+v %#v %s %q %x %d", cfg, cfg, cfg.Password, cfg.Password, cfg.Password, cfg.Password, cfg.Password) +
			fmt.Sprintf("%v %+v %#v", err, r.Client, struct{ s routeros.Secret }{cfg.Password})
		if strings.Contains(all, password) || strings.Contains(all, fmt.Sprintf("%x", password)) {
			t.Errorf("a password is in:\n%s", all)
		}
		for _, want := range []string{"/login name=doublenat password=.....", "/user/add name=u Password=..... private-key=....."} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q is not in the log:\n%s", want, log.String())
			}
		}
	})
}
