//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// question is something that nobody could tell us who has no RouterOS: what our test
// router does is a guess. The examination asks these first.
type question struct {
	// text is what we want to know.
	text string
	// assumed is what the test router does, "" where we have no opinion.
	assumed string
	// spare is set if asking makes users, or takes sessions from others: only on a
	// router that nobody depends on, as a user with all policies.
	spare bool
	// byHand says how to find out by hand what the API alone cannot tell, "" if it can.
	byHand string
	// ask finds the answer, which has nothing of the owner's.
	ask func(*prober) (string, error)
}

// answer is a question with what was found.
type answer struct {
	question
	found string
	// asked is false for what could not be asked.
	asked bool
}

// questions are the twelve of which most depends, in the order in which one would ask
// them in the one hour that one has a router.
func questions() []question {
	return []question{
		{
			text: "Does a session notice that its group has lost a policy, or got one?", assumed: "no, neither", spare: true, ask: (*prober).policyOfSession,
		},
		{
			text:   "Does a LAN whose hosts a `/routing rule` sends into a tunnel reach a container that a dst-nat rule redirects it to?",
			byHand: "with the rule, `natpmpc` from the LAN and `/ip firewall mangle` counters on out-interface; then `/routing rule add dst-address=CONTAINER action=lookup-only-in-table table=main` above it",
		},
		{text: "What becomes of a name in `.proplist` that there is not?", assumed: "it is left out", ask: (*prober).unknownProperty},
		{text: "`/ip/route/check` without the policy `test`", assumed: "not enough permissions", spare: true, ask: (*prober).checkWithoutTest},
		{text: "`/ip/route/check` for an address without a route", ask: (*prober).checkWithoutRoute},
		{text: "`remove` of two ids, of which one is gone: is the other one removed?", assumed: "no", ask: (*prober).removeOneOfTwo},
		{text: "How long does a rule read `invalid` after it was added?", assumed: "not at all", ask: (*prober).invalidAfterAdd},
		{text: "What a login hears from an address that the user may not have", assumed: "invalid user name or password", spare: true, ask: (*prober).loginFromElsewhere},
		{text: "What a login hears without the policy `api`", assumed: "invalid user name or password", spare: true, ask: (*prober).loginWithoutAPI},
		{
			text: "Do FastTracked connections obey routing rules?",
			byHand: "with FastTrack on, open a connection through the tunnel by a `/routing rule`, and see with `/tool torch` whether its later packets go " +
				"out of the same interface",
		},
		{text: "What does the session see that is one too many (`max-sessions`)?", spare: true, ask: (*prober).oneTooMany},
		{text: "Does a new rule get the id of the one that was just removed?", assumed: "no", ask: (*prober).idsAgain},
		{text: "An address-list entry with a `timeout`: is the same one refused a second time?", assumed: "already have such entry", ask: (*prober).sameEntry},
		{text: "Does `set` fail on an entry whose time is over?", assumed: "no such item", ask: (*prober).expiredEntry},
		{text: "Does `set` fail on an entry that never was?", assumed: "no such item", ask: (*prober).noEntry},
		{text: "Does `set timeout=` make an entry with a timeout live longer, and then shorter?", assumed: "longer, and then shorter", ask: (*prober).changedEntry},
		{text: "How long does an entry with `timeout=3s` live?", assumed: "3 s", ask: (*prober).shortEntry},
		{text: "Does a new entry get the id of the one that was just removed?", assumed: "no", ask: (*prober).entryIDsAgain},
		{text: "Does `/ip/firewall/address-list/listen` push an entry that is new, changed and removed?", assumed: "new, changed, removed", ask: (*prober).listensToEntries},
		{
			text: "Does an entry with a `timeout` survive a reboot, and is it ever written to the flash?",
			byHand: "`/ip firewall address-list add list=x address=192.0.2.9 timeout=1h`, then `/system resource print` for `write-sect-total` before and after " +
				"a few hundred times `/ip firewall address-list set [find list=x] timeout=1h`; then `/system reboot`, and `/ip firewall address-list print where list=x`",
		},
		{text: "Does `/ip/firewall/nat/listen` push changes, and in which words?", assumed: "the row, then `.dead`", ask: (*prober).listens},
	}
}

// askAll asks all questions that can be asked here. An error means that the connection
// is no good any more.
func askAll(ctx context.Context, r realRouter, rep *report) error {
	p := &prober{tap: rep.tap, report: rep, router: r, instance: r.instance, iface: r.iface}
	for _, q := range questions() {
		if err := ctx.Err(); err != nil {
			return err
		}
		a := answer{question: q}
		switch {
		case q.ask == nil:
			a.found = "by hand: " + q.byHand
		case q.spare && !r.spare:
			a.found = "not asked: only on a router that nobody depends on (E2E_ROUTER_SPARE)"
		default:
			fmt.Fprintf(&p.transcript, "# %s\n", q.text)
			a.asked = true
			var err error
			if a.found, err = q.ask(p); err != nil {
				a.found = "could not be asked: " + err.Error()
			}
			if err := errors.Join(p.sweep(p.instance), p.leaveNothing()); err != nil {
				return fmt.Errorf("cleaning up after %q: %w", q.text, err)
			}
		}
		rep.answers = append(rep.answers, a)
	}
	return nil
}

// differs reports whether the answer is not what the test router gives.
func (a answer) differs() bool {
	return a.asked && a.assumed != "" && !strings.Contains(a.found, a.assumed)
}

// name is that of everything that the questions make besides rules.
func (p *prober) name() string { return "doublenat-" + p.instance }

// leaveNothing removes the users, groups and entries that questions made.
func (p *prober) leaveNothing() error {
	tables := []string{listPath}
	if p.router.spare {
		tables = append(tables, "/user", "/user/group")
	}
	var failed error
	for _, table := range tables {
		property := "name"
		if table == listPath {
			property = "list"
		}
		found, err := p.whisper(table+"/print", "?"+property+"="+p.name(), "=.proplist=.id,"+property)
		for _, row := range found.rows() {
			if row[property] != p.name() {
				continue
			}
			answer, removeErr := p.whisper(table+"/remove", "=.id="+row[".id"])
			if removeErr == nil && answer.trap() != "" && !strings.Contains(answer.trap(), "no such item") {
				removeErr = errors.New(answer.trap())
			}
			err = errors.Join(err, removeErr)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// listPath are the address lists.
const listPath = "/ip/firewall/address-list"

// another makes a user with policies and logs in as him; the words are more arguments
// of the user. The error of the login is the text that it heard.
func (p *prober) another(ctx context.Context, policies string, more ...string) (*tap, error) {
	for _, words := range [][]string{
		{"/user/group/add", "=name=" + p.name(), "=policy=" + policies},
		append([]string{"/user/add", "=name=" + p.name(), "=group=" + p.name(), "=password=" + p.instance}, more...),
	} {
		answer, err := p.whisper(words...)
		if err == nil && answer.trap() != "" {
			err = errors.New(answer.trap())
		}
		if err != nil {
			return nil, fmt.Errorf("making a user: %w", err)
		}
	}
	r := p.router
	r.user, r.password = p.name(), p.instance
	return newTap(ctx, r)
}

// trapOf returns what a tap hears to a command, "it is done" for no refusal.
func trapOf(t *tap, words ...string) (string, error) {
	answer, err := t.whisper(words...)
	if err != nil {
		return "", err
	}
	if answer.trap() == "" {
		return "it is done", nil
	}
	return answer.trap(), nil
}
