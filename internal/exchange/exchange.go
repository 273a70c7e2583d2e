package exchange

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// DefaultWindow is how many requests are in flight at first, unless told otherwise.
	DefaultWindow = 16
	// dialTimeout bounds one attempt to connect.
	dialTimeout = 10 * time.Second
	// silenceLimit is how long nothing is heard, while something is asked, until
	// the socket is replaced by a new one.
	silenceLimit = 10 * time.Second
	// maxReadFailures is how many errors in a row a connection may have at reading that
	// are no fault of its own.
	maxReadFailures = 20
)

// Config has what an [Exchange] needs.
type Config[Q any] struct {
	// Dial connects a UDP socket to the gateway's port. A connected socket drops what
	// comes from others and tells when the gateway's port is closed. Its Write must not
	// wait for the other side. Dial is called by Run, again after the connection died.
	// Required.
	Dial func(ctx context.Context) (net.Conn, error)
	// Window is how many requests may be in flight at once at first; 0 means [DefaultWindow].
	Window int
	// MaxPacket is the size beyond which packets are cut off. Required.
	MaxPacket int
	// Receive is told of each packet of the gateway, by one goroutine. It should call End,
	// and must not block or keep the bytes. Required.
	Receive func(ctx context.Context, packet []byte)
	// Began is told of each request that is about to be sent first. Nil is nobody.
	Began func(req Q)
	// OnTrouble is told of each error of the connection: of making it, of sending, and of
	// the one that ended it. It is called by several goroutines and must not block. Nil is
	// nobody.
	OnTrouble func(err error)
	// Logger gets changes of the connection as warnings, once each. Nil discards.
	Logger *slog.Logger
}

// Exchange asks one gateway. K is what replies are matched by, Q is a request and A an
// answer, as the protocol has them. Its methods may be called at the same time from
// several goroutines.
type Exchange[K comparable, Q, A any] struct {
	dial      func(ctx context.Context) (net.Conn, error)
	receive   func(ctx context.Context, packet []byte)
	began     func(Q)
	onTrouble func(error)
	log       *slog.Logger
	maxPacket int
	window    *window[K]
	pending   pending[K, Q, A]
	link      *link
	running   atomic.Bool
	count     counters
}

// New checks the configuration and returns an exchange. It starts nothing.
func New[K comparable, Q, A any](cfg Config[Q]) (*Exchange[K, Q, A], error) {
	switch {
	case cfg.Dial == nil:
		return nil, errors.New("client needs a way to dial")
	case cfg.Window < 0:
		return nil, errors.New("window is negative")
	case cfg.MaxPacket <= 0 || cfg.Receive == nil:
		return nil, errors.New("client needs to know what a packet is")
	}
	if cfg.Window == 0 {
		cfg.Window = DefaultWindow
	}
	if cfg.Began == nil {
		cfg.Began = func(Q) {}
	}
	if cfg.OnTrouble == nil {
		cfg.OnTrouble = func(error) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Exchange[K, Q, A]{
		dial:      cfg.Dial,
		receive:   cfg.Receive,
		began:     cfg.Began,
		onTrouble: cfg.OnTrouble,
		log:       cfg.Logger,
		maxPacket: cfg.MaxPacket,
		window:    newWindow[K](cfg.Window),
		link:      newLink(),
	}, nil
}

// Run connects to the gateway and reads its replies until the context ends; it
// then returns nil. It connects again when the connection died. Run is called
// once; calls of Do fail with [ErrStopped] after it.
func (x *Exchange[K, Q, A]) Run(ctx context.Context) error {
	if x.running.Swap(true) {
		return errors.New("client runs already")
	}
	defer x.link.stop()
	failures := 0
	for ctx.Err() == nil {
		heard, err := x.session(ctx)
		silent := x.link.down(err)
		switch {
		case ctx.Err() != nil, silent:
			continue
		case heard:
			failures = 0
		}
		x.onTrouble(err)
		failures++
		if failures == 1 {
			x.log.WarnContext(ctx, "connection to the gateway is down, connecting again", "error", err)
		}
		Pause(ctx, redialPause(failures))
	}
	return nil
}

// redialPause returns how long to wait after so many failures in a row.
func redialPause(failures int) time.Duration {
	return min(25*time.Millisecond<<min(failures, 10), 5*time.Second)
}

// session connects once and reads until the connection dies. It says whether
// anything was heard, and what ended it.
func (x *Exchange[K, Q, A]) session(ctx context.Context) (heard bool, err error) {
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := x.dial(dialCtx)
	if err != nil {
		return false, fmt.Errorf("connecting to the gateway: %w", err)
	}
	x.count.dials.Add(1)
	defer conn.Close()
	defer OnDone(ctx, func() { _ = conn.Close() })()
	x.link.up(conn)

	return x.listen(ctx, conn)
}

// listen reads until the connection dies. It says whether anything was heard.
func (x *Exchange[K, Q, A]) listen(ctx context.Context, conn net.Conn) (heard bool, err error) {
	buf := make([]byte, x.maxPacket)
	failures := 0
	for {
		n, err := conn.Read(buf)
		switch {
		case err == nil:
			heard, failures = true, 0
			x.link.hear()
			x.count.received.Add(1)
			x.receive(ctx, buf[:n])
		case errors.Is(err, syscall.ECONNREFUSED):
			x.refused()
		case passes(err) && failures < maxReadFailures:
			Pause(ctx, ReadPause(failures))
			failures++
		default:
			return heard, fmt.Errorf("reading from the gateway: %w", err)
		}
	}
}

// refused deals with an ICMP port unreachable.
func (x *Exchange[K, Q, A]) refused() {
	x.link.hear()
	x.count.refused.Add(1)
	x.pending.refuse()
}

// Expects notes that a reply came, and says whether there is a request that it answers.
func (x *Exchange[K, Q, A]) Expects(match func(Q) bool) bool { return x.pending.expects(match) }

// End gives the answer to the oldest request that matches, if one is still waiting, or to
// all that do. Match must not call the exchange.
func (x *Exchange[K, Q, A]) End(match func(Q) bool, one bool, answer A) {
	x.pending.end(match, one, func(c *call[K, Q, A]) { c.answer = answer })
}

// Look calls f with the requests in flight, in the order of their start. What f does
// excludes End and other calls of Look; it must not call the exchange.
func (x *Exchange[K, Q, A]) Look(f func(inFlight []Q)) { x.pending.look(f) }
