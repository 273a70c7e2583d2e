package router

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"doublenat/internal/remedy"
)

// InvalidRule is a rule of ours that the router calls invalid: it takes no packets.
type InvalidRule struct {
	// ID is the router's handle.
	ID string
	// Comment is the rule's comment.
	Comment string
	// About is what the router says about it, "" for nothing.
	About string
	// Since is when it was seen so first.
	Since time.Time
}

// ailment is an [InvalidRule] that may get well by itself.
type ailment struct {
	rule InvalidRule
	told bool
}

// examine notes which rows of ours are invalid, and tells of those that stay so.
func (r *Router) examine(ctx context.Context, v *view) {
	now := time.Now()
	var news, well []InvalidRule
	young := false
	r.mu.Lock()
	ailing := make(map[string]ailment, len(v.invalid))
	for _, row := range v.invalid {
		a := r.ailing[row.id]
		a.rule = InvalidRule{ID: row.id, Comment: row.comment, About: row.about, Since: cmpOr(a.rule.Since, now)}
		if lasts := now.Sub(a.rule.Since) >= confirmAfter; !lasts {
			young = true
		} else if !a.told {
			a.told = true
			news = append(news, a.rule)
		}
		ailing[row.id] = a
	}
	for id, a := range r.ailing {
		if _, still := ailing[id]; !still && a.told {
			well = append(well, a.rule)
		}
	}
	r.ailing = ailing
	r.mu.Unlock()
	if young {
		r.lookSoon()
	}
	for _, rule := range news {
		r.log.WarnContext(ctx, "the router calls a rule of ours invalid: it takes no packets",
			"rule_id", rule.ID, "comment", rule.Comment, "about", rule.About, "remedy", rule.Advice())
	}
	for _, rule := range well {
		r.log.InfoContext(ctx, "rule is no longer invalid", "rule_id", rule.ID, "comment", rule.Comment)
	}
}

// cmpOr returns the first time that is not zero.
func cmpOr(times ...time.Time) time.Time {
	i := slices.IndexFunc(times, func(t time.Time) bool { return !t.IsZero() })
	return times[max(i, 0)]
}

// Advice says how to find out what is wrong with it.
func (i InvalidRule) Advice() remedy.Advice {
	return remedy.Invalid(i.ID, i.About)
}

// invalidLocked returns the rules that are invalid for longer than that passes.
func (r *Router) invalidLocked(now time.Time) []InvalidRule {
	var all []InvalidRule
	for _, a := range r.ailing {
		if now.Sub(a.rule.Since) >= confirmAfter {
			all = append(all, a.rule)
		}
	}
	slices.SortFunc(all, func(a, b InvalidRule) int { return cmp.Compare(a.Comment, b.Comment) })
	return all
}

// tellStrays logs rows that look like ours and are left alone, and rows of others that
// name what is not there, when there are others than before.
func (r *Router) tellStrays(ctx context.Context, s *site, v view, before layout) {
	if n := v.strays.count; n > 0 && n != before.strays {
		r.log.ErrorContext(ctx, "rules with our comment on another interface are left alone",
			"rules", n, "in_interface", s.iface, "first", v.strays.first[0], "remedy", remedy.Strays(r.cfg.Instance))
	}
	if n := v.orphans.count; n > 0 && n != before.orphans {
		r.log.WarnContext(ctx, "rules name an interface list that was deleted: they may take packets from the gateway",
			"rules", n, "first", strings.Join(v.orphans.first, ", "), "remedy", "give them a list that exists, or remove them")
	}
}
