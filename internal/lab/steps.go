package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

// asked is the lifetime in seconds that the client asks for, as most programs do.
const asked = 3600

// mapping is what the client was given.
type mapping struct {
	port     port // on the client
	external uint16
	lifetime time.Duration
}

// stage is a world that is being shown.
type stage struct {
	*world
	*printer

	// command is how this program is called, and profile how the gateway behaves.
	command string
	profile Profile
	// patience bounds each step.
	patience time.Duration
	// foreign is the NAT table before doublenat came.
	foreign []byte
	// tcp and udp are the client's mappings, zero before it has them.
	tcp, udp mapping
}

// do runs one step and prints how it went.
func (s *stage) do(ctx context.Context, title string, step func(context.Context) (string, error)) error {
	s.step(title)
	text, err := step(ctx)
	select {
	case trouble := <-s.troubles:
		err = errors.Join(err, trouble)
	default:
	}
	if err != nil && ctx.Err() != nil {
		s.line("   interrupted")
		return fmt.Errorf("step %d (%s): %w", s.count(), title, ctx.Err())
	}
	if err != nil {
		s.failed(err)
		return fmt.Errorf("step %d (%s): %w", s.count(), title, err)
	}
	s.ok("%s", text)
	return nil
}

// tell prints what was said since a moment.
func (s *stage) tell(m moment, known ...event) {
	for _, e := range s.since(m, known...) {
		s.event(e.at.Sub(m.at), e.from, e.to, e.text)
	}
}

// exchange runs one request of the client and prints all that it led to.
func (s *stage) exchange(question string, ask func() (string, error)) error {
	m := s.now()
	asking := event{at: m.at, from: theClient, to: theDaemon, text: question}
	answer, err := ask()
	if err != nil {
		answer = err.Error()
	}
	s.tell(m, asking, event{at: time.Now(), from: theDaemon, to: theClient, text: answer})
	return err
}

// start waits until the daemon answers.
func (s *stage) start(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var text string
	err := s.exchange(requestText(natpmp.Request{}), func() (string, error) {
		address, err := s.firstAnswer(ctx)
		text = "the Internet knows this LAN as " + address
		return address, err
	})
	return text, err
}

// firstAnswer asks for the public address until the daemon has its socket open
// and knows the address.
func (s *stage) firstAnswer(ctx context.Context) (string, error) {
	for {
		address, err := s.client.asks.ExternalAddress(ctx)
		if err == nil && address == publicAddress() {
			return address.String(), nil
		}
		if err == nil {
			return "", fmt.Errorf("the answer is %v and not the gateway's public address", address)
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return "", fmt.Errorf("no public address within %v: %w", s.patience, err)
		}
	}
}

// request maps the client's port, or renews the mapping that it has.
func (s *stage) request(ctx context.Context, m *mapping, protocol nat.Protocol) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	request := natpmp.MapRequest{
		Opcode:                natpmp.Opcode(protocol),
		InternalPort:          s.places.Client.Port(),
		SuggestedExternalPort: m.external,
		Lifetime:              asked,
		Renewal:               m.external != 0,
	}
	question := requestText(natpmp.Request{
		Opcode: request.Opcode, InternalPort: request.InternalPort,
		SuggestedExternalPort: request.SuggestedExternalPort, Lifetime: request.Lifetime,
	})
	return s.exchange(question, func() (string, error) {
		granted, err := s.client.asks.Map(ctx, request)
		if err != nil {
			return "", err
		}
		m.port = port{protocol, request.InternalPort}
		m.external = granted.ExternalPort
		m.lifetime = time.Duration(granted.Lifetime) * time.Second
		return responseText(natpmp.Response{
			Opcode: request.Opcode, InternalPort: request.InternalPort,
			ExternalPort: granted.ExternalPort, Lifetime: granted.Lifetime,
		}), nil
	})
}

// mapTCP maps the client's web port and looks at both layers.
func (s *stage) mapTCP(ctx context.Context) (string, error) {
	if err := s.request(ctx, &s.tcp, nat.TCP); err != nil {
		return "", err
	}
	return s.describe(s.tcp)
}

// describe looks a mapping up in both layers.
func (s *stage) describe(m mapping) (string, error) {
	lease, ok := s.lease(port{m.port.protocol, m.external})
	if !ok {
		return "", fmt.Errorf("the gateway has no %s for %s port %d", s.kind.lends, m.port.protocol, m.external)
	}
	rule, ok := s.rule(port{m.port.protocol, lease.to.Port()})
	if !ok {
		return "", fmt.Errorf("the router has no rule for %s port %d", m.port.protocol, lease.to.Port())
	}
	if want := netip.AddrPortFrom(s.places.Client.Addr(), m.port.number); rule.to != want {
		return "", fmt.Errorf("the router's %s goes to %v and not to %v", rule.by, rule.to, want)
	}
	return fmt.Sprintf("%v:%d → %s → %v → %s → %v", publicAddress(), m.external, lease.by, lease.to, rule.by, rule.to), nil
}

// fetchPage fetches the client's page from outside.
func (s *stage) fetchPage(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	s.trail.take() // earlier ones are no proof
	got, err := s.internet.fetch(ctx, s.reach(s.tcp.external))
	if err != nil {
		return "", err
	}
	if err := s.trace(ctx, s.tcp); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %d bytes: %q", got.status, len(got.body), got.body), nil
}

// trace prints the way of the connection that was last made to a mapping.
func (s *stage) trace(ctx context.Context, m mapping) error {
	outer, ok := s.trail.find(ctx, s.public.name, port{m.port.protocol, m.external})
	if !ok {
		return errors.New("the gateway passed nothing on")
	}
	inner, ok := s.trail.find(ctx, s.tunnel.name, port{m.port.protocol, outer.hop.to.Port()})
	if !ok {
		return errors.New("the router passed nothing on")
	}
	s.way("", outer.from, "an Internet host connects to %v:%d", publicAddress(), m.external)
	s.way("→", outer.hop.to, "by the gateway's %s, %d bytes in, %d bytes out", outer.hop.by, outer.up, outer.down)
	s.way("→", inner.hop.to, "by the router's %s, %d bytes in, %d bytes out", inner.hop.by, inner.up, inner.down)
	return nil
}

// speakUDP maps the client's UDP port and has a datagram answered from outside.
func (s *stage) speakUDP(ctx context.Context) (string, error) {
	ask := s.requestPCP
	if s.languages == NATPMPAlone {
		ask = func(ctx context.Context, m *mapping) error { return s.request(ctx, m, nat.UDP) }
	}
	if err := ask(ctx, &s.udp); err != nil {
		return "", err
	}
	if _, err := s.describe(s.udp); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	s.trail.take() // earlier ones are no proof
	const text = "hello"
	answer, err := s.internet.say(ctx, s.reach(s.udp.external), text)
	if err != nil {
		return "", err
	}
	if answer != string(echoOf([]byte(text))) {
		return "", fmt.Errorf("%q was answered with %q", text, answer)
	}
	if err := s.trace(ctx, s.udp); err != nil {
		return "", err
	}
	return fmt.Sprintf("%q was answered with %q", text, answer), nil
}

// renew renews the web port's mapping and counts what that costs.
func (s *stage) renew(ctx context.Context) (string, error) {
	before, m := s.tcp, s.now()
	if err := s.request(ctx, &s.tcp, nat.TCP); err != nil {
		return "", err
	}
	if s.tcp.external != before.external {
		s.line("   the gateway gave another public port: %d", s.tcp.external)
	}
	if writes := s.router.StatsSince(m.mark).Writes; writes > 0 {
		return "", fmt.Errorf("the renewal wrote to the router %d times", writes)
	}
	return fmt.Sprintf("%.0f s more, for %s and no change on the router",
		s.tcp.lifetime.Seconds(), s.kind.costs(s.box.questions()-m.questions)), nil
}

// remove ends a mapping of the client and looks that its port is closed.
func (s *stage) remove(ctx context.Context, m *mapping) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	gone := *m
	opcode := natpmp.Opcode(gone.port.protocol)
	lease, _ := s.lease(port{gone.port.protocol, gone.external})
	err := s.exchange(requestText(natpmp.Request{Opcode: opcode, InternalPort: gone.port.number}), func() (string, error) {
		return responseText(natpmp.Response{Opcode: opcode, InternalPort: gone.port.number}),
			s.client.asks.Unmap(ctx, opcode, gone.port.number)
	})
	if err != nil {
		return err
	}
	*m = mapping{}
	if l, ok := s.box.lookup(port{gone.port.protocol, gone.external}); ok && !l.fixed {
		return fmt.Errorf("the gateway still has the %s for %s port %d", s.kind.lends, gone.port.protocol, gone.external)
	}
	if h, ok := s.rule(port{gone.port.protocol, lease.to.Port()}); ok {
		return fmt.Errorf("the router still has the %s for %s port %d", h.by, gone.port.protocol, lease.to.Port())
	}
	return s.internet.refuses(ctx, s.reach(gone.external), gone.port.protocol)
}

// removeTCP ends the mapping of the client's web port.
func (s *stage) removeTCP(ctx context.Context) (string, error) {
	text := fmt.Sprintf("public port %d refuses", s.tcp.external)
	return text, s.remove(ctx, &s.tcp)
}

// finale looks what a daemon that was stopped at that moment left behind.
func (s *stage) finale(ctx context.Context, stopped moment) (string, error) {
	s.tell(stopped)
	left := slices.DeleteFunc(s.box.leases(), func(l lease) bool { return l.fixed })
	if len(left) > 0 && !s.closed() {
		return "", fmt.Errorf("left on the gateway, as %s: %v", s.kind.lends, left)
	}
	if now := s.router.Fingerprint(natTable, nil); !bytes.Equal(now, s.foreign) {
		return "", fmt.Errorf("the router's NAT table is not what it was; it was\n%s\nand is\n%s", s.foreign, now)
	}
	text := fmt.Sprintf("no %s and no rule is left", s.kind.lends)
	if len(s.box.leases()) > 0 {
		text = "no rule is left"
	}
	if len(left) > 0 {
		text += fmt.Sprintf("; what the gateway granted too late ends there by itself: %v", left)
	}
	if s.udp.external != 0 {
		if err := s.internet.refuses(ctx, s.reach(s.udp.external), nat.UDP); err != nil {
			return "", err
		}
		text += fmt.Sprintf(", public port %d refuses over UDP too", s.udp.external)
	}
	return fmt.Sprintf("%s; the router's %d other rules are as they were", text, len(s.router.Rows(natTable))), nil
}

// interfaceName is the router's name of the tunnel.
const interfaceName = routerostest.TunnelInterface
