package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ReadCertificates reads the authorities in a file, or, if name is empty, those of this machine.
func ReadCertificates(name string) ([]byte, error) {
	places := []string{name}
	if name == "" {
		places = systemCertificates()
	}
	data, err := readFirst(places)
	if err != nil {
		return nil, fmt.Errorf("%w; name a file with authorities by CERTIFICATES=", err)
	}
	return data, nil
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
