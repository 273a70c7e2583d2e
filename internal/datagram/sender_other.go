//go:build !unix

package datagram

// sender is a way to send without waiting, which this system does not have: package
// net sends.
type sender struct{}

func newSender(any) *sender { return nil }

func (*sender) send(datagramOut) error { return nil }
