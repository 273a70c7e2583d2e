package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"doublenat/internal/nat"
)

// invite says what to try while the lab runs.
func (s *stage) invite() {
	s.line("\n%s", s.paint(bold, "The lab runs until Ctrl-C. Try, in another terminal:"))
	s.line("")
	s.fact("client's page", "curl http://%v/", s.reach(s.tcp.external))
	if s.places.Page.IsValid() {
		s.fact("doublenat's page", "http://%v/ in a browser", s.places.Page)
	}
	ask := s.places.Listen.String()
	if s.places.Listen.Port() == defaultNATPMPPort {
		ask = s.places.Listen.Addr().String()
	}
	s.fact("a port of yours", "doublenat map tcp 9000 -g %s", ask)
	if s.places.Listen.Port() == defaultNATPMPPort {
		s.fact("", "natpmpc -g %s -a 0 9000 tcp 60", ask)
	}
	s.fact("", "python3 -m http.server 9000 --bind 127.0.0.1")
	if s.places.Page.IsValid() {
		s.fact("how it is doing", "doublenat status --addr %v", s.places.Page)
	}
	s.fact("the doctor", "%s doublenat check", s.settings())
	s.line("")
}

// settings are the variables by which a command finds the lab, as a shell takes
// them. The password is the lab's alone. INSTANCE says which rules are its
// daemon's, and LISTEN_ADDR where it is asked for a live mapping.
func (s *stage) settings() string {
	environ := s.environ()
	var words []string
	for _, name := range []string{"VPN_GATEWAY", "MIKROTIK_API_ADDRESS", "MIKROTIK_API_USER", "MIKROTIK_API_PASSWORD", "LISTEN_ADDR", "INSTANCE"} {
		value := environ[name]
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
// leases of others, until ctx ends.
func (s *stage) watch(ctx context.Context) {
	known := s.others()
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
	for _, m := range s.gateway.Mappings() {
		external := port{nat.Protocol(m.Protocol), m.ExternalPort}
		if external != (port{nat.TCP, s.tcp.external}) && external != (port{nat.UDP, s.udp.external}) {
			leases[lent{external: external, inner: m.Target}] = true
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
