//go:build e2e && linux

package e2e_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// idForm is how ids look.
var idForm = regexp.MustCompile(`^\*[0-9A-F]+$`)

func (p *prober) emptyPrint() error {
	answer, err := p.say(natPath+"/print", "?comment=doublenat:"+p.instance+" nobody")
	if err != nil {
		return err
	}
	if got, want := answer.has("!empty"), p.report.atLeast(7, 18); got != want {
		return fmt.Errorf("!empty sent: %t", got)
	}
	return nil
}

func (p *prober) routeCheck() error {
	// The answer is the owner's way out, so it stays between the two.
	answer, err := p.whisper("/ip/route/check", "=dst-ip=192.0.2.1", "=once=")
	if err != nil {
		return err
	}
	major, _ := p.report.version()
	there := !strings.Contains(answer.trap(), "no such command")
	if want := major == 6 || p.report.atLeast(7, 18); there != want {
		return fmt.Errorf("there: %t (%s)", there, answer.trap())
	}
	return nil
}

func (p *prober) storedAsSent() error {
	id, err := p.add("stored")
	if err != nil {
		return err
	}
	rows, err := p.find("stored")
	if err != nil {
		return err
	}
	if len(rows) != 1 || rows[0][".id"] != id || !idForm.MatchString(id) {
		return fmt.Errorf("the rule with id %s is found as %v", id, rows)
	}
	for name, want := range map[string]string{
		"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "in-interface": p.iface, "dst-port": "29001,29002",
		"to-addresses": testNet(10).String(), "to-ports": "8080", "disabled": "true", "invalid": "false", "dynamic": "false",
	} {
		if rows[0][name] != want {
			err = errors.Join(err, fmt.Errorf("%s is %q, want %q", name, rows[0][name], want))
		}
	}
	return err
}

func (p *prober) longComment() error {
	comment := "long " + strings.Repeat("x", 106-len("doublenat: long ")-len(p.instance))
	if _, err := p.add(comment); err != nil {
		return err
	}
	rows, err := p.find(comment)
	if err == nil && len(rows) != 1 {
		err = fmt.Errorf("%d rules have it", len(rows))
	}
	return err
}

func (p *prober) equalRules() error {
	first, err := p.add("equal")
	if err != nil {
		return err
	}
	second, err := p.add("equal")
	if err != nil {
		return err
	}
	answer, err := p.say(natPath+"/remove", "=.id="+first+","+second)
	if err != nil {
		return err
	}
	if trap := answer.trap(); trap != "" {
		return fmt.Errorf("the remove is refused: %s", trap)
	}
	rows, err := p.find("equal")
	if err == nil && len(rows) != 0 {
		err = fmt.Errorf("%d rules are left", len(rows))
	}
	return err
}

func (p *prober) setInPlace() error {
	id, err := p.add("before")
	if err != nil {
		return err
	}
	answer, err := p.say(natPath+"/set", "=.id="+id, "=dst-port=29003", "=comment=doublenat:"+p.instance+" after")
	if err != nil {
		return err
	}
	if trap := answer.trap(); trap != "" {
		return fmt.Errorf("refused: %s", trap)
	}
	rows, err := p.find("after")
	if err == nil && (len(rows) != 1 || rows[0][".id"] != id || rows[0]["dst-port"] != "29003") {
		err = fmt.Errorf("the rule with id %s is found as %v", id, rows)
	}
	return err
}

func (p *prober) placeBefore() error {
	second, err := p.add("second")
	if err != nil {
		return err
	}
	first, err := p.add("first", "=place-before="+second)
	if err != nil {
		return err
	}
	rows, err := p.own(p.instance)
	if err == nil && (len(rows) != 2 || rows[0][".id"] != first || rows[1][".id"] != second) {
		err = fmt.Errorf("the order is %v, want %s and %s", rows, first, second)
	}
	return err
}

func (p *prober) portsNeedProtocol() error {
	answer, err := p.say(natPath+"/add", "=chain=dstnat", "=action=dst-nat", "=in-interface="+p.iface, "=dst-port=29001",
		"=to-addresses="+testNet(10).String(), "=disabled=yes", "=comment=doublenat:"+p.instance+" refused")
	if err != nil {
		return err
	}
	return wantTrap(answer, "ports can be specified if proto is")
}

func (p *prober) removeUnknown() error {
	answer, err := p.say(natPath+"/remove", "=.id=*FFFFFF")
	if err != nil {
		return err
	}
	return wantTrap(answer, "no such item")
}

func (p *prober) unknownCommand() error {
	answer, err := p.say("/doublenat/e2e/print")
	if err != nil {
		return err
	}
	if err := wantTrap(answer, "no such command"); err != nil {
		return err
	}
	_, err = p.find("nobody")
	return err
}

func (p *prober) pipelined() error {
	const commands = 16
	for i := range commands {
		if err := p.send(natPath+"/print", "=count-only=", fmt.Sprintf(".tag=%d", i)); err != nil {
			return err
		}
	}
	answered := make(map[string]bool)
	for range commands {
		sentence, err := p.reader.ReadSentence()
		if err != nil {
			return err
		}
		tag := ""
		for _, word := range sentence {
			if value, ok := strings.CutPrefix(word, ".tag="); ok {
				tag = value
			}
		}
		if sentence[0] != "!done" || tag == "" || answered[tag] {
			return fmt.Errorf("%q %q is no answer to one of them", sentence[0], tag)
		}
		answered[tag] = true
	}
	return nil
}
