// Package clients has the habits of the NAT-PMP clients that people run, written
// down as test clients, and measures for how much of a month the port that each was
// told last really led to it. It has nothing but tests: see TestThirtyDays and
// docs/gateways.md.
package clients
