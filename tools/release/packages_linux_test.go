//go:build packages

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
	"doublenat/routeros/routerostest"
)

// `make packages-test` makes three releases and runs this as root, in a mount namespace of its own.
var (
	firstDir  = flag.String("first", "", "`folder` of a release of all platforms")
	againDir  = flag.String("again", "", "`folder` of the same release from another clone")
	secondDir = flag.String("second", "", "`folder` of a later version")
)

// tool runs a program and returns what it prints.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// one is the one file of a folder that a pattern matches.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s in %s: %q, %v", pattern, dir, found, err)
	}
	return found[0]
}

// TestFiles: a release has what it should, and its checksums are right.
func TestFiles(t *testing.T) {
	sums := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
	sums.Dir = *firstDir
	if out, err := sums.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	want := []string{"SHA256SUMS", "oci.tar", "sbom.spdx.json", "windows_amd64.zip", "freebsd_amd64.tar.gz", "darwin_arm64.tar.gz"}
	for _, p := range []string{"linux_amd64", "linux_arm64", "linux_armv7", "linux_armv5"} {
		want = append(want, p+".tar.gz", p+".deb", p+".rpm", p+"_image.tar")
		if p != "linux_armv5" {
			want = append(want, p+".apk")
		}
	}
	slices.Sort(want)
	files, err := os.ReadDir(*firstDir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, strings.TrimPrefix(f.Name(), "doublenat_0.0.1_"))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestReproducible: another clone gives the same bytes.
func TestReproducible(t *testing.T) {
	files, err := os.ReadDir(*againDir)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, f := range files {
		if !strings.Contains(f.Name(), "_linux_") {
			continue // of fewer platforms than the first
		}
		compared++
		first, errFirst := os.ReadFile(filepath.Join(*firstDir, f.Name()))
		again, errAgain := os.ReadFile(filepath.Join(*againDir, f.Name()))
		if err := errors.Join(errFirst, errAgain); err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s differs (%v)", f.Name(), err)
		}
	}
	if compared < 5 {
		t.Errorf("compared %d files only", compared)
	}
}

// TestDeb installs the package on a copy of this machine, runs what it brought, upgrades and removes it.
func TestDeb(t *testing.T) {
	root := copyOfThisMachine(t)
	inside := func(args ...string) string { t.Helper(); return tool(t, "chroot", append([]string{root}, args...)...) }
	if err := os.Mkdir(filepath.Join(root, "release-files"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		filepath.Base(one(t, *firstDir, "*_linux_amd64.deb")):    one(t, *firstDir, "*_linux_amd64.deb"),
		filepath.Base(one(t, *firstDir, "*_linux_amd64.tar.gz")): one(t, *firstDir, "*_linux_amd64.tar.gz"),
		"SHA256SUMS": filepath.Join(*firstDir, "SHA256SUMS"),
		"second.deb": one(t, *secondDir, "*_linux_amd64.deb"),
	} {
		if err := os.WriteFile(filepath.Join(root, "release-files", name), read(t, file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if said := documented(t, root, "sums"); !strings.Contains(said, ".deb: OK") {
		t.Errorf("the checksums say\n%s", said)
	}
	if said := documented(t, root, "archive"); !strings.Contains(said, "200 OK") {
		t.Errorf("the lab from the archive says\n%s", said)
	}
	if said := documented(t, root, "deb"); !strings.Contains(said, "systemctl enable --now doublenat") {
		t.Errorf("it does not say what to do next:\n%s", said)
	}
	for name, mode := range map[string]os.FileMode{
		"usr/bin/doublenat": 0o755, "etc/doublenat": os.ModeDir | 0o755, "etc/doublenat/doublenat.env": 0o600,
		"usr/lib/systemd/system/doublenat.service": 0o644, "usr/share/man/man1/doublenat-setup.1.gz": 0o644,
		"usr/share/bash-completion/completions/doublenat": 0o644, "usr/share/doc/doublenat/copyright": 0o644,
	} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, want %v (%v)", name, info, mode, err)
		}
	}
	if version := inside("doublenat", "version"); !strings.HasPrefix(version, "doublenat v0.0.1, commit ") || strings.Contains(version, "modified") {
		t.Errorf("it is %q", version)
	}
	inside("bash", "-n", "/usr/share/bash-completion/completions/doublenat")
	judgeUnit(t, inside)
	const setting = "LOG_FORMAT=text"
	serveInside(t, root, setting)

	inside("dpkg", "-i", "/release-files/second.deb")
	if version := inside("doublenat", "version"); !strings.HasPrefix(version, "doublenat v0.0.2-rc.1, ") {
		t.Errorf("after the upgrade it is %q", version)
	}
	env := filepath.Join(root, "etc/doublenat/doublenat.env")
	if !strings.Contains(string(read(t, env)), setting) {
		t.Error("the upgrade lost the settings")
	}
	if info, err := os.Stat(env); err != nil || info.Mode() != 0o600 {
		t.Errorf("after the upgrade the settings have %v, %v", info, err)
	}
	serveInside(t, root, "")

	inside("dpkg", "--remove", "doublenat")
	if _, err := os.Stat(filepath.Join(root, "usr/bin/doublenat")); err == nil {
		t.Error("the program is still there")
	}
	if _, err := os.Stat(env); err != nil {
		t.Errorf("removed, not purged, it lost the settings: %v", err)
	}
	calls := manager(t, root)
	if said := inside("dpkg", "-i", "/release-files/second.deb"); !strings.Contains(said, "To start it, now and after each reboot") {
		t.Errorf("installed again it says\n%s", said)
	}
	if diff := cmp.Diff([]string{"daemon-reload", "try-restart doublenat.service", "is-active --quiet doublenat.service"}, calls()); diff != "" {
		t.Errorf("installed again it calls (-want +got):\n%s", diff)
	}
	wants := filepath.Join(root, "etc/systemd/system/multi-user.target.wants")
	if err := errors.Join(os.MkdirAll(wants, 0o755), os.Symlink("/usr/lib/systemd/system/doublenat.service", filepath.Join(wants, "doublenat.service"))); err != nil {
		t.Fatal(err)
	}
	inside("dpkg", "--remove", "doublenat")
	if diff := cmp.Diff([]string{"stop doublenat.service", "daemon-reload"}, calls()); diff != "" {
		t.Errorf("removed it calls (-want +got):\n%s", diff)
	}
	if _, err := os.Lstat(filepath.Join(wants, "doublenat.service")); err != nil {
		t.Errorf("removed, not purged, it is no longer enabled: %v", err)
	}
	inside("dpkg", "--purge", "doublenat")
	if _, err := os.Lstat(filepath.Join(wants, "doublenat.service")); err == nil {
		t.Error("purged, it is still enabled")
	}
	if _, err := os.Stat(filepath.Join(root, "etc/doublenat")); err == nil {
		t.Error("a password stayed")
	}
}

// onDebian lets rpm install what it does not know the dependencies of.
const onDebian = "rpm() { command rpm --force-debian --nodeps \"$@\"; }\n"

// documented runs a block of docs/install.md, with the mark before it, beside the files of the release.
func documented(t *testing.T, root, mark string) string {
	t.Helper()
	_, after, found := strings.Cut(string(read(t, "../../docs/install.md")), "<!-- run: "+mark+" -->\n```\n")
	block, _, closed := strings.Cut(after, "\n```")
	if !found || !closed {
		t.Fatalf("docs/install.md has no block to run that is marked %s", mark)
	}
	return tool(t, "chroot", root, "sh", "-ec", "cd /release-files\n"+onDebian+block)
}

// copyOfThisMachine mounts this machine's files so that what is written goes elsewhere, and
// returns where. Nothing of it is seen outside of the mount namespace.
func copyOfThisMachine(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	mount := func(source, target, kind string, flags uintptr, data string) {
		t.Helper()
		if err := os.MkdirAll(target, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount(source, target, kind, flags, data); err != nil {
			t.Fatalf("mounting %s at %s, which needs root: %v", kind, target, err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	mount("tmpfs", filepath.Join(dir, "changes"), "tmpfs", 0, "")
	upper, work, root := filepath.Join(dir, "changes/upper"), filepath.Join(dir, "changes/work"), filepath.Join(dir, "root")
	if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755)); err != nil {
		t.Fatal(err)
	}
	mount("overlay", root, "overlay", 0, "lowerdir=/,upperdir="+upper+",workdir="+work)
	mount("/dev", filepath.Join(root, "dev"), "", syscall.MS_BIND, "")
	mount("proc", filepath.Join(root, "proc"), "proc", 0, "")
	return root
}

// judgeUnit lets systemd judge the unit as it was installed.
func judgeUnit(t *testing.T, inside func(...string) string) {
	t.Helper()
	const unit = "/usr/lib/systemd/system/doublenat.service"
	if said := inside("systemd-analyze", "verify", unit); strings.Contains(said, "doublenat") {
		t.Errorf("systemd-analyze verify: %s", said)
	}
	said := inside("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
	level := regexp.MustCompile(`Overall exposure level for doublenat\.service: ([0-9.]+)`).FindStringSubmatch(said)
	if level == nil {
		t.Fatalf("no level in\n%s", said)
	}
	if exposure, err := strconv.ParseFloat(level[1], 64); err != nil || exposure > 2 {
		t.Errorf("exposure %s, want at most 2", level[1])
	}
}

// serveInside runs the installed program as the unit says, with the installed settings, between
// a router and a gateway, until a client has a mapping; what it stops with has to be nothing.
func serveInside(t *testing.T, root, extra string) {
	t.Helper()
	const gatewayAt, routerAt, listenAt = "127.61.0.1", "127.61.0.2", "127.61.0.3"
	gateway, router, stop := surroundings(t, gatewayAt, routerAt)
	defer stop()
	env := filepath.Join(root, "etc/doublenat/doublenat.env")
	text := regexp.MustCompile(`(?m)^(VPN_GATEWAY|MIKROTIK_API_ADDRESS|MIKROTIK_API_USER|HTTP_ADDR|LISTEN_ADDR|MIKROTIK_IN_INTERFACE)=.*\n`).ReplaceAllString(string(read(t, env)), "")
	text += "VPN_GATEWAY=" + gatewayAt + "\nMIKROTIK_API_ADDRESS=" + routerAt + "\nMIKROTIK_API_USER=" + routerostest.LeastUser +
		"\nMIKROTIK_IN_INTERFACE=" + routerostest.TunnelInterface + "\nLISTEN_ADDR=" + listenAt + ":5351\nHTTP_ADDR=unix:/run/doublenat/http.sock\n" + extra + "\n"
	if err := os.WriteFile(env, []byte(text), 0o600); err != nil { // a file that is there keeps its mode
		t.Fatal(err)
	}
	unit := string(read(t, filepath.Join(root, "usr/lib/systemd/system/doublenat.service")))
	command := regexp.MustCompile(`(?m)^ExecStart=(.+)$`).FindStringSubmatch(unit)
	credential := regexp.MustCompile(`(?m)^LoadCredential=(.+):(.+)$`).FindStringSubmatch(unit)
	if command == nil || credential == nil {
		t.Fatalf("the unit has no command or no credential:\n%s", unit)
	}
	if err := os.WriteFile(filepath.Join(root, credential[2]), []byte(routerostest.LeastPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	for _, dir := range []string{"run/doublenat", "run/credentials/doublenat"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, dir), 0o755), os.Chown(filepath.Join(root, dir), nobody, nobody)); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(root, "run/credentials/doublenat", credential[1])
	if err := errors.Join(os.WriteFile(secret, []byte(routerostest.LeastPassword), 0o400), os.Chown(secret, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	ready := notified(t, filepath.Join(root, "run/doublenat/notify"), nobody)
	words := strings.Fields(command[1])
	cmd := exec.CommandContext(t.Context(), "/usr/bin/"+words[0], words[1:]...)
	cmd.Env = append(settings(text), "CREDENTIALS_DIRECTORY=/run/credentials/doublenat", "NOTIFY_SOCKET=/run/doublenat/notify", "WATCHDOG_USEC=60000000")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("it ended with %v:\n%s", err, log.Bytes())
	case <-time.After(30 * time.Second):
		t.Error("systemd was not told that it is ready")
	}
	mapped(t, listenAt)
	if rule, ok := router.Find("/ip/firewall/nat", "to-ports", "8080"); !ok || len(gateway.Mappings()) != 1 {
		t.Errorf("rule %v, leases %v", rule, gateway.Mappings())
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v:\n%s", err, log.Bytes())
	}
	if len(gateway.Mappings()) != 1 {
		t.Error("SHUTDOWN=keep of the settings did not keep the lease")
	}
}

// settings reads an environment file as systemd does one without quotes.
func settings(text string) []string {
	var environ []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			environ = append(environ, line)
		}
	}
	return environ
}

// notified hears what systemd would, and says when the service is ready.
func notified(t *testing.T, name string, owner int) <-chan struct{} {
	t.Helper()
	_ = os.Remove(name) // of the run before
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(name, owner, owner); err != nil {
		t.Fatal(err)
	}
	ready, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for said, buf := false, make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if !said && bytes.Contains(buf[:n], []byte("READY=1")) {
				said = true
				close(ready)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-gone })
	return ready
}

// surroundings are a router and a gateway.
func surroundings(t *testing.T, gatewayAt, routerAt string) (*natpmptest.Gateway, *routerostest.Router, func()) {
	t.Helper()
	var lc net.ListenConfig
	packets, errPackets := lc.ListenPacket(t.Context(), "udp4", gatewayAt+":5351")
	api, errAPI := lc.Listen(t.Context(), "tcp4", routerAt+":8728")
	gateway, errGateway := natpmptest.New(natpmptest.Config{Profile: natpmptest.RFC()})
	router, errRouter := routerostest.New(routerostest.Config{})
	if err := errors.Join(errPackets, errAPI, errGateway, errRouter); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- gateway.Serve(ctx, packets) }()
	go func() { ended <- router.Serve(ctx, api) }()
	return gateway, router, func() {
		cancel()
		if err := errors.Join(<-ended, <-ended, router.Close(), packets.Close()); err != nil {
			t.Error(err)
		}
	}
}

// mapped asks for a mapping until it is granted.
func mapped(t *testing.T, listenAt string) {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(listenAt), 5351)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request, reply := natpmp.Request{Opcode: natpmp.OpMapTCP, InternalPort: 8080, Lifetime: 3600}.Append(nil), make([]byte, 16)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		_, _ = conn.Write(request) // refused until it listens
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(reply); err == nil && n == 16 && reply[2] == 0 && reply[3] == 0 {
			return
		}
	}
	t.Error("no mapping was granted")
}

// read reads a file.
func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOtherPackages lets rpm judge the rpm, and looks into the apk.
func TestOtherPackages(t *testing.T) {
	for platform, arch := range map[string]string{"amd64": "x86_64", "arm64": "aarch64", "armv7": "armv7hl", "armv5": "armv5tel"} {
		name := one(t, *firstDir, "*_linux_"+platform+".rpm")
		tool(t, "rpm", "--checksig", "--nosignature", name)
		if got := tool(t, "rpm", "--query", "--queryformat", "%{NAME} %{VERSION} %{ARCH} %{LICENSE}", "-p", name); got != "doublenat 0.0.1 "+arch+" MIT" {
			t.Errorf("%s: %s", name, got)
		}
		if listed := tool(t, "rpm", "--query", "--list", "--verbose", "-p", name); !regexp.MustCompile(`(?m)^-rw------- .* /etc/doublenat/doublenat.env$`).MatchString(listed) {
			t.Errorf("%s has\n%s", name, listed)
		}
	}
	for platform, arch := range map[string]string{"amd64": "amd64", "arm64": "arm64", "armv7": "armhf", "armv5": "armel"} {
		name := one(t, *firstDir, "*_linux_"+platform+".deb")
		if got := strings.TrimSpace(tool(t, "dpkg-deb", "--field", name, "Architecture")); got != arch {
			t.Errorf("%s is for %s, want %s", name, got, arch)
		}
	}
	for platform, arch := range map[string]string{"amd64": "x86_64", "arm64": "aarch64", "armv7": "armv7"} {
		files := untar(t, gunzip(t, read(t, one(t, *firstDir, "*_linux_"+platform+".apk"))))
		if info := string(files[".PKGINFO"].data); !strings.Contains(info, "\narch = "+arch+"\n") {
			t.Errorf("the apk for %s says\n%s", platform, info)
		}
		if f, ok := files["etc/doublenat/doublenat.env"]; !ok || f.mode&0o777 != 0o600 {
			t.Errorf("the apk for %s has settings of mode %o", platform, f.mode)
		}
	}
}

// packed is a file of an archive.
type packed struct {
	mode os.FileMode
	data []byte
}

// layerOf unpacks the one layer of an image.
func layerOf(t *testing.T, name string) map[string]packed {
	t.Helper()
	files := untar(t, read(t, name))
	var manifests []struct{ Layers []string }
	unmarshal(t, string(files["manifest.json"].data), &manifests)
	if len(manifests) != 1 || len(manifests[0].Layers) != 1 {
		t.Fatalf("%s: %+v", name, manifests)
	}
	return untar(t, files[manifests[0].Layers[0]].data)
}

// untar unpacks an archive, or several of them one after another.
func untar(t *testing.T, data []byte) map[string]packed {
	t.Helper()
	files := make(map[string]packed)
	r := tar.NewReader(bytes.NewReader(data))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		contents, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = packed{header.FileInfo().Mode(), contents}
	}
}

// gunzip decompresses all members.
func gunzip(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// unmarshal reads JSON.
func unmarshal(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
