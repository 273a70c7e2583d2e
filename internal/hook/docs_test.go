package hook_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/hook"
	"doublenat/internal/nat"
)

// docs/events.md names every field, variable and event that there is, and no other.
func TestDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	var events, fields []string
	for kind := nat.EventCreated; kind <= nat.EventShutdown; kind++ {
		if kind != nat.EventRuleRestored {
			events = append(events, kind.String())
		}
	}
	events = append(events, "address_changed")
	of := reflect.TypeFor[hook.Event]()
	for field := range of.Fields() {
		if name, _, ok := strings.Cut(field.Tag.Get("json"), ","); ok || name != "" {
			fields = append(fields, name+" "+variable(name))
		}
	}
	compareUnordered(t, "events", events, rows(text, "| event |", func(c []string) string { return c[0] }))
	compareUnordered(t, "fields", fields, rows(text, "| field |", func(c []string) string { return c[0] + " " + c[1] }))

	_, rest, _ := strings.Cut(string(text), "```json\n")
	example, _, _ := strings.Cut(rest, "```")
	again, err := json.Marshal(decode(t, example))
	if err != nil {
		t.Fatal(err)
	}
	var flat bytes.Buffer
	if err := json.Compact(&flat, []byte(example)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(flat.String(), string(again)); diff != "" {
		t.Errorf("the example (-document +written again):\n%s", diff)
	}
}

// variable returns the environment variable of a field.
func variable(field string) string {
	if field == "version" {
		return ""
	}
	if field == "event" {
		return "DOUBLENAT_EVENT"
	}
	return "DOUBLENAT_" + strings.ToUpper(field)
}

// rows returns the rows of the table with the given head, as show wants them.
func rows(text []byte, head string, show func(cells []string) string) []string {
	_, table, _ := strings.Cut(string(text), "\n"+head)
	table, _, _ = strings.Cut(table, "\n\n")
	var all []string
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := regexp.MustCompile(`\s*\|\s*`).Split(strings.Trim(line, "| "), -1)
		for i := range cells {
			cells[i] = strings.Trim(cells[i], "`")
		}
		all = append(all, show(cells))
	}
	return all
}

func compareUnordered(t *testing.T, what string, want, got []string) {
	t.Helper()
	sorted := func(list []string) map[string]bool {
		m := make(map[string]bool)
		for _, s := range list {
			m[s] = true
		}
		return m
	}
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Errorf("%s (-code +document):\n%s", what, diff)
	}
}
