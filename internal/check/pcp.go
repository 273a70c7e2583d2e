package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"doublenat/internal/remedy"
	"doublenat/internal/walk"
	"doublenat/natpmp"
	"doublenat/pcp"
)

// askPCP asks doublenat by PCP, with ANNOUNCE, which changes nothing (RFC 6887 §14.1). It shows
// what NAT-PMP cannot: that something replaces the clients' addresses.
type askPCP struct{ asClient }

// The kinds of trouble with the ways in.
const (
	// KindSetting is a doublenat that runs with another setting than the check.
	KindSetting remedy.Kind = "other setting"
	// KindUnanswered is a doublenat that does not answer what it is set to answer.
	KindUnanswered remedy.Kind = "not answered"
)

var (
	errNoWay  = errors.New("check: needs a way to ask doublenat as a client does")
	errNoHome = errors.New("check: doublenat's own address is not an IPv4 address")
)

// Name implements Probe.
func (askPCP) Name() string { return "pcp" }

// Run implements Probe.
func (askPCP) Run(ctx context.Context, v *visit) ([]Finding, error) {
	switch {
	case v.cfg.Ways == nil:
		return nil, nil
	case !v.cfg.Ways.PCP:
		return []Finding{good("PCP is off: programs ask by NAT-PMP. PCP=on would tell Apple devices of a changed port at once, and NetBird its true port")}, nil
	}
	err := v.announce(ctx)
	result, answered := errors.AsType[*pcp.ResultError](err)
	_, version := errors.AsType[*pcp.VersionError](err)
	switch {
	case err == nil:
		return []Finding{good("%s answers PCP", v.whom())}, nil
	case answered && result.Result == pcp.ResultAddressMismatch:
		return []Finding{v.mismatch()}, nil
	case version:
		return []Finding{bad(Fail, KindSetting, v.whom()+" answers NAT-PMP alone", "PCP=on is set here: set it where doublenat runs too, and restart it there")}, nil
	case answered:
		return []Finding{bad(Fail, KindUnanswered, fmt.Sprintf("%s answers PCP with %v", v.whom(), result.Result), "see what doublenat logs with LOG_LEVEL=DEBUG")}, nil
	default:
		return []Finding{bad(Warn, KindUnanswered, fmt.Sprintf("%s does not answer PCP: %v", v.whom(), err),
			"start doublenat, and let ALLOWED_CLIENTS have this host")}, nil
	}
}

// announce asks once, from a socket of its own.
func (v *visit) announce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Patience)
	defer cancel()
	conn, err := v.cfg.Ways.Dial(ctx, "udp", v.door())
	if err != nil {
		return err
	}
	own := netip.Addr{}
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		own = a.AddrPort().Addr().Unmap()
	}
	dialed := false // Run dials again after an error: one socket is enough
	client, err := pcp.NewClient(pcp.ClientConfig{
		Address: func() netip.Addr { return own },
		Dial: func(ctx context.Context) (net.Conn, error) {
			if dialed {
				return v.cfg.Ways.Dial(ctx, "udp", v.door())
			}
			dialed = true
			return conn, nil
		},
	})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	running, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { _ = client.Run(running) }) // it ends with its context alone
	defer serving.Wait()
	defer stop()
	return client.Announce(ctx)
}

// mismatch is the finding for a request whose source was replaced on its way: by a rule of
// the router's, which the walk knows, or by somebody else.
func (v *visit) mismatch() Finding {
	seen := v.whom() + " sees requests come from another address than this host's: ADDRESS_MISMATCH"
	advice := remedy.Mismatch()
	if v.atHome() || v.net == nil {
		return Finding{Level: Fail, Seen: seen, Advice: advice}
	}
	for _, n := range v.net.Networks() {
		for _, own := range v.cfg.Self {
			if !n.Prefix.Contains(own) {
				continue
			}
			trip := v.net.Walk(walk.Flow{In: n.Interface, Protocol: "udp", Src: netip.AddrPortFrom(own, clientPort), Dst: netip.AddrPortFrom(n.Prefix.Addr(), natpmp.Port)})
			if spot := trip.There.Trail.SrcNAT; trip.There.Src.Addr() != own && !spot.IsZero() {
				seen += ", by the rule " + describe(spot.Row)
			}
		}
	}
	advice.Commands = []remedy.Command{remedy.NewCommand(natPath+"/add", "chain", "srcnat", "action", "accept", "protocol", "udp",
		"dst-port", port(natpmp.Port), "dst-address", v.target.String(), "comment", "clients of doublenat").Before("chain=srcnat !dynamic")}
	return Finding{Level: Fail, Seen: seen, Advice: advice}
}
