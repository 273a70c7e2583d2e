//go:build e2e && linux

package e2e_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// transmissionPort is where Transmission listens.
const transmissionPort = 51413

// calm makes a doublenat such as Transmission 3 needs: it maps TCP alone, and asks again
// every twenty minutes, whatever it is granted (docs/gateways.md).
func calm(environ map[string]string) map[string]string {
	environ = maps.Clone(environ)
	environ["LEASE_POLICY"], environ["COMPANION"], environ["MAX_LIFETIME"] = "hold", "on", "1h"
	return environ
}

// smallTorrent returns a torrent of one byte and its hash.
func smallTorrent() (file []byte, infoHash string) {
	piece := sha1.Sum([]byte("x"))
	info := "d6:lengthi1e4:name3:e2e12:piece lengthi16384e6:pieces20:" + string(piece[:]) + "e"
	hash := sha1.Sum([]byte(info))
	return []byte("d4:info" + info + "e"), hex.EncodeToString(hash[:])
}

// transmission is Transmission on a LAN host.
type transmission struct {
	*process

	infoHash string
}

// startTransmission starts Transmission with a torrent on a host.
func startTransmission(ctx context.Context, w *world, h *host) (*transmission, error) {
	dir := w.t.TempDir()
	file, infoHash := smallTorrent()
	settings, err := json.Marshal(map[string]any{
		"peer-port": transmissionPort, "port-forwarding-enabled": true, "rpc-enabled": false, "dht-enabled": true,
		"lpd-enabled": false, "utp-enabled": true, "download-dir": dir, "message-level": 3,
	})
	err = errors.Join(err,
		os.Mkdir(filepath.Join(dir, "torrents"), 0o700),
		os.WriteFile(filepath.Join(dir, "torrents", "e2e.torrent"), file, 0o600),
		os.WriteFile(filepath.Join(dir, "settings.json"), settings, 0o600))
	if err != nil {
		return nil, err
	}
	cmd := h.command(ctx, "transmission-daemon", "--foreground", "--config-dir", dir)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	return &transmission{startProcess(w.t, "transmission", cmd), infoHash}, nil
}

// awaitForwarding waits until Transmission says that it has a port. It looks for a gateway
// for eight seconds before it asks.
func (p *transmission) awaitForwarding(ctx context.Context) error {
	return eventually(ctx, 6*patience, func() error {
		if !strings.Contains(p.log.String(), "forwarded successfully") {
			return errors.New("transmission does not say that it has a port")
		}
		return nil
	})
}

// external returns the external port in the comment of doublenat's rule for a port of a
// host, 0 if there is none.
func (o *office) external(protocol string, at netip.AddrPort) (port uint16) {
	for _, row := range o.Rows(natPath) {
		words := strings.Fields(row["comment"])
		if !ours(row) || len(words) < 3 || words[1] != protocol || words[2] != at.String() {
			continue
		}
		for _, word := range words {
			if value, ok := strings.CutPrefix(word, "ext="); ok {
				n, _ := strconv.ParseUint(value, 10, 16) // 0 is none, too
				port = uint16(n)
			}
		}
	}
	return port
}

// sharer is Transmission on alice, with its ports.
type sharer struct {
	*transmission

	w     *world
	ports [2]uint16 // external ones for TCP and UDP
}

// start starts the program, and waits until it is reached.
func (s *sharer) start(ctx context.Context) (err error) {
	if s.transmission, err = startTransmission(ctx, s.w, s.w.alice); err != nil {
		return err
	}
	if err := s.awaitForwarding(ctx); err != nil {
		return err
	}
	return eventually(ctx, patience, func() error { // UDP comes after TCP, without its doing
		at := netip.AddrPortFrom(s.w.alice.addr, transmissionPort)
		s.ports = [2]uint16{s.w.office.external("tcp", at), s.w.office.external("udp", at)}
		return s.reached(ctx)
	})
}

// reached meets the program over TCP and UDP.
func (s *sharer) reached(ctx context.Context) error {
	_, errTCP := s.w.internet.shakeHands(ctx, s.w.public(mapping{external: s.ports[0]}), s.infoHash)
	_, _, errUDP := s.w.internet.ping(ctx, s.w.public(mapping{external: s.ports[1]}))
	return errors.Join(errTCP, errUDP, s.w.layers(ctx, 2))
}

// withTransmission is Transmission from its start to its end behind a provider's box:
// it maps and is reached, the box restarts, and so do doublenat and Transmission, killed.
func withTransmission(ctx context.Context, w *world) error {
	s := &sharer{w: w}
	if err := s.start(ctx); err != nil {
		return err
	}
	ports := s.ports
	if ports[0] != ports[1] {
		return fmt.Errorf("tcp has port %d and udp has port %d", ports[0], ports[1])
	}
	pause(ctx, 4*time.Second) // the box has to have an age from which its epoch falls
	if err := w.gateway.restart(ctx); err != nil {
		return err
	}
	if err := eventually(ctx, 65*time.Second, func() error { return s.reached(ctx) }); err != nil {
		return err
	}
	w.doublenat.kill()
	s.kill()
	if err := errors.Join(w.open(ctx), s.start(ctx)); err != nil {
		return err
	}
	if s.ports != ports {
		return fmt.Errorf("the restart moved ports %d to %d", ports, s.ports)
	}
	// It gives nothing back when it ends sooner after its last request.
	pause(ctx, 9*time.Second)
	if err := s.stop(2 * patience); err != nil {
		return err
	}
	return eventually(ctx, patience, func() error { return w.layers(ctx, 0) })
}
