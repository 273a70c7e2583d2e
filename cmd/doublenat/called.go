package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// command returns how to call this program again, to be copied into a shell: as it was
// called, by go run if that was it.
func (p *process) command() string {
	switch {
	case p.name == "":
		return "doublenat"
	case byGoRun(p.name):
		if _, err := os.Stat(filepath.Join("cmd", "doublenat", "main.go")); err == nil {
			return "go run ./cmd/doublenat"
		}
		return "go run doublenat/cmd/doublenat" // from anywhere else in the module
	case strings.ContainsFunc(p.name, special):
		return "'" + strings.ReplaceAll(p.name, "'", `'\''`) + "'"
	}
	return p.name
}

// byGoRun says whether a program is one that go run has built: in a folder for the moment, or
// in its cache, wherever that is, in a folder named after a hash.
func byGoRun(name string) bool {
	return slices.ContainsFunc(strings.Split(filepath.ToSlash(name), "/"), func(folder string) bool {
		hash, cached := strings.CutSuffix(folder, "-d")
		sum, err := hex.DecodeString(hash)
		return strings.HasPrefix(folder, "go-build") || cached && err == nil && len(sum) == sha256.Size
	})
}

// special says whether a character means something to a shell.
func special(r rune) bool {
	return !strings.ContainsRune("/._-+:@%,=", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}
