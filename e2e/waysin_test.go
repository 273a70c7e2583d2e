//go:build e2e && linux

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// offer says whether a gateway grants the very port that is asked for.
type offer uint8

const (
	// veryPort is one that does, as boxes do and pools.
	veryPort offer = iota
	// anyPort is one that grants ports of its own choice, as ProtonVPN does.
	anyPort
)

// inAllWays is a doublenat that answers all protocols, on the LAN's bridge, where multicast
// arrives.
func inAllWays(s site) site {
	environ := map[string]string{"PCP": "on", "UPNP": "on"}
	maps.Copy(environ, s.environ)
	s.environ, s.box = environ, boxOnBridge
	return s
}

// askedInAllWays is a LAN whose programs ask in every protocol that there is: each is
// reached at what it was told, and what it ends is closed.
func askedInAllWays(o offer) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		tap, err := listenIn(w)
		if err != nil {
			return err
		}
		for _, program := range []func(context.Context, *world, offer) error{
			withNATPMPCToo, withUPnPC, withPythonMiniupnpc, withGSSDP, withLibtorrentByPCP, withTailscale,
		} {
			if err := program(ctx, w, o); err != nil {
				return err
			}
			if err := w.layers(ctx, 0); err != nil {
				return err
			}
		}
		return tap.judge(ctx)
	}
}

// upnpc runs Debian's upnpc on a host, which searches by multicast, and returns the lines that
// tell something. It ends with a failure when it is refused.
func upnpc(ctx context.Context, h *host, args ...string) string {
	said, _ := h.command(ctx, "upnpc", append([]string{"-e", "a game"}, args...)...).CombinedOutput()
	telling := regexp.MustCompile(`^(Status|ExternalIPAddress|external|UPNP_|AddPort|AddAny|No IGD|No valid|[0-9]+ (TCP|UDP))`)
	var lines []string
	for line := range strings.Lines(string(said)) {
		if line = strings.Join(strings.Fields(line), " "); telling.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// says returns an error unless a program said all that.
func says(said string, want ...string) error {
	for _, text := range want {
		if !strings.Contains(said, text) {
			return fmt.Errorf("it does not say %q, but %q", text, said)
		}
	}
	return nil
}

// redirected is what upnpc says of a mapping that was made.
var redirected = regexp.MustCompile(`external ` + regexp.QuoteMeta(publicAddress) + `:(\d+) (TCP|UDP) is redirected to internal ([0-9.]+):(\d+)`)

// upnpcMapping reads it.
func upnpcMapping(said string, h *host, protocol string, internal uint16) (mapping, error) {
	words := redirected.FindStringSubmatch(said)
	if words == nil || !strings.EqualFold(words[2], protocol) || words[3] != h.addr.String() || words[4] != strconv.Itoa(int(internal)) {
		return mapping{}, fmt.Errorf("upnpc does not say that it mapped %s %d, but %q", protocol, internal, said)
	}
	external, err := strconv.ParseUint(words[1], 10, 16)
	return mapping{protocol: protocol, internal: internal, external: uint16(external)}, err
}

// withUPnPC does all that upnpc can.
func withUPnPC(ctx context.Context, w *world, o offer) error {
	w.bob.serve(ctx, w.t, "tcp", 8081)
	own := w.bob.addr.String()
	if err := says(upnpc(ctx, w.bob, "-s"), "Status : Connected", "ExternalIPAddress = "+publicAddress); err != nil {
		return fmt.Errorf("upnpc -s: %w", err)
	}
	add := func(how string) (mapping, error) {
		return upnpcMapping(upnpc(ctx, w.bob, how, own, "8081", "8081", "TCP", "3600"), w.bob, "tcp", 8081)
	}
	how := "-a"
	if o == anyPort {
		how = "-n"
		refused := upnpc(ctx, w.bob, "-a", own, "8081", "8081", "TCP", "3600")
		// What the gateway granted instead goes back beside the answer.
		given := eventually(ctx, patience, func() error { return w.layers(ctx, 0) })
		if err := errors.Join(says(refused, "failed with code 718 (ConflictInMappingEntry)"), given); err != nil {
			return fmt.Errorf("upnpc -a: %w", err)
		}
		// The log is written beside the answer.
		if err := eventually(ctx, patience, func() error {
			if !strings.Contains(w.doublenat.process.log.String(), "very external port") {
				return errors.New("the log does not say why upnpc was refused")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	m, err := add(how)
	if err != nil {
		return fmt.Errorf("upnpc %s: %w", how, err)
	}
	if again, err := add("-n"); err != nil || again.external != m.external {
		return fmt.Errorf("upnpc -n again: port %d, then %d, %w", m.external, again.external, err)
	}
	if err := w.reach(ctx, m, w.bob); err != nil {
		return err
	}
	entry := fmt.Sprintf("TCP %d->%s:8081 'a game' ''", m.external, own)
	if err := errors.Join(says(upnpc(ctx, w.bob, "-l"), "0 "+entry), w.layers(ctx, 1)); err != nil {
		return fmt.Errorf("upnpc -l: %w", err)
	}
	if said := upnpc(ctx, w.alice, "-l"); strings.Contains(said, "->") {
		return fmt.Errorf("another host's list has %q", said)
	}
	if err := says(upnpc(ctx, w.alice, "-d", strconv.Itoa(int(m.external)), "TCP"), "714"); err != nil {
		return fmt.Errorf("another host's upnpc -d: %w", err)
	}
	if o == veryPort {
		if _, err := upnpcMapping(upnpc(ctx, w.bob, "-r", "8081", "TCP"), w.bob, "tcp", 8081); err != nil {
			return fmt.Errorf("upnpc -r: %w", err)
		}
	}
	if err := says(upnpc(ctx, w.bob, "-d", strconv.Itoa(int(m.external)), "TCP"), "UPNP_DeletePortMapping() returned : 0"); err != nil {
		return fmt.Errorf("upnpc -d: %w", err)
	}
	return w.internet.unreachable(ctx, "tcp", w.public(m))
}

// withPythonMiniupnpc maps a console's port, where the gateway grants that.
func withPythonMiniupnpc(ctx context.Context, w *world, o offer) error {
	cmd := w.alice.command(ctx, debianPython, "testdata/console.py", "3074", "3074", "udp")
	program, input, lines, err := startDialogue(w.t, "console.py", cmd)
	if err != nil {
		return err
	}
	expect := func(want string) error {
		if !lines.Scan() {
			return fmt.Errorf("python3-miniupnpc ended, and did not say %s: %w", want, lines.Err())
		}
		var got, wanted any
		if err := errors.Join(json.Unmarshal(lines.Bytes(), &got), json.Unmarshal([]byte(want), &wanted)); err != nil {
			return err
		}
		if fmt.Sprint(got) != fmt.Sprint(wanted) {
			return fmt.Errorf("python3-miniupnpc says %s, want %s", lines.Text(), want)
		}
		return nil
	}
	if err := expect(`{"address": "` + publicAddress + `", "lan": "192.168.88.10"}`); err != nil {
		return err
	}
	if o == anyPort {
		return errors.Join(expect(`{"refused": "ConflictInMappingEntry"}`), program.wait(patience))
	}
	w.alice.serve(ctx, w.t, "udp", 3074)
	if err := expect(`{"mapped": true}`); err != nil {
		return err
	}
	if err := expect(`{"entry": ["192.168.88.10", 3074, "a game", true], "days": 7}`); err != nil {
		return err
	}
	m := mapping{protocol: "udp", internal: 3074, external: 3074}
	if err := errors.Join(w.reach(ctx, m, w.alice), w.layers(ctx, 1)); err != nil {
		return err
	}
	if _, err := input.Write([]byte("\n")); err != nil {
		return err
	}
	return errors.Join(expect(`{"deleted": true}`), program.wait(patience))
}

// withGSSDP finds the device as GNOME's programs do, each kind of search by itself.
func withGSSDP(ctx context.Context, w *world, _ offer) error {
	for _, target := range []string{
		"urn:schemas-upnp-org:device:InternetGatewayDevice:1", "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
		"urn:schemas-upnp-org:service:WANIPConnection:1", "upnp:rootdevice", "ssdp:all",
	} {
		said, err := output(w.bob.command(ctx, "gssdp-discover", "-i", "eth0", "-t", target, "-n", "2", "-m", "available"))
		if err != nil {
			return err
		}
		// The router leads here by TCP: the location is the router's.
		if err := says(said, "http://192.168.88.1:5351/"); err != nil {
			return fmt.Errorf("gssdp-discover %s: %w", target, err)
		}
	}
	return nil
}

// withLibtorrentByPCP has libtorrent ask by PCP, and nothing by NAT-PMP.
func withLibtorrentByPCP(ctx context.Context, w *world, _ offer) error {
	const watch = "table ip watch { counter pcp { }; counter natpmp { }; counter granted { }; " +
		"chain requests { type filter hook prerouting priority -300; iifname \"bridge\" ip saddr 192.168.88.10 udp dport 5351 @th,64,8 2 counter name pcp; " +
		"iifname \"bridge\" ip saddr 192.168.88.10 udp dport 5351 @th,64,8 0 counter name natpmp; }; " +
		"chain replies { type filter hook postrouting priority 300; ip daddr 192.168.88.10 udp sport 5351 @th,64,32 0x02810000 counter name granted; }; }"
	if err := w.router.nft(ctx, watch); err != nil {
		return err
	}
	program, err := startTorrent(ctx, w, w.alice, 6881)
	if err != nil {
		return err
	}
	tcp, udp, err := program.mapped(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(program.meet(ctx, w, tcp, udp), w.layers(ctx, 2)); err != nil {
		return err
	}
	counted := make(map[string]int)
	for _, name := range []string{"pcp", "natpmp", "granted"} {
		if counted[name], err = w.router.counter(ctx, "watch", name); err != nil {
			return err
		}
	}
	if counted["pcp"] < 2 || counted["natpmp"] > 0 || counted["granted"] < 2 {
		return fmt.Errorf("on the wire: %v", counted)
	}
	if err := program.quit(ctx); err != nil {
		return err
	}
	return eventually(ctx, patience, func() error { return w.layers(ctx, 0) })
}

// withNATPMPCToo has natpmpc map a port while all other protocols are spoken.
func withNATPMPCToo(ctx context.Context, w *world, _ offer) error {
	w.bob.serve(ctx, w.t, "udp", 8082)
	m, err := natpmpc(ctx, w.bob, "udp", 8082, anHour)
	if err != nil {
		return err
	}
	if err := w.reach(ctx, m, w.bob); err != nil {
		return err
	}
	_, err = output(w.bob.command(ctx, "natpmpc", "-a", "0", "8082", "udp", "0"))
	return err
}

// withTailscale has Tailscale's portmapper ask by PCP and by UPnP, with NAT-PMP off.
func withTailscale(ctx context.Context, w *world, _ offer) error {
	const port = 8083
	w.alice.serve(ctx, w.t, "udp", port)
	for _, way := range []string{"pcp", "upnp"} {
		if err := w.tailscale(ctx, way, port); err != nil {
			return fmt.Errorf("tailscale by %s: %w", way, err)
		}
	}
	return nil
}

// tailscale maps alice's port in one way, reaches it, and has it ended.
func (w *world) tailscale(ctx context.Context, way string, port uint16) error {
	cmd := w.alice.command(ctx, tailscalePath, strconv.Itoa(int(port)), way)
	program, input, lines, err := startDialogue(w.t, "tailscale", cmd)
	if err != nil {
		return err
	}
	if !lines.Scan() {
		return errors.New("it has ended without a mapping")
	}
	external, err := netip.ParseAddrPort(lines.Text())
	if err != nil || external.Addr().String() != publicAddress {
		return fmt.Errorf("it has %s: %w", lines.Text(), err)
	}
	m := mapping{protocol: "udp", internal: port, external: external.Port()}
	if err := errors.Join(w.reach(ctx, m, w.alice), w.layers(ctx, 1), input.Close(), program.wait(2*patience)); err != nil {
		return err
	}
	if way == "pcp" {
		// It has drawn another nonce for the end, which is refused.
		if _, err := output(w.alice.command(ctx, "natpmpc", "-a", "0", strconv.Itoa(int(port)), "udp", "0")); err != nil {
			return err
		}
	}
	return eventually(ctx, patience, func() error { return w.layers(ctx, 0) })
}

// inPool is a doublenat with a provider's ports among which are those that programs ask for.
func inPool() map[string]string {
	return map[string]string{"VPN_GATEWAY": "pool:3074,6881,8081-8099%ether1", "PUBLIC_ADDRESS": publicAddress}
}
