// Package foreign makes text that somebody else wrote safe to show. A router's
// message, a rule's comment, an HTTP answer or a host name is data: it must not move
// a terminal's cursor, start a log line of its own, or change the direction in which
// the rest is read.
//
// [Text] is the one function; [Writer] and [Attr] put it before terminals and logs,
// where text arrives by ways that nobody can list.
package foreign
