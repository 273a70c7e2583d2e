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
