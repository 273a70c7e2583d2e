package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// The functions of this file read one value each: text in, value or reason out.
// A reason is a phrase whose subject is the variable ("is not …").

// The ports on which NAT-PMP servers and their clients listen (RFC 6886 §3.1, §3.2.1).
const (
	natpmpPort   = 5351
	announcePort = 5350
)

// parseListen reads "a.b.c.d:port" or ":port".
func parseListen(s string) (netip.AddrPort, error) {
	if strings.HasPrefix(s, ":") {
		s = netip.IPv4Unspecified().String() + s
	}
	host, port, err := splitPort(s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return netip.AddrPort{}, errors.New("is not an IP address and port")
	case !addr.Is4():
		return netip.AddrPort{}, errors.New("is IPv6, which NAT-PMP does not support")
	case !addr.IsUnspecified() && !oneHost(addr):
		return netip.AddrPort{}, errNoHost
	case port == 0:
		return netip.AddrPort{}, errors.New("has no port")
	}
	return netip.AddrPortFrom(addr, port), nil
}

// parseUser reads a RouterOS user name.
func parseUser(s string) (string, error) {
	if strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", errors.New("has blanks around it or characters that cannot be printed")
	}
	return s, nil
}

// parseInterface reads the name of an interface of the router. RouterOS allows
// nearly everything in it, but no list and no negation may slip into a rule.
func parseInterface(s string) (string, error) {
	if len(s) > 64 || strings.HasPrefix(s, "!") || strings.TrimSpace(s) != s ||
		strings.ContainsFunc(s, func(r rune) bool { return r == ',' || !unicode.IsPrint(r) }) {
		return "", errors.New("is not the name of one interface")
	}
	return s, nil
}

// parseBool reads what strconv.ParseBool takes, and yes, no, on and off, in either case.
func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "yes", "on", "true", "t", "1":
		return true, nil
	case "no", "off", "false", "f", "0":
		return false, nil
	default:
		return false, errors.New("is neither true nor false")
	}
}

// parsePrefixes reads a comma-separated list of IPv4 prefixes and addresses.
func parsePrefixes(s string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for item := range strings.SplitSeq(s, ",") {
		p, err := parsePrefix(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// parsePrefix reads one IPv4 prefix; an address stands for itself alone.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if addr, addrErr := netip.ParseAddr(s); addrErr == nil {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("has %q in it, which is not an IPv4 prefix", s)
	case !p.Addr().Is4():
		return netip.Prefix{}, fmt.Errorf("has %q in it, which is IPv6", s)
	case p != p.Masked():
		// Whether the host or its network was meant decides who may open ports.
		return netip.Prefix{}, fmt.Errorf("has %q in it: that network is %s, that host is %s", s, p.Masked(), p.Addr())
	}
	return p, nil
}

// nobodyLeft says whether everybody who is allowed is denied too, by one prefix or
// by several. A list that could not be read denies nobody here.
func nobodyLeft(cfg Config) bool {
	if len(cfg.AllowedClients) == 0 || len(cfg.DeniedClients) == 0 {
		return false
	}
	return !slices.ContainsFunc(cfg.AllowedClients, func(allowed netip.Prefix) bool {
		return !covered(allowed, cfg.DeniedClients)
	})
}

// covered says whether the list has every address of the prefix.
func covered(p netip.Prefix, list []netip.Prefix) bool {
	if slices.ContainsFunc(list, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }) {
		return true
	}
	if !slices.ContainsFunc(list, func(q netip.Prefix) bool { return q.Overlaps(p) }) {
		return false // also where there are no halves: a single address
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	half := p.Addr().As4()
	half[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	return covered(low, list) && covered(netip.PrefixFrom(netip.AddrFrom4(half), p.Bits()+1), list)
}

// parseAnnounce reads "auto", "off", "on" or "on:" and a list of interfaces.
func parseAnnounce(s string) (Announce, error) {
	mode, list, hasList := strings.Cut(s, ":")
	a := Announce{Mode: AnnounceMode(strings.ToLower(mode))}
	switch a.Mode {
	case AnnounceOn:
	case AnnounceAuto, AnnounceOff:
		if hasList {
			return Announce{}, errors.New("takes a list of interfaces with on only")
		}
	default:
		return Announce{}, errors.New("is none of auto, off and on")
	}
	if !hasList {
		return a, nil
	}
	for item := range strings.SplitSeq(list, ",") {
		name := strings.TrimSpace(item)
		// Linux: 15 bytes, neither a slash nor a blank (dev_valid_name).
		if name == "" || len(name) > 15 || strings.ContainsFunc(name, notInInterface) {
			return Announce{}, fmt.Errorf("has %q in it, which cannot be an interface", name)
		}
		if !slices.Contains(a.Interfaces, name) {
			a.Interfaces = append(a.Interfaces, name)
		}
	}
	return a, nil
}

// notInInterface says whether the rune has no place in the name of a Linux
// interface that can be written in ANNOUNCE.
func notInInterface(r rune) bool {
	return r == '/' || r == ':' || r == unicode.ReplacementChar || unicode.IsSpace(r) || !unicode.IsPrint(r)
}

// parseWindow reads a number from 1 to 256.
func parseWindow(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 256 {
		return 0, errors.New("is not a number from 1 to 256")
	}
	return n, nil
}

// parseInstance reads an owner name. It goes into the comments of rules, so it
// is kept to what every RouterOS shows unchanged.
func parseInstance(s string) (string, error) {
	if len(s) > 32 || strings.ContainsFunc(s, notInName) {
		return "", errors.New("has more than 32 characters or others than A-Z a-z 0-9 _ -")
	}
	return s, nil
}

// parseShutdown reads a [Shutdown].
func parseShutdown(s string) (Shutdown, error) {
	v := Shutdown(strings.ToLower(s))
	if v != ShutdownClean && v != ShutdownKeep {
		return "", errors.New("is neither clean nor keep")
	}
	return v, nil
}

// parseLevel reads one of the four levels of slog, without its offsets ("INFO+2").
func parseLevel(s string) (slog.Level, error) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(s, level.String()) {
			return level, nil
		}
	}
	return 0, errors.New("is not a log level")
}

// parseFormat reads a [LogFormat].
func parseFormat(s string) (LogFormat, error) {
	v := LogFormat(strings.ToLower(s))
	if v != LogAuto && v != LogText && v != LogJSON {
		return "", errors.New("is none of auto, text and json")
	}
	return v, nil
}
