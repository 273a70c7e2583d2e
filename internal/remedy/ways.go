package remedy

// KindMismatch is a PCP request whose source address was replaced on its way.
const KindMismatch Kind = "address mismatch"

// Mismatch is for PCP requests that come from another address than they name. With NAT-PMP
// that does not show, and all clients look like one.
func Mismatch() Advice {
	return Advice{
		Kind: KindMismatch,
		Text: "find what replaces clients' addresses on the way to doublenat: on the router a masquerade rule without an out-interface; " +
			"in Docker a bridge network (use network_mode: host); otherwise a second router in front of the clients",
	}
}
