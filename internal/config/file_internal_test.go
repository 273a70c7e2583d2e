package config

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A file on a server that is away is an error after five seconds, and one that answers
// late is read.
func TestSlowFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			takes, want time.Duration
			err         error
		}{
			{takes: 4 * time.Second, want: 4 * time.Second},
			{takes: time.Hour, want: 5 * time.Second, err: errSlowFile},
		} {
			began := time.Now()
			content, err := within(fileTime, func() ([]byte, error) {
				time.Sleep(tt.takes)
				return []byte("pw"), nil
			})
			if took := time.Since(began); !errors.Is(err, tt.err) || took != tt.want || (err == nil) != (string(content) == "pw") {
				t.Errorf("a file that takes %v: %q, %v after %v", tt.takes, content, err, took)
			}
		}
		if text := unreadable(errSlowFile); !strings.HasPrefix(text, "could not be read within 5s") {
			t.Errorf("told as %q", text)
		}
		time.Sleep(time.Hour) // the reader that was left behind ends with it
	})
}
