package routeros_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"doublenat/routeros"
)

func TestCommandCheck(t *testing.T) {
	t.Parallel()
	client, err := routeros.New(routeros.Config{Address: "192.0.2.1:8728", User: "u"})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 64<<10)
	tests := map[string]routeros.Command{
		"no slash":         {Path: "ip"},
		"nothing":          {},
		"no argument name": {Path: "/x", Args: []routeros.Attr{{Value: "v"}}},
		"equals in a name": {Path: "/x", Args: []routeros.Attr{{Name: "a=b"}}},
		"long value":       {Path: "/x", Args: []routeros.Attr{{Name: "a", Value: long}}},
		"many words":       {Path: "/x", Args: make([]routeros.Attr, 254)},
		"bad query":        {Path: "/x", Queries: []string{"comment=x"}},
		"empty query":      {Path: "/x", Queries: []string{"?"}},
		"long query":       {Path: "/x", Queries: []string{"?" + long}},
		"negative timeout": {Path: "/x", Timeout: -time.Second},
	}
	for name, cmd := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := client.Do(t.Context(), cmd); err == nil || routeros.Ambiguous(err) {
				t.Errorf("got error %v, want one that says that nothing was sent", err)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]routeros.Config{
		"no address":  {User: "u"},
		"no user":     {Address: "192.0.2.1:8728"},
		"bad address": {Address: "192.0.2.1", User: "u"},
	}
	for name, cfg := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := routeros.New(cfg); err == nil {
				t.Error("the configuration was accepted")
			}
		})
	}
}

func TestTrapTexts(t *testing.T) {
	t.Parallel()
	type kinds struct{ Item, Permission, Command, Parameter, Place, Ambiguous bool }
	tests := map[string]kinds{
		"no such item":                                        {Item: true},
		"no such item (4)":                                    {Item: true},
		"not enough permissions (9)":                          {Permission: true},
		"no such command":                                     {Command: true},
		"no such command or directory (check)":                {Command: true},
		"unknown parameter":                                   {Parameter: true},
		"Unknown parameter tls-host":                          {Parameter: true},
		"item referred by 'place-before' does not exist (11)": {Place: true},
		"action timed out - try again, if error continues contact support (13)": {Ambiguous: true},
		"interrupted": {Ambiguous: true},
		"input does not match any value of in-interface": {},
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			err := fmt.Errorf("adding: %w", &routeros.TrapError{Path: "/x", Traps: []routeros.Trap{{Message: "first"}, {Message: text}}})
			got := kinds{
				routeros.IsNoSuchItem(err), routeros.IsNotPermitted(err), routeros.IsUnknownCommand(err),
				routeros.IsUnknownParameter(err), routeros.IsBadPlace(err), routeros.Ambiguous(err),
			}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	if routeros.IsNoSuchItem(errors.New("no such item")) {
		t.Error("an error that is no trap counts as one")
	}
}

func TestRow(t *testing.T) {
	t.Parallel()
	row := routeros.Row{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}, {Name: "t", Value: "true"}, {Name: "y", Value: "yes"}, {Name: "f", Value: "false"}, {Name: "e"}}
	if got := row.Value("a"); got != "1" {
		t.Errorf("value of a: got %q, want the first", got)
	}
	if v, ok := row.Lookup("e"); v != "" || !ok {
		t.Errorf("e: got %q, %v", v, ok)
	}
	if v, ok := row.Lookup("none"); v != "" || ok {
		t.Errorf("none: got %q, %v", v, ok)
	}
	if !row.Bool("t") || !row.Bool("y") || row.Bool("f") || row.Bool("e") || row.Bool("none") {
		t.Error("a boolean is wrong")
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	s := routeros.NewSecret("pass")
	if got := s.Reveal(); got != "pass" {
		t.Errorf("got %q, want the password", got)
	}
	if got := (routeros.Secret{}).Reveal(); got != "" {
		t.Errorf("zero value: got %q, want nothing", got)
	}
	encoded, err := json.Marshal(map[string]any{"v": s, "s": s.String(), "l": s.LogValue().String()})
	if want := `{"l":".....","s":".....","v":"....."}`; err != nil || string(encoded) != want {
		t.Errorf("got %s, %v, want %s", encoded, err, want)
	}
}
