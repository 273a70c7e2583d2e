//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// follows is how long keepalived takes to move the address after the lock.
	follows = 5 * time.Second
	// followScript is where docs/pair.md has keepalived's script.
	followScript = "/usr/local/bin/doublenat-active"
)

var (
	// secondOnLAN is the second doublenat's host, movingAddress what clients ask.
	secondOnLAN   = netip.MustParseAddr("192.168.88.3")
	movingAddress = netip.MustParseAddr("192.168.88.5")
)

// withKeepalived has a doublenat on a host of the LAN, and leaves the redirect alone.
func withKeepalived() site {
	return site{gateway: startMiniupnpd, box: boxOnLAN, environ: map[string]string{
		"LOCK": "router", "LOCK_LEASE": pairLease.String(), "LOCK_NAME": "first", "LOCK_REDIRECT": "off", "HTTP_ADDR": "127.0.0.1:8080",
	}}
}

// addressFollowsTheLock has clients ask an address that keepalived moves to the active one.
func addressFollowsTheLock(ctx context.Context, w *world) error {
	if err := w.comeAndGo(ctx, pairPort+1); err != nil { // at the first one's own address
		return err
	}
	first := w.doublenat
	second, err := w.neighbor(ctx)
	if err != nil {
		return err
	}
	second.start(ctx)
	home := w.alice.asks
	w.alice.asks = movingAddress
	if err := errors.Join(w.keepAlive(ctx, first.ns, "first"), w.keepAlive(ctx, second.ns, "second")); err != nil {
		return err
	}
	if err := eventually(ctx, 3*patience, func() error { _, err := w.alice.externalAddress(); return err }); err != nil {
		return fmt.Errorf("the address is nowhere: %w", err)
	}
	killed := died()
	killed.gap, killed.follows = pairGap+follows, follows
	err = w.takeOver(ctx, killed, second)
	err = errors.Join(err, w.comeAndGo(ctx, pairPort+2), w.onlyOneWrote(secondOnLAN), first.stop(), second.stop())
	w.alice.asks = home
	return errors.Join(err, w.leaveToOne(ctx, first.ns, netip.MustParseAddr("192.168.88.1")))
}

// comeAndGo has a client map a port, be reached and give it back.
func (w *world) comeAndGo(ctx context.Context, port uint16) error {
	w.alice.serve(ctx, w.t, "tcp", port)
	m, err := w.alice.request("tcp", port, 0, time.Minute)
	if err != nil {
		return err
	}
	return errors.Join(w.reach(ctx, m, w.alice), w.alice.delete(m))
}

// neighbor makes the second doublenat on a host of the LAN. It does not run yet.
func (w *world) neighbor(ctx context.Context) (*doublenat, error) {
	box := namespaceFor(context.WithoutCancel(ctx), w.t, strings.TrimSuffix(w.box.name, "-box"), "box2")
	err := w.joinLAN(ctx, "lan4", box, secondOnLAN)
	environ := withKeepalived().environ
	maps.Copy(environ, map[string]string{"LOCK_NAME": "second"})
	return newDoublenat(w.t, box, netip.MustParseAddr("192.168.88.1"), environ), err
}

// keepAlive runs keepalived on a host, set up as docs/pair.md says.
func (w *world) keepAlive(ctx context.Context, on *namespace, name string) error {
	text, err := os.ReadFile("../docs/pair.md")
	if err != nil {
		return err
	}
	dir := w.t.TempDir()
	script := filepath.Join(dir, "doublenat-active")
	var asks, config string
	for block := range strings.SplitSeq(string(text), "```\n") {
		switch {
		case strings.HasPrefix(block, "#!/bin/sh\n"):
			asks = block
		case strings.Contains(block, "vrrp_instance"):
			// The test's directory is its own, and nobody else's is needed.
			config = strings.NewReplacer(followScript, script, "script_user nobody", "script_user root").Replace(block)
		}
	}
	if asks == "" || config == "" {
		return errors.New("docs/pair.md does not have both files for keepalived")
	}
	if err := errors.Join(os.WriteFile(script, []byte(asks), 0o755), os.WriteFile(filepath.Join(dir, "keepalived.conf"), []byte(config), 0o600)); err != nil {
		return err
	}
	startProcess(w.t, "keepalived "+name, on.command(ctx, "keepalived", "--vrrp", "--dont-fork", "--log-console", "--use-file", filepath.Join(dir, "keepalived.conf"),
		"--pid", filepath.Join(dir, "pid"), "--vrrp_pid", filepath.Join(dir, "vrrp.pid")))
	return nil
}
