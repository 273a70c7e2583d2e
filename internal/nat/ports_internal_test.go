package nat

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

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

func TestLocksAreFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var locks portLocks
		port := clientPort(1, 80)
		unlock, err := locks.lock(t.Context(), port)
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan int, 10)
		for i := range 10 {
			go func() {
				unlock, err := locks.lock(t.Context(), port)
				if err != nil {
					t.Error(err)
					return
				}
				order <- i
				unlock()
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := locks.lock(ctx, port); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting past the context: %v", err)
		}
		other, err := locks.lock(t.Context(), clientPort(1, 81))
		if err != nil {
			t.Fatal(err)
		}
		other()
		unlock()
		synctest.Wait()
		for want := range 10 {
			if got := <-order; got != want {
				t.Errorf("served %d, want %d", got, want)
			}
		}
		if n := len(locks.locks); n != 0 {
			t.Errorf("%d locks left", n)
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for failures, seconds := range map[int]float64{0: 1, 1: 1, 2: 2, 3: 4, 5: 16, 6: 30, 99: 30, 1 << 30: 30} {
		if got := backoff(failures).Seconds(); got != seconds {
			t.Errorf("after %d failures %v s, want %v s", failures, got, seconds)
		}
	}
}
