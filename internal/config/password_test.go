package config_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/config"
)

func TestParsePassword(t *testing.T) {
	t.Parallel()
	const file = "/run/secrets/router"
	tests := []struct {
		name, inline, content string
		want, err             string
	}{
		{name: "file", content: "p w", want: "p w"},
		{name: "file with line end", content: "pw\n", want: "pw"},
		{name: "file from Windows", content: "pw\r\n", want: "pw"},
		{name: "blanks belong to it", content: " pw \n", want: " pw "},
		{name: "not text", content: "p\xffw", want: "p\xffw"},
		{name: "byte order mark", content: "\ufeffpw\r\n", want: "pw"},
		{name: "byte order mark alone", content: "\ufeff\n", err: "is an empty file"},
		{name: "UTF-16", content: "\xff\xfep\x00w\x00", err: "is a file in UTF-16"},
		{name: "empty file", content: "", err: "is an empty file"},
		{name: "empty line", content: "\n", err: "is an empty file"},
		{name: "two lines", content: "pw\nmore\n", err: "more than one line"},
		{name: "two line ends", content: "pw\n\n", err: "more than one line"},
		{name: "binary", content: "p\x00w", err: "more than one line"},
		{name: "both", inline: "hunter3", content: "pw", err: "is set together with"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			readFile := func(name string) ([]byte, error) {
				if name != file {
					return nil, fs.ErrNotExist
				}
				return []byte(tt.content), nil
			}
			got, err := config.Parse(minimal("MIKROTIK_API_PASSWORD", tt.inline, "MIKROTIK_API_PASSWORD_FILE", file), readFile)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want %q", err, tt.err)
				}
				if strings.Contains(err.Error(), "hunter3") || tt.content != "" && strings.Contains(err.Error(), "=\"pw") {
					t.Fatalf("the password is in %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.RouterPassword.Reveal()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Under systemd the password is among the service's credentials; a variable that
// is set goes before it.
func TestParsePasswordFromSystemd(t *testing.T) {
	t.Parallel()
	readFile := func(name string) ([]byte, error) {
		if name != "/run/credentials/doublenat.service/router-password" {
			return nil, fs.ErrNotExist
		}
		return []byte("from systemd\n"), nil
	}
	for _, tt := range []struct {
		name      string
		inline    *string
		directory string
		want, err string
	}{
		{name: "credential", directory: "/run/credentials/doublenat.service", want: "from systemd"},
		{name: "variable first", directory: "/run/credentials/doublenat.service", inline: new("inline"), want: "inline"},
		{name: "empty variable first", directory: "/run/credentials/doublenat.service", inline: new(""), want: ""},
		{name: "no such credential", directory: "/run/credentials/other", err: "/run/credentials/other/router-password"},
		{name: "neither", err: "MIKROTIK_API_PASSWORD is not set, nor is MIKROTIK_API_PASSWORD_FILE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			environ := minimal("CREDENTIALS_DIRECTORY", tt.directory)
			delete(environ, "MIKROTIK_API_PASSWORD")
			if tt.inline != nil {
				environ["MIKROTIK_API_PASSWORD"] = *tt.inline
			}
			got, err := config.Parse(environ, readFile)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || got.RouterPassword.Reveal() != tt.want {
				t.Errorf("got %q, %v, want %q", got.RouterPassword.Reveal(), err, tt.want)
			}
		})
	}
}
