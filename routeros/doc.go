// Package routeros implements the RouterOS API and nothing else: sentences, login, tagged
// commands and typed errors. It knows no RouterOS commands but /login and /cancel.
//
// A [Client] keeps one connection, over which any number of goroutines send commands at
// the same time; tags match the replies to them. The connection is opened when a command
// needs it and belongs to [Client.Run]:
//
//	client, err := routeros.New(routeros.Config{Address: "192.168.88.1:8728", User: "doublenat"})
//	...
//	go client.Run(ctx) // and wait for it to end
//	reply, err := client.Do(ctx, routeros.Command{Path: "/system/identity/print"})
//
// The package limits everything that a router can make it hold: the length of a word, the
// size of a sentence and of a reply, the commands in flight, and the abandoned ones that
// still await a reply.
package routeros
