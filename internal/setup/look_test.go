package setup_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/setup"
	"doublenat/routeros"
)

// answers is a router that has rows for some tables, refuses others, and knows nothing
// of queries.
type answers map[string][]routeros.Row

// Do implements setup.Commander.
func (a answers) Do(_ context.Context, cmd routeros.Command) (*routeros.Reply, error) {
	rows, known := a[cmd.Path]
	if !known {
		return nil, &routeros.TrapError{Path: cmd.Path, Traps: []routeros.Trap{{Message: "no such command", Category: routeros.NoCategory}}}
	}
	return &routeros.Reply{Rows: rows}, nil
}

// row returns a row of "name=value" words.
func row(words ...string) routeros.Row {
	var r routeros.Row
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		r = append(r, routeros.Attr{Name: name, Value: value})
	}
	return r
}

func TestLook(t *testing.T) {
	t.Parallel()
	type seen struct {
		Found setup.Found
		LAN   setup.LAN
		Disk  string
	}
	version := []routeros.Row{row("version=7.20.8 (long-term)")}
	v720 := setup.Version{Major: 7, Minor: 20}
	for name, tt := range map[string]struct {
		router answers
		want   seen
	}{
		"default configuration": {
			answers{
				"/system/resource/print": {row("version=7.20.8 (long-term)", "architecture-name=arm64")},
				"/interface/list/print":  {row("name=all"), row("name=WAN"), row("name=LAN")},
				"/interface/print":       {row("name=ether1", "type=ether"), row("name=bridge", "type=bridge")},
				"/file/print":            {row("name=flash", "type=disk"), row("name=flash/skins", "type=directory")},
			},
			seen{setup.Found{v720, "arm64", []string{"all", "WAN", "LAN"}, []string{"bridge"}, true}, setup.LAN{List: "LAN"}, "flash"},
		},
		"a bridge and no list": {
			answers{
				"/system/resource/print": version,
				"/interface/list/print":  {row("name=all")},
				"/interface/print":       {row("name=ether1", "type=ether"), row("name=br-home", "type=bridge"), row("name=br-guest", "type=bridge")},
				"/file/print":            {row("name=flash.txt", "type=.txt file")},
			},
			seen{setup.Found{v720, "", []string{"all"}, []string{"br-home", "br-guest"}, false}, setup.LAN{Interface: "br-home"}, ""},
		},
		"nothing else is told": {answers{"/system/resource/print": version}, seen{setup.Found{Version: v720}, setup.LAN{}, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, err := setup.Look(t.Context(), tt.router)
			if diff := cmp.Diff(tt.want, seen{found, found.LAN(), found.Disk()}); diff != "" || err != nil {
				t.Errorf("error %v, found (-want +got):\n%s", err, diff)
			}
		})
	}
	for want, router := range map[string]answers{
		"no such command":      {},
		"does not tell":        {"/system/resource/print": nil},
		"is not a version of ": {"/system/resource/print": {row("version=of today")}},
	} {
		if _, err := setup.Look(t.Context(), router); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}
