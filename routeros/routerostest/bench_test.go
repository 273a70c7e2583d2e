package routerostest_test

import (
	"fmt"
	"testing"

	"doublenat/routeros"
	"doublenat/routeros/routerostest"
)

// BenchmarkPrint is what a reconcile costs the simulation: the NAT table with 100
// rules of ours.
func BenchmarkPrint(b *testing.B) {
	router, err := routerostest.New(routerostest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer router.Close()
	for i := range 100 {
		if _, err := router.Add("/ip/firewall/nat", routerostest.Row{
			"chain": "dstnat", "action": "dst-nat", "protocol": "tcp", "in-interface": "wg1", "dst-port": fmt.Sprint(30000 + i),
			"to-addresses": "192.168.88.10", "to-ports": "6881", "comment": "doublenat:0123456789",
		}); err != nil {
			b.Fatal(err)
		}
	}
	run := connect(b, router)
	b.ReportAllocs()
	for b.Loop() {
		run("/ip/firewall/nat/print", "=.proplist=.id,chain,action,protocol,in-interface,dst-port,to-addresses,to-ports,comment,disabled")
	}
}

// BenchmarkAddRemove is what a mapping costs.
func BenchmarkAddRemove(b *testing.B) {
	router, err := routerostest.New(routerostest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer router.Close()
	run := connect(b, router)
	b.ReportAllocs()
	for b.Loop() {
		done := run("/ip/firewall/nat/add", "=chain=dstnat", "=action=dst-nat", "=protocol=tcp", "=in-interface=wg1", "=dst-port=30000",
			"=to-addresses=192.168.88.10", "=to-ports=6881", "=comment=doublenat:0123456789")
		run("/ip/firewall/nat/remove", "=.id="+done[1][len("=ret="):])
	}
}

// connect logs in and returns a function that runs a command and returns its !done.
func connect(b *testing.B, router *routerostest.Router) func(words ...string) routeros.Sentence {
	b.Helper()
	conn, err := router.Dial(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	reader := routeros.NewReader(conn, routeros.Limits{})
	run := func(words ...string) routeros.Sentence {
		if _, err := conn.Write(routeros.AppendSentence(nil, words)); err != nil {
			b.Fatal(err)
		}
		for {
			s, err := reader.ReadSentence()
			if err != nil {
				b.Fatal(err)
			}
			switch s[0] {
			case "!done":
				return s
			case "!trap", "!fatal":
				b.Fatal(s)
			}
		}
	}
	run("/login", "=name="+routerostest.LeastUser, "=password="+routerostest.LeastPassword)
	return run
}
