package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/config"
)

// hostile is what a router may answer: a command to a terminal, a line of its own, an
// override of direction, bytes that are not UTF-8, and the text of an escape.
const hostile = "no\x1b[2J such\nitem \u202egnp.exe caf\xe9 after \\x1b[31m \"quoted\""

// visible is what is seen of it.
const visible = `no\x1b[2J such\nitem \u202egnp.exe caf\xe9 after \x1b[31m "quoted"`

// TestLogShowsForeignText: in each format, foreign text is one line, whole, and
// commands nothing.
func TestLogShowsForeignText(t *testing.T) {
	t.Parallel()
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(visible)
	say := func(format config.LogFormat, color bool) string {
		var out bytes.Buffer
		log := newLogger(&out, slog.LevelInfo, format, color)
		log.Warn("refused", "error", errors.New(hostile), "comment", hostile, "plain", "wg-home", "what", struct{ Name string }{hostile},
			"address", netip.MustParseAddr("10.2.0.1"))
		return out.String()
	}
	text := say(config.LogText, false)
	if want := `WRN refused error="` + quoted + `" comment="` + quoted + `" plain=wg-home what="{Name:` + quoted + `}" address=10.2.0.1` + "\n"; !strings.HasSuffix(text, want) {
		t.Errorf("text:\n%q, want\n%q", text, want)
	}
	colored := say(config.LogAuto, true)
	if got := strings.Count(colored, quoted); got != 3 || strings.Count(colored, "\n") != 1 || !utf8.ValidString(colored) {
		t.Errorf("on a terminal: %d times whole, %q", got, colored)
	}
	for command := range strings.SplitSeq(colored, "\x1b[") {
		if !slices.Contains([]string{"", "2m", "0m", "22m", "93m"}, strings.SplitAfterN(command, "m", 2)[0]) && !strings.HasPrefix(command, "20") { // the date is first
			t.Errorf("on a terminal: a command that is not ours: %q in %q", command, colored)
		}
	}
	var line map[string]any
	coded := say(config.LogJSON, false)
	if err := json.Unmarshal([]byte(coded), &line); err != nil {
		t.Fatal(err)
	}
	delete(line, "time")
	delete(line, "what") // it is encoded as it is
	if diff := cmp.Diff(map[string]any{
		"level": "WARN", "msg": "refused", "error": visible, "comment": visible, "plain": "wg-home", "address": "10.2.0.1",
	}, line); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}
