package natpmp

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrClientStopped is returned by calls of a [Client] whose Run has returned.
var ErrClientStopped = errors.New("natpmp: client stopped")

// ResultError is a gateway that answered with another result than success. It is
// fatal for that request (RFC 6886 §3.5).
type ResultError struct {
	// Opcode is what was asked.
	Opcode Opcode
	// Result is what the gateway said, never [ResultSuccess].
	Result ResultCode
}

// Error returns opcode and result in words.
func (e *ResultError) Error() string {
	return fmt.Sprintf("natpmp: gateway answered the %v request: %v", e.Opcode, e.Result)
}

// RefusedError is a host that answers with ICMP port unreachable: nobody listens
// on the gateway's NAT-PMP port (RFC 6886 §3.1, §3.8). errors.Is finds
// syscall.ECONNREFUSED in it.
type RefusedError struct {
	// Tries is how many packets were sent. The last one was refused; of the ones
	// before it is not known what became of them. It is 0 when a packet of another
	// request had been refused just before.
	Tries int
}

// Error says what the host did.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("natpmp: gateway refused (port unreachable) at try %d", e.Tries)
}

// Unwrap returns syscall.ECONNREFUSED.
func (*RefusedError) Unwrap() error { return syscall.ECONNREFUSED }

// TimeoutError is a request without a reply when the context ended or the last
// try had been waited for. The gateway may have done what was asked if Tries is
// not 0.
type TimeoutError struct {
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
func (e *TimeoutError) Error() string {
	if e.Send != nil {
		return fmt.Sprintf("natpmp: no reply after %d tries: %v (%v)", e.Tries, e.Err, e.Send)
	}
	return fmt.Sprintf("natpmp: no reply after %d tries: %v", e.Tries, e.Err)
}

// Unwrap returns Err and Send.
func (e *TimeoutError) Unwrap() []error {
	if e.Send != nil {
		return []error{e.Err, e.Send}
	}
	return []error{e.Err}
}
