package remedy

// KindLock is a lock that the router cannot keep, or that somebody else's entry blocks.
const KindLock Kind = "lock"

// NoLock is for a router that does not do what a lock needs.
func NoLock() Advice {
	return routerAdvice(KindLock, "set LOCK=none, and run one doublenat only for this router and instance")
}

// StuckLock is for an entry in the place of the lock that never goes by itself.
func StuckLock(list, address string) Advice {
	return routerAdvice(KindLock, "remove the entry: doublenat makes it anew, with a timeout",
		NewCommand("/ip/firewall/address-list/remove").Found("list="+quote(list)+" and address="+address))
}

// KindRedirect is a redirect of clients' requests that doublenat cannot point to itself.
const KindRedirect Kind = "redirect"

const natPath = "/ip/firewall/nat"

// NoRedirect is for a router without the redirect that `doublenat setup` prints.
func NoRedirect() Advice {
	return routerAdvice(KindRedirect, "type the redirect that `doublenat setup` prints, with its comment; or set LOCK_REDIRECT=off if the address moves by other means")
}

// UnmarkedRedirect is for a redirect without the comment by which doublenat knows it.
func UnmarkedRedirect(id, comment string) Advice {
	return routerAdvice(KindRedirect, "give the rule the comment if doublenat may change where it leads, or set LOCK_REDIRECT=off",
		NewCommand(natPath+"/set", numbers, id, "comment", comment))
}

// ManyRedirects is for several redirects of the same requests, as two set-ups leave them.
func ManyRedirects(comment string) Advice {
	return routerAdvice(KindRedirect, "look at the rules, and remove all but one; doublenat points that one to whoever is active",
		NewCommand(natPath+"/print").Found("comment="+quote(comment)))
}

// RedirectOff is for a redirect that is disabled.
func RedirectOff(id string) Advice {
	return routerAdvice(KindRedirect, "enable it, or set LOCK_REDIRECT=off", NewCommand(natPath+"/enable", numbers, id))
}

// UnknownHost is for a host whose address the router may not reach.
func UnknownHost() Advice {
	return routerAdvice(KindRedirect, "set LISTEN_ADDR to the address at which the router reaches this host, or LOCK_REDIRECT=off")
}
