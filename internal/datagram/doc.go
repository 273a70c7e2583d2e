// Package datagram serves requests that come in datagrams on one socket, in one protocol
// or several: who is let in, whose turn it is, and how replies leave are one code for all
// of them. What a packet says is for a [Protocol] to know.
package datagram
