package daemon

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"doublenat/internal/config"
)

// A socket that a killed run left is replaced; one that is in use, and a file that is
// no socket, are left alone.
func TestListenStream(t *testing.T) {
	t.Parallel()
	at := config.ListenAddress{Network: "unix", Address: filepath.Join(t.TempDir(), "s")}
	first, err := listenStream(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := listenStream(t.Context(), at); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a socket in use: %v %v", l, err)
	}
	unix, ok := first.(*net.UnixListener)
	if !ok {
		t.Fatalf("%T", first)
	}
	unix.SetUnlinkOnClose(false) // as a process that is killed
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := listenStream(t.Context(), at)
	if err != nil {
		t.Fatalf("a socket that was left: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(at.Address, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := listenStream(t.Context(), at); err == nil {
		t.Errorf("a file was replaced by %v", l.Addr())
	}
	if text, err := os.ReadFile(at.Address); string(text) != "precious" || err != nil {
		t.Errorf("the file has %q, %v", text, err)
	}
	tcp, err := listenStream(t.Context(), config.ListenAddress{Network: "tcp", Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tcp.Close(); err != nil {
		t.Error(err)
	}
}

// What keeps the page from being shown is told with what to do.
func TestClosedPage(t *testing.T) {
	t.Parallel()
	first, err := listenStream(t.Context(), config.ListenAddress{Network: "tcp", Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	dir := t.TempDir()
	socket := config.ListenAddress{Network: "unix", Address: filepath.Join(dir, "s")}
	second, err := listenStream(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		at   config.ListenAddress
		want string
	}{
		{config.ListenAddress{Network: "tcp", Address: first.Addr().String()}, "another program has this port"},
		{config.ListenAddress{Network: "tcp", Address: "192.0.2.1:8080"}, "does not have that address"},
		{socket, "another doublenat shows its page there"},
		{config.ListenAddress{Network: "unix", Address: filepath.Join(dir, "none", "s")}, "its folder does not exist"},
		{config.ListenAddress{Network: "unix", Address: file}, "something else than a socket is there"},
	} {
		d := &Daemon{cfg: config.Config{HTTP: tt.at}, net: Network{ListenHTTP: listenStream}}
		_, err := d.listenHTTP(t.Context())
		if err == nil || !strings.Contains(err.Error(), "opening HTTP_ADDR "+tt.at.String()+" (") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.at, err, tt.want)
		}
	}
}
