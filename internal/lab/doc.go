// Package lab puts everything on one machine: a RouterOS and a VPN gateway that
// speak their real protocols, the real daemon between them, a LAN client with a
// web server, and an Internet. No privilege is needed and nothing leaves the
// loopback interface.
//
// The two NATs really forward. A relay listens at the gateway's public address
// on the ports of its leases and passes bytes on to the tunnel address; another
// one listens there and asks the router's own rule table where they go. So a
// page arrives only if the daemon did all of its work, and a deleted mapping is
// a port that refuses.
//
// On Linux every role has an address of its own in 127.0.0.0/8. Elsewhere all
// share 127.0.0.1 and differ in their ports.
package lab
