package nat_test

import (
	"bytes"
	"log/slog"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
)

// What a look finds missing is one line in the log: of a router that is back, of somebody
// who removed rules, and of one rule, which is named. Each is an event all the same.
func TestRestoredRulesAreOneLine(t *testing.T) {
	t.Parallel()
	const back = `level=INFO msg="router is back, rules made again" rules=40`
	const removed = `level=WARN msg="rules restored, they were missing or changed on the router" rules=40`
	const one = `level=WARN msg="rule restored, it was missing or changed on the router" client=192.168.88.10 proto=tcp internal_port=1040 inner_port=\d+ external_port=\d+ rule_id=`
	all := func(r *router) { r.rules = nil }
	tests := map[string]struct {
		lose func(r *router)
		look func(s *nat.Service)
		rest func(w *world)
		want []string
	}{
		"back":    {all, (*nat.Service).RouterBack, nil, []string{back}},
		"removed": {all, (*nat.Service).Reconcile, nil, []string{removed}},
		"one of them": {
			func(r *router) { r.rules = r.rules[:len(r.rules)-1] }, (*nat.Service).Reconcile, nil, []string{one},
		},
		"none": {func(*router) {}, (*nat.Service).RouterBack, nil, nil},
		"back and later removed": {all, (*nat.Service).RouterBack, func(w *world) {
			w.router.edit(all)
			w.service.Reconcile()
		}, []string{back, removed}},
		"back, and away again": {
			func(r *router) { r.rules, r.before = nil, failOn(nat.ReasonUnreachable, false, "rules") }, (*nat.Service).RouterBack, func(w *world) {
				w.router.edit(func(r *router) { r.before = nil })
				w.service.RouterBack()
			},
			[]string{back},
		},
		"back, and one is refused": {func(r *router) {
			r.rules = nil
			r.before = func(op string, rule nat.Rule) error {
				if op == "add" && rule.Key.InternalPort == 1040 {
					return routerError(nat.ReasonDenied, false)
				}
				return nil
			}
		}, (*nat.Service).RouterBack, func(w *world) {
			w.router.edit(func(r *router) { r.before = nil })
			w.service.Reconcile()
		}, []string{`rules made again" rules=39`, `rules made again" rules=1`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			inWorld(t, func(c *nat.Config, w *world) {
				hold(c, w)
				c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			}, func(w *world) {
				for i := range uint16(40) {
					w.mapped(tcp(alice, 1001+i))
				}
				synctest.Wait()
				log.Reset()
				w.router.edit(tt.lose)
				tt.look(w.service)
				time.Sleep(time.Second)
				if tt.rest != nil {
					tt.rest(w)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				got := regexp.MustCompile(`(?m)^.*(restored|made again).*$`).FindAllString(log.String(), -1)
				if len(got) != len(tt.want) {
					t.Fatalf("the log has %q, want %q", got, tt.want)
				}
				for i, want := range tt.want {
					if !regexp.MustCompile(want).MatchString(got[i]) {
						t.Errorf("line %d is %q, want %q", i, got[i], want)
					}
				}
				w.agree()
			})
		})
	}
}

// Each rule that is made again is told of, for those that count and follow them.
func TestRestoredRulesAreToldOneByOne(t *testing.T) {
	t.Parallel()
	inWorld(t, hold, func(w *world) {
		for i := range uint16(20) {
			w.mapped(tcp(alice, 1001+i))
		}
		w.kinds()
		w.router.edit(func(r *router) { r.rules = nil })
		w.service.RouterBack()
		time.Sleep(time.Second)
		count := map[nat.EventKind]int{}
		for _, kind := range w.kinds() {
			count[kind]++
		}
		if diff := cmp.Diff(map[nat.EventKind]int{nat.EventRuleRestored: 20}, count); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}
