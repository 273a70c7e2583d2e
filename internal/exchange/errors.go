package exchange

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrStopped is returned by calls of an [Exchange] whose Run has returned.
var ErrStopped = errors.New("client stopped")

// Refused is a host that answers with ICMP port unreachable: nobody listens on the
// gateway's port. errors.Is finds syscall.ECONNREFUSED in it.
type Refused struct {
	// Tries is how many packets were sent. The last one was refused; of the ones
	// before it is not known what became of them. It is 0 when a packet of another
	// request had been refused just before.
	Tries int
}

// Error says what the host did.
func (e *Refused) Error() string {
	return fmt.Sprintf("gateway refused (port unreachable) at try %d", e.Tries)
}

// Unwrap returns syscall.ECONNREFUSED.
func (*Refused) Unwrap() error { return syscall.ECONNREFUSED }

// Timeout is a request without a reply when the context ended or the last try had been
// waited for. The gateway may have done what was asked if Tries is not 0.
type Timeout struct {
	// Tries is how many packets were sent: 0 when there was no connection, or no
	// room in the window of requests in flight.
	Tries int
	// Err is the context's error, or context.DeadlineExceeded when all tries were made.
	Err error
	// Send is the latest error of the connection since the call began, nil when
	// packets went out and nothing came back.
	Send error
}

// Error says how long it was tried and why it ended.
func (e *Timeout) Error() string {
	if e.Send != nil {
		return fmt.Sprintf("no reply after %d tries: %v (%v)", e.Tries, e.Err, e.Send)
	}
	return fmt.Sprintf("no reply after %d tries: %v", e.Tries, e.Err)
}

// Unwrap returns Err and Send.
func (e *Timeout) Unwrap() []error {
	if e.Send != nil {
		return []error{e.Err, e.Send}
	}
	return []error{e.Err}
}
