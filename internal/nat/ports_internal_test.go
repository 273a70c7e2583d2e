package nat

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func clientPort(host byte, port uint16) ClientPort {
	return ClientPort{Client: netip.AddrFrom4([4]byte{192, 168, 88, host}), InternalPort: port}
}

// Whatever is taken and given back: no inner port has two owners or is one that
// others use, and what nobody uses is free.
func TestPortsProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPorts(&Config{FirstInnerPort: 20000, LastInnerPort: 20007})
		foreign := new(PortSet)
		foreign.AddRange(20003, 20004)
		p.used = map[Protocol]*PortSet{UDP: foreign}
		type use struct {
			inner uint16
			port  ClientPort
		}
		var uses []use
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				port := clientPort(rapid.Byte().Draw(t, "host"), rapid.Uint16Range(1, 3).Draw(t, "port"))
				inner, ok := p.take(port.With(TCP), rapid.Uint16Range(0, 20007).Draw(t, "have"))
				if !ok {
					return
				}
				uses = append(uses, use{inner, port})
			},
			"leave": func(t *rapid.T) {
				if len(uses) == 0 {
					t.Skip("nothing is taken")
				}
				i := rapid.IntRange(0, len(uses)-1).Draw(t, "which")
				p.leave(uses[i].inner)
				uses = append(uses[:i], uses[i+1:]...)
			},
			"": func(t *rapid.T) {
				owners := make(map[uint16]ClientPort)
				for _, u := range uses {
					if owner, ok := owners[u.inner]; ok && owner != u.port {
						t.Fatalf("inner port %d belongs to %v and %v", u.inner, owner, u.port)
					}
					owners[u.inner] = u.port
				}
				if len(owners) != len(p.owner) || len(owners) != len(p.users) {
					t.Fatalf("%d ports in use, the book has %d and %d", len(owners), len(p.owner), len(p.users))
				}
			},
		})
	})
}

func TestTakeUntilNoneIsLeft(t *testing.T) {
	t.Parallel()
	p := newPorts(&Config{FirstInnerPort: 65530, LastInnerPort: 65535})
	foreign := new(PortSet)
	foreign.Add(65531)
	p.used = map[Protocol]*PortSet{UDP: foreign}
	for host := range byte(5) {
		inner, ok := p.take(clientPort(host, 1).With(TCP))
		if !ok || inner < 65530 || inner == 65531 {
			t.Fatalf("client %d: got %d, %v", host, inner, ok)
		}
	}
	if inner, ok := p.take(clientPort(9, 1).With(TCP)); ok {
		t.Errorf("got %d, want none", inner)
	}
}

// Doublenats of different names begin to look for a port at different ones.
func TestDerivedPortDependsOnTheInstance(t *testing.T) {
	t.Parallel()
	a, b := newPorts(&Config{FirstInnerPort: 20000, LastInnerPort: 29999, Instance: "a"}), newPorts(&Config{FirstInnerPort: 20000, LastInnerPort: 29999, Instance: "b"})
	if port := clientPort(1, 80); a.derive(port) == b.derive(port) {
		t.Errorf("both begin at %d", a.derive(port))
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for failures, seconds := range map[int]float64{0: 1, 1: 1, 2: 2, 3: 4, 5: 16, 6: 30, 99: 30, 1 << 30: 30} {
		if got := backoff(failures).Seconds(); got != seconds {
			t.Errorf("after %d failures %v s, want %v s", failures, got, seconds)
		}
	}
}

// A mapping that leaves its port to somebody else begins to look anywhere in the range, its
// ends included: two that look in the same order would meet again and again.
func TestTakeElsewhereAnywhere(t *testing.T) {
	t.Parallel()
	for random, want := range map[float64]uint16{0: 20000, 0.124: 20000, 0.126: 20001, 0.5: 20004, 0.999: 20007} {
		p := newPorts(&Config{FirstInnerPort: 20000, LastInnerPort: 20007})
		if got, ok := p.takeElsewhere(clientPort(1, 80).With(TCP), random); got != want || !ok {
			t.Errorf("at %v: port %d, want %d", random, got, want)
		}
	}
}

// However often the outcome of a change is unknown, so many forms of a rule are remembered.
func TestFormsAreBounded(t *testing.T) {
	t.Parallel()
	r := rule{state: ruleStanding, have: Rule{ID: "*1"}}
	for i := range uint16(100) {
		r.to = Rule{ID: "*1", ExternalPort: 40000 + i}
		r.doubt(&Error{Ambiguous: true}, 1)
	}
	if n := len(r.all()); n != 1+maxForms {
		t.Errorf("%d forms, want the known one and %d", n, maxForms)
	}
}
