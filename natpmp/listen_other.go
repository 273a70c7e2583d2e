//go:build !linux

package natpmp

import (
	"fmt"
	"net"
)

// ListenAnnouncements opens a socket that receives announcements. It shares port 5350 with
// other clients on this host (RFC 6886 §3.2.1). Package net binds it to the wildcard
// address; a [Listener] checks where packets come from.
func ListenAnnouncements() (net.PacketConn, error) {
	conn, err := net.ListenMulticastUDP("udp4", nil, &net.UDPAddr{IP: allHosts().AsSlice(), Port: AnnouncementPort})
	if err != nil {
		return nil, fmt.Errorf("opening the announcement socket: %w", err)
	}
	return conn, nil
}
