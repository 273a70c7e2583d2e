package model_test

import "testing"

// plantedInPairs are mistakes in what keeps two doublenats from writing both: in the keeper's own
// file, and in the models of how a daemon, its fence and its store use it.
func plantedInPairs() map[string]struct{ file, old, mistaken string } {
	const span, store, daemon, machine, shell = "../../lock/span.go", "pairlock_test.go", "pairdaemon_test.go", "pairmachine_test.go", "pair_test.go"
	return map[string]struct{ file, old, mistaken string }{
		"there is no margin": {
			span, "lasts: lease - lease/3}", "lasts: lease}",
		},
		"a suspension is not noticed": {
			span, "	case wall >= s.lasts:", "	case wall >= 1000*s.lasts:",
		},
		"a span never ends": {
			span, "	mono, wall := now.Mono-s.sent.Mono, now.Wall.Sub(s.sent.Wall)\n	switch {", "	mono, wall := now.Mono-s.sent.Mono, now.Wall.Sub(s.sent.Wall)\n	mono, wall = 0, 0\n	switch {",
		},
		"packets are not looked at": {
			daemon, "	return x.mine()\n}\n\n// keep", "	return nil\n}\n\n// keep",
		},
		"the fence is not asked": {
			daemon, "	if err := x.span.Check(x.host.instant()); err != nil {\n		x.lose()\n		return err\n	}\n", "",
		},
		"the lock is released before the last write": {
			daemon, "	x.ended = func() { x.ended = nil; x.later(0, x.handOver) }\n", "	x.flow(func(f *flow) { x.release(f, plus(x.host.instant(), 2*time.Second)) })\n	x.ended = func() { x.ended = nil; x.later(0, x.handOver) }\n",
		},
		"the kernel delivers what it has for ever": {
			shell, "return lock.Patience(p.lease) }", "return 4 * p.lease }",
		},
		"a router that was restarted is believed at once": {
			store, "	if saw.up < p.lease && ", "	if saw.up < 0 && ",
		},
		"the lock is not released by a stop": {
			daemon, "		x.release(f, plus(x.host.instant(), 2*time.Second))\n", "",
		},
		"who lost the lock does not stand by": {
			daemon, "		x.later(d.between(0, 10*time.Millisecond), x.stop)\n", "",
		},
	}
}

// TestPlantedInPairs: each of those is found within a thousand days, as with [TestPlantedMistakes].
func TestPlantedInPairs(t *testing.T) {
	t.Parallel()
	if !*flagPlanted {
		t.Skip("runs with -planted (make planted)")
	}
	for name, m := range plantedInPairs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			finds(t, overlay(t, m.file, m.old, m.mistaken), "^TestPairs$", "-pairs")
		})
	}
}
