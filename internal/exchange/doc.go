// Package exchange asks one gateway over UDP, for the clients of all protocols that have
// requests and replies: it connects, and again when the connection died, keeps as many
// requests in flight as the gateway can stand, repeats them, and hands each reply to the
// request that it answers. What a packet says is for the protocol to know.
package exchange
