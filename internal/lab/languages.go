package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"doublenat/igd"
	"doublenat/internal/nat"
	"doublenat/natpmp"
	"doublenat/pcp"
)

// requestPCP maps the client's port over UDP by PCP.
func (s *stage) requestPCP(ctx context.Context, m *mapping) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	number := s.places.Client.Port()
	question := "by PCP: " + requestText(natpmp.Request{Opcode: natpmp.OpMapUDP, InternalPort: number, Lifetime: asked})
	return s.exchange(question, func() (string, error) {
		granted, err := s.client.young.Map(ctx, pcp.MapRequest{Protocol: pcp.UDP, InternalPort: number, Lifetime: asked})
		if err != nil {
			return "", err
		}
		if granted.ExternalAddress != publicAddress() {
			return "", fmt.Errorf("the answer says that the port is at %v", granted.ExternalAddress)
		}
		*m = mapping{port{nat.UDP, number}, granted.ExternalPort, time.Duration(granted.Lifetime) * time.Second}
		return fmt.Sprintf("udp %d has public port %d for %d s, at %v", number, granted.ExternalPort, granted.Lifetime, granted.ExternalAddress), nil
	})
}

// game is what a program asks for that speaks nothing but UPnP.
func (s *stage) game() igd.Mapping {
	number := s.places.game().Port()
	return igd.Mapping{Protocol: igd.TCP, External: number, Client: s.places.Client.Addr(), Internal: number, Description: "a game"}
}

// playByUPnP lives the life of such a program: it looks for a gateway, asks for its very port,
// takes another one if it cannot have it, is reached there, and gives it back.
func (s *stage) playByUPnP(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.patience)
	defer cancel()
	if err := s.exchange("by UPnP: is there an Internet gateway?", func() (string, error) {
		found, err := s.client.controls.Discover(ctx)
		return fmt.Sprintf("yes, described at %v", found.Location), err
	}); err != nil {
		return "", err
	}
	external, err := s.forwardGame(ctx)
	if err != nil {
		return "", err
	}
	m := mapping{port: port{nat.TCP, s.places.game().Port()}, external: external}
	if _, err := s.describe(m); err != nil {
		return "", err
	}
	s.trail.take() // earlier ones are no proof
	got, err := s.internet.fetch(ctx, s.reach(external))
	if err == nil {
		err = s.trace(ctx, m)
	}
	if err != nil {
		return "", err
	}
	if err := s.exchange(fmt.Sprintf("by UPnP: DeletePortMapping tcp %d", external), func() (string, error) {
		return "done", s.client.controls.Delete(ctx, igd.TCP, external)
	}); err != nil {
		return "", err
	}
	if err := s.ended(ctx, m); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %d bytes, and public port %d refuses again", got.status, len(got.body), external),
		s.internet.refuses(ctx, s.reach(external), nat.TCP)
}

// ended waits until the gateway has ended a mapping: UPnP's answer does not wait for it.
func (s *stage) ended(ctx context.Context, m mapping) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if l, ok := s.box.lookup(port{m.port.protocol, m.external}); !ok || l.fixed {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the gateway still has the %s for %s port %d", s.kind.lends, m.port.protocol, m.external)
		}
	}
}

// forwardGame asks for the very port first, as all such programs do. Some know no other way.
func (s *stage) forwardGame(ctx context.Context) (external uint16, err error) {
	want := s.game()
	refused := false
	err = s.exchange(fmt.Sprintf("by UPnP: AddPortMapping tcp %d to %d, exactly that port", want.External, want.Internal), func() (string, error) {
		err := s.client.controls.Add(ctx, want)
		if failure, ok := errors.AsType[*igd.ActionError](err); ok && failure.Code == igd.CodeConflict {
			refused = true
			return fmt.Sprintf("no: %d %v", failure.Code, failure.Code), nil
		}
		return "done", err
	})
	if err != nil || !refused {
		return want.External, err
	}
	s.line("   the gateway gives ports of its own choice, and AddPortMapping cannot tell of another one")
	err = s.exchange(fmt.Sprintf("by UPnP: AddAnyPortMapping tcp %d to %d, or any other", want.External, want.Internal), func() (string, error) {
		external, err = s.client.controls.AddAny(ctx, want)
		return fmt.Sprintf("tcp %d has public port %d", want.Internal, external), err
	})
	return external, err
}

// game is where the client's game listens. The status page may be at the port between.
func (p Places) game() netip.AddrPort { return netip.AddrPortFrom(p.Client.Addr(), p.Client.Port()+2) }
