package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// attempts is how often a change is tried whose outcome is unknown. Each one
// begins with a look at what the router has.
const attempts = 5

// errLookAgain is a try that was in vain because what it knew was out of date.
var errLookAgain = errors.New("the table changed meanwhile")

// errStoredOtherwise is an add that the router carried out in its own way.
var errStoredOtherwise = errors.New("the router stored the rule otherwise than asked")

// errGone is a rule that is to be changed and is not there.
var errGone = errors.New("the rule is not on the router")

// Rules reads the NAT table in one command, and at times the router's surroundings
// before it. A rule that forwards to what it must not counts as altered.
func (r *Router) Rules(ctx context.Context) (nat.Snapshot, error) {
	s, err := r.ready(ctx)
	if err == nil {
		s, err = r.renew(ctx, s)
	}
	if err != nil {
		return nat.Snapshot{}, fault("listing nat rules", err, false)
	}
	r.watchRights(ctx)
	v, err := r.look(ctx, s)
	if err != nil {
		return nat.Snapshot{}, fault("listing nat rules", err, false)
	}
	for i, rule := range v.snapshot.Rules {
		if r.forbidden(rule.Key.Client) != nil {
			v.snapshot.Rules[i].Altered = true
		}
	}
	return v.snapshot, nil
}

// look reads the NAT table and remembers its layout.
func (r *Router) look(ctx context.Context, s *site) (view, error) {
	number, first := r.deeds.look()
	b, narrowing := s.newView(r.cfg.Instance, r.deeds, first), otherMatchers()
	cmd := routeros.Command{Path: natPath + "/print", Properties: rowProperties(), Proves: true}
	skipped, err := r.each(ctx, cmd, func(row routeros.Row) error {
		b.add(parseRow(row, narrowing))
		if len(b.snapshot.Rules) > maxOwn {
			return &crowdError{instance: r.cfg.Instance, err: &routeros.LimitError{
				Path: cmd.Path, Text: fmt.Sprintf("more than %d rows with comments of %s%s", maxOwn, commentPrefix, r.cfg.Instance),
			}}
		}
		return nil
	})
	if err != nil {
		return view{}, err
	}
	v := b.finish()
	r.deeds.seen(number, v.seen)
	r.examine(ctx, &v)
	skipped += v.unknown
	r.mu.Lock()
	before := r.layout
	if r.site == s { // else the connection is another by now, on which ids may be too
		r.layout = layout{known: true, catchAll: v.catchAll, strays: v.strays.count, orphans: v.orphans.count, skipped: skipped}
	}
	r.mu.Unlock()
	if skipped > 0 && skipped != before.skipped {
		r.log.WarnContext(ctx, "NAT rows are too long or too many to read: the ports that they use are not known", "rows", skipped)
	}
	r.tellStrays(ctx, s, v, before)
	return v, nil
}

// maxOwn is how many rows of ours are taken in: twice what MAX_MAPPINGS can be. More
// were not made by doublenat.
const maxOwn = 1 << 15

// place returns the row before which a new rule has to stand, "" for the end. It
// reads the table only if nobody has on this connection.
func (r *Router) place(ctx context.Context, s *site) (string, error) {
	r.mu.Lock()
	known := r.layout
	r.mu.Unlock()
	if known.known {
		return known.catchAll, nil
	}
	v, err := r.look(ctx, s)
	return v.catchAll, err
}

// change carries out one change of the table: it calls try, which reports whether
// it has sent a command that changes something, until the outcome is known. Again
// tells it that a former try may have worked, so that it looks first.
func (r *Router) change(ctx context.Context, op string, try func(again bool) (wrote bool, err error)) error {
	err := ctx.Err()
	if err != nil {
		return fault(op, err, false) // The time was over before the router heard of it.
	}
	unknown := false
	for range attempts {
		var wrote bool
		wrote, err = try(unknown)
		if err == nil {
			r.outcome(nil)
			return nil
		}
		lost := routeros.Ambiguous(err)
		// A look whose reply got lost has changed nothing. It is repeated all the same.
		unknown = unknown || wrote && lost
		if ctx.Err() != nil || !lost && !errors.Is(err, errLookAgain) {
			break
		}
	}
	r.outcome(err)
	return fault(op, err, unknown)
}

// AddRule makes the rule. In the ordinary case that is one command. A router so
// slow that it carries out an add after we looked for it in vain has the rule
// twice; the next read shows both.
func (r *Router) AddRule(ctx context.Context, want nat.Rule) (nat.Rule, error) {
	op := "adding the rule for " + want.Key.String()
	o := ownedBy(r.cfg.Instance, want)
	s, err := r.begin(ctx, want, o)
	if err != nil {
		return nat.Rule{}, fault(op, err, false)
	}
	if err := r.forbidden(want.Key.Client); err != nil {
		// The frontend keeps them out; here nothing depends on when it was told.
		return nat.Rule{}, &nat.Error{Hop: nat.HopRouter, Reason: nat.ReasonDenied, Err: fmt.Errorf("%s: %w", op, err)}
	}
	before, err := r.place(ctx, s)
	if err != nil {
		return nat.Rule{}, fault(op, err, false)
	}
	var made nat.Rule
	r.deeds.intend(o)
	err = r.change(ctx, op, func(again bool) (wrote bool, err error) {
		if again {
			found, err := r.find(ctx, s, "", o)
			if err != nil {
				return false, err
			}
			if len(found) > 0 {
				made, err = stored(found[0].rule, want)
				return false, err
			}
		}
		made, err = r.add(ctx, s, o, want, before)
		if before != "" && (routeros.IsBadPlace(err) || routeros.IsNoSuchItem(err)) {
			v, err := r.look(ctx, s)
			if err != nil {
				return false, err
			}
			before = v.catchAll
			return false, errLookAgain
		}
		return true, err
	})
	if err == nil {
		r.deeds.did(made.ID, o, made.Match)
		r.moved(s)
	}
	return made, err
}

// begin checks what every change needs: a rule that can be read back from its
// comment, and the router.
func (r *Router) begin(ctx context.Context, want nat.Rule, comments ...owned) (*site, error) {
	for _, o := range comments {
		if err := o.check(); err != nil {
			return nil, err
		}
	}
	if want.Match[0] == 0 {
		return nil, errors.New("it matches no port")
	}
	return r.ready(ctx)
}

// add sends the command that makes the rule.
func (r *Router) add(ctx context.Context, s *site, o owned, want nat.Rule, before string) (nat.Rule, error) {
	cmd := addCommand(s.iface, o, want, before)
	reply, err := r.do(ctx, cmd)
	if err != nil {
		r.suspect(err)
		return nat.Rule{}, err
	}
	id := reply.Done.Value("ret")
	if id == "" { // no version does that; if one did, the rule can be found by its comment
		return nat.Rule{}, &routeros.TransportError{Op: cmd.Path, Sent: true, Err: errors.New("reply without an id")}
	}
	want.ID, want.Altered, want.Packets = id, false, 0
	return want, nil
}

// stored returns the rule that was found after an add whose reply got lost, if
// it is what was wanted.
func stored(found, want nat.Rule) (nat.Rule, error) {
	want.ID, want.Altered, want.Packets = found.ID, false, 0
	found.Packets = 0
	if found != want {
		return nat.Rule{}, fmt.Errorf("%w: %+v", errStoredOtherwise, found)
	}
	return want, nil
}

// addCommand returns the command that makes a rule. It always has the interface:
// a rule without one opens the WAN.
func addCommand(iface string, o owned, want nat.Rule, before string) routeros.Command {
	args := []routeros.Attr{
		{Name: "chain", Value: chainDstNAT},
		{Name: "action", Value: actionDstNAT},
		{Name: "protocol", Value: want.Key.Protocol.String()},
		{Name: "in-interface", Value: iface},
		{Name: "dst-port", Value: matcher(want.Match)},
		{Name: "to-addresses", Value: want.Key.Client.String()},
		{Name: "to-ports", Value: strconv.Itoa(int(want.Target()))},
		{Name: "comment", Value: o.String()},
	}
	args = append(args, natRule{}.sources(want.Remote)...)
	if before != "" {
		args = append(args, routeros.Attr{Name: "place-before", Value: before})
	}
	return routeros.Command{Path: natPath + "/add", Args: args, Timeout: changeTimeout}
}

// setCommand returns the command that makes the rule found what is wanted.
func setCommand(found natRule, o owned, want nat.Rule, iface string) routeros.Command {
	args := []routeros.Attr{
		{Name: ".id", Value: found.rule.ID},
		{Name: "dst-port", Value: matcher(want.Match)},
		{Name: "comment", Value: o.String()},
	}
	if found.rule.Target() != want.Target() {
		args = append(args, routeros.Attr{Name: "to-ports", Value: strconv.Itoa(int(want.Target()))})
	}
	if found.iface != iface {
		args = append(args, routeros.Attr{Name: "in-interface", Value: iface})
	}
	args = append(args, found.sources(want.Remote)...)
	return routeros.Command{Path: natPath + "/set", Args: args, Timeout: changeTimeout}
}

// sources returns the arguments that make a row match the packets of the remote alone; none
// for what it has already.
func (n natRule) sources(remote nat.Remote) (args []routeros.Attr) {
	if want := sourceAddress(remote); cmp.Or(n.srcAddress, anyAddress) != want {
		args = append(args, routeros.Attr{Name: "src-address", Value: want})
	}
	if want := sourcePort(remote); cmp.Or(n.srcPort, anyPort) != want {
		args = append(args, routeros.Attr{Name: "src-port", Value: want})
	}
	return args
}

// suspect makes settle look for the tunnel interface again when the router does
// not know the one that we know: it was renamed or removed.
func (r *Router) suspect(err error) {
	trap, ok := errors.AsType[*routeros.TrapError](err)
	if !ok {
		return
	}
	for _, t := range trap.Traps {
		if strings.Contains(t.Message, "input does not match any value of") && strings.Contains(t.Message, "interface") {
			r.mu.Lock()
			r.forgetLocked()
			r.mu.Unlock()
			return
		}
	}
}

// UpdateRule changes comment, ports and interface of the rule found to those of want,
// after a look whether the row still is the rule. All is one command, so that comment and
// target never contradict each other.
func (r *Router) UpdateRule(ctx context.Context, found, want nat.Rule) error {
	op := "updating the rule for " + want.Key.String()
	old, o := ownedBy(r.cfg.Instance, found), ownedBy(r.cfg.Instance, want)
	s, err := r.begin(ctx, want, old, o)
	if err != nil {
		return fault(op, err, false)
	}
	r.deeds.intend(o)
	id := found.ID
	err = r.change(ctx, op, func(bool) (wrote bool, err error) {
		// The new comment is searched for as well: a former try may have written it.
		rows, err := r.find(ctx, s, found.ID, old, o)
		if err != nil {
			return false, err
		}
		row, ok := pick(rows, found.ID)
		if !ok {
			return false, errGone
		}
		if id = row.rule.ID; row.is(o, want) {
			return false, nil
		}
		_, err = r.do(ctx, setCommand(row, o, want, s.iface))
		r.suspect(err)
		if routeros.IsNoSuchItem(err) {
			err = errLookAgain // somebody was faster
		}
		return true, err
	})
	if err == nil {
		r.deeds.did(id, o, want.Match)
		r.moved(s)
	}
	return err
}

// RemoveRule removes the rule, after a look which row it is now.
func (r *Router) RemoveRule(ctx context.Context, rule nat.Rule) error {
	op := "removing the rule for " + rule.Key.String()
	o := ownedBy(r.cfg.Instance, rule)
	if err := o.check(); err != nil {
		return fault(op, err, false)
	}
	s, err := r.ready(ctx)
	if _, ok := errors.AsType[*InterfaceError](err); ok {
		s, err = new(site), nil // To remove a rule no interface is needed.
	}
	if err != nil {
		return fault(op, err, false)
	}
	var ids []string
	err = r.change(ctx, op, func(bool) (wrote bool, err error) {
		rows, err := r.find(ctx, s, rule.ID, o)
		if err != nil {
			return false, err
		}
		ids = removable(rows, rule.ID)
		if len(ids) == 0 {
			return false, nil
		}
		_, err = r.do(ctx, routeros.Command{
			Path:    natPath + "/remove",
			Args:    []routeros.Attr{{Name: ".id", Value: strings.Join(ids, ",")}},
			Timeout: changeTimeout,
		})
		switch {
		case !routeros.IsNoSuchItem(err):
			return true, err
		case len(ids) == 1:
			return true, nil // somebody was faster
		default:
			return true, errLookAgain
		}
	})
	if err == nil {
		r.deeds.undid(o, ids...)
	}
	return err
}
