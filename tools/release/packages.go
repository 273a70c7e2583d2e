package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"doublenat/internal/image"
)

// packages makes a deb, an rpm and an apk for each Linux, by nfpm.
func (r *release) packages(ctx context.Context) error {
	nfpm := filepath.Join(r.work, "nfpm")
	_, err := r.run(ctx, r.source, []string{"CGO_ENABLED=0", "GOFLAGS="}, "go", "build", "-modfile=release.mod", "-o", nfpm, "github.com/goreleaser/nfpm/v2/cmd/nfpm")
	if err != nil {
		return err
	}
	// In an apk the scripts are as old as their files.
	scripts, err := filepath.Glob(filepath.Join(r.source, "packaging", "*.sh"))
	if err != nil {
		return err
	}
	for _, name := range scripts {
		if err := os.Chtimes(name, r.date, r.date); err != nil {
			return err
		}
	}
	for _, p := range r.platforms {
		if p.os != "linux" {
			continue
		}
		program, err := os.ReadFile(r.binary(p))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(r.source, "doublenat"), program, 0o755); err != nil { //nolint:gosec // to be published
			return err
		}
		environ := []string{"ARCH=" + p.arch + p.arm, "VERSION=" + r.version, "SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.date.Unix(), 10)}
		for _, kind := range []string{"deb", "rpm", "apk"} {
			if kind == "apk" && p.arm == "5" {
				continue // Alpine does not run there
			}
			if _, err := r.run(ctx, r.source, append(environ, "PRERELEASE="+prerelease(r.version, kind)), nfpm, "package", "-f", "packaging/nfpm.yaml", "-p", kind, "-t", r.file(p.String()+"."+kind)); err != nil {
				return err
			}
		}
	}
	return nil
}

// prerelease is what comes after the hyphen of a version, as a kind of package wants it: nfpm puts ~ or, for apk, _
// before it, so that it sorts before the version itself. apk knows the words of checkVersion with a number right after
// them (apk-tools, version.c).
func prerelease(version, kind string) string {
	_, rest, _ := strings.Cut(version, "-")
	if kind == "apk" {
		return strings.ReplaceAll(rest, ".", "")
	}
	return rest
}

// images makes an image for each Linux as RouterOS takes it, and one file with all of them.
func (r *release) images(context.Context) error {
	certificates, err := image.ReadCertificates(r.certificates)
	if err != nil {
		return err
	}
	var programs [][]byte
	for _, p := range r.platforms {
		if p.os != "linux" {
			continue
		}
		program, err := os.ReadFile(r.binary(p))
		if err != nil {
			return err
		}
		programs = append(programs, program)
		err = write(r.file(p.String()+"_image.tar"), func(f *os.File) error {
			return image.Write(f, image.Contents{Program: program, Certificates: certificates})
		})
		if err != nil {
			return err
		}
	}
	if programs == nil {
		return nil
	}
	return write(r.file("oci.tar"), func(f *os.File) error { return image.WriteLayout(f, programs, certificates) })
}

// write makes a file.
func write(name string, contents func(*os.File) error) error {
	f, err := os.Create(name) //nolint:gosec // of the release
	if err != nil {
		return err
	}
	if err := contents(f); err != nil {
		_ = f.Close() // what failed before says why
		return err
	}
	return f.Close()
}
