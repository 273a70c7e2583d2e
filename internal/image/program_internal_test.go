package image

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPlatforms: the words of the Go tool in those of images.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		settings string
		want     about
		fails    string
	}{
		{"GOARCH=amd64", about{architecture: "amd64"}, ""},
		{"GOARCH=arm64", about{architecture: "arm64"}, ""},
		{"GOARCH=arm GOARM=7", about{architecture: "arm", variant: "v7"}, ""},
		{"GOARCH=arm GOARM=7,softfloat", about{architecture: "arm", variant: "v7"}, ""},
		{"GOARCH=arm GOARM=5", about{architecture: "arm", variant: "v5"}, ""},
		{
			"GOARCH=arm64 vcs.revision=abc vcs.time=2026-01-02T03:04:05Z",
			about{architecture: "arm64", revision: "abc", created: "2026-01-02T03:04:05Z"},
			"",
		},
		{"GOARCH=arm64 GOOS=darwin", about{}, "it is for darwin"},
		{"GOARCH=arm64 CGO_ENABLED=1", about{}, "it is not static"},
		{"GOARCH=arm64 -buildmode=pie", about{}, "it is not static"},
	} {
		t.Run(test.settings, func(t *testing.T) {
			t.Parallel()
			info := &debug.BuildInfo{Path: "doublenat/cmd/doublenat", Main: debug.Module{Version: "v1.2.3"}}
			for setting := range strings.FieldsSeq("GOOS=linux CGO_ENABLED=0 -buildmode=exe " + test.settings) {
				name, value, _ := strings.Cut(setting, "=")
				info.Settings = append(info.Settings, debug.BuildSetting{Key: name, Value: value})
			}
			got, err := aboutBuild(info)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("%v, want %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			test.want.version = "v1.2.3"
			if test.want.created == "" {
				test.want.created = "1970-01-01T00:00:00Z"
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(about{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			c := got.config("0123")
			if c.Architecture != got.architecture || c.Variant != got.variant || c.Created != got.created ||
				c.Config.Labels["org.opencontainers.image.revision"] != got.revision {
				t.Errorf("the configuration is %+v for %+v", c, got)
			}
		})
	}
}
