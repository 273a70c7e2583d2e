package image

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// about is what the Go tool wrote into a program.
type about struct {
	// architecture and variant are in the words of images: "arm" and "v7". Variant is
	// empty where there is only one.
	architecture, variant string
	// version is the module version.
	version string
	// revision is the commit, empty when the build did not look.
	revision string
	// created is when the commit was made, in RFC 3339, or the beginning of Unix time
	// when the build did not look.
	created string
}

// aboutProgram reads what is known about a program.
func aboutProgram(program []byte) (about, error) {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return about{}, err
	}
	return aboutBuild(info)
}

// aboutBuild is aboutProgram for what the program has about its build.
func aboutBuild(info *debug.BuildInfo) (about, error) {
	setting := make(map[string]string)
	for _, s := range info.Settings {
		setting[s.Key] = s.Value
	}
	a := about{
		architecture: setting["GOARCH"],
		version:      info.Main.Version,
		revision:     setting["vcs.revision"],
		created:      setting["vcs.time"],
	}
	if a.created == "" {
		a.created = time.Unix(0, 0).UTC().Format(time.RFC3339)
	}
	if a.architecture == "arm" {
		level, _, _ := strings.Cut(setting["GOARM"], ",") // from "7,hardfloat"
		a.variant = "v" + level
	}
	switch {
	case info.Path != "doublenat/cmd/doublenat":
		return about{}, fmt.Errorf("it is %s and not doublenat", info.Path)
	case setting["GOOS"] != "linux":
		return about{}, fmt.Errorf("it is for %s and not for linux", setting["GOOS"])
	case setting["CGO_ENABLED"] != "0" || setting["-buildmode"] != "exe":
		return about{}, fmt.Errorf("it is not static (CGO_ENABLED=%s, -buildmode=%s)", setting["CGO_ENABLED"], setting["-buildmode"])
	}
	return a, nil
}
