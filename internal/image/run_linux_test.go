package image_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// runAlone runs the program of a layer in it, as an engine does: as the user of the
// image, with nothing else in its file system.
func runAlone(t *testing.T, layer map[string]entry) {
	t.Helper()
	root := t.TempDir()
	for name, e := range layer {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			continue
		}
		if err := os.WriteFile(path, e.data, os.FileMode(e.mode)); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	cmd := exec.CommandContext(t.Context(), "/doublenat", "version")
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if os.Geteuid() != 0 { // in a namespace of users one can be somebody else
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if cmd.Process == nil && os.Geteuid() != 0 {
		if os.Getenv("CI") != "" { //nolint:forbidigo // CI is what must not skip
			t.Fatalf("CI must have root, or the right to make a namespace of users: %v", err)
		}
		t.Logf("not run, for want of root or of a namespace of users: %v", err)
		return
	}
	if err != nil || !strings.HasPrefix(string(out), "doublenat ") {
		t.Errorf("%v: %s", err, out)
	}
}
