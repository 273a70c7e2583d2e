package console_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPage judges what the status page has in its own files. Commands of remedies come
// to it from the daemon, as they are.
func TestPage(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	files := 0
	err := filepath.WalkDir(filepath.Join(root, "internal", "ops", "static"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for i, line := range strings.Split(string(content), "\n") {
			for _, m := range within.FindAllStringSubmatch(line, -1) {
				judgeWords(t, c, excerpt{file: path, line: i + 1, text: m[2]})
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files, error %v", files, err)
	}
}
