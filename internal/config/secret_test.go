package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"doublenat/internal/config"
)

func TestSecretShowsNothing(t *testing.T) {
	t.Parallel()
	const text = "s3cret"
	// A struct that hides its secret in an unexported field, as any package may.
	type holder struct{ inside config.Secret }
	secret := config.NewSecret(text)
	cfg, err := config.Parse(minimal("MIKROTIK_API_PASSWORD", text), noFile)
	if err != nil {
		t.Fatal(err)
	}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s", "%T"} {
		for _, value := range []any{secret, &secret, cfg, &cfg, holder{secret}, []config.Secret{secret}, map[string]any{"p": secret}} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	for _, value := range []any{secret, cfg, map[string]any{"p": &secret}} {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(encoded)
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("configured", "password", secret, "config", cfg, "pointer", &secret)
	}
	fmt.Fprint(&out, errors.Join(fmt.Errorf("logging in with %v", secret)), secret.String())

	for _, leak := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("%d", []byte(text))} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q is in the output:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), "••••••") {
		t.Error("no dots either")
	}
}

func TestSecretValue(t *testing.T) {
	t.Parallel()
	var unset config.Secret
	empty, full := config.NewSecret(""), config.NewSecret("x")
	if unset.IsSet() || !empty.IsSet() || !full.IsSet() {
		t.Error("IsSet is wrong")
	}
	if unset.Reveal() != "" || empty.Reveal() != "" || full.Reveal() != "x" {
		t.Error("Reveal is wrong")
	}
	if unset.Equal(empty) || full.Equal(empty) || !full.Equal(config.NewSecret("x")) || !unset.Equal(config.Secret{}) {
		t.Error("Equal is wrong")
	}
}
