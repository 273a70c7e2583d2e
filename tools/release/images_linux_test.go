//go:build packages

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestImages lets skopeo read the images, and runs them where there is nothing else.
func TestImages(t *testing.T) {
	archs := map[string]string{"amd64": "amd64", "arm64": "arm64", "armv7": "arm", "armv5": "arm"}
	for platform, arch := range archs {
		var about struct {
			Architecture, Os string
			Layers           []string
			Labels           map[string]string
		}
		name := one(t, *firstDir, "*_linux_"+platform+"_image.tar")
		unmarshal(t, tool(t, "skopeo", "inspect", "docker-archive:"+name), &about)
		if about.Architecture != arch || about.Os != "linux" || len(about.Layers) != 1 || about.Labels["org.opencontainers.image.version"] != "v0.0.1" {
			t.Errorf("%s: %+v", name, about)
		}
	}
	layout := filepath.Join(t.TempDir(), "layout")
	all := "oci-archive:" + one(t, *firstDir, "*_oci.tar")
	tool(t, "skopeo", "copy", "--all", "--quiet", all, "oci:"+layout+":latest")
	for platform, variant := range map[string]string{"amd64": "", "arm64": "", "armv7": "v7", "armv5": "v5"} {
		args := []string{"--override-os", "linux", "--override-arch", archs[platform]}
		if variant != "" {
			args = append(args, "--override-variant", variant)
		}
		var config struct {
			Architecture, Variant string
			Config                struct {
				User       string
				Entrypoint []string
			}
		}
		unmarshal(t, tool(t, "skopeo", append(args, "inspect", "--config", "oci:"+layout+":latest")...), &config)
		if config.Architecture != archs[platform] || config.Variant != variant || config.Config.User != "65534:65534" || !slices.Equal(config.Config.Entrypoint, []string{"/doublenat"}) {
			t.Errorf("%s: %+v", platform, config)
		}
	}
}

// TestImagesRun runs the lab in the images for this machine and for the oldest ARM, as user 65534
// in fresh namespaces with a root that cannot be written.
func TestImagesRun(t *testing.T) {
	for platform, emulator := range map[string]string{"amd64": "", "armv5": "qemu-arm-static"} {
		t.Run(platform, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "root")
			for name, e := range layerOf(t, one(t, *firstDir, "*_linux_"+platform+"_image.tar")) {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if strings.HasSuffix(name, "/") {
					continue
				}
				if err := os.WriteFile(path, e.data, e.mode); err != nil {
					t.Fatal(err)
				}
			}
			run := "/doublenat"
			if emulator != "" {
				path, err := exec.LookPath(emulator)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, "emulator"), read(t, path), 0o755); err != nil {
					t.Fatal(err)
				}
				run = "/emulator -cpu arm926 /doublenat"
			}
			if err := os.Chmod(root, 0o755); err != nil {
				t.Fatal(err)
			}
			alone := func(command string) string {
				t.Helper()
				script := fmt.Sprintf("set -e; ip link set lo up; mount --bind %[1]s %[1]s; mount -o remount,bind,ro %[1]s; cd %[1]s; "+
					"! touch %[1]s/written 2>/dev/null; exec chroot --userspec=65534:65534 --groups= %[1]s %[2]s %[3]s", root, run, command)
				return tool(t, "unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", script)
			}
			if said := alone("version"); !strings.HasPrefix(said, "doublenat v0.0.1, commit ") {
				t.Errorf("it says %q", said)
			}
			if said := alone("lab --demo"); !strings.Contains(said, "200 OK") {
				t.Errorf("the lab says\n%s", said)
			}
		})
	}
}
