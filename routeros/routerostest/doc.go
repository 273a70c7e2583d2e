// Package routerostest is a RouterOS for tests: it speaks the real API protocol
// on real or in-memory connections, keeps the tables that doublenat reads and
// writes, refuses what the real thing refuses with the same texts, and fails on
// demand.
//
// A test makes a [Router], reaches it through [Router.Dial] (in memory, also
// inside a testing/synctest bubble) or [Router.Serve] (any listener), and ends
// it with [Router.Close]:
//
//	router, err := routerostest.New(routerostest.Config{Version: "7.18"})
//	…
//	defer router.Close()
//	conn, err := router.Dial(ctx)
//
// The world that New builds is a small office: a LAN, a WAN, a VPN tunnel, NAT
// rules made by other people, the administrator and a user with least rights.
// The constants of this package name its parts. The test changes that world as
// the administrator would, with [Router.Add], [Router.Set], [Router.Remove] and
// their like; it sees what a client did in [Router.Rows], in the journal
// ([Router.Journal]) and in the counters ([Router.Stats]); it breaks things with
// [Router.Inject] and [Router.Reboot]; it asks where a packet would go, and how the
// answer gets back, with [Router.Answered], [Router.Walk] and [Router.Match]; and it
// types what people are told to type into [Router.Console].
//
// # Versions
//
// What differs between versions is data (version.go). Any version from 6.49 on
// can be named; behavior changes with nearly each. The arguments of all menus are
// compared with those of real releases from 7.9 to 7.24, which package facts has.
//
// # Goroutines and determinism
//
// New starts nothing. Every connection has two goroutines, which end with the
// connection, with the context of Serve, or with Close, and are waited for. The
// commands of one connection are carried out in the order in which they fall
// due, those due at the same instant in the order of their arrival, so that in
// virtual time the same input has the same output.
package routerostest
