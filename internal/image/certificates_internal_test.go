package image

import (
	"os"
	"path/filepath"
	"testing"
)

// TestReadFirst takes the first file that is there.
func TestReadFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"second", "third"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readFirst([]string{filepath.Join(dir, "first"), filepath.Join(dir, "second"), filepath.Join(dir, "third")})
	if err != nil || string(got) != "second" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := readFirst([]string{dir, filepath.Join(dir, "second")}); err == nil {
		t.Error("a directory is passed over")
	}
}
