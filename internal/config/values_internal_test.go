package config

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"doublenat/internal/nat"
)

// FuzzValues gives one text to every parser. None may panic, and what one
// accepts it must accept again in the form in which it prints it, with the same
// result.
func FuzzValues(f *testing.F) {
	for _, v := range Reference() {
		f.Add(v.Example)
		f.Add(v.Default)
	}
	for _, seed := range []string{
		"", ":", "[", "]", "[]:1", "[::1]:80", "[fe80::1%eth0]:1", "fe80::1%25", "1.2.3.4:65535", "a:1:2", "on:", "on:a,b", "0.0.0.0/0",
		"10.0.0.0/8, 10.1.2.3", "::ffff:1.2.3.4", "::ffff:1.2.3.4/128", "\xff", "on:\xff",
		"tcp:1.2.3.4:5=6, udp:1.2.3.4:5", "both:1.2.3.4:5", "pool:51413,6881:51413,20000-20099,27015/udp%ether1", "natpmp://10.2.0.1", "1 2-3\n4:5/tcp # six", `/a 'b c' "d\"e" f\ g`, "/a ''",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		again(t, text, endpointWithPort, Endpoint.String)
		again(t, text, func(s string) (netip.AddrPort, error) { return parseGatewayAddress(s, natpmpPort) }, netip.AddrPort.String)
		_, _ = parseGateway(text)
		if list, err := ParsePool(text); err == nil {
			texts := make([]string, len(list))
			for i, p := range list {
				texts[i] = fmt.Sprintf("%d:%d%s", p.External, p.Inner, map[nat.Protocol]string{nat.UDP: "/udp", nat.TCP: "/TCP"}[p.Protocol])
			}
			second, err := ParsePool(strings.Join(texts, "\n"))
			if err != nil || !slices.Equal(list, second) {
				t.Errorf("%q: %v, then %v (%v)", text, list, second, err)
			}
		}
		again(t, text, parseListen, netip.AddrPort.String)
		again(t, text, parsePrefix, netip.Prefix.String)
		if list, err := parsePrefixes(text); err == nil {
			texts := make([]string, len(list))
			for i, p := range list {
				texts[i] = p.String()
			}
			second, err := parsePrefixes(strings.Join(texts, ","))
			if err != nil || !slices.Equal(list, second) {
				t.Errorf("%q: %v, then %v (%v)", text, list, second, err)
			}
		}
		if a, err := parseAnnounce(text); err == nil {
			second, err := parseAnnounce(a.String())
			if err != nil || a.Mode != second.Mode || !slices.Equal(a.Interfaces, second.Interfaces) {
				t.Errorf("%q: %v, then %v (%v)", text, a, second, err)
			}
		}
		if list, err := parseStatic(text); err == nil {
			texts := make([]string, len(list))
			for i, m := range list {
				texts[i] = m.String()
			}
			second, err := parseStatic(strings.Join(texts, ","))
			if err != nil || !slices.Equal(list, second) {
				t.Errorf("%q: %v, then %v (%v)", text, list, second, err)
			}
		}
		if argv, err := parseCommand(text); err == nil {
			second, err := parseCommand(quoted(argv))
			if err != nil || !slices.Equal(argv, second) {
				t.Errorf("%q: %q, then %q (%v)", text, argv, second, err)
			}
		}
		again(t, text, parseLoopback, netip.AddrPort.String)
		again(t, text, parseFingerprint, func(f Fingerprint) string { return hex.EncodeToString(f[:]) })
		if ranges, err := parsePorts(text); err == nil {
			texts := make([]string, len(ranges))
			for i, r := range ranges {
				texts[i] = fmt.Sprintf("%d-%d", r.First, r.Last)
			}
			second, err := parsePorts(strings.Join(texts, ","))
			if err != nil || !slices.Equal(ranges, second) {
				t.Errorf("%q: %v, then %v (%v)", text, ranges, second, err)
			}
		}
		// The others have one spelling or a closed set of values: they must not panic.
		_, _ = parseUser(text)
		_, _ = parseInterface(text)
		_, _ = parseInstance(text)
		_, _ = parseWindow(text)
		_, _ = parseBool(text)
		_, _ = parseLevel(text)
		_, _ = parseShutdown(text)
		_, _ = parseFormat(text)
		_, _ = parseDelivery(text)
		_, _ = parsePolicy(text)
		_, _ = parseLifetime(text)
		_, _ = parseLimit(text)
		_, _ = parseHookURL(text)
		_, _ = parseTLS(text)
		_, _ = parseRate(text)
		if nearest(text, []string{"LOG_LEVEL"}) != "" && len(text) > len("LOG_LEVEL")+2 {
			t.Errorf("%q is near LOG_LEVEL", text)
		}
	})
}

// quoted writes a command so that its words can be read again.
func quoted(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}

// endpointWithPort is parseEndpoint with the default port, as Parse uses it.
func endpointWithPort(text string) (Endpoint, error) {
	e, err := parseEndpoint(text)
	if err == nil && e.Port == 0 {
		e.Port = apiPort
	}
	return e, err
}

// again checks that an accepted value survives being printed and read.
func again[T comparable](t *testing.T, text string, parse func(string) (T, error), show func(T) string) {
	t.Helper()
	first, err := parse(text)
	if err != nil {
		return
	}
	if second, err := parse(show(first)); err != nil || first != second {
		t.Errorf("%q: %v, then %v (%v)", text, first, second, err)
	}
}
