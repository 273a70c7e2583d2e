// Package igd implements both sides of the UPnP Internet Gateway Device, versions 1 and 2,
// as far as port mappings need them.
//
// [Client] is a control point for one gateway, and nothing else: it finds the device by a
// unicast search or by its description's URL, and calls the actions that map ports. It
// does not trust the device. It contacts only the device's own IPv4 address, whatever
// addresses the device names, and follows no redirects. The sizes of headers, bodies and
// documents are limited, documents with a DTD are refused, and every wait ends with the
// caller's context. No goroutine outlives a call except those of the few open connections,
// which [Client.Close] ends.
//
// [Server] is the device: it answers searches and announces itself (SSDP), serves its
// descriptions, and asks a [Handler] for the mappings that clients want. It does not trust
// clients either: each can act only for itself, no search gets more than one reply, no
// events are sent to anybody, and requests that web pages make a browser send are refused.
//
// Parsers are total: bytes in, value or error out.
package igd
