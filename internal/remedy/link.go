package remedy

// LinkKind says what leads from the router to the gateway.
type LinkKind uint8

const (
	// LinkUnknown is a way that is not known yet.
	LinkUnknown LinkKind = iota
	// LinkTunnel is a tunnel, with a VPN's server at its far end.
	LinkTunnel
	// LinkLine is a line at whose other end a box is: a provider's, or another router.
	LinkLine
)

// Link is the way from the router to the gateway. The zero value is one that is not known.
type Link struct {
	// Interface is the router's, "" while it is not known.
	Interface string
	// Kind is what it is.
	Kind LinkKind
}

// deaf is what to look at when nothing comes back.
func (l Link) deaf() string {
	switch l.Kind {
	case LinkTunnel:
		return "the tunnel's last handshake"
	case LinkLine:
		return "that the protocol doublenat uses is switched on in the box"
	case LinkUnknown:
	}
	return "whether anything answers there"
}

// Down says what to look at when the interface does not run.
func (l Link) Down() string {
	if l.Kind == LinkTunnel {
		return "check the tunnel's peer: endpoint, keys, last handshake"
	}
	return "check the line: its cable, and the box at the other end"
}
