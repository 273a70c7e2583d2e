// Package frontend answers the NAT-PMP requests of LAN clients (RFC 6886): it
// decides who may ask, lets copies of a request share one piece of work, hands
// the work to the core, and turns what the core says into a result code.
package frontend
