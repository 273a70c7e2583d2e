// Package setup writes the RouterOS commands that set a router up for doublenat:
// a user with the least rights, the API, the redirect of NAT-PMP, and the container
// where doublenat runs in one. It writes them for one version of RouterOS, whose
// options differ from those of the next, and sends nothing to anybody.
package setup
