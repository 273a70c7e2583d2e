package check_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"doublenat/internal/check"
	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/internal/remedy"
	"doublenat/routeros/routerostest"
	"doublenat/stun"
)

// The STUN server of a pool is asked, its answer is held against what else is known, and
// where it is not believed the command that is printed makes it so.
func TestPoolBySTUN(t *testing.T) {
	t.Parallel()
	server, vpn := netip.MustParseAddrPort("203.0.113.1:3478"), netip.MustParseAddrPort("9.8.7.6:40000")
	local := netip.MustParseAddrPort(routerostest.ContainerAddress + ":40000")
	into := func(r *rig) { r.add("/ip/route", "dst-address=203.0.113.1/32 gateway=wg1", "") }
	for _, tt := range []struct {
		name   string
		set    func(r *rig)
		answer netip.AddrPort // the zero value for none
		want   string
		mended string // what is said after the command
	}{
		{name: "through the tunnel", set: into, answer: vpn, want: "ok the public address is 9.8.7.6, by the STUN server 203.0.113.1:3478 through wg1"},
		{name: "the same by hand", answer: vpn, set: func(r *rig) { into(r); r.cfg.Public = vpn.Addr() }, want: "ok the STUN server 203.0.113.1:3478 sees the same address through wg1"},
		{
			name: "another by hand", answer: vpn, set: func(r *rig) { into(r); r.cfg.Public = netip.MustParseAddr("9.9.9.9") },
			want: "warn the STUN server 203.0.113.1:3478 sees 9.8.7.6 through wg1, and 9.9.9.9 is told",
		},
		{
			name: "by another line", answer: vpn, want: "warn the STUN server 203.0.113.1:3478 is not believed: the question left from 198.51.100.2",
			mended: "ok the public address is 9.8.7.6, by the STUN server 203.0.113.1:3478 through wg1",
		},
		{name: "private", set: into, answer: netip.MustParseAddrPort("10.9.9.9:1"), want: "warn the STUN server 203.0.113.1:3478 is not believed: it answers 10.9.9.9"},
		{name: "silent", set: into, want: "warn the STUN server 203.0.113.1:3478: nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				local := local
				r := newRig(t, lab.BenchConfig{})
				r.pooled(routerostest.TunnelInterface, 51413)
				r.cfg.STUN = &check.STUN{Server: server.String(), Judge: daemon.JudgeSTUN, Ask: func(context.Context) (stun.Answer, error) {
					r.Router.Follow(routerostest.Packet{Protocol: "udp", In: "veth1", Src: local, Dst: server}, true)
					if !tt.answer.IsValid() {
						return stun.Answer{}, errors.New("nothing")
					}
					return stun.Answer{Mapped: tt.answer, Local: local, Server: server}, nil
				}}
				if tt.set != nil {
					tt.set(r)
				}
				said, commands := r.said()
				if !strings.Contains(said, tt.want) {
					t.Errorf("no %q in:\n%s", tt.want, said)
				}
				if tt.mended == "" {
					return
				}
				r.obey(commands)
				local = netip.AddrPortFrom(local.Addr(), 40001) // another socket
				if said, _ := r.said(); !strings.Contains(said, tt.mended) {
					t.Errorf("after the command no %q in:\n%s", tt.mended, said)
				}
			})
		})
	}
}

// said returns what the doctor says, and the commands that it prints.
func (r *rig) said() (string, []remedy.Command) {
	r.t.Helper()
	var text strings.Builder
	var commands []remedy.Command
	for _, f := range r.check().Findings {
		fmt.Fprintf(&text, "%v %s\n", f.Level, f.Seen)
		if f.Probe == "pool" {
			commands = append(commands, f.Advice.Commands...)
		}
	}
	return text.String(), commands
}
