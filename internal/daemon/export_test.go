package daemon

import (
	"doublenat/internal/frontend"
	"doublenat/natpmp"
)

// PacketStats returns what became of the packets of clients.
func (d *Daemon) PacketStats() (natpmp.ServerStats, frontend.Stats) {
	return d.server.Stats(), d.frontend.Stats()
}
