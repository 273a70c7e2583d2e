package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doublenat/internal/nat"
	"doublenat/internal/realm"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
)

// onGateway is embedded in probes of the gateway.
type onGateway struct{}

// Hop returns the gateway.
func (onGateway) Hop() nat.Hop { return nat.HopGateway }

// answers asks the gateway for its public address.
type answers struct{ onGateway }

// Name implements Probe.
func (answers) Name() string { return "gateway" }

// Run implements Probe.
func (answers) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if !v.cfg.Gateway.IsValid() {
		return nil, nil // the router did not tell which one it is, and that is said
	}
	external, err := v.ask(ctx)
	if err != nil {
		return v.otherwise(ctx, err)
	}
	var seen string
	switch {
	case !external.IsValid():
		return []Finding{good("%v answers %s, which tells the public address with mappings only", v.cfg.Gateway, v.cfg.Speaks)}, nil
	case external.IsUnspecified():
		seen = "the gateway has no public address"
	case !realm.Tellable(external, v.cfg.Gateway.Addr()):
		seen = fmt.Sprintf("the gateway's address %v cannot be a public one: clients are not told it", external)
	default:
		return []Finding{good("%v answers %s", v.cfg.Gateway, v.cfg.Speaks)}, nil
	}
	return []Finding{{Level: Fail, Seen: seen, Advice: remedy.ForResult(natpmp.ResultNetworkFailure)}}, nil
}

// ask asks the gateway for its public address, once in a visit.
func (v *visit) ask(ctx context.Context) (netip.Addr, error) {
	if v.asked {
		return v.external, v.silence
	}
	v.asked = true
	switch {
	case v.cfg.Ask != nil:
		v.external, v.silence = v.askIn(ctx, v.cfg.Ask)
		return v.external, v.silence
	case v.cfg.DialGateway == nil:
		v.silence = errAnyLanguage
		return v.external, v.silence
	}
	v.silence = asking(ctx, v.cfg.DialGateway, func(ctx context.Context, client *natpmp.Client) (err error) {
		ctx, cancel := context.WithTimeout(ctx, v.cfg.Patience)
		defer cancel()
		v.external, err = client.ExternalAddress(ctx)
		return err
	})
	return v.external, v.silence
}

// errAnyLanguage is what a gateway says of which no language is known.
var errAnyLanguage = errors.New("the gateway answers in no language that doublenat knows")

// otherwise asks a gateway in the other languages, when it did not answer in the one that it
// should, or when that is not known. Failure is why.
func (v *visit) otherwise(ctx context.Context, failure error) ([]Finding, error) {
	var found []Finding
	for i, answer := range v.askOthers(ctx) {
		l := v.cfg.Others[i]
		switch {
		case answer.err != nil:
		case errors.Is(failure, errAnyLanguage):
			found = append(found, good("%v answers %s; %s asks it so at once", v.cfg.Gateway.Addr(), l.Name, l.Line))
			if !v.external.IsValid() {
				v.external = answer.external
			}
		default:
			found = append(found, Finding{
				Level: Fail, Seen: fmt.Sprintf("%v does not answer %s, and answers %s", v.cfg.Gateway.Addr(), v.cfg.Speaks, l.Name),
				Advice: remedy.OtherLanguage(l.Line),
			})
		}
	}
	if len(found) == 0 {
		return nil, failure
	}
	return found, nil
}

// otherPatience is how long a gateway may take to answer in a language that nobody expects.
const otherPatience = 2 * time.Second

// spoken is what a gateway answered.
type spoken struct {
	external netip.Addr
	err      error
}

// askOthers asks in all the other languages side by side.
func (v *visit) askOthers(ctx context.Context) []spoken {
	self, err := v.self(ctx)
	answers := make([]spoken, len(v.cfg.Others))
	ctx, cancel := context.WithTimeout(ctx, min(otherPatience, v.cfg.Patience))
	defer cancel()
	var asking sync.WaitGroup
	for i, l := range v.cfg.Others {
		answers[i].err = err
		if err == nil {
			asking.Go(func() { answers[i].external, answers[i].err = l.Ask(ctx, self) })
		}
	}
	asking.Wait()
	return answers
}

// self returns the router's own address towards the gateway, the zero Addr if it is not known.
func (v *visit) self(ctx context.Context) (netip.Addr, error) {
	if v.api == nil || v.survey.InInterface == "" {
		return netip.Addr{}, nil
	}
	own, err := v.addresses(ctx, v.survey.InInterface)
	if err != nil || len(own) == 0 {
		return netip.Addr{}, err
	}
	return own[0], nil
}

// askIn asks in a language, from the router's own address.
func (v *visit) askIn(ctx context.Context, ask func(context.Context, netip.Addr) (netip.Addr, error)) (netip.Addr, error) {
	self, err := v.self(ctx)
	if err != nil {
		return netip.Addr{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Patience)
	defer cancel()
	return ask(ctx, self)
}

// asking runs f with a client that is connected, and ends the client.
func asking(ctx context.Context, dial func(context.Context) (net.Conn, error), f func(context.Context, *natpmp.Client) error) error {
	client, err := natpmp.NewClient(natpmp.ClientConfig{Dial: dial})
	if err != nil {
		return err
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	running, stop := context.WithCancel(ctx)
	defer stop()
	serving.Go(func() { _ = client.Run(running) }) // it returns nil when it is stopped
	return f(ctx, client)
}

// address compares the public address with the router's own.
type address struct{ onGateway }

// The kinds of trouble with the public address.
const (
	// KindPrivate is a gateway behind another NAT.
	KindPrivate remedy.Kind = "private address"
	// KindOwnAddress is a gateway whose public address the router itself has.
	KindOwnAddress remedy.Kind = "own address"
)

// Name implements Probe.
func (address) Name() string { return "address" }

// Run implements Probe.
func (address) Run(ctx context.Context, v *visit) ([]Finding, error) {
	if !realm.Tellable(v.external, v.cfg.Gateway.Addr()) {
		return nil, nil
	}
	if !realm.Public(v.external) {
		return []Finding{bad(Warn, KindPrivate,
			fmt.Sprintf("the gateway's address %v is not one of the Internet: there is a third NAT behind the gateway", v.external),
			"nothing on the Internet reaches these ports: choose another server of the VPN, or ask the provider for a public address")}, nil
	}
	if v.api == nil || v.survey.InInterface == "" {
		return []Finding{good("the public address is %v", v.external)}, nil
	}
	// From here on the router only helps; what it does not say is not the gateway's fault.
	exits, err := v.exits(ctx, mainTable)
	for _, name := range exits {
		own, errOwn := v.addresses(ctx, name)
		if err == nil && errOwn == nil && name != v.survey.InInterface && slices.Contains(own, v.external) {
			return []Finding{bad(Fail, KindOwnAddress,
				fmt.Sprintf("%v is the router's own address on %s: what answers is not beyond %s", v.external, name, v.survey.InInterface),
				"check VPN_GATEWAY, and the route to it")}, nil
		}
	}
	inside, err := v.addresses(ctx, v.survey.InInterface)
	if err != nil || len(inside) == 0 {
		return []Finding{good("the public address is %v", v.external)}, nil //nolint:nilerr // the router only helps here
	}
	return []Finding{good("the public address is %v, the router's own on %s %v", v.external, v.survey.InInterface, inside[0])}, nil
}
