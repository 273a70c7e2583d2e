package natpmp

import (
	"errors"
	"fmt"

	"doublenat/internal/exchange"
)

// ErrClientStopped is returned by calls of a [Client] whose Run has returned.
var ErrClientStopped = errors.New("natpmp: client stopped")

// ResultError is a gateway's reply with a result other than success. It is final for that
// request (RFC 6886 §3.5).
type ResultError struct {
	// Opcode is that of the request.
	Opcode Opcode
	// Result is the gateway's result, never [ResultSuccess].
	Result ResultCode
	// Version is the version of the reply: 0 for NAT-PMP, 2 for a gateway that speaks PCP
	// but not NAT-PMP, which reports [ResultUnsupportedVersion] (RFC 6887 §9).
	Version uint8
}

// Error returns opcode and result in words.
func (e *ResultError) Error() string {
	if e.Version != Version {
		return fmt.Sprintf("natpmp: gateway answered the %v request: %v, it speaks version %d", e.Opcode, e.Result, e.Version)
	}
	return fmt.Sprintf("natpmp: gateway answered the %v request: %v", e.Opcode, e.Result)
}

// RefusedError means that the host answered with ICMP port unreachable: nothing listens on
// the gateway's NAT-PMP port (RFC 6886 §3.1, §3.8). errors.Is finds syscall.ECONNREFUSED
// in it.
type RefusedError = exchange.Refused

// TimeoutError means that no reply arrived before the context ended or the last try timed
// out. If Tries is not 0, the gateway may have done what was requested.
type TimeoutError struct {
	// Tries is the number of packets sent: 0 if there was no connection, or no room in the
	// window of requests in flight.
	Tries int
	// Err is the context's error, or context.DeadlineExceeded when all tries were made.
	Err error
	// Send is the latest error of the connection since the call began, nil if packets went
	// out but nothing came back.
	Send error
	// Odd says what was wrong with the replies that did arrive; [OddNone] if there were
	// none.
	Odd Oddity
}

// Error says how long the client tried and why it stopped.
func (e *TimeoutError) Error() string {
	if e.Odd != OddNone {
		return fmt.Sprintf("natpmp: no right reply after %d tries, the gateway %v: %v", e.Tries, e.Odd, e.Err)
	}
	return "natpmp: " + e.timeout().Error()
}

// Unwrap returns Err and Send.
func (e *TimeoutError) Unwrap() []error { return e.timeout().Unwrap() }

// timeout is the error without the oddity.
func (e *TimeoutError) timeout() *exchange.Timeout {
	return &exchange.Timeout{Tries: e.Tries, Err: e.Err, Send: e.Send}
}
