//go:build e2e && linux

package e2e_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// newWireGuardKey makes a key pair.
func newWireGuardKey(t *testing.T) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// wireGuardConfig is the configuration of one end with one peer.
func wireGuardConfig(own, peer *ecdh.PrivateKey, ownLine string, peerLines ...string) string {
	lines := []string{
		"[Interface]", "PrivateKey = " + base64.StdEncoding.EncodeToString(own.Bytes()), ownLine,
		"[Peer]", "PublicKey = " + base64.StdEncoding.EncodeToString(peer.PublicKey().Bytes()),
	}
	return strings.Join(append(lines, peerLines...), "\n") + "\n"
}

// startWireGuard runs one end of a tunnel in user space.
//
// Wireguard-go and wg meet at a socket that has the interface's name and is the
// same for all namespaces, so the interface gets its own name only afterwards.
// Wireguard-go then complains that it cannot find it to read the MTU, which has
// not changed.
func startWireGuard(ctx context.Context, t *testing.T, ns *namespace, unique, name, prefix, config string) {
	t.Helper()
	cmd := ns.command(ctx, "wireguard-go", unique)
	// In the foreground, without its remarks on the kernel's WireGuard.
	cmd.Env = append(os.Environ(), "WG_PROCESS_FOREGROUND=1", "LOG_LEVEL=error")
	startProcess(t, "wireguard-go "+name, cmd)
	err := eventually(ctx, 2*patience, func() error {
		return run(exec.CommandContext(ctx, "wg", "show", unique))
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "wg.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(exec.CommandContext(ctx, "wg", "setconf", unique, file)); err != nil {
		t.Fatal(err)
	}
	if err := ns.ip(ctx, "link set "+unique+" name "+name, "address add "+prefix+" dev "+name, "link set "+name+" mtu 1420 up"); err != nil {
		t.Fatal(err)
	}
}
