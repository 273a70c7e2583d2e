package daemon_test

import (
	"strings"
	"testing"

	"doublenat/internal/lab"
	"doublenat/routeros/routerostest"
)

// ports is what a provider forwards in the rows of a pool: one for each client port, and one more.
const ports = "6881\n6882\n51413:40000\n27015\n8080:40001\n9000\n22000\n30001-30004\n"

// poolClass has the rows of a pool, of which nobody is asked: what fails is its file, what the
// provider does, and the router when it is asked for the public address.
func poolClass() classKind {
	write := func(text string) func(w *classWorld, n int) {
		return first(func(w *classWorld) { w.must(w.WritePool(text)) })
	}
	forward := func(list string) func(w *classWorld, n int) {
		return first(func(w *classWorld) { w.must(w.Forward(list)) })
	}
	return classKind{
		name: "pool", iface: routerostest.WANInterface, unasked: true,
		bench: func(t *testing.T) lab.BenchConfig {
			t.Helper()
			return lab.BenchConfig{
				Beyond: lab.Beyond{PoolDir: t.TempDir()}, Seed: 1,
				Environ: map[string]string{"VPN_GATEWAY": "pool:%" + routerostest.WANInterface},
				Prepare: behindABox,
			}
		},
		mend: func(w *classWorld) {
			w.Router.ClearFaults()
			w.must(w.Router.Set("/ip/cloud", "", routerostest.Row{"public-address": "198.51.100.7"}))
			w.must(w.Forward(ports))
		},
		rows: func() []classRow {
			return []classRow{
				{"silence", "the router does not answer when it is asked for the public address", first(func(w *classWorld) { w.cloud(routerostest.FaultSilence) }), 0, 0, 0, false},
				{"refusal", "the file is gone: the pool stays as it was", first(func(w *classWorld) { w.must(w.RemovePool()) }), 0, 0, 0, false},
				{"loss", "two entries are taken away", forward("6881\n27015\n8080:40001\n9000\n"), byFile, 0, 0, false},
				{"late", "two entries are taken away, and the file says so a minute later", func(w *classWorld, n int) {
					const rest = "6881\n27015\n8080:40001\n9000\n"
					switch n {
					case 0:
						w.must(w.ForwardUntold(rest))
					case 3:
						w.must(w.WritePool(rest))
					}
				}, 3*beat + byFile, 0, 0, false},
				{"duplicate", "the file has a port twice: the pool stays as it was", write(ports + "6881\n"), 0, 0, 0, false},
				{"restart", "the file is written anew, empty first", func(w *classWorld, n int) {
					w.must(w.Forward([]string{"", ports}[n%2]))
				}, byFile, 0, 0, false},
				{"other port", "the entries are swapped: what arrived here arrives there", forward("6881:6882\n6882:6881\n51413:40001\n27015\n8080:40000\n9000\n"), byFile, 0, 0, false},
				{"other address", "the router knows another public address", rarely(func(w *classWorld) {
					w.must(w.Router.Set("/ip/cloud", "", routerostest.Row{"public-address": "198.51.100.8"}))
				}), 0, 0, 0, false},
				{"full", "one entry is left", forward("6881\n"), byFile, 0, 0, false},
				{"nonsense", "the file is no list of ports: the pool stays as it was", func(w *classWorld, n int) {
					w.must(w.WritePool([]string{"<html>Please log in</html>", "6881-", "70000", "tcp/udp", strings.Repeat("1-65535\n", 9), "\x00\xff"}[n%6]))
				}, 0, 0, 0, false},
				{"slow", "the router takes two seconds to tell the public address", first(func(w *classWorld) { w.cloud(routerostest.FaultDelayReply) }), 0, 0, 0, false},
				{"flipping", "two entries come and go all the time", func(w *classWorld, n int) {
					w.must(w.Forward([]string{"27015\n8080:40001\n9000\n6882\n22000\n", ports, "6881\n6882\n51413:40001\n9000\n"}[n%3]))
				}, byFile, 0, 0, false},
			}
		},
	}
}

// behindABox gives the router a private address at its line to the Internet, so that its cloud
// has to tell the public one.
func behindABox(r *routerostest.Router) {
	row, ok := r.Find("/ip/address", "interface", routerostest.WANInterface)
	if !ok {
		panic("the test router has no line to the Internet")
	}
	if err := r.Set("/ip/address", row[".id"], routerostest.Row{"address": "192.168.100.2/24", "network": "192.168.100.0"}); err != nil {
		panic(err)
	}
}
