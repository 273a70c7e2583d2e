package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"doublenat/internal/nat"
)

// stay keeps the lab open for visitors until ctx ends.
func (s *stage) stay(ctx context.Context) {
	known := s.others() // before anybody is invited
	s.line("\n%s", s.paint(bold, "The lab runs until Ctrl-C. Try, in another terminal:"))
	s.line("")
	ask := s.places.Listen.String()
	if s.places.Listen.Port() == defaultNATPMPPort {
		ask = s.places.Listen.Addr().String()
	}
	if s.places.Page.IsValid() {
		s.fact("doublenat's page", "http://%v/ in a browser", s.places.Page)
	}
	if s.closed() {
		s.fact("a port of yours", "%s map tcp 9000 -g %s", s.command, ask)
	} else {
		s.invite(ask)
	}
	if s.places.Page.IsValid() {
		s.fact("how it is doing", "%s status --addr %v", s.command, s.places.Page)
	}
	s.fact("the doctor", "%s %s check", s.settings(), s.command)
	s.line("")
	if s.closed() {
		<-ctx.Done()
		return
	}
	s.watch(ctx, known)
}

// invite says how to reach the client, and how to map a port.
func (s *stage) invite(ask string) {
	s.fact("client's page", "curl http://%v/", s.reach(s.tcp.external))
	s.fact("a port of yours", "%s map tcp 9000 -g %s", s.command, ask)
	if s.places.Listen.Port() == defaultNATPMPPort {
		s.fact("", "natpmpc -g %s -a 0 9000 tcp 60", ask)
	}
	for _, command := range otherLanguages(s.command, s.environ(), s.places.Listen.Addr(), ask) {
		s.fact("", "%s", command)
	}
	s.fact("", "python3 -m http.server 9000 --bind 127.0.0.1")
	if name, text := s.box.hint(); name != "" {
		s.fact(name, "%s", text)
	}
}

// otherLanguages are the commands by which the same port is asked for in the other languages
// that the settings switch on. UPnP is searched for at port 1900 of the host. upnpc is given
// the description, for on loopback it searches in vain, and -n takes the port that there is.
func otherLanguages(command string, environ map[string]string, host netip.Addr, ask string) []string {
	var all []string
	if environ["PCP"] == "on" {
		all = append(all, command+" map tcp 9000 -g "+ask+" --by pcp")
	}
	if environ["UPNP"] == "on" {
		device := netip.AddrPortFrom(host, devicePort(environ["UPNP_ADDR"]))
		all = append(all, fmt.Sprintf("%s map tcp 9000 -g %v --by igd", command, host),
			fmt.Sprintf("upnpc -u http://%v/igd2.xml -n 127.0.0.1 9000 9000 tcp 3600", device))
	}
	return all
}

// devicePort is the TCP port of UPnP's descriptions (UPNP_ADDR).
func devicePort(setting string) uint16 {
	if at, err := netip.ParseAddrPort(setting); err == nil {
		return at.Port()
	}
	if port, err := strconv.ParseUint(strings.TrimPrefix(setting, ":"), 10, 16); err == nil {
		return uint16(port)
	}
	return defaultNATPMPPort
}

// settings are the variables by which a command finds the lab, as a shell takes
// them. The password is the lab's alone. INSTANCE says which rules are its
// daemon's, and LISTEN_ADDR where it is asked for a live mapping.
func (s *stage) settings() string {
	environ := s.environ()
	var words []string
	for _, name := range []string{
		"VPN_GATEWAY", "PUBLIC_ADDRESS", "MIKROTIK_API_ADDRESS", "MIKROTIK_API_USER", "MIKROTIK_API_PASSWORD", "LISTEN_ADDR", "GATEWAY_DELIVERY", "PCP", "UPNP", "UPNP_ADDR", "INSTANCE",
	} {
		value, ok := environ[name]
		if !ok {
			continue
		}
		if strings.ContainsRune(value, ' ') {
			value = "'" + value + "'"
		}
		words = append(words, name+"="+value)
	}
	return strings.Join(words, " ")
}

// defaultNATPMPPort is the only port that natpmpc can ask (RFC 6886 §3.1).
const defaultNATPMPPort = 5351

// watch renews the client's mappings at half of their lifetime and tells of the
// leases of others that are not known yet, until ctx ends.
func (s *stage) watch(ctx context.Context, known map[lent]bool) {
	s.trail.take() // what came before is told
	look := time.NewTicker(time.Second)
	defer look.Stop()
	renewal := time.NewTimer(s.tcp.lifetime / 2)
	defer renewal.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			s.follow() // A box ends leases without a word.
			known = s.compare(known, s.others())
		case <-s.trail.news:
			s.traffic()
		case <-renewal.C:
			renewal.Reset(s.renewBoth(ctx))
		}
	}
}

// traffic tells of the connections that came in from the Internet.
func (s *stage) traffic() {
	clock := time.Now().Format(time.TimeOnly)
	for _, c := range s.trail.take() {
		if c.at == s.public.name {
			s.line("%s  %v came in on %s: %d bytes in, %d bytes out", clock, c.from, c.on, c.up, c.down)
		}
	}
}

// renewBoth renews the client's two mappings and prints what it took. It returns
// when to do so again: at half of the lifetime, and sooner if a renewal failed.
func (s *stage) renewBoth(ctx context.Context) time.Duration {
	s.line("%s  the client renews", time.Now().Format(time.TimeOnly))
	next := s.tcp.lifetime / 2
	for _, m := range []*mapping{&s.tcp, &s.udp} {
		if err := s.request(ctx, m, m.port.protocol); err != nil && ctx.Err() == nil {
			s.failed(fmt.Errorf("%s could not be renewed; the client will try again", m.port))
			next = s.tcp.lifetime / 4
		}
	}
	return next
}

// lent is a lease of somebody else than the lab's client.
type lent struct {
	external port
	inner    netip.AddrPort
}

// others returns the leases of others, with where they lead.
func (s *stage) others() map[lent]bool {
	leases := make(map[lent]bool)
	for _, l := range s.passed() {
		if l.external != (port{nat.TCP, s.tcp.external}) && l.external != (port{nat.UDP, s.udp.external}) {
			leases[lent{external: l.external, inner: l.to}] = true
		}
	}
	return leases
}

// compare tells of leases that came and went, and returns those that stand.
func (s *stage) compare(before, now map[lent]bool) map[lent]bool {
	clock := time.Now().Format(time.TimeOnly)
	for l := range now {
		if !before[l] {
			rule, _ := s.rule(port{l.external.protocol, l.inner.Port()})
			s.line("%s  + %s, which is %v here → %v → %v", clock, l.external, s.reach(l.external.number), l.inner, rule.to)
		}
	}
	for l := range before {
		if !now[l] {
			s.line("%s  - %s", clock, l.external)
		}
	}
	return now
}
