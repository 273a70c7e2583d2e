//go:build e2e && linux

package e2e_test

import (
	"context"
	"fmt"
	"strings"
)

// prober asks a router one thing after the other. Its rules are switched off, so
// that they never see a packet.
type prober struct {
	*tap

	report   *report
	router   realRouter
	instance string
	iface    string
}

// probe is an assumption that our test router makes about RouterOS.
type probe struct {
	assumption string
	// check returns what is not as assumed.
	check func(*prober) error
}

// probes returns all of them. Each starts without a rule of ours.
func probes() []probe {
	return []probe{
		{"an empty print ends in `!empty` `!done` from 7.18 on, before in `!done`", (*prober).emptyPrint},
		{"`/ip/route/check` is there in 6 and from 7.18 on", (*prober).routeCheck},
		{"a rule is stored as it was sent, under an id of `*` and hexadecimal digits", (*prober).storedAsSent},
		{"a comment of 106 characters is kept whole", (*prober).longComment},
		{"two equal rules are accepted, and one remove takes both", (*prober).equalRules},
		{"`set` changes ports and comment in place, and the id stays", (*prober).setInPlace},
		{"`place-before` puts a rule before another one", (*prober).placeBefore},
		{"`place-before` an unknown id is refused", refused("does not exist|no such item", "=place-before=*FFFFFF")},
		{"an unknown argument is refused", refused("unknown parameter", "=doublenat-e2e=yes")},
		{"an unknown interface is refused", refused("input does not match any value of", "=in-interface=doublenat-e2e")},
		{"ports without a protocol are refused", (*prober).portsNeedProtocol},
		{"removing an unknown id is refused with `no such item`", (*prober).removeUnknown},
		{"an unknown command is refused, and the connection goes on", (*prober).unknownCommand},
		{"commands in flight at the same time are answered by their tags", (*prober).pipelined},
	}
}

// probeAll makes all probes. An error means that it could not go on.
func probeAll(ctx context.Context, r realRouter, iface string, rep *report) error {
	p := &prober{tap: rep.tap, report: rep, router: r, instance: r.instance, iface: iface}
	for _, probe := range probes() {
		if err := ctx.Err(); err != nil {
			return err
		}
		fmt.Fprintf(&p.transcript, "# %s\n", probe.assumption)
		rep.note(probe.assumption, probe.check(p))
		if err := p.sweep(p.instance); err != nil {
			return fmt.Errorf("cleaning up after %q: %w", probe.assumption, err)
		}
	}
	return nil
}

// rule returns the words that add a rule, with more or other arguments.
func (p *prober) rule(comment string, more ...string) []string {
	arguments := []string{
		"=chain=dstnat", "=action=dst-nat", "=protocol=tcp", "=in-interface=" + p.iface, "=dst-port=29001,29002",
		"=to-addresses=" + testNet(10).String(), "=to-ports=8080", "=disabled=yes",
	}
	words := []string{natPath + "/add", "=comment=doublenat:" + p.instance + " " + comment}
	for _, argument := range arguments {
		name, _, _ := strings.Cut(argument[1:], "=")
		replaced := argument == "=in-interface=" // not known yet; the rule is switched off
		for _, m := range more {
			replaced = replaced || strings.HasPrefix(m, "="+name+"=")
		}
		if !replaced {
			words = append(words, argument)
		}
	}
	return append(words, more...)
}

// add adds a rule and returns its id.
func (p *prober) add(comment string, more ...string) (string, error) {
	answer, err := p.say(p.rule(comment, more...)...)
	if err == nil && answer.trap() != "" {
		err = fmt.Errorf("refused: %s", answer.trap())
	}
	return answer.attribute("ret"), err
}

// find returns the rules with a comment.
func (p *prober) find(comment string) ([]map[string]string, error) {
	answer, err := p.say(natPath+"/print", "?comment=doublenat:"+p.instance+" "+comment)
	return answer.rows(), err
}

// refused returns a check that a rule with these arguments is refused with one of
// the texts, and that the connection goes on.
func refused(texts string, more ...string) func(*prober) error {
	return func(p *prober) error {
		answer, err := p.say(p.rule("refused", more...)...)
		if err != nil {
			return err
		}
		return wantTrap(answer, texts)
	}
}

// wantTrap returns an error unless the reply is a refusal with one of the texts.
func wantTrap(answer reply, texts string) error {
	got := answer.trap()
	if got == "" {
		return fmt.Errorf("it was not refused")
	}
	for text := range strings.SplitSeq(texts, "|") {
		if strings.Contains(strings.ToLower(got), text) {
			return nil
		}
	}
	return fmt.Errorf("refused otherwise: %s", got)
}
