// Package console has tests only: every command for the router's terminal that people
// are told to type, in README, docs, man pages, the set-up, remedies, texts of the
// program and the page, is judged by the terminal of the test router, for each release
// of RouterOS that it is said to be for.
package console
