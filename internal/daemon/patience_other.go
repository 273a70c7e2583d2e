//go:build !linux

package daemon

import (
	"net"
	"time"
)

// tcpPatience is how long the kernel may try to deliver what was written to a connection.
type tcpPatience time.Duration

// limit does nothing here: the connection is aborted when the term ends.
func (tcpPatience) limit(net.Conn) {}
