// Image writes a container image of doublenat for a router; `make image` calls it.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"

	"doublenat/internal/image"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) //nolint:forbidigo // a program of its own
}

// run writes the image that the arguments say.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(stderr)
	program := flags.String("program", "", "`file` with doublenat for the platform of the image")
	certificates := flags.String("certificates", "", "`file` with the authorities for the image; empty for those of this machine")
	out := flags.String("out", "", "`file` to write")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *program == "" || *out == "" || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	size, err := write(*program, *certificates, *out)
	if err != nil {
		fmt.Fprintln(stderr, "image:", err)
		return 1
	}
	fmt.Fprintf(stdout, "%s: %d bytes\n", *out, size)
	return 0
}

// write reads what goes into the image and writes it.
func write(program, certificates, out string) (size int, err error) {
	var contents image.Contents
	if contents.Program, err = os.ReadFile(program); err != nil { //nolint:gosec // named by who builds
		return 0, err
	}
	places := []string{certificates}
	if certificates == "" {
		places = systemCertificates()
	}
	if contents.Certificates, err = readFirst(places); err != nil {
		return 0, fmt.Errorf("%w; name a file with authorities by CERTIFICATES=", err)
	}
	var b bytes.Buffer
	if err := image.Write(&b, contents); err != nil {
		return 0, err
	}
	return b.Len(), os.WriteFile(out, b.Bytes(), 0o600)
}

// systemCertificates are the files in which systems have their authorities; these are
// where crypto/x509 looks.
func systemCertificates() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt", // Debian, Arch
		"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora
		"/etc/ssl/ca-bundle.pem",             // OpenSUSE
		"/etc/ssl/cert.pem",                  // Alpine, macOS, BSD
	}
}

// readFirst reads the first file that is there.
func readFirst(places []string) ([]byte, error) {
	for _, place := range places {
		data, err := os.ReadFile(place) //nolint:gosec // named by who builds
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return nil, fmt.Errorf("there is none of %q", places)
}
