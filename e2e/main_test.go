//go:build e2e && linux

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

// testMain runs the tests inside a sandbox, which is this program once more. The
// process that the go command started only watches over it.
func testMain(m *testing.M) int {
	if inSandbox() {
		if err := furnishSandbox(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
		return runTests(m)
	}
	if os.Getenv(routerVariable) != "" {
		return runTests(m) // on the host's network, and with that router only
	}
	if err := missing(); err != nil {
		if os.Getenv("CI") != "" {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
		fmt.Fprintln(os.Stderr, "e2e: skipping the flows:", err)
		return runTests(m)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	code, err := runSandbox(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
	}
	return code
}

// runTests runs the tests, and fails when a goroutine was left behind.
func runTests(m *testing.M) int {
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "e2e: goroutines left behind:", err)
		return 1
	}
	return code
}
