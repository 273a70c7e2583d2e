package ops_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/ops"
	"doublenat/natpmp"
)

// document reads docs/openapi.yaml.
func document(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	parsed, rest := parseYAML(t, lines, 0)
	doc, ok := parsed.(map[string]any)
	if !ok || len(rest) > 0 {
		t.Fatalf("cannot be read from %q on", rest)
	}
	return doc
}

// parseYAML reads the part of YAML that the document is written in: maps by
// indentation, lists of one key in a line or in brackets, and scalars.
func parseYAML(t *testing.T, lines []string, indent int) (value any, rest []string) {
	t.Helper()
	m := make(map[string]any)
	for len(lines) > 0 {
		line := lines[0]
		depth := len(line) - len(strings.TrimLeft(line, " "))
		if depth < indent {
			break
		}
		key, scalar, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "- "), ":")
		if !ok {
			t.Fatalf("no key in %q", line)
		}
		key, _ = unquoted(key).(string)
		lines = lines[1:]
		if strings.TrimSpace(scalar) != "" {
			m[key] = unquoted(strings.TrimSpace(scalar))
			continue
		}
		m[key], lines = parseYAML(t, lines, depth+1)
	}
	return m, lines
}

// unquoted returns a scalar, or a list in brackets.
func unquoted(s string) any {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		var list []any
		for item := range strings.SplitSeq(strings.TrimSuffix(inner, "]"), ",") {
			list = append(list, unquoted(strings.TrimSpace(item)))
		}
		return list
	}
	if text, err := strconv.Unquote(s); err == nil {
		return text
	}
	return s
}

// at walks down maps.
func at(t *testing.T, value any, keys ...string) any {
	t.Helper()
	for _, key := range keys {
		m, ok := value.(map[string]any)
		if !ok || m[key] == nil {
			t.Fatalf("no %q of %q", key, keys)
		}
		value = m[key]
	}
	return value
}

// conform says where a value does not fit a schema: a missing or unknown property,
// another type, a value that is not in the enumeration.
func conform(t *testing.T, doc map[string]any, schema, value any, where string) []string {
	t.Helper()
	s, ok := schema.(map[string]any)
	if !ok {
		return []string{where + ": no schema"}
	}
	if ref, ok := s["$ref"].(string); ok {
		return conform(t, doc, at(t, doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...), value, where)
	}
	if !slices.Contains(types(s["type"]), typeOf(value)) && (typeOf(value) != "integer" || !slices.Contains(types(s["type"]), "number")) {
		return []string{fmt.Sprintf("%s: %v is no %v", where, value, s["type"])}
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, value) {
		return []string{fmt.Sprintf("%s: %v is none of %v", where, value, enum)}
	}
	var wrong []string
	switch v := value.(type) {
	case []any:
		for i, item := range v {
			wrong = append(wrong, conform(t, doc, s["items"], item, fmt.Sprintf("%s[%d]", where, i))...)
		}
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		for _, name := range types(s["required"]) {
			if _, ok := v[name]; !ok {
				wrong = append(wrong, where+" lacks "+name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if properties[name] == nil {
				wrong = append(wrong, where+"."+name+" is not described")
				continue
			}
			wrong = append(wrong, conform(t, doc, properties[name], v[name], where+"."+name)...)
		}
	}
	return wrong
}

// types returns one text or a list of them as a list.
func types(v any) []string {
	if one, ok := v.(string); ok {
		return []string{one}
	}
	var all []string
	list, _ := v.([]any)
	for _, item := range list {
		all = append(all, fmt.Sprint(item))
	}
	return all
}

// typeOf names the type of a JSON value as schemas do.
func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	default:
		return "object"
	}
}

// Each described path answers as described, and no path that is not described answers.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	doc := document(t)
	paths, ok := at(t, doc, "paths").(map[string]any)
	if !ok {
		t.Fatal("no paths")
	}
	want := ops.Paths()
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(paths))); diff != "" {
		t.Errorf("paths (-served +described):\n%s", diff)
	}
	onBench(t, rfc("STATIC_MAPPINGS", "tcp:192.168.88.20:8080"), func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		time.Sleep(2 * time.Minute)
		r.Gateway.Refuse(true)
		time.Sleep(2 * time.Minute)
		for _, path := range want {
			if path == ops.PathEvents {
				p := r.watch()
				p.next()
				p.close()
				continue
			}
			code, header, body := r.get(path)
			content := at(t, paths, path, "get", "responses", strconv.Itoa(code), "content")
			kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
			described := at(t, content, kind)
			if path != ops.PathStatus {
				continue
			}
			var value any
			if err := json.Unmarshal([]byte(body), &value); err != nil {
				t.Fatal(err)
			}
			for _, wrong := range conform(t, doc, at(t, described, "schema"), value, "status") {
				t.Error(wrong)
			}
			if wrong := conform(t, doc, at(t, described, "schema"), map[string]any{"time": 1.5, "extra": nil}, "status"); len(wrong) != 11 {
				t.Errorf("a wrong value is called wrong for %q", wrong)
			}
		}
	})
}

// What is refused is described too, for each path.
func TestOpenAPIRefusals(t *testing.T) {
	t.Parallel()
	doc, h := document(t), handler(t)
	paths := at(t, doc, "paths")
	for _, path := range ops.Paths() {
		for code, refused := range map[int]*http.Request{
			http.StatusBadRequest:         httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, strings.NewReader("x")),
			http.StatusMethodNotAllowed:   httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, http.NoBody),
			http.StatusMisdirectedRequest: httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody),
		} {
			refused.Host = "localhost"
			if code == http.StatusMisdirectedRequest {
				refused.Host = "evil.example"
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, refused)
			if w.Code != code {
				t.Errorf("%s: %d, want %d", path, w.Code, code)
			}
			ref, _ := at(t, paths, path, "get", "responses", strconv.Itoa(code), "$ref").(string)
			kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
			at(t, at(t, doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...), "content", kind)
		}
	}
}
