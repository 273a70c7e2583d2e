// Package natpmp implements NAT-PMP, the NAT Port Mapping Protocol (RFC 6886), and nothing
// else: messages, the epoch, a server, a client for one gateway, and announcements in both
// directions.
//
// Messages are values. Parsing and appending never allocate, never panic and do no I/O;
// what the RFC tells a receiver to tolerate is tolerated in one place. [Server] and
// [Client] work on a net.PacketConn and a net.Conn, real ones or in memory. Their Run or
// Serve waits for every goroutine that they start. The package logs nothing by default and
// keeps no global state.
package natpmp
