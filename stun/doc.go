// Package stun asks a STUN server one question: from which address and port did you
// receive this (RFC 8489)? It implements the Binding request and its replies, over UDP and
// IPv4 or IPv6, and nothing else: no authentication, no FINGERPRINT, no alternate servers.
//
// A reply is accepted if it comes from the server's address and port and has the request's
// transaction id. So only somebody on the path can forge one.
package stun
