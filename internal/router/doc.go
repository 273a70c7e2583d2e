// Package router is the MikroTik router behind nat.Router: it turns the core's
// rules into rows of /ip/firewall/nat and back.
//
// A row is ours only if its comment parses strictly, names our instance, and
// its in-interface is the tunnel interface. Every other row belongs to somebody
// else: it is read, to know which ports are taken, and never changed.
//
// The comment says everything about a rule that the core has to know after a
// restart; a row whose other fields say something else is reported as altered.
//
// A command whose reply got lost is not repeated blindly. The rule is looked up
// by its comment first, so that an add never makes a second one.
package router
