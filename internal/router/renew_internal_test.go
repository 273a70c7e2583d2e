package router

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"doublenat/routeros"
)

// A move is told of once, and so is a gateway that is reached through another interface
// than the one that is configured.
func TestTellMove(t *testing.T) {
	t.Parallel()
	log, moves := new(bytes.Buffer), 0
	r := routerWith(t, nil)
	r.log, r.cfg.OnMove = slog.New(slog.NewTextHandler(log, nil)), func(from, to string) {
		if moves++; from != "wg0" || to != "wg1" {
			t.Errorf("moved from %s to %s", from, to)
		}
	}
	s := testSite()
	for _, tt := range []struct {
		from, elsewhere string
		moves, lines    int
	}{{"", "", 0, 0}, {"wg0", "", 1, 1}, {"", "wg2", 1, 2}, {"", "wg2", 1, 2}, {"", "", 1, 2}, {"", "wg2", 1, 3}} {
		s.iface, s.elsewhere = "wg1", tt.elsewhere
		r.tellMove(tt.from, s)
		if n := strings.Count(log.String(), "level="); n != tt.lines || moves != tt.moves {
			t.Errorf("%+v: %d moves, %d lines:\n%s", tt, moves, n, log)
		}
	}
	r.cfg.OnMove = nil
	r.tellMove("wg0", s) // nobody wants to know
}

// Rules leave an interface that has not led to the gateway for as long as a change may
// take, to the moment. What is told is how many went, or why none did.
func TestVacate(t *testing.T) {
	t.Parallel()
	ours := routeros.Row{
		{Name: ".id", Value: "*1"},
		{Name: "chain", Value: "dstnat"},
		{Name: "action", Value: "dst-nat"},
		{Name: "protocol", Value: "tcp"},
		{Name: "in-interface", Value: "wg1"},
		{Name: "dst-port", Value: "20001"},
		{Name: "to-addresses", Value: "192.168.88.10"},
		{Name: "to-ports", Value: "1"},
		{Name: "comment", Value: "doublenat:default tcp 192.168.88.10:1 inner=20001 ext=1 life=60"},
	}
	why := &InterfaceError{Reason: "none", certain: true, through: []string{"ether1"}}
	for name, tt := range map[string]struct {
		table fakeClient
		line  string // "" for none
		done  bool
	}{
		"a rule":      {fakeClient{natPath + "/print": {ours}, natPath + "/remove": nil}, "rules removed until it is", true},
		"no rule":     {fakeClient{natPath + "/print": nil, natPath + "/remove": nil}, "", true},
		"not removed": {fakeClient{natPath + "/print": {ours}}, "rules cannot be removed", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log, removals := new(bytes.Buffer), 0
				r := routerWith(t, tt.table)
				r.log, r.cfg.OnRemoved = slog.New(slog.NewTextHandler(log, nil)), func() { removals++ }
				s := testSite()
				if r.vacate(t.Context(), s, why) {
					t.Error("at once")
				}
				time.Sleep(confirmAfter - time.Nanosecond)
				if r.vacate(t.Context(), s, why) || log.Len() > 0 || removals > 0 {
					t.Errorf("too early: %s", log)
				}
				time.Sleep(time.Nanosecond)
				if done := r.vacate(t.Context(), s, why); done != tt.done || removals != 1 {
					t.Errorf("done: %v, %d times told", done, removals)
				}
				if tt.line == "" && log.Len() > 0 || tt.line != "" && strings.Count(log.String(), tt.line) != 1 {
					t.Errorf("want %q:\n%s", tt.line, log)
				}
			})
		})
	}
}
