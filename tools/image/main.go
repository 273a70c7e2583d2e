// Image writes a container image of doublenat for a router; `make image` calls it.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
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
	if contents.Certificates, err = image.ReadCertificates(certificates); err != nil {
		return 0, err
	}
	var b bytes.Buffer
	if err := image.Write(&b, contents); err != nil {
		return 0, err
	}
	return b.Len(), save(out, b.Bytes())
}

// save writes a file that everybody may read: an image has no secrets.
func save(out string, data []byte) error {
	if err := os.WriteFile(out, data, 0o600); err != nil {
		return err
	}
	return os.Chmod(out, 0o644) //nolint:gosec // for others, who copy it to the router
}
