package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/foreign"
	"doublenat/internal/ops"
)

const (
	// answerTimeout is how long a running daemon may take to answer.
	answerTimeout = 5 * time.Second
	// silence is how long a stream may say nothing: the daemon says that it is alive every
	// second.
	silence = 5 * time.Second
	// maxAnswer bounds what is read of an answer: with 16384 mappings it has 6 MB.
	maxAnswer = 32 << 20
)

// daemonClient asks a running daemon.
type daemonClient struct {
	at   config.ListenAddress
	http *http.Client
	// silence is how long a stream may say nothing.
	silence time.Duration
}

// newDaemonClient returns a client for the address on which a daemon listens. One
// that listens on all addresses is asked on this host.
func newDaemonClient(at config.ListenAddress) *daemonClient {
	if host, port, err := net.SplitHostPort(at.Address); err == nil && at.Network == "tcp" {
		addr, err := netip.ParseAddr(host)
		switch {
		case err != nil, addr == netip.IPv4Unspecified():
			at.Address = net.JoinHostPort("127.0.0.1", port)
		case addr == netip.IPv6Unspecified():
			at.Address = net.JoinHostPort("::1", port)
		}
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: answerTimeout}
			return d.DialContext(ctx, at.Network, at.Address)
		},
		ResponseHeaderTimeout: answerTimeout,
		DisableCompression:    true,
	}
	return &daemonClient{at: at, silence: silence, http: &http.Client{
		Transport: transport,
		// No daemon sends us elsewhere, and who does is none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// close gives the connections back.
func (d *daemonClient) close() { d.http.CloseIdleConnections() }

// open asks for a path. The caller closes the body.
func (d *daemonClient) open(ctx context.Context, path string) (io.ReadCloser, error) {
	// The name is one that the daemon always knows; where to connect says the transport.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer at %s, is the daemon running with this HTTP_ADDR?: %w", d.at, err)
	}
	if resp.StatusCode/100 == 3 {
		return nil, errors.Join(fmt.Errorf("the server at %s sends to another address, which is not followed: %s; is it doublenat?",
			d.at, foreign.Max(resp.Header.Get("Location"), 200)), resp.Body.Close())
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // whatever it says, it is not what was asked for
		return nil, errors.Join(fmt.Errorf("the answer at %s is %s: %s", d.at, foreign.Text(resp.Status), foreign.Text(string(bytes.TrimSpace(text)))), resp.Body.Close())
	}
	return resp.Body, nil
}

// get returns the answer to a question.
func (d *daemonClient) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	body, err := d.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return data, nil
}

// health says whether the daemon is alive.
func (d *daemonClient) health(ctx context.Context, out io.Writer) error {
	data, err := d.get(ctx, ops.PathHealth)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, foreign.Max(string(trimmed(data)), 200))
	return err
}

// showError is a picture that could not be shown.
type showError struct{ error }

// Unwrap returns the cause.
func (e *showError) Unwrap() error { return e.error }

// stream hands each picture to show, until the stream or ctx ends.
func (d *daemonClient) stream(ctx context.Context, show func([]byte) error) error {
	body, err := d.open(ctx, ops.PathEvents)
	if err != nil {
		return err
	}
	defer body.Close()
	// A host that lost its power says nothing, and neither does a read from it.
	quiet := time.AfterFunc(d.silence, func() { _ = body.Close() })
	defer quiet.Stop()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		if !quiet.Reset(d.silence) {
			break
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if err := show([]byte(data)); err != nil {
			return &showError{err}
		}
	}
	if !quiet.Stop() && ctx.Err() == nil {
		return fmt.Errorf("no word from the daemon at %s for %v", d.at, d.silence)
	}
	return cmp.Or(lines.Err(), fmt.Errorf("the daemon at %s ended the connection", d.at))
}

// trimmed returns data without the line end after it.
func trimmed(data []byte) []byte { return bytes.TrimRight(data, "\n") }
