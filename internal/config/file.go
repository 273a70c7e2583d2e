package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

const (
	// maxFile bounds a file that a setting names: authorities of a whole system fit.
	maxFile = 1 << 20
	// fileTime bounds how long reading it may take: a file server may be away.
	fileTime = 5 * time.Second
)

// The reasons for a file that is not read.
var (
	errNotRegular = errors.New("is not a regular file")
	errLargeFile  = fmt.Errorf("is larger than %d KiB", maxFile>>10)
	errSlowFile   = fmt.Errorf("could not be read within %v; is it on a file server that is away?", fileTime)
)

// ReadFile reads a file that a setting names, for [Parse]. It has to be a regular one,
// of at most 1 MiB, and readable in a few seconds: a pipe, a device or a file on a
// server that is away would hold up the start for ever, without a word.
func ReadFile(name string) ([]byte, error) {
	return within(fileTime, func() ([]byte, error) { return readRegular(name) })
}

// within returns what read returns, or [errSlowFile] when the time is over.
func within(limit time.Duration, read func() ([]byte, error)) ([]byte, error) {
	type result struct {
		content []byte
		err     error
	}
	done := make(chan result, 1)
	go func() { // it is left behind if the system holds it for ever, as the process then ends
		content, err := read()
		done <- result{content, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.content, r.err
	case <-timer.C:
		return nil, errSlowFile
	}
}

// readRegular reads a regular file. Its kind is looked at before it is opened, for to
// open a pipe is to wait for who writes into it, and again afterwards.
func readRegular(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w but a %s", errNotRegular, kindOfFile(info.Mode()))
	}
	f, err := os.OpenFile(name, os.O_RDONLY|nonBlocking, 0) //nolint:gosec // the operator names it
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w but a %s", errNotRegular, kindOfFile(info.Mode()))
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case len(content) > maxFile:
		return nil, errLargeFile
	default:
		return content, nil
	}
}

// withoutPath returns the reason alone: who reads it knows the path.
func withoutPath(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// kindOfFile names what is no regular file.
func kindOfFile(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	default:
		return "special file"
	}
}

// unreadable says why a file was not read, as a phrase whose subject is the variable.
func unreadable(err error) string {
	if errors.Is(err, errNotRegular) || errors.Is(err, errLargeFile) || errors.Is(err, errSlowFile) {
		return err.Error()
	}
	return "cannot be read: " + err.Error()
}
