//go:build e2e && linux

package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"time"
)

func (p *prober) policyOfSession() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	t, err := p.another(ctx, "read,write,api")
	if err != nil {
		return "", err
	}
	defer func() { _ = t.conn.Close() }()
	add := p.rule("of another")
	if text, err := trapOf(t, add...); err != nil || text != "it is done" {
		return "", fmt.Errorf("a user with read, write, api cannot add a rule: %s %w", text, err)
	}
	lost := "it loses what the group loses"
	if text, err := trapOf(p.tap, "/user/group/set", "=numbers="+p.name(), "=policy=!write"); err != nil || text != "it is done" {
		return "", fmt.Errorf("taking the policy: %s %w", text, err)
	}
	if text, err := trapOf(t, add...); err != nil {
		return "", err
	} else if text == "it is done" {
		lost = "no"
	}
	later, err := newTap(ctx, realRouter{address: p.router.address, user: p.name(), password: p.instance})
	if err != nil {
		return "", err
	}
	defer func() { _ = later.conn.Close() }()
	if text, err := trapOf(p.tap, "/user/group/set", "=numbers="+p.name(), "=policy=write"); err != nil || text != "it is done" {
		return "", fmt.Errorf("giving the policy: %s %w", text, err)
	}
	text, err := trapOf(later, add...)
	switch {
	case err != nil:
		return "", err
	case lost == "no" && text != "it is done":
		return "no, neither", nil
	case text == "it is done":
		return lost + "; it gets what the group gets", nil
	default:
		return lost + "; it does not get what the group gets", nil
	}
}

func (p *prober) unknownProperty() (string, error) {
	if _, err := p.add("proplist"); err != nil {
		return "", err
	}
	answer, err := p.say(natPath+"/print", "?comment=doublenat:"+p.instance+" proplist", "=.proplist=.id,doublenat-e2e")
	rows := answer.rows()
	switch {
	case err != nil:
		return "", err
	case answer.trap() != "":
		return "refused: " + answer.trap(), nil
	case len(rows) != 1:
		return fmt.Sprintf("%d rows", len(rows)), nil
	case len(rows[0]) != 1:
		return fmt.Sprintf("the row is %v", rows[0]), nil
	default:
		return "it is left out", nil
	}
}

func (p *prober) checkWithoutTest() (string, error) {
	t, err := p.another(context.Background(), "read,write,api")
	if err != nil {
		return "", err
	}
	defer func() { _ = t.conn.Close() }()
	text, err := trapOf(t, "/ip/route/check", "=dst-ip=192.0.2.1", "=once=")
	if strings.Contains(text, "no such command") {
		return "not enough permissions cannot be seen: " + text, err
	}
	return text, err
}

func (p *prober) checkWithoutRoute() (string, error) {
	answer, err := p.whisper("/ip/route/check", "=dst-ip=240.0.0.1", "=once=")
	if err != nil || answer.trap() != "" {
		return answer.trap(), err
	}
	var statuses []string
	for _, row := range answer.rows() {
		statuses = append(statuses, fmt.Sprintf("status %q, an interface %t", row["status"], row["interface"] != ""))
	}
	return strings.Join(statuses, "; "), nil
}

func (p *prober) removeOneOfTwo() (string, error) {
	first, err := p.add("first")
	if err != nil {
		return "", err
	}
	second, err := p.add("second")
	if err != nil {
		return "", err
	}
	if _, err := p.say(natPath+"/remove", "=.id="+first); err != nil {
		return "", err
	}
	answer, err := p.say(natPath+"/remove", "=.id="+first+","+second)
	if err != nil {
		return "", err
	}
	rows, err := p.find("second")
	if len(rows) == 0 {
		return fmt.Sprintf("yes (%q)", answer.trap()), err
	}
	return fmt.Sprintf("no (%q)", answer.trap()), err
}

func (p *prober) invalidAfterAdd() (string, error) {
	began := time.Now()
	if _, err := p.add("young"); err != nil {
		return "", err
	}
	for first := true; ; first = false {
		rows, err := p.find("young")
		if err != nil || len(rows) != 1 {
			return "", fmt.Errorf("%d rules are found: %w", len(rows), err)
		}
		took := time.Since(began).Round(100 * time.Millisecond)
		switch {
		case rows[0]["invalid"] != "true" && first:
			return "not at all", nil
		case rows[0]["invalid"] != "true":
			return fmt.Sprintf("for %v, with the reason %q", took, rows[0][".about"]), nil
		case took > 2*patience:
			return fmt.Sprintf("for longer than %v, with the reason %q", took, rows[0][".about"]), nil
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// refusedLogin returns what the login of another user hears.
func (p *prober) refusedLogin(policies string, more ...string) (string, error) {
	t, err := p.another(context.Background(), policies, more...)
	if err == nil {
		return "it is let in", t.conn.Close()
	}
	if strings.HasPrefix(err.Error(), "making a user") {
		return "", err
	}
	return err.Error(), nil
}

func (p *prober) loginFromElsewhere() (string, error) {
	return p.refusedLogin("read,write,api", "=address="+testNet(1).String()+"/32")
}

func (p *prober) loginWithoutAPI() (string, error) { return p.refusedLogin("read,write") }

func (p *prober) oneTooMany() (string, error) {
	const most = 40
	var open []*tap
	defer func() {
		for _, t := range open {
			_ = t.conn.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	for range most {
		t, err := newTap(ctx, p.router)
		if err != nil {
			return fmt.Sprintf("number %d hears: %v", len(open)+2, withoutAddresses(err)), nil
		}
		open = append(open, t)
	}
	return fmt.Sprintf("%d are let in", most), nil
}

// withoutAddresses is the last part of an error of the network, which has no addresses.
func withoutAddresses(err error) string {
	parts := strings.Split(strings.Split(err.Error(), "\n")[0], ": ")
	return parts[len(parts)-1]
}

func (p *prober) idsAgain() (string, error) {
	first, err := p.add("first")
	if err != nil {
		return "", err
	}
	if _, err := p.say(natPath+"/remove", "=.id="+first); err != nil {
		return "", err
	}
	second, err := p.add("second")
	if first == second {
		return "yes", err
	}
	return "no", err
}

// entry adds an address-list entry that ends by itself.
func (p *prober) entry(timeout string) (reply, error) {
	return p.say(listPath+"/add", "=list="+p.name(), "=address="+testNet(1).String(), "=timeout="+timeout)
}

func (p *prober) sameEntry() (string, error) {
	if answer, err := p.entry("20s"); err != nil || answer.trap() != "" {
		return "the first: " + answer.trap(), err
	}
	answer, err := p.entry("20s")
	if err == nil && answer.trap() == "" {
		return "no", nil
	}
	return answer.trap(), err
}

func (p *prober) expiredEntry() (string, error) {
	answer, err := p.entry("2s")
	if err != nil || answer.trap() != "" {
		return "adding: " + answer.trap(), err
	}
	time.Sleep(4 * time.Second)
	answer, err = p.say(listPath+"/set", "=.id="+answer.attribute("ret"), "=timeout=2s")
	if err == nil && answer.trap() == "" {
		return "it is done", nil
	}
	return answer.trap(), err
}

func (p *prober) noEntry() (string, error) {
	answer, err := p.say(listPath+"/set", "=.id=*FFFFFFFD", "=timeout=2s")
	if err == nil && answer.trap() == "" {
		return "it is done", nil
	}
	return answer.trap(), err
}

// left returns the timeout of the entry, as the router writes it.
func (p *prober) left() (string, error) {
	answer, err := p.say(listPath+"/print", "?list="+p.name(), "=.proplist=list,timeout")
	for _, row := range answer.rows() {
		if row["list"] == p.name() {
			return row["timeout"], err
		}
	}
	return "", err
}

func (p *prober) changedEntry() (string, error) {
	answer, err := p.entry("20s")
	if err != nil || answer.trap() != "" {
		return "adding: " + answer.trap(), err
	}
	var lefts []string
	for _, timeout := range []string{"50s", "10s"} {
		changed, err := p.say(listPath+"/set", "=.id="+answer.attribute("ret"), "=timeout="+timeout)
		if err != nil || changed.trap() != "" {
			return "timeout=" + timeout + ": " + changed.trap(), err
		}
		left, err := p.left()
		if err != nil {
			return "", err
		}
		lefts = append(lefts, left)
	}
	longer, shorter := lefts[0] == "50s" || lefts[0] == "49s", lefts[1] == "10s" || lefts[1] == "9s"
	if !longer || !shorter {
		return fmt.Sprintf("of 20s it makes %q with 50s, and %q with 10s", lefts[0], lefts[1]), nil
	}
	return "longer, and then shorter", nil
}

func (p *prober) shortEntry() (string, error) {
	if answer, err := p.entry("3s"); err != nil || answer.trap() != "" {
		return "adding: " + answer.trap(), err
	}
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		answer, err := p.say(listPath+"/print", "?list="+p.name(), "=.proplist=list,timeout")
		if took := time.Since(began); err != nil || len(answer.rows()) == 0 || took > 10*time.Second {
			return fmt.Sprintf("%.0f s (%v)", took.Seconds(), took.Round(100*time.Millisecond)), err
		}
	}
}

func (p *prober) entryIDsAgain() (string, error) {
	first, err := p.entry("20s")
	if err != nil || first.trap() != "" {
		return "adding: " + first.trap(), err
	}
	if _, err := p.say(listPath+"/remove", "=.id="+first.attribute("ret")); err != nil {
		return "", err
	}
	second, err := p.entry("20s")
	if first.attribute("ret") == second.attribute("ret") {
		return "yes", err
	}
	return "no", err
}

func (p *prober) listensToEntries() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	t, err := newTap(ctx, p.router)
	if err != nil {
		return "", err
	}
	defer func() { _ = t.conn.Close() }()
	if err := t.send(listPath+"/listen", "=.proplist=.id,.dead,list", "?list="+p.name(), ".tag=l"); err != nil {
		return "", err
	}
	time.Sleep(500 * time.Millisecond) // it does not say that it has begun
	answer, err := p.entry("20s")
	if err != nil || answer.trap() != "" {
		return "adding: " + answer.trap(), err
	}
	id := answer.attribute("ret")
	if _, err := p.say(listPath+"/set", "=.id="+id, "=timeout=20s"); err != nil {
		return "", err
	}
	if _, err := p.say(listPath+"/remove", "=.id="+id); err != nil {
		return "", err
	}
	var heard []string
	for {
		sentence, err := t.reader.ReadSentence()
		if err != nil {
			return strings.Join(heard, ", ") + "; then " + withoutAddresses(err), nil
		}
		row := reply{sentence}.row(0)
		switch {
		case sentence[0] == "!trap" || sentence[0] == "!done":
			return "it is refused: " + reply{sentence}.trap(), nil
		case row[".id"] != id:
		case row[".dead"] != "":
			return strings.Join(append(heard, "removed"), ", "), nil
		case len(heard) == 0:
			heard = append(heard, "new")
		case len(heard) == 1:
			heard = append(heard, "changed")
		}
	}
}

func (p *prober) listens() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	t, err := newTap(ctx, p.router)
	if err != nil {
		return "", err
	}
	defer func() { _ = t.conn.Close() }()
	if err := t.send(natPath+"/listen", ".tag=l"); err != nil {
		return "", err
	}
	time.Sleep(500 * time.Millisecond) // it does not say that it has begun
	id, err := p.add("heard")
	if err != nil {
		return "", err
	}
	if _, err := p.say(natPath+"/remove", "=.id="+id); err != nil {
		return "", err
	}
	heard := ""
	for {
		sentence, err := t.reader.ReadSentence()
		if err != nil {
			return heard + "; then " + withoutAddresses(err), nil
		}
		row := reply{sentence}.row(0)
		switch {
		case row[".id"] != id:
		case row[".dead"] != "":
			return heard + ", then `.dead`", nil
		case row["comment"] != "":
			heard = "the row"
		default:
			heard = "the id alone"
		}
		if sentence[0] == "!trap" || sentence[0] == "!done" {
			return "it is refused: " + reply{sentence}.trap(), nil
		}
	}
}
