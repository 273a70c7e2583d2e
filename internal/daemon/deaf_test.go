package daemon_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"doublenat/internal/daemon"
	"doublenat/internal/lab"
	"doublenat/natpmp"
	"doublenat/natpmp/natpmptest"
)

// deafConn is a socket that can be made to fail at every read.
type deafConn struct {
	net.PacketConn

	deaf *atomic.Bool
}

func (c deafConn) ReadFrom(b []byte) (int, net.Addr, error) {
	if c.deaf.Load() {
		return 0, nil, &net.OpError{Op: "read", Err: os.NewSyscallError("recvmsg", syscall.ENODEV)}
	}
	return c.PacketConn.ReadFrom(b)
}

// TestSocketThatCannotBeRead: the page says so, and after a while the daemon takes
// everything down and ends with an error, so that it is started anew.
func TestSocketThatCannotBeRead(t *testing.T) {
	t.Parallel()
	var deaf atomic.Bool
	cfg := lab.BenchConfig{Profile: natpmptest.RFC(), Options: func(o *daemon.Options) {
		listen := o.Network.Listen
		o.Network.Listen = func(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
			conn, err := listen(ctx, at)
			return deafConn{conn, &deaf}, err
		}
	}}
	onBench(t, cfg, func(r *rig) {
		r.mapped(alice, natpmp.OpMapTCP, 6881)
		deaf.Store(true)
		r.Ask(alice, []byte{0, 0}, time.Second) // what is read last
		time.Sleep(30 * time.Second)
		if v := r.Daemon().Status().Verdict; v.Title != "LAN: requests cannot be read" {
			r.t.Errorf("shown is %+v", v)
		}
		time.Sleep(40 * time.Second)
		if rules, leases := len(r.OurRules("default")), len(r.Gateway.Mappings()); rules+leases > 0 {
			r.t.Errorf("%d rules and %d leases left", rules, leases)
		}
		if err := r.Stop(); err == nil || !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), "every read") {
			r.t.Errorf("ended with %v", err)
		}
	})
}
