// Package pcp implements PCP, the Port Control Protocol (RFC 6887), and nothing else:
// messages, the watch on a server's epoch, a client for one gateway, and the server's
// part.
//
// Messages are values. Parsing and appending never allocate, never panic and do no I/O. If
// a request cannot be read, the error determines the server's reply, see [ResultOf].
// [Client] works on a net.Conn, a real one or in memory. Its Run waits for every goroutine
// that it starts. The package logs nothing by default and keeps no global state.
//
// PCP calls the two sides client and server; where a client refers to the server, it is
// called gateway here. Addresses are IPv4 or IPv6; on the wire all have 128 bits, IPv4
// addresses as IPv4-mapped IPv6 addresses (RFC 6887 §5).
package pcp
