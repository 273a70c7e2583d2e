//go:build e2e && linux

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// natpmpcAddress and natpmpcMapping are what natpmpc prints.
var (
	natpmpcAddress = regexp.MustCompile(`Public IP address : (\S+)`)
	natpmpcMapping = regexp.MustCompile(`Mapped public port (\d+) protocol (\S+) to local port (\d+) lif\w*time (\d+)`)
)

// natpmpc maps a port with Debian's natpmpc. It finds its gateway by the default
// route, unless one is named by args.
func natpmpc(ctx context.Context, h *host, protocol string, port uint16, lifetime time.Duration, args ...string) (mapping, error) {
	args = append(args, "-a", "0", strconv.Itoa(int(port)), protocol, strconv.Itoa(int(lifetime/time.Second)))
	began := time.Now()
	said, err := output(h.command(ctx, "natpmpc", args...))
	if err != nil {
		return mapping{}, err
	}
	if address := natpmpcAddress.FindStringSubmatch(said); address == nil || address[1] != publicAddress {
		return mapping{}, fmt.Errorf("natpmpc does not say that the address is %s: %s", publicAddress, said)
	}
	words := natpmpcMapping.FindStringSubmatch(said)
	if words == nil || !strings.EqualFold(words[2], protocol) || words[3] != strconv.Itoa(int(port)) {
		return mapping{}, fmt.Errorf("natpmpc does not say that it mapped %s %d: %s", protocol, port, said)
	}
	external, err := strconv.ParseUint(words[1], 10, 16)
	if err != nil {
		return mapping{}, fmt.Errorf("natpmpc: %w", err)
	}
	seconds, err := strconv.ParseUint(words[4], 10, 32)
	if err != nil {
		return mapping{}, fmt.Errorf("natpmpc: %w", err)
	}
	return mapping{
		protocol: protocol, internal: port, external: uint16(external),
		lifetime: time.Duration(seconds) * time.Second, took: time.Since(began),
	}, nil
}

// npmNATPMP maps a port with the package nat-pmp from npm.
func npmNATPMP(ctx context.Context, h *host, protocol string, port uint16, lifetime time.Duration) (mapping, error) {
	cmd := h.command(ctx, "node", "--no-deprecation", "testdata/npm_nat_pmp.js",
		h.asks.String(), protocol, strconv.Itoa(int(port)), strconv.Itoa(int(lifetime/time.Second)))
	said, err := output(cmd)
	if err != nil {
		return mapping{}, err
	}
	var got struct {
		Address  string `json:"address"`
		External uint16 `json:"external"`
		Lifetime int    `json:"lifetime"`
	}
	if err := json.Unmarshal([]byte(said), &got); err != nil {
		return mapping{}, fmt.Errorf("nat-pmp said %q: %w", said, err)
	}
	if got.Address != publicAddress {
		return mapping{}, fmt.Errorf("nat-pmp says that the address is %s, want %s", got.Address, publicAddress)
	}
	return mapping{
		protocol: protocol, internal: port, external: got.External,
		lifetime: time.Duration(got.Lifetime) * time.Second,
	}, nil
}
